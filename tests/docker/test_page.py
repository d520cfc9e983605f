"""Reports in a real browser: all is drawn, nothing complains, nothing is fetched, and everybody can read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.docker.browser import DESKTOP, PHONE, Opened, chromium, opened
from tests.pages import made, of_rates, of_releases, written

HOSTILE = '<img src="https://elsewhere.invalid/x"><script>alert(1)</script>'
ENGINES = ("native", "lua", "python3", "jsdt", "ruby", "sqlang")  # more than lines have dashes


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for all of these."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    place = tmp_path_factory.mktemp
    return {
        "engines": written(made(place("engines"))),
        "releases": written(made(place("releases"), of_releases("5.6.3", "6.0.1", "6.1", engines=ENGINES))),
        "invalid": written(made(place("invalid"), spoilt=HOSTILE)),
        "capacity": of_rates(place("capacity")),
    }


KINDS = ("engines", "releases", "invalid", "capacity")
WIDTHS = (PHONE, DESKTOP)


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    """Each page in its turn."""
    return pages[str(request.param)]


@pytest.fixture
def shown(browser: Browser, file: Path) -> Iterator[Opened]:
    """It, open at a desk."""
    with opened(browser, file) as found:
        yield found


def test_it_says_nothing_on_the_console_and_asks_for_nothing(shown: Opened, file: Path) -> None:
    """But for itself; also where names and log lines are somebody's HTML."""
    for summary in shown.page.locator("summary").all():
        summary.click()
    assert shown.said == []
    assert shown.asked == [file.as_uri()]
    assert shown.page.locator("img, script, iframe, link, object").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_is_drawn_and_can_be_read(browser: Browser, file: Path, width: int) -> None:
    """With letters no smaller than a footnote's, within the window."""
    with opened(browser, file, width) as shown:
        figures = shown.figures
        assert figures
        assert len(figures) == shown.page.locator("figure").count()
        for figure in figures:
            assert figure.drawn > 2, figure
            assert 250 < figure.width < width, figure
            assert figure.height > 50, figure
            assert figure.letters >= 8, figure
        assert shown.overflow <= 0


def test_everything_has_a_name_for_who_cannot_see_it(shown: Opened) -> None:
    """Figures are images with a name; regions and tables are named by their sections; headings have no gaps."""
    page = shown.page
    for figure in shown.figures:
        assert page.get_by_role("img", name=figure.name, exact=True).count() == 1
    for region in page.locator("section, nav, [role=region]").all():
        assert region.get_attribute("aria-label") or region.get_attribute("aria-labelledby")
    levels = [int(str(heading.evaluate("one => one.tagName"))[1]) for heading in page.get_by_role("heading").all()]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels[1:]) == {2}
    for table in page.locator("table").all():
        assert table.locator("th[scope=col]").count() == table.locator("thead th").count() > 0


def test_a_table_is_behind_each_figure_and_opens_by_key(shown: Opened) -> None:
    """The page of who has no mouse."""
    assert shown.page.locator("details").count() == len(shown.figures) > 0
    for details in shown.page.locator("details").all():
        table = details.locator("table")
        assert not table.is_visible()
        details.locator("summary").focus()
        shown.page.keyboard.press("Enter")
        assert table.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out(browser: Browser, pages: dict[str, Path], scheme: Literal["light", "dark"]) -> None:
    """As WCAG 2.1 AA asks: letters by 4.5 to the paper, lines by 3."""
    with opened(browser, pages["engines"], scheme=scheme) as shown:
        for name, contrast in shown.contrasts().items():
            assert contrast >= (3 if name.startswith("--c") else 4.5), (name, contrast)


def test_light_and_dark_differ(browser: Browser, pages: dict[str, Path]) -> None:
    """In paper and in figures."""
    papers, letters = set[str](), set[str]()
    for scheme in ("light", "dark"):
        with opened(browser, pages["engines"], scheme=scheme) as shown:
            papers.add(shown.page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
            letters.add(shown.page.evaluate("() => getComputedStyle(document.querySelector('svg text')).fill"))
    assert (len(papers), len(letters)) == (2, 2)


def test_on_paper_every_table_is_there(browser: Browser, file: Path) -> None:
    """Nobody can open one there; black on white, also where the screen is dark."""
    with opened(browser, file, scheme="dark") as shown:
        shown.page.emulate_media(media="print")
        assert shown.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert shown.page.locator("details").count() > 0
        for table in shown.page.locator("table").all():
            assert table.is_visible()
        assert shown.page.pdf().startswith(b"%PDF")
