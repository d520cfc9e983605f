"""Cells that are under load in short turns, one after the other: a cycle is as many turns as there are cells.

A scenario gets a wait before its first step, which puts off a call until its cell's turn comes: SIPp opens calls at an
even pace, and its clock decides when each sends. So a cell's calls of one cycle lie in its turn of the next one, as
evenly as they came, at as many times the pace as there are cells, and some. Nothing outside of SIPp has to keep time.
"""

from xml.parsers import expat

from lab.errors import BadInputError

FOLDER = "turns"  # of the scenarios: those with a wait
KEY = "turn"  # SIPp's -key, with what comes of `begin`
# Of a turn: the last calls must be over before the next cell's begin. SIPp goes by the kernel's coarse clock, so they
# may be a tick late: 4 ms at 250 Hz, 10 ms at 100 Hz.
FILLED = 0.75
SHORTEST_MSEC = 20
# What is left of the time since 1970 after whole cycles; SIPp has no remainder, but it can cut a number's text. Each
# variable must be named twice.
_WAIT = """<nop>
    <action>
      <gettimeofday assign_to="turn_wait,turn_usec" />
      <multiply assign_to="turn_wait" value="1000000" />
      <add assign_to="turn_wait" variable="turn_usec" />
      <assignstr assign_to="turn_text" value="[$turn_wait]" />
      <todouble assign_to="turn_cycles" variable="turn_text" />
      <divide assign_to="turn_cycles" value="{cycle_usec}" />
      <assignstr assign_to="turn_text" value="[$turn_cycles]" />
      <ereg regexp="^[0-9]+" search_in="var" variable="turn_text" check_it="true" assign_to="turn_whole" />
      <todouble assign_to="turn_cycles" variable="turn_whole" />
      <multiply assign_to="turn_cycles" value="{cycle_usec}" />
      <subtract assign_to="turn_wait" variable="turn_cycles" />
      <multiply assign_to="turn_wait" value="{slope:.9f}" />
      <assignstr assign_to="turn_text" value="[{key}]" />
      <todouble assign_to="turn_begin" variable="turn_text" />
      <add assign_to="turn_wait" variable="turn_begin" />
    </action>
  </nop>
  <pause variable="turn_wait" />

  """


def begin(turn_msec: int, cells: int, turn: int) -> int:
    """From the begin of a cycle to that of this turn (0, 1, ...) in the next one, in ms."""
    return turn_msec * (cells + turn)


def longest_wait(turn_msec: int, cells: int) -> int:
    """That a call may wait for its turn, in ms, whichever it is."""
    return 2 * turn_msec * cells


def with_wait(scenario: bytes, turn_msec: int, cells: int) -> bytes:
    """A scenario (SIPp's XML) that waits for its cell's turn; BadInputError where it has no step."""
    # A call that comes `phase` usec after a cycle's begin is put off to FILLED * phase / cells into its turn.
    slope = (FILLED / cells - 1) / 1000
    at = _first_step(scenario)
    wait = _WAIT.format(cycle_usec=turn_msec * cells * 1000, slope=slope, key=KEY).encode()
    return scenario[:at] + wait + scenario[at:]


def _first_step(scenario: bytes) -> int:
    """Where the first element within the outermost begins, in bytes."""
    found: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda _name, _attributes: found.append(parser.CurrentByteIndex)
    try:
        parser.Parse(scenario, True)  # noqa: FBT003  (the one way to say that this is all)
    except expat.ExpatError as error:
        raise BadInputError(f"not valid XML: {error}") from error
    steps = found[1:]
    if not steps:
        raise BadInputError("a scenario without a step")
    return steps[0]
