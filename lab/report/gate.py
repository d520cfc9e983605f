"""A gate's outcome for people and for CI: text, Markdown (a GitHub job summary), JUnit XML, workflow annotations."""

from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from lab.gate import Attempt, Gate
from lab.model import Plan
from lab.noise import Entry, detectable
from lab.report.markdown import table
from lab.report.words import interval, percent, ratio
from lab.verdict import Verdict

SHOWN = 8  # failed checks

_LEVEL = {Verdict.REGRESSION: "error", Verdict.INCONCLUSIVE: "warning", Verdict.INVALID: "error"}
_HEADS = ("leg", "candidate / base", "interval", "detectable", "verdict", "base / itself")


def text(found: Gate) -> str:
    """For a terminal or a log."""
    return "\n".join(_text(found)) + "\n"


def markdown(found: Gate) -> str:
    """For a job summary or a comment."""
    return "\n".join(_markdown(found)) + "\n"


def _text(found: Gate) -> Iterator[str]:
    yield f"{found.verdict.upper()}: {found.reason}"
    yield _question(found)
    for number, attempt in enumerate(found.runs, 1):
        yield ""
        yield f"run {number}: {attempt.run}, {_what(found, attempt)}: {attempt.verdict}"
        yield from table(_HEADS, _rows(attempt))
        yield from (f"! {reason}" for reason in _failed(attempt))


def _markdown(found: Gate) -> Iterator[str]:
    yield f"## kemi-lab gate: {found.verdict}"
    yield ""
    yield f"**{_escaped(found.reason)}**"
    yield ""
    yield _escaped(_question(found))
    for number, attempt in enumerate(found.runs, 1):
        yield ""
        yield f"Run {number}, `{attempt.run}`, {_what(found, attempt)}: {attempt.verdict}"
        yield ""
        yield from table(_HEADS, [[_escaped(cell) for cell in row] for row in _rows(attempt)])
        if attempt.failed:
            yield ""
            yield from (f"- {_escaped(reason)}" for reason in _failed(attempt))
    yield ""


def _question(found: Gate) -> str:
    asked = f"{found.kind} {found.candidate} against {found.base}, engine {found.engine}"
    if found.counted_delta is not None:
        asked += f"; up to {percent(found.counted_delta)} more instructions may pass"
    if found.attempts:
        noise = "not known (lab aa)" if found.smallest_delta is None else percent(found.smallest_delta)
        asked += f"; a slowdown of up to {percent(found.delta)} may pass"
        asked += f"; the least that this machine can tell apart: {noise}"
    return asked


def _what(found: Gate, attempt: Attempt) -> str:
    if attempt is found.counted:
        return f"instructions in {attempt.rounds} fresh start{'s' * (attempt.rounds != 1)} of each"
    return f"{attempt.rounds} round{'s' * (attempt.rounds != 1)}"


def _rows(attempt: Attempt) -> list[tuple[str, ...]]:
    return [
        (
            leg,
            ratio(found.ratio),
            interval(found),
            percent(found.mde),
            f"{attempt.rulings[leg].verdict}: {attempt.rulings[leg].reason}",
            interval(attempt.aa[leg]),
        )
        for leg, found in attempt.legs.items()
    ]


def _failed(attempt: Attempt) -> Iterator[str]:
    yield from attempt.failed[:SHOWN]
    if len(attempt.failed) > SHOWN:
        yield f"and {len(attempt.failed) - SHOWN} more: lab report {attempt.run}"


def junit(found: Gate) -> str:
    """A test suite of one test a leg, by the last run of each kind. What is not known is an error, never a pass."""
    last = [*filter(None, (found.counted,)), *found.attempts[-1:]]
    cases = {
        f"{leg} (instructions)" if attempt is found.counted else leg: (str(ruling.verdict), ruling.reason)
        for attempt in last
        for leg, ruling in attempt.rulings.items()
    }
    suite = ET.Element("testsuite", name="kemi-lab gate", tests=str(len(cases) + 1))
    for leg, (verdict, reason) in {**cases, "gate": (found.verdict, found.reason)}.items():
        about = _printable(f"{found.candidate} against {found.base}")
        case = ET.SubElement(suite, "testcase", classname=about, name=leg)
        if verdict in {Verdict.PASS, Verdict.IMPROVEMENT}:
            continue
        kind = "failure" if verdict == Verdict.REGRESSION else "error"
        ET.SubElement(case, kind, type=verdict, message=_printable(reason))
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(len(suite.findall(f"./testcase/{kind}"))))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _printable(line: str) -> str:
    """A reason may quote a log, and XML has no way to write a control character."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in line)


def annotations(found: Gate) -> str:
    """GitHub's workflow commands."""
    level = _LEVEL.get(found.verdict, "notice")
    return f"::{level} title=kemi-lab gate%3A {found.verdict}::{_data(found.reason)}\n"


def noise(latest: Entry, plan: Plan, entries: Sequence[Entry], delta: float | None) -> str:
    """The baseline against itself, and the history of that."""
    return "\n".join(_noise(latest, plan, entries, delta)) + "\n"


def _noise(latest: Entry, plan: Plan, entries: Sequence[Entry], delta: float | None) -> Iterator[str]:
    yield f"{latest.cell} against itself: {latest.run}, {latest.rounds} rounds{'' if latest.valid else ', INVALID'}"
    yield ""
    rows = [
        (leg, ratio(one.ratio), interval(one), _found(latest.deviations.get(leg), plan))
        for leg, one in latest.legs.items()
    ]
    yield from table(("leg", "ratio", f"interval at {1 - plan.alpha:.1%}", "a gate finds"), rows)
    yield ""
    yield "The same on this machine so far, by its noisiest leg (of all requests by half, for twice delta may pass):"
    yield ""
    history = [(one.run, _found(one.deviation, plan), "" if one.valid else "invalid") for one in entries]
    yield from table(("run", "a gate finds", ""), history)
    yield ""
    yield (
        "no valid run yet: nothing can be said of a delta"
        if delta is None
        else f"the smallest delta of a gate here: {percent(delta)}"
    )


def _found(deviation: float | None, plan: Plan) -> str:
    return percent(None if deviation is None else detectable(deviation, plan))


def _escaped(line: str) -> str:
    """Names are the user's: none of them is to be Markdown, or HTML."""
    for sign in "\\`*_<>[]":
        line = line.replace(sign, f"\\{sign}")
    return line


def _data(line: str) -> str:
    """As GitHub's runner decodes it."""
    return line.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
