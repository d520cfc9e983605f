"""What the pages say is what the code does: keys, codes, modules, routes, commands, links."""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from lab import arguments, cli, errors, experiment, matrix, versions
from lab.experiment import CpuLists, Keys, LimitKeys, SearchKeys, SpecimenKeys, StopKeys

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN = re.compile(r"\d")  # how a run's folder in results/ begins
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or RUN.match(part) for part in path.relative_to(ROOT).parts[:-1])
)
UNITS = {"_usec": "usec", "_seconds": "s", "_per_s": "calls/s"}


def name(page: Path) -> str:
    """As pytest shows it."""
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```|^ {4}.*?$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link can point at: headings, as GitHub makes ids of them."""
    heads = re.findall(r"^#+ (.*)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def table(page: Path, heading: str | None = None) -> list[dict[str, str]]:
    """Rows of the first table after a heading (or of the page), by the head of their column."""
    text = page.read_text()
    if heading:
        text = text.partition(f"\n{heading}\n")[2]
        assert text, f"{name(page)} has no heading {heading}"
    block = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert block, f"{name(page)} has no table after {heading}"
    head, _, *rows = ([cell.strip() for cell in line.strip("|\n").split("|")] for line in block[0].splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def words(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the tree and, where they name one, to a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


def test_the_index_has_every_page() -> None:
    """Each page of docs/ is one link away from the index, which is one link away from README; those of engines two."""
    index = (DOCS / "README.md").read_text()
    ours = {page: str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents}
    absent = [path for path in ours.values() if f"({path})" not in index]
    assert [path for path in absent if not path.startswith("engines/")] == ["README.md"]
    engines = (DOCS / "engines.md").read_text()
    assert [path for path in absent if path.startswith("engines/") and f"({path})" not in engines] == []
    assert "(docs/README.md)" in (ROOT / "README.md").read_text()


def test_decisions_are_numbered_without_gaps() -> None:
    """And each has its three parts."""
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}. ")
        assert [part for part in ("Context", "Decision", "Consequences") if f"**{part}.**" not in text] == []


# --- experiments.md ---


@pytest.mark.parametrize(
    ("heading", "declared"),
    [
        ("## Keys", Keys),
        ("### [limits]", LimitKeys),
        ("### [cpus]", CpuLists),
        ("### [search]", SearchKeys),
        ("### [stop]", StopKeys),
        ("### [specimen]", SpecimenKeys),
    ],
)
def test_every_key_is_explained_with_its_default(heading: str, declared: type) -> None:
    """The page's tables and the declaration have the same keys in the same order, with the same defaults."""
    rows = table(DOCS / "experiments.md", heading)
    shown = [(words(row["Key"])[0], row["Default"].strip("`")) for row in rows]
    assert shown == list(_declared(declared))
    for row in rows:
        assert row["Meaning"]
        unit = next((unit for suffix, unit in UNITS.items() if words(row["Key"])[0].endswith(suffix)), row["Unit"])
        assert row["Unit"] == unit


def _declared(declared: type) -> Iterator[tuple[str, str]]:
    for field in fields(declared):
        if field.default is MISSING:
            yield field.name, "required"
        elif field.default is None:
            yield field.name, "none"
        else:
            yield field.name, json.dumps(field.default) if isinstance(field.default, str | int | float) else "table"


def test_examples_of_experiments_can_be_read(tmp_path: Path) -> None:
    """Each block that has a name is a whole experiment."""
    blocks = re.findall(r"^```toml\n(name = .*?)^```", (DOCS / "experiments.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 1
    for block in blocks:
        (tmp_path / "example.toml").write_text(block)
        experiment.read(tmp_path / "example.toml")


@pytest.mark.parametrize("page", ["experiments.md", "exit-codes.md"])
def test_the_error_that_is_shown_is_the_one_that_comes(page: str, tmp_path: Path) -> None:
    """A misspelt key in the line after the first example."""
    text = (DOCS / "experiments.md").read_text()
    example = re.search(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert example
    (tmp_path / "mine.toml").write_text(f"{example[1]}warmup_slice = 1\n")
    with pytest.raises(errors.BadInputError) as caught:
        experiment.read(tmp_path / "mine.toml")
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert f"    lab: {said}\n    lab: what helps: {caught.value.remedy}\n" in (DOCS / page).read_text()


def test_our_experiments_are_named() -> None:
    """Whoever looks for an experiment to begin with finds all that there are."""
    text = (DOCS / "experiments.md").read_text()
    assert [
        path.name for path in (ROOT / "experiments").glob("*.toml") if f"`experiments/{path.name}`" not in text
    ] == []


def test_what_becomes_of_engines_and_releases_is_explained() -> None:
    """Each release with its engines, and each state that `lab engines` prints."""
    text = (DOCS / "engines.md").read_text()
    facts = versions.load().kamailio
    rows = table(DOCS / "engines.md")
    assert [re.split("[, ]", row["Kamailio"])[0] for row in rows] == list(facts)
    assert [row["suite"] for row in rows] == [known.suite for known in facts.values()]
    shown: list[str] = []
    for row, known in zip(rows, facts.values(), strict=True):
        named = [word.partition(" ")[0] for word in row["engines"].split(", ")]
        shown = shown if row["engines"] == "the same" else named
        assert shown == known.engines
    states = re.search(r"^ +lab engines +(.*)$", text, re.MULTILINE)
    assert states
    assert states[1].split(", ") == [state for state in matrix.State if state != matrix.State.NONE]


# --- exit codes ---


def test_every_exit_code_is_explained_with_its_errors() -> None:
    """The page has each code once, by its name, and each error with its code."""
    rows = table(DOCS / "exit-codes.md")
    assert [(int(row["Code"]), words(row["Name"])[0]) for row in rows] == [
        (code.value, code.name) for code in errors.Exit
    ]
    shown = {error: int(row["Code"]) for row in rows for error in words(row["Errors"])}
    tree: list[type[errors.LabError]] = [errors.LabError, *_below(errors.LabError)]
    assert shown == {error.__name__: error.exit_code.value for error in tree}


def _below(error: type[errors.LabError]) -> Iterator[type[errors.LabError]]:
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _below(child)


def test_other_places_know_no_other_codes() -> None:
    """The help of the command line, and the page on set-up."""
    known = {code.value for code in errors.Exit}
    assert {int(code) for code in re.findall(r"^ +(\d+) ", arguments.EXIT_CODES, re.MULTILINE)} <= known
    assert {int(row["Code"]) for row in table(DOCS / "setup.md", "## Exit codes")} <= known


# --- the tree ---


def test_every_module_has_its_paragraph() -> None:
    """And no paragraph is of a module that is gone."""
    shown = re.findall(r"^\*\*`(lab/[^`]+)`\*\*", (DOCS / "whats-here.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "lab").rglob("*.py"))


def test_every_route_has_its_row() -> None:
    """The page names the routes of all scripts, which have the same ones."""
    rows = table(DOCS / "parity.md")
    scripts = ROOT / "images" / "kamailio" / "etc" / "parity"
    native = re.findall(r"^(?:(request_route)|\w*route\[(\w+)\])", (scripts / "native.cfg").read_text(), re.MULTILINE)
    assert {words(row["Native"])[0] for row in rows} == {first or second for first, second in native}
    others = [path for path in scripts.iterdir() if path.is_file() and path.name != "native.cfg"]
    assert len(others) == 7
    for script in others:
        functions = re.findall(r"^ *(?:function|def) (ksr_\w+)", script.read_text(), re.MULTILINE)
        assert {words(row["all others"])[0] for row in rows} == set(functions), script.name


# --- what a reader may type ---


def test_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Every recipe and every command of the lab that a page tells to run."""
    text = "".join(page.read_text() for page in PAGES)
    recipes = set(re.findall(r"^([a-z][a-z-]*)[^:\n]*:(?!=)", (ROOT / "Justfile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\./justw ([a-z][a-z-]*)", text)) <= recipes
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = set(re.findall(r"^ {4}([a-z]+)\b", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"(?:`|\./justw )lab ([a-z]+)", text)) <= commands


def test_variables_exist() -> None:
    """Every LAB_... that a page names is one that something reads."""
    named = {variable for page in PAGES for variable in re.findall(r"\bLAB_[A-Z_]+\b", page.read_text())}
    places = [ROOT / "compose.yaml", ROOT / "justw", *(ROOT / "setup").iterdir(), *(ROOT / "images").rglob("*")]
    places += [*(ROOT / "lab").glob("*.py"), ROOT / "tests" / "unit" / "test_hostile.py"]
    read = "".join(path.read_text() for path in places if path.is_file())
    assert sorted(variable for variable in named if variable not in read) == []


def test_variables_of_the_testbed_are_explained() -> None:
    """All that compose.yaml and Kamailio's entry point read, but what the driver alone sets."""
    entry = (ROOT / "images" / "kamailio" / "entrypoint").read_text()
    read = set(re.findall(r"\$\{(LAB_[A-Z_]+)", (ROOT / "compose.yaml").read_text() + entry))
    page = (DOCS / "testbed.md").read_text()
    assert sorted(variable for variable in read if f"`{variable}`" not in page) == ["LAB_RUN", "LAB_SECRET"]
