"""The highest rates of a run, with the field names of RFC 7502, as text."""

from collections.abc import Iterator
from pathlib import Path

from lab.capacity import Capacity, CellRates, Point, Rate

RETRANSMISSION_SECONDS = 0.5  # SIP's T1: what is not answered by then is sent again, and the step has failed
NAMES = {"registration": "Registration Rate", "re-registration": "Re-registration Rate"}


def text(found: Capacity, folder: Path) -> str:
    """One block a cell."""
    return "\n".join(_lines(found, folder)) + "\n"


def _lines(found: Capacity, folder: Path) -> Iterator[str]:
    parameters = found.parameters
    yield found.run
    yield "valid: every search has a confirmed rate" if found.valid else f"not valid ({found.ended}): see the notes"
    yield ""
    yield "SIP Transport Protocol = UDP"
    yield f"Session Attempt Rate = {parameters.start_per_s} (the first; the search goes on from there)"
    yield f"Establishment Threshold Time = {RETRANSMISSION_SECONDS} s (one retransmission fails a step)"
    yield (
        f"Search = steps of {parameters.step_seconds:g} s, at least {parameters.step_calls} calls; "
        f"growth {parameters.growth:.0%}, resolution {parameters.resolution:.0%}, {parameters.tries} tries, "
        f"{parameters.confirmations} confirmations; a rate within {found.rate_tolerance:.1%}"
    )
    for name, cell in found.cells.items():
        yield ""
        yield f"{name} (Kamailio {cell.kamailio}, workers: {cell.children}, subscribers: {cell.subscribers})"
        for rate in cell.rates:
            yield from (f"  {line}" for line in _rate(rate, cell))
    if found.notes:
        yield ""
        yield "Notes ="
        yield from (f"  {note}" for note in found.notes)
    yield ""
    yield f"{folder}"


def _rate(rate: Rate, cell: CellRates) -> Iterator[str]:
    name = NAMES.get(rate.kind, f"{rate.kind.capitalize()} Rate")
    if rate.rate_per_s is None:
        yield f"{name} = none"
        return
    least = "at least " if rate.at_least else ""
    interval = ""
    if rate.ci_low and rate.ci_high:
        interval = f", 95 % interval {rate.ci_low:.0f} to {rate.ci_high:.0f}"
    elif sum(point.rate_per_s is not None for point in rate.points) > 1:
        interval = ", no interval: every round found the same rate"
    rounds = ", ".join(str(point.rate_per_s or "none") for point in rate.points)
    yield f"{name} = {least}{rate.rate_per_s:.0f} per s{interval} (rounds: {rounds})"
    yield f"  Total Sessions Attempted = {sum(point.attempted for point in rate.points)}"
    yield f"  The search took {', '.join(f'{point.seconds:.0f}' for point in rate.points)} s"
    shares = [point.sipp_cpu_share for point in rate.points if point.sipp_cpu_share is not None]
    if shares:
        ceiling = f"; it offers {rate.ceiling_per_s} per s to a trivial responder" if rate.ceiling_per_s else ""
        yield f"  SIPp at that rate: {max(shares):.0%} of a CPU at most{ceiling}"
    busy = [point.worker_share for point in rate.points if point.worker_share is not None]
    if busy:
        share = sum(busy) / len(busy)
        yield f"  Workers at that rate: routing for {share:.0%} of the time, waits for the database included"
    used = [p.kamailio_cpu_usec_per_call for p in rate.points if p.kamailio_cpu_usec_per_call is not None]
    if used:
        share = max(map(_kamailio_share, rate.points)) / cell.children
        mean = sum(used) / len(used)
        yield f"  Kamailio at that rate: {mean:.0f} usec of CPU time a call, {share:.0%} of a CPU for each worker"
    database = [point.mysql_cpu_share for point in rate.points if point.mysql_cpu_share is not None]
    if database:
        yield f"  Database at that rate: {max(database):.0%} of a CPU at most"
    limits = dict.fromkeys(point.limit for point in rate.points if point.limit)
    if limits:
        yield f"  what failed above: {'; '.join(limits)}"


def _kamailio_share(point: Point) -> float:
    return (point.kamailio_cpu_usec_per_call or 0) * (point.rate_per_s or 0) / 1e6
