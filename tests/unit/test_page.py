"""The report as a page: what it says first, that it needs nothing else, and that no name becomes a part of it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from lab import store, summary, testing
from lab.model import Plan
from lab.report import charts, costs, page, run, story, view
from lab.report.charts import Dot
from tests.pages import made, of_releases, report, written

SECTIONS = [
    "ratios",
    "distributions",
    "rounds",
    "replies",
    "cpu-time",
    "validity",
    "observer",
    "published",
    "environment",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, with its report written."""
    folder = made(tmp_path_factory.mktemp("results"))
    written(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    """The page."""
    return (folder / page.FOLDER / page.PAGE).read_text()


class Elements(HTMLParser):
    """Elements of a page with their attributes, in their order."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def of(self, tag: str) -> list[dict[str, str]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.found if name == tag]


def test_the_answer_comes_first_and_can_be_quoted(folder: Path, text: str) -> None:
    """What costs how many times what, how sure that is, of how many rounds, and how noisy the machine was."""
    answers = report(folder).answers
    assert re.fullmatch(
        r"Lua costs 1\.\d\d times Kamailio's own language on a registration, 95 % interval 1\.\d\d to 1\.\d\d, "
        r"4 rounds, Kamailio's own language against itself within \d+\.\d %\.",
        answers[0],
    )
    assert text.index("Lua costs") < text.index("<main>")
    assert answers[1].startswith("Python 3 costs ")


def test_an_invalid_run_has_no_answer(tmp_path: Path) -> None:
    """Nobody is to quote a figure of it; what has failed is shown, and is no HTML."""
    folder = made(tmp_path, spoilt="<b>disturbed</b>")
    shown = report(folder)
    assert shown.answers == ("This run is not valid: none of its figures should be quoted.",)
    text = page.write(shown, tmp_path / "report").read_text()
    assert "&lt;b&gt;disturbed&lt;/b&gt;" in text
    assert "<b>" not in text
    assert "<b>" not in (tmp_path / "report" / page.TEXT).read_text()


def test_one_round_says_that_it_is_not_sure(tmp_path: Path) -> None:
    """It has no interval."""
    folder = made(tmp_path, testing.plan(rounds=1, slices=2, calls=20))
    assert "nobody knows how sure" in report(folder).answers[0]


def test_sections_stand_in_the_order_in_which_one_asks(folder: Path, text: str) -> None:
    """From the answer to the machine; each has a sentence on what to see, and a table."""
    sections = report(folder).sections
    assert [one.name for one in sections if one.name != "cpus"] == SECTIONS
    for one in sections:
        assert one.caption.endswith((".", "!")), one.name
        assert one.rows, one.name
        assert all(len(row) == len(one.head) for row in one.rows), one.name
    assert [one["id"] for one in Elements(text).of("section")] == [*(one.name for one in sections), "again"]


def test_the_page_needs_nothing_else(text: str) -> None:
    """No script, no font, no picture from anywhere: it opens from a disk, and from an attachment."""
    elements = Elements(text)
    assert elements.of("script") == elements.of("link") == elements.of("img") == elements.of("iframe") == []
    assert "default-src 'none'" in next(one["content"] for one in elements.of("meta") if one.get("http-equiv"))
    addresses = {one[name] for _, one in elements.found for name in ("href", "src", "xlink:href") if name in one}
    assert all(address.startswith("#") for address in addresses)
    assert "@import" not in text
    assert "url(http" not in text
    assert len(text.encode()) < 5_000_000


def test_every_figure_has_a_name_and_a_table_behind_it(folder: Path, text: str) -> None:
    """For who cannot see it; and no two elements share an id."""
    drawn = [one for one in report(folder).sections if one.draw]
    assert [one["aria-label"] for one in Elements(text).of("svg")] == [one.title for one in drawn]
    assert text.count("<details>") == text.count("<figcaption") == len(drawn)
    ids = [one["id"] for _, one in Elements(text).found if "id" in one]
    assert len(ids) == len(set(ids))


def test_colours_are_the_style_sheets(text: str) -> None:
    """So that dark is dark: no figure has one of its own."""
    for svg in re.findall(r"<svg .*?</svg>", text, re.DOTALL):
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}
        assert "var(--ink)" in svg


def test_figures_are_files_as_well(folder: Path) -> None:
    """SVG with its own colours, and PNG; the same run makes the same bytes."""
    places = sorted((folder / page.FOLDER / page.FIGURES).iterdir())
    assert {place.suffix for place in places} == {".svg", ".png"}
    for place in places:
        if place.suffix == ".svg":
            assert ET.parse(place).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  (our own)
        else:
            assert place.read_bytes().startswith(b"\x89PNG")
    again = folder.parent / "again"
    page.write(report(folder), again)
    for place in (folder / page.FOLDER).rglob("*.*"):
        assert (again / place.relative_to(folder / page.FOLDER)).read_bytes() == place.read_bytes(), place.name


def test_markdown_has_the_same(folder: Path) -> None:
    """Answers, sections, tables, and links to the figures beside it."""
    said = (folder / page.FOLDER / page.TEXT).read_text()
    shown = report(folder)
    for one in shown.sections:
        assert f"## {one.title}" in said
        assert not one.draw or (folder / page.FOLDER / page.FIGURES / f"{one.name}.svg").is_file()
    assert shown.answers[0].replace("_", "\\_") in said
    assert said.endswith(f"lab run results/{folder.name}/evidence/experiment.toml\n")


def test_what_is_timed_with_another_engine_as_its_baseline_says_so(tmp_path: Path) -> None:
    """And has nothing to do with the page of 2018."""
    plan = testing.plan(engines=("lua", "python3"), rounds=3, slices=1, calls=20)
    shown = report(made(tmp_path, plan))
    assert "times Lua on" in shown.answers[0]
    assert "published" not in [one.name for one in shown.sections]


def test_in_turns_the_database_is_counted_once_a_block() -> None:
    """Each slice of a block has what the server used in all of its seconds; a cell may be missing from one."""
    slices = pd.DataFrame(
        [
            # round, slice, cell, begun, mysql, calls: two blocks of two, then one whose other cell did not start
            (1, "a1", "a", 0, 800, 10),
            (1, "b1", "b", 3, 800, 10),
            (1, "a2", "a", 1000, 1200, 10),
            (1, "b2", "b", 1004, 1200, 10),
            (2, "a3", "a", 0, 500, 10),
        ],
        columns=["round", "slice", "cell", "begun_usec", "mysql_cpu_usec", "sipp_successful"],
    ).assign(duration_usec=900, start=1)
    assert costs.database_usec(slices, slices) == (800 + 1200 + 500) / 50
    assert costs.database_usec(slices, slices[slices["slice"] == "b1"]) == 800 / 20
    assert costs.database_usec(slices.assign(mysql_cpu_usec=None), slices) is None


def test_only_one_baseline_has_a_twin(tmp_path: Path) -> None:
    """A sentence on another one says nothing of noise, and a panel of several has no band."""
    plan = testing.plan(engines=("native", "lua", "python3"), rounds=3, slices=1, calls=20)
    cells = tuple(replace(cell, baseline="lua") if cell.name == "python3" else cell for cell in plan.cells)
    shown = report(made(tmp_path, replace(plan, cells=cells)))
    assert "against itself within" in shown.answers[0]
    assert "times Lua on" in shown.answers[1]
    assert "against itself" not in shown.answers[1]


def test_releases_stand_in_their_own_order(tmp_path: Path) -> None:
    """Not in that of the file; 5.10 comes after 5.9."""
    shown = report(made(tmp_path, of_releases("5.10", "5.9")))
    (trend,) = [one for one in shown.sections if one.name == "releases"]
    assert [row[:2] for row in trend.rows] == [("Lua (5.9)", "5.9"), ("Lua (5.10)", "5.10")]
    assert trend.draw


def test_noise_is_the_baselines_against_itself(folder: Path) -> None:
    """By its interval, to the side that is farther."""
    found = summary.read(folder)
    (twin,) = (row for row in found.comparisons if (row.cell, row.leg) == (found.aa_cell, "registration"))
    assert twin.ci_low
    assert twin.ci_high
    assert story.noise(found, "registration", "native") == max(twin.ci_high - 1, 1 - twin.ci_low)
    assert story.noise(found, "nothing", "native") is None
    assert story.noise(found, "registration", "lua") is None


def test_what_befell_several_slices_is_said_once(tmp_path: Path) -> None:
    """With the first one's words: figures differ from slice to slice, and a page is to be read."""
    folder = made(tmp_path, spoilt="kernel: 7.1% stolen, 5.0% allowed; SIPp: 3 of 20 calls failed")
    (section,) = (one for one in report(folder).sections if one.name == "validity")
    lines = [line for line in section.lines if "stolen" in line or "calls failed" in line]
    said = ["kernel: 7.1% stolen, 5.0% allowed", "SIPp: 3 of 20 calls failed"]
    for line, words in zip(lines, said, strict=True):
        assert re.fullmatch(rf"in \d slices, such as r01-s001-\w+: {re.escape(words)}", line)


def test_failed_checks_of_a_kind_are_one_line(folder: Path) -> None:
    """Whatever their figures are, and what a log's line says; a start is no slice."""
    found = summary.read(folder)
    reasons = (
        "r01-s001-lua: Kamailio: 1 error line in the log, first: ERROR: one; two",
        "r01-s002-lua: Kamailio: 25 error lines in the log, first: ERROR: three; SIPp: 3 of 20 calls failed",
        "r02-s001-lua: Kamailio: sl.200_replies grew by 3, 4 planned; Kamailio: sl.401_replies grew by 3, 4 planned",
        "start r02-lua: Kamailio: 7 bindings",
    )
    spoilt = replace(found, cells={"lua": replace(found.cells["lua"], reasons=reasons)})
    assert list(view.failed_by_kind(spoilt)) == [
        "in 2 slices, such as r01-s001-lua: Kamailio: 1 error line in the log, first: ERROR: one; two",
        "r01-s002-lua: SIPp: 3 of 20 calls failed",
        "r02-s001-lua: Kamailio: sl.200_replies grew by 3, 4 planned",
        "r02-s001-lua: Kamailio: sl.401_replies grew by 3, 4 planned",
        "start r02-lua: Kamailio: 7 bindings",
    ]


def test_a_twin_without_a_ratio_is_not_drawn(folder: Path) -> None:
    """A dot at 1 would be a perfect A/A that nobody has measured."""
    found, plan = summary.read(folder), store.load(Plan, folder / "evidence" / "plan.json")
    rows = tuple(
        replace(row, ratio=None, ci_low=None, ci_high=None) if row.cell == found.aa_cell else row
        for row in found.comparisons
    )
    (section,) = (
        one for one in run.build(folder, plan, replace(found, comparisons=rows)).sections if one.name == "ratios"
    )
    assert section.draw
    assert all(len(axes.get_yticks()) == 2 for axes in section.draw().axes)


def test_thirty_two_cells_look_different() -> None:
    """By colour and dashes together."""
    assert len({charts.look(number) for number in range(32)}) == 32


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.97, 1.21), [1.0, 1.05, 1.1, 1.15, 1.2]),
        ((1.0, 2.2), [1, 1.2, 1.4, 1.6, 1.8, 2, 2.2]),
        ((0.3, 6), [0.5, 1, 2, 5]),
    ],
)
def test_half_as_much_is_as_far_from_one_as_twice_as_much(values: tuple[float, float], ticks: list[float]) -> None:
    """Ratios have a logarithmic axis; no mark of what could be detected lies below zero."""
    figure = charts.dots(
        {"leg": [Dot("a", one, None, None, 4.0 if max(values) > 5 else None) for one in values]}, "x", bands={}
    )
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert set(ticks) <= {float(tick) for tick in axes.get_xticks()}
    assert axes.get_xlim()[0] > 0


def test_the_axis_of_a_long_tail_has_room_for_its_figures() -> None:
    """Four decades: the powers of ten alone."""
    figure = charts.distributions({"leg": {"a": [10.0, 100_000.0]}}, (0.0, 1.0))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_xticklabels() if text.get_text()]
    boxes.sort(key=lambda box: box.x0)
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_a_cell_is_called_by_its_engine_and_what_else_tells_it_apart(tmp_path: Path) -> None:
    """As a reader would; the baseline of a release is called as briefly as the others."""
    folder = made(tmp_path, of_releases("6.0.1", "5.4.4"))
    found = summary.read(folder)
    assert {story.name(cell, found) for cell in found.cells} >= {
        "Lua (6.0.1)",
        "native (5.4.4)",
        "native (6.0.1), once more",
    }


def test_what_cannot_be_told_apart_is_not_said_to_cost_more(folder: Path) -> None:
    """Though the ratio is there to be quoted."""
    found, plan = summary.read(folder), store.load(Plan, folder / "evidence" / "plan.json")
    rows = tuple(replace(row, ratio=1.01, ci_low=0.98, ci_high=1.04) for row in found.comparisons)
    assert story.answers(replace(found, comparisons=rows), plan)[0].startswith(
        "Lua is not told from Kamailio's own language on a registration: 1.01 times, 95 % interval 0.98 to 1.04, "
    )


@pytest.mark.parametrize("cells", range(2, 9))
@pytest.mark.parametrize("letters", [6, 24, 70])
def test_a_legend_lies_within_its_figure(cells: int, letters: int) -> None:
    """However many cells there are, and however long their names."""
    names = [f"{'m' * letters} {number}" for number in range(cells)]
    figure = charts.rounds({"challenge": {name: {1: 1.0, 2: 2.0} for name in names}}, "usec", names)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    if letters < 70:  # longer than the figure is wide: it has a line of its own then
        assert legend.get_window_extent().width <= figure.bbox.width
