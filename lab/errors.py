"""One tree of errors: each carries the exit code it ends the program with, and the remedy."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command (documented in docs/exit-codes.md)."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INVALID = 4
    SETUP = 5
    IMPROVEMENT = 6
    DEFECT = 70
    INTERRUPTED = 130


class LabError(Exception):
    """A failure that the user can understand: what happened, and what helps."""

    exit_code = Exit.DEFECT

    def __init__(self, message: str, *, remedy: str = "", detail: str = "") -> None:
        """Message names the file, key or thing; detail holds evidence such as the last log lines."""
        super().__init__(message)
        self.remedy = remedy
        self.detail = detail
        if detail:
            self.add_note(detail)  # for who sees a traceback: pytest, a debugger


class BadInputError(LabError):
    """Something that the user wrote cannot be used: experiment file, option, scenario, run id."""

    exit_code = Exit.USAGE


class SetupError(LabError):
    """The machine, the engine or an image is not as the lab needs it."""

    exit_code = Exit.SETUP


class UnavailableError(SetupError):
    """A suite or a source that the mirror does not serve (any more). Where others remain, a run goes on with those."""


class RateError(SetupError):
    """There is no rate, not even one call a second, at which what is to be measured does its work."""


class TestbedError(SetupError):
    """A part of the testbed (MySQL, Kamailio, SIPp) did not come up, or died: of one cell, where `cell` names it."""

    __test__ = False  # the name only looks like a test to pytest

    def __init__(self, message: str, *, remedy: str = "", detail: str = "", cell: str = "") -> None:
        """As any other, and whose part it is."""
        super().__init__(message, remedy=remedy, detail=detail)
        self.cell = cell
