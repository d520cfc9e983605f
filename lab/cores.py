"""Which role gets which CPUs: pure, from the machine's topology and the profile that was asked for."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lab.model import Role
from lab.topology import Core, Kind, Topology, format_list

# The machine of 2018: an Intel i7-8650U.
NUC_CORES = 4
NUC_THREADS = 2
NUC_MEMORY_BYTES = 16 * 10**9  # fitted; the kernel shows a little less, so decimal

ROLES_APART = 4  # cores that it takes to keep the four roles apart
NAMES = {Role.KAMAILIO: "Kamailio", Role.MYSQL: "the database", Role.SIPP: "SIPp", Role.DRIVER: "the driver"}


class LayoutError(ValueError):
    """A profile or a list that this machine cannot give; the text says what it lacks."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The CPUs of each role, as sorted tuples, and the name of the profile that gave them."""

    profile: str
    cpus: dict[Role, tuple[int, ...]]
    idle: tuple[int, ...] = ()  # siblings of Kamailio's cores, which nobody of ours uses
    notes: tuple[str, ...] = ()  # what the machine could not give, and why that matters

    def text(self, role: Role) -> str:
        """The kernel's list form, as Docker's cpuset takes it."""
        return format_list(self.cpus[role])

    @property
    def all(self) -> frozenset[int]:
        """Every CPU that the run uses or leaves idle: nobody else may measure on them."""
        return frozenset(cpu for cpus in self.cpus.values() for cpu in cpus) | frozenset(self.idle)

    def roles(self, cpu: int) -> tuple[Role, ...]:
        """Who may run on a CPU."""
        return tuple(role for role, cpus in self.cpus.items() if cpu in cpus)

    def beside(self, role: Role) -> tuple[Role, ...] | None:
        """Who has the very CPUs of a role; None when somebody has only some of them, or others as well."""
        others = {other: set(cpus) for other, cpus in self.cpus.items() if other != role}
        same = tuple(other for other, cpus in others.items() if cpus == set(self.cpus[role]))
        apart = all(other in same or cpus.isdisjoint(self.cpus[role]) for other, cpus in others.items())
        return same if apart else None


def lay_out(topology: Topology, profile: str) -> Layout:
    """The layout of a profile (PROFILES) on a machine; LayoutError where it cannot be had."""
    layout = replace(PROFILES[profile](topology), profile=profile)
    if not all(layout.cpus[role] for role in Role):  # which for Docker would mean every CPU
        raise LayoutError("a role would have no CPU")
    return replace(layout, notes=(*layout.notes, *_remarks(topology, layout)))


def listed(topology: Topology, lists: dict[Role, tuple[int, ...]]) -> Layout:
    """A layout as the user has listed it; LayoutError naming the CPUs that cannot be had."""
    asked = {cpu for cpus in lists.values() for cpu in cpus}
    for what, there in (
        ("is offline", set(topology.offline)),
        ("is not allowed to this process", {cpu.number for cpu in topology.cpus} - set(topology.allowed)),
        ("does not exist", asked - set(topology.allowed)),
    ):
        if absent := asked & there:
            raise LayoutError(f"CPU {format_list(tuple(sorted(absent)))} {what}")
    own = set(lists[Role.KAMAILIO])
    idle = {cpu for core in topology.cores if own & set(core.threads) for cpu in core.threads} - asked
    layout = Layout("lists", lists, tuple(sorted(idle)))
    return replace(layout, notes=tuple(_remarks(topology, layout)))


def shared(topology: Topology) -> Layout:
    """All roles on all CPUs that are allowed."""
    return Layout("shared", dict.fromkeys(Role, topology.allowed))


def nuc(topology: Topology) -> Layout:
    """Four physical cores of one node (and cache, where possible) with their siblings, all roles on all, as in 2018."""
    ours = topology.nodes[_home(topology)]
    fit = [core for core in ours if core.kind == Kind.PERFORMANCE] or list(ours)
    beside = Counter(core.cache for core in fit)
    best = sorted(fit, key=lambda core: (-len(core.threads), -beside[core.cache], core.cache, core.threads))
    cores = sorted(best[:NUC_CORES], key=lambda core: core.threads)
    cpus = tuple(sorted(cpu for core in cores for cpu in core.threads[:NUC_THREADS]))
    return Layout("nuc", dict.fromkeys(Role, cpus), notes=tuple(_unlike_the_nuc(topology, cores)))


def _unlike_the_nuc(topology: Topology, cores: list[Core]) -> Iterator[str]:
    if len(cores) < NUC_CORES:
        yield (
            f"{len(cores)} of the NUC's {NUC_CORES} cores on one node: "
            "requests wait for a worker at a lower rate already"
        )
    single = [core for core in cores if len(core.threads) < NUC_THREADS]
    if single:
        yield (
            f"{len(single)} of {len(cores)} cores without a second thread: "
            "the NUC had eight threads, of which two share a core and slow each other down"
        )
    if topology.memory_bytes < NUC_MEMORY_BYTES * 0.9:
        yield f"{topology.memory_bytes / 10**9:.1f} GB of memory, the NUC had 16: MySQL may have to read from disk"


def isolated(topology: Topology) -> Layout:
    """Disjoint CPUs for all four roles, the siblings of Kamailio's cores left idle; LayoutError below four cores."""
    order = _best_first(topology)
    if len(order) < ROLES_APART:
        raise LayoutError(
            f"it takes {ROLES_APART} cores to keep the roles apart, and this process may use {len(order)}"
        )
    alike = sum((core.kind, core.node) == (order[0].kind, order[0].node) for core in order)
    many = min((len(order) - 2) // 2, NUC_CORES, alike)
    database = 2 if len(order) >= 2 * ROLES_APART else 1
    kamailio, rest = order[:many], order[many:]
    return Layout(
        "isolated",
        {
            Role.KAMAILIO: _first_threads(kamailio),
            Role.MYSQL: _threads(rest[:database]),
            Role.SIPP: _threads(rest[database : database + 1]),
            Role.DRIVER: _threads(rest[-1:]),
        },
        _second_threads(kamailio),
    )


def auto(topology: Topology) -> Layout:
    """The best that the machine allows: all roles apart, else Kamailio apart, else everything shared."""
    order = _best_first(topology)
    if len(order) >= ROLES_APART:
        return isolated(topology)
    if len(order) > 1:
        return _divided(_first_threads(order[:1]), _threads(order[1:]), _second_threads(order[:1]))
    threads = order[0].threads
    return _divided(threads[-1:], threads[:-1]) if len(threads) > 1 else shared(topology)


def _divided(kamailio: tuple[int, ...], rest: tuple[int, ...], idle: tuple[int, ...] = ()) -> Layout:
    others = dict.fromkeys((Role.MYSQL, Role.SIPP, Role.DRIVER), rest)
    note = f"the database, SIPp and the driver share CPU {format_list(rest)}: a query of Kamailio's may wait for SIPp"
    return Layout("auto", {Role.KAMAILIO: kamailio, **others}, idle, (note,))


PROFILES: dict[str, Callable[[Topology], Layout]] = {
    "auto": auto,
    "nuc": nuc,
    "isolated": isolated,
    "shared": shared,
}


def _home(topology: Topology) -> int:
    """The node with the most performance cores for us, whole ones above all; of several the first."""

    def worth(node: int) -> tuple[int, int, int]:
        strong = [core for core in topology.nodes[node] if core.kind == Kind.PERFORMANCE]
        return sum(not core.closed for core in strong), len(strong), -node

    return max(topology.nodes, key=worth)


def _best_first(topology: Topology) -> list[Core]:
    """Performance cores before efficient ones, one node's together, whole ones before those shared with strangers.

    Of those alike, one last-level cache's together, the one first that has most of them. The last ones first: the first
    CPUs of a machine have most of its interrupts.
    """
    home = _home(topology)

    def likeness(core: Core) -> tuple[bool, bool, int, bool]:
        return core.kind == Kind.EFFICIENT, core.node != home, core.node, bool(core.closed)

    beside = Counter((likeness(core), core.cache) for core in topology.cores)

    def rank(core: Core) -> tuple[tuple[bool, bool, int, bool], int, tuple[int, ...], int]:
        alike = likeness(core)
        return alike, -beside[alike, core.cache], tuple(-cpu for cpu in core.cache[-1:]), -core.threads[0]

    return sorted(topology.cores, key=rank)


def _first_threads(cores: list[Core]) -> tuple[int, ...]:
    return tuple(sorted(core.threads[0] for core in cores))


def _second_threads(cores: list[Core]) -> tuple[int, ...]:
    return tuple(sorted(cpu for core in cores for cpu in core.threads[1:]))


def _threads(cores: list[Core]) -> tuple[int, ...]:
    return tuple(sorted(cpu for core in cores for cpu in core.threads))


def _remarks(topology: Topology, layout: Layout) -> Iterator[str]:
    """What disturbs in this layout, whichever profile gave it."""
    own = set(layout.cpus[Role.KAMAILIO])
    cores = [core for core in topology.cores if own & set(core.threads)]
    apart = layout.profile not in {"nuc", "shared"}  # where all are to be together, that is no remark
    siblings = {cpu for core in cores for cpu in core.threads} - own
    for role in [role for role in Role if role != Role.KAMAILIO] if apart else []:
        if both := own & set(layout.cpus[role]):
            yield f"CPU {_text(both)}: {NAMES[role]} takes turns with Kamailio, whose requests wait for it"
        if beside := siblings & set(layout.cpus[role]):
            yield f"CPU {_text(beside)}: {NAMES[role]} shares a core with Kamailio, and each slows the other down"
    if closed := {cpu for core in cores for cpu in core.closed}:
        yield f"CPU {_text(closed)}: a sibling of Kamailio's, but not for us: whoever runs there slows Kamailio down"
    if len({core.node for core in cores}) > 1:
        yield "Kamailio's CPUs lie on several memory nodes: workers differ by where their memory is"
    elif apart and len({core.cache for core in cores}) > 1:
        yield "Kamailio's CPUs have several last-level caches: what its workers share travels between them"
    if len({core.kind for core in cores}) > 1:
        yield "Kamailio's CPUs are of two kinds: its workers are not equally fast"
    elif any(core.kind == Kind.EFFICIENT for core in cores):
        yield "Kamailio runs on efficient cores: slower ones than this machine has"


def _text(cpus: set[int]) -> str:
    return format_list(tuple(sorted(cpus)))
