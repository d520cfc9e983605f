"""Which role gets which CPUs: pure, from the list that the kernel allows us."""

import re
from dataclasses import dataclass

from lab.model import Role

NUC_CORES = 4  # the 2018 machine had four; more would only add idle workers


@dataclass(frozen=True, slots=True)
class Layout:
    """The CPUs of each role, as sorted tuples, and the name of the profile that gave them."""

    profile: str
    cpus: dict[Role, tuple[int, ...]]

    def text(self, role: Role) -> str:
        """The kernel's list form, as Docker's cpuset takes it."""
        return format_list(self.cpus[role])

    @property
    def all(self) -> frozenset[int]:
        """Every CPU that the run uses: nobody else may measure on them."""
        return frozenset(cpu for cpus in self.cpus.values() for cpu in cpus)


def auto(allowed: tuple[int, ...]) -> Layout:
    """Kamailio alone on the upper half (at most four), everything else on the rest; one CPU is shared."""
    if len(allowed) == 1:
        return shared(allowed)
    half = min(len(allowed) // 2, NUC_CORES)
    rest, own = allowed[: len(allowed) - half], allowed[-half:]
    return Layout("auto", {Role.KAMAILIO: own, Role.MYSQL: rest, Role.SIPP: rest, Role.DRIVER: rest})


def shared(allowed: tuple[int, ...]) -> Layout:
    """All roles on all CPUs, as in 2018."""
    return Layout("shared", dict.fromkeys(Role, allowed))


def parse_list(text: str) -> tuple[int, ...]:
    """'0-2,5' -> (0, 1, 2, 5). ValueError where it is no such list: as a cpuset, an empty one would mean every CPU."""
    found: set[int] = set()
    for part in text.strip().split(","):
        bounds = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        cpus = range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1) if bounds else ()
        if not cpus:
            raise ValueError("a list of CPUs such as 0-2,5")
        found.update(cpus)
    return tuple(sorted(found))


def format_list(cpus: tuple[int, ...]) -> str:
    """(0, 1, 2, 5) -> '0-2,5'."""
    parts: list[str] = []
    start = previous = None
    for cpu in (*sorted(cpus), None):
        if start is None or previous is None:
            start = previous = cpu
        elif cpu == previous + 1:
            previous = cpu
        else:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = previous = cpu
    return ",".join(parts)
