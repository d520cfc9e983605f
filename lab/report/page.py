"""Sections -> files: one page that needs nothing else, Markdown, and the figures by themselves."""

import html
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from lab import store
from lab.errors import SetupError
from lab.report import charts
from lab.report.markdown import table
from lab.report.section import Section

FOLDER = "report"
PAGE, TEXT, FIGURES = "index.html", "report.md", "figures"
_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("lab.report", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown of a run."""

    run: str
    title: str
    design: str
    answers: tuple[str, ...]
    valid: bool
    sections: tuple[Section, ...]
    again: tuple[str, ...]  # the command that repeats it


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A section with its figure as an element of the page."""

    section: Section
    svg: Markup | None


def write(report: Report, folder: Path) -> Path:
    """Write page, Markdown and figures into a folder; the page's path."""
    drawn = []
    try:
        for section in report.sections:
            element = None
            if section.draw:
                figure = section.draw()
                for suffix, content in (
                    ("svg", charts.svg(figure, section.name, section.title, page=False).encode()),
                    ("png", charts.png(figure)),
                ):
                    store.write_atomically(folder / FIGURES / f"{section.name}.{suffix}", content)
                element = Markup(charts.svg(figure, section.name, section.title, page=True))  # noqa: S704  (drawn by us)
            drawn.append(_Drawn(section, element))
        text = _PAGES.get_template("report.html.jinja").render(
            report=report, drawn=drawn, again=shlex.join(report.again), colours=charts.COLOURS
        )
        text = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)  # which would stand alone on a narrow screen
        store.write_atomically(folder / PAGE, text.encode())
        store.write_atomically(folder / TEXT, ("\n".join(_markdown(report)) + "\n").encode())
    except OSError as error:
        raise SetupError(f"{folder}: cannot write the report: {error}") from error
    return folder / PAGE


def _markdown(report: Report) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    yield ""
    for answer in report.answers:
        yield f"**{_plain(answer)}**"
        yield ""
    yield _plain(report.design)
    for section in report.sections:
        yield ""
        yield f"## {_plain(section.title)}"
        yield ""
        yield _plain(section.caption)
        if section.draw:
            yield ""
            yield f"![{_plain(section.title)}]({FIGURES}/{section.name}.svg)"
        if section.rows:
            yield ""
            yield from table(section.head, [[_plain(cell) for cell in row] for row in section.rows])
        if section.lines:
            yield ""
            yield from (f"- {_plain(line)}" for line in section.lines)
    yield ""
    yield "## To repeat it"
    yield ""
    yield f"    {shlex.join(report.again)}"


def _plain(line: str) -> str:
    """Names are the user's: none of them is to be Markdown, or HTML."""
    line = html.escape(line, quote=False)
    for sign in "\\`*_[]":
        line = line.replace(sign, f"\\{sign}")
    return line
