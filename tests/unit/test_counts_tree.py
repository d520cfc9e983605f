"""Call trees: every instruction below the one that led to it, circles as one, and what has changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.counts import callgrind, figures, tree
from lab.counts.callgrind import Arc, Function, Part
from lab.counts.tree import Node
from lab.model import Counting
from lab.report import counted as report
from lab.report import flame, page
from tests.unit import profiles


def part(own: dict[str, int], calls: dict[tuple[str, str], int]) -> Part:
    """Functions of one program, and arcs between them."""
    found = Part()
    functions = {name: Function("/usr/sbin/kamailio", "a.c", name) for name in own}
    for name, instructions in own.items():
        found.own[functions[name]] = instructions
    for (caller, callee), instructions in calls.items():
        found.inclusive[Arc(functions[caller], functions[callee])] = instructions
    return found


def told(node: Node | None) -> Iterator[tuple[str, float]]:
    """Each way down, and its instructions."""
    assert node

    def below(one: Node, above: str) -> Iterator[tuple[str, float]]:
        path = f"{above}/{one.function.name}" if above else one.function.name
        yield path, one.instructions
        for called in one.calls:
            yield from below(called, path)

    return below(node, "")


def test_a_request_is_one_tree() -> None:
    """As wide as all of it; what calls into KEMI go through is one bar, below which is what was asked for."""
    request = callgrind.together(callgrind.requests(profiles.lines([1000]).splitlines(keepends=True), range(1)))
    found = dict(told(tree.grow(request, "receive_msg", 0.0)))
    way = "receive_msg/sr_kemi_route/app_lua_run_ex/0x000000000001a5f0/sr_kemi_lua_exec_func"
    assert found["receive_msg"] == request.total
    assert found[way] == pytest.approx(300 + 240 + 60 + 50 + 44)
    assert found[f"{way}/auth_challenge/qm_malloc"] == 44


def test_what_several_call_is_shared_out_by_what_each_call_led_to() -> None:
    """Nothing is lost, and nothing is there twice."""
    found = part(
        {"a": 10, "b": 20, "c": 30, "d": 40},
        {("a", "b"): 30, ("a", "c"): 60, ("b", "d"): 10, ("c", "d"): 30},
    )
    ways = dict(told(tree.grow(found, "a", 0.0)))
    assert ways == {"a": 100, "a/b": 30, "a/b/d": 10, "a/c": 60, "a/c/d": 30}


def test_a_circle_is_one() -> None:
    """Called after the one of it that others call; how often it goes round is not told."""
    found = part(
        {"a": 10, "run": 20, "do": 30, "leaf": 40},
        {("a", "run"): 90, ("run", "do"): 300, ("do", "run"): 200, ("do", "leaf"): 40},
    )
    grown = tree.grow(found, "a", 0.0)
    assert dict(told(grown)) == {"a": 100, "a/run": 90, "a/run/leaf": 40}
    assert grown
    assert grown.calls[0].circle == 2


def test_functions_within_themselves_are_one() -> None:
    """Callgrind calls the second one by a mark of its own."""
    found = part({"a": 10, "f": 20, "f'2": 30}, {("a", "f"): 50, ("f", "f'2"): 30})
    assert dict(told(tree.grow(found, "a", 0.0))) == {"a": 60, "a/f": 50}


def test_an_arc_of_next_to_nothing_closes_no_circle() -> None:
    """Else half of Kamailio would be one function, as a reply looks for an event route."""
    found = part({"a": 1000, "b": 500, "c": 500}, {("a", "b"): 1000, ("b", "c"): 500, ("c", "a"): 1})
    assert dict(told(tree.grow(found, "a", 0.01))) == {"a": 2000, "a/b": 1000, "a/b/c": pytest.approx(500, rel=0.01)}


def test_what_is_small_is_left_to_its_caller() -> None:
    """A picture has no room for it."""
    found = part({"a": 900, "b": 99, "c": 1}, {("a", "b"): 99, ("a", "c"): 1})
    assert list(dict(told(tree.grow(found, "a", 0.01)))) == ["a", "a/b"]


def test_what_is_not_there_has_no_tree() -> None:
    """Nor is that an error."""
    assert tree.grow(part({"a": 1}, {}), "receive_msg", 0.0) is None


def test_differences_are_of_a_request_each() -> None:
    """The largest first, whichever way; what is the same is not told."""
    here, there = part({"a": 400, "b": 20, "c": 6}, {}), part({"a": 110, "b": 110, "c": 3}, {})
    found = tree.differences(here, 2, there, 1, 9)
    assert found == [("b (kamailio)", 10, 110), ("a (kamailio)", 200, 110)]


def test_a_copy_that_a_compiler_has_made_is_the_function_itself() -> None:
    """Another compiler makes others, of the same source."""
    here = part({"parse_via.isra.0": 50, "parse_via.part.0.cold": 7, "do_action.constprop.1'2": 9, "a.out": 5}, {})
    there = part({"parse_via": 60, "do_action'2": 9, "a.out": 5}, {})
    assert tree.differences(here, 1, there, 1, 9) == [("parse_via (kamailio)", 57, 60)]


def test_what_has_changed_has_another_colour() -> None:
    """By where it was called, not by its name alone."""
    before = tree.grow(part({"a": 10, "b": 50, "c": 40}, {("a", "b"): 50, ("a", "c"): 40}), "a", 0.0)
    now = tree.grow(part({"a": 10, "b": 90, "c": 30}, {("a", "b"): 90, ("a", "c"): 30}), "a", 0.0)
    assert before
    assert now
    colour, legend = flame.changes(now, before)
    by_name = {node.function.name: colour(node) for node in (now, *now.calls)}
    names = {one: name for name, one in legend.items()}
    assert {name: names[one] for name, one in by_name.items()} == {
        "a": "more than before",
        "b": "more than before",
        "c": "less",
    }


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A count of two cells, with its page."""
    plan = profiles.plan(Counting(calls=1, warmup_calls=1), 1)
    before = [9000] * 5
    place = profiles.run(
        tmp_path_factory.mktemp("counts"), plan, ("native", [*before, 1000, 2000]), ("lua", [*before, 9000, 9000])
    )
    seen = figures.collect(place)
    found = figures.compute(place, seen)
    page.write(report.build(place, plan, found, seen), place / "report")
    return place


def test_the_page_answers_first(folder: Path) -> None:
    """In a sentence that can be quoted."""
    text = (folder / "report" / "report.md").read_text()
    said = "Lua executes 3.83 times the instructions of Kamailio's own language on a registration (4.71 times on the"
    assert said in text


def test_the_page_has_trees_and_what_makes_the_difference(folder: Path) -> None:
    """A figure a leg and cell; of sections that are many alike only the first is among the links."""
    text = (folder / "report" / "index.html").read_text()
    for leg in ("challenge", "authenticated"):
        for name in ("native", "lua"):
            assert f'id="tree-{leg}-{name}"' in text
            assert (folder / "report" / "figures" / f"tree-{leg}-{name}.svg").is_file()
        assert f'id="differences-{leg}-lua"' in text
    assert 'href="#tree-challenge-native"' in text
    assert 'href="#tree-challenge-lua"' not in text
    assert text.count('href="#differences-challenge-') == 1
