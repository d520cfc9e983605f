"""A planted slowdown: where it goes in each language, and what is told where it cannot go."""

from pathlib import Path

import pytest

from lab import images, planted
from lab.planted import PlantError, Routing

PARITY = images.FOLDER / "kamailio" / "etc" / "parity"
PUBLISHED = PARITY.with_name("published")
# Where a request begins, and the line of the wait that says how long it is.
HEADS = {
    "native.cfg": ("request_route {", "    while ((1000000 + $TV(un) - $var(planted)) mod 1000000 < 7) {"),
    "lua.lua": ("function ksr_request_route()", "    local planted = os.clock() + 7e-6"),
    "python.py": ("    def ksr_request_route(", "        planted = planted_clock() + 7e-6"),
    "python3.py": ("    def ksr_request_route(", "        planted = planted_clock() + 7e-6"),
    "python3s.py": ("def ksr_request_route(", "    planted = planted_clock() + 7e-6"),
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("parity", ("parity", 0)),
        ("parity-plus-5us", ("parity", 5)),
        ("./mine-plus-120us", ("./mine", 120)),
        ("parity-plus-0us", ("parity-plus-0us", 0)),
        ("parity-plus-5ms", ("parity-plus-5ms", 0)),
        ("-plus-5us", ("-plus-5us", 0)),
        ("parity-plus-1000000us", ("parity-plus-1000000us", 0)),
    ],
)
def test_a_name_says_what_is_planted(name: str, meant: tuple[str, int]) -> None:
    """Whole microseconds, at least one and less than a tenth of a second; any other name is a folder's."""
    assert planted.split(name) == meant


@pytest.mark.parametrize("name", HEADS)
def test_the_wait_comes_first_in_every_request(tmp_path: Path, name: str) -> None:
    """Before anything that a request may end in; nothing else of the script changes."""
    planted.place(Routing(PARITY, 7), tmp_path / "copy")
    lines = (tmp_path / "copy" / name).read_text().splitlines()
    head, wait = HEADS[name]
    at = next(number for number, line in enumerate(lines) if line.startswith(head))
    first = [number for number, line in enumerate(lines) if line.startswith(wait)]
    assert len(first) == 1
    assert at < first[0] <= at + 3
    original = (PARITY / name).read_text().splitlines()
    assert [line for line in lines if line in set(original)][: len(original)] == original


@pytest.mark.parametrize("name", ["python3.py", "python3s.py"])
def test_a_planted_python_script_is_still_one(tmp_path: Path, name: str) -> None:
    """It compiles; and the clock is there when the first request comes."""
    planted.place(Routing(PARITY, 7), tmp_path / "copy")
    text = (tmp_path / "copy" / name).read_text()
    compile(text, name, "exec")
    assert "\nfrom time import time as planted_clock\n" in text


def test_a_native_loop_may_have_as_many_turns_as_it_needs(tmp_path: Path) -> None:
    """Kamailio breaks a loop off after 100 by default, with an error in the log."""
    planted.place(Routing(PARITY, 7), tmp_path / "copy")
    assert "\nmax_while_loops=1000000\n" in (tmp_path / "copy" / "native.cfg").read_text()


def test_without_a_wait_a_copy_is_the_same(tmp_path: Path) -> None:
    """Byte for byte."""
    planted.place(Routing(PARITY), tmp_path / "copy")
    copied = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert copied == {path.name: path.read_bytes() for path in PARITY.iterdir()}


def test_every_engine_with_a_clock_can_have_one() -> None:
    """LuaJIT runs Lua's script, and Python 3 that of Python where it has none of its own."""
    planted.check(PARITY, ["native", "lua", "luajit", "python", "python3", "python3s"])
    planted.check(PUBLISHED, ["native", "lua", "python3"])


def test_a_script_that_cannot_have_one_is_named(tmp_path: Path) -> None:
    """No clock, no script, no place."""
    with pytest.raises(PlantError, match="engine jsdt has no clock that a wait of microseconds could go by"):
        planted.check(PARITY, ["native", "jsdt"])
    with pytest.raises(PlantError, match="has no script for engine lua"):
        planted.check(tmp_path, ["lua"])
    (tmp_path / "lua.lua").write_text("ksr_request_route = function() end\n")
    with pytest.raises(PlantError, match=r"lua\.lua has 0 lines like .*ksr_request_route.*, where there must be one"):
        planted.check(tmp_path, ["lua"])
