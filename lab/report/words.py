"""How figures are written in every report: what is not known is a dash, and never a zero."""

from typing import Protocol

ABSENT = "-"


class Interval(Protocol):
    """Whatever has one."""

    @property
    def ci_low(self) -> float | None:
        """Its lower end."""

    @property
    def ci_high(self) -> float | None:
        """Its upper end."""


def ratio(value: float | None) -> str:
    """To three digits."""
    return ABSENT if value is None else f"{value:.3f}"


def interval(found: Interval) -> str:
    """Both ends likewise."""
    if found.ci_low is None or found.ci_high is None:
        return ABSENT
    return f"{found.ci_low:.3f} to {found.ci_high:.3f}"


def usec(value: float | None, digits: int = 0) -> str:
    """In whole ones, unless told otherwise."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """With one digit behind the point."""
    return ABSENT if share is None else f"{share:.1%}".replace("%", " %")
