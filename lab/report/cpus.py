"""A CPU layout as text: each core that the lab uses, who sits on it, and what the machine could not give."""

from collections.abc import Iterator

from lab.cores import NAMES, Layout
from lab.model import Role
from lab.topology import Kind, Topology, format_list


def text(topology: Topology, layout: Layout) -> str:
    """The whole drawing."""
    return "\n".join(_lines(topology, layout)) + "\n"


def _lines(topology: Topology, layout: Layout) -> Iterator[str]:
    yield f"profile {layout.profile} on {_machine(topology)}"
    yield ""
    used = [core for core in topology.cores if layout.all & {*core.threads}]
    several = {"package": len({c.package for c in used}) > 1, "node": len({c.node for c in used}) > 1}
    caches = len({c.cache for c in used}) > 1
    for core in used:
        where = "".join(f"{what} {getattr(core, what)}, " for what, shown in several.items() if shown)
        if caches:
            where += f"cache of CPU {format_list(core.cache)}, "
        kind = f", {core.kind}" if any(c.kind == Kind.EFFICIENT for c in topology.cores) else ""
        yield f"  {where}core with CPU {format_list((*core.threads, *core.closed))}{kind}"
        for cpu in core.threads:
            yield f"    CPU {cpu:<4} {_who(cpu, layout)}"
        for cpu in core.closed:
            yield f"    CPU {cpu:<4} not for us"
    free = tuple(cpu for core in topology.cores if core not in used for cpu in core.threads)
    if free:
        yield f"  CPU {format_list(free)}: not used"
    if topology.offline:
        yield f"  CPU {format_list(topology.offline)}: offline"
    if layout.notes:
        yield ""
        yield from (f"! {note}" for note in layout.notes)


def _machine(topology: Topology) -> str:
    packages = len({cpu.package for cpu in topology.cpus})
    cores = len({cpu.siblings for cpu in topology.cpus})
    nodes = len({cpu.node for cpu in topology.cpus})
    parts = [_count(packages, "package"), _count(nodes, "memory node"), _count(cores, "core")]
    ours = "all ours" if len(topology.allowed) == len(topology.cpus) else f"{len(topology.allowed)} of them ours"
    return f"{', '.join(parts)}, {_count(len(topology.cpus), 'CPU')} online, {ours}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _who(cpu: int, layout: Layout) -> str:
    if cpu in layout.idle:
        return "left idle: a sibling of Kamailio's"
    roles = layout.roles(cpu)
    if len(roles) == len(Role):
        return "all"
    return ", ".join(NAMES[role].removeprefix("the ") for role in roles) or "not used"


def line(layout: Layout) -> str:
    """The layout in one line, for a run's report."""
    by_cpus: dict[str, list[str]] = {}
    for role in layout.cpus:
        by_cpus.setdefault(layout.text(role), []).append(NAMES[role].removeprefix("the "))
    shares = "; ".join(f"{', '.join(roles)} on {cpus}" for cpus, roles in by_cpus.items())
    idle = f"; {format_list(layout.idle)} left idle" if layout.idle else ""
    return f"CPUs, {layout.profile}: {shares}{idle}"
