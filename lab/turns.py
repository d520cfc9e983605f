"""Cells that are under load in short turns: in each cycle of 10, 100 or 1000 ms every cell has its own part.

A scenario gets a wait before its first step, which puts off a call until its cell's turn comes: SIPp opens calls at an
even pace, and its clock decides when each sends. So a cell's calls of one cycle lie in its turn of the next one, as
evenly as they came, at as many times the pace as there are cells. Nothing outside of SIPp has to keep time.
"""

from xml.parsers import expat

from lab.errors import BadInputError

FOLDER = "turns"  # of the scenarios: those with a wait
KEY = "turn"  # SIPp's -key, with what comes of `begin`
FILLED = 0.9  # of a turn: the last calls must be over before the next cell's begin
# Microseconds within the cycle are the last digits of those within the second. Each variable must be named twice.
_WAIT = """<nop>
    <action>
      <gettimeofday assign_to="turn_second,turn_usec" />
      <assignstr assign_to="turn_digits" value="[$turn_usec]" />
      <ereg regexp="[0-9]{{1,{digits}}}\\.[0-9]*$" search_in="var" variable="turn_digits" check_it="true" \
assign_to="turn_phase" />
      <todouble assign_to="turn_wait" variable="turn_phase" />
      <multiply assign_to="turn_wait" value="{slope:.9f}" />
      <assignstr assign_to="turn_begin_digits" value="[{key}]" />
      <todouble assign_to="turn_begin" variable="turn_begin_digits" />
      <add assign_to="turn_wait" variable="turn_begin" />
    </action>
  </nop>
  <pause variable="turn_wait" />
  <Reference variables="turn_second" />

  """


def begin(cycle_msec: int, cells: int, turn: int) -> float:
    """From the begin of a cycle to that of this turn (0, 1, ...) in the next one, in ms."""
    return cycle_msec * (1 + turn / cells)


def longest_wait(cycle_msec: int) -> int:
    """That a call may wait for its turn, in ms, whichever it is."""
    return 2 * cycle_msec


def with_wait(scenario: bytes, cycle_msec: int, cells: int) -> bytes:
    """A scenario (SIPp's XML) that waits for its cell's turn; BadInputError where it has no step."""
    # `phase` usec into a cycle a call is put off to FILLED * phase / cells into its turn.
    slope = (FILLED / cells - 1) / 1000
    digits = len(str(cycle_msec * 1000)) - 1
    at = _first_step(scenario)
    wait = _WAIT.format(digits=digits, slope=slope, key=KEY).encode()
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
