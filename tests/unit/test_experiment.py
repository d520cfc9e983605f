"""What an experiment file may say, and how a fault in it is told: by file, line and key, with what helps."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from lab import versions
from lab.errors import BadInputError, Exit
from lab.experiment import CpuLists, Experiment, Keys, LimitKeys, SpecimenKeys, StopKeys, read
from lab.model import Limits, Specimen
from lab.search import Parameters

ROOT = Path(__file__).parents[2]
SOUND = """\
# line 1
name = "mine"
engines = ["native", "lua"]
baseline = "native"
rounds = 2
slices = 3
slice_seconds = 1.5
rate_per_s = 400
"""
NEXT = len(SOUND.splitlines()) + 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A sound experiment file."""
    path = tmp_path / "mine.toml"
    path.write_text(SOUND)
    return path


def with_lines(file: Path, lines: str) -> Experiment:
    """What the file means with more lines at its end."""
    file.write_text(SOUND + lines)
    return read(file)


def fault(file: Path, text: str) -> BadInputError:
    """How a faulty file is refused."""
    file.write_text(text)
    with pytest.raises(BadInputError) as caught:
        read(file)
    assert caught.value.exit_code == Exit.USAGE
    return caught.value


def test_what_is_left_out_has_a_default(file: Path) -> None:
    """Eight lines are an experiment."""
    keys = read(file).keys
    assert (keys.routing, keys.scenario, keys.children, keys.cpus) == ("parity", "register", "auto", "auto")
    assert (keys.warmup_slices, keys.repeats, keys.subscribers, keys.seed) == (1, 4, 10, 1)
    assert read(file).limits == Limits()
    assert read(file).search == Parameters()


@pytest.mark.parametrize("ours", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda path: path.stem)
def test_our_own_experiments_are_sound(ours: Path) -> None:
    """And each is called as its file is."""
    assert read(ours).keys.name == ours.stem


@pytest.mark.parametrize("ours", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda path: path.stem)
def test_our_own_experiments_name_what_there_is(ours: Path) -> None:
    """Releases, engines that one of them has, and a baseline; only the published one breaks our rules."""
    asked, known = read(ours), versions.load()
    releases = [name or known.default_kamailio for name in asked.factor("kamailio")]
    builds = [known.release(name) for name in releases]
    assert None not in builds
    assert set(asked.keys.engines) <= {engine for build in builds if build for engine in build.facts.engines}
    assert asked.keys.baseline.partition("-")[0] in asked.keys.engines
    assert (asked.specimen is not None) is (ours.stem == "published-2018")


def test_the_experiment_of_engines_has_all_of_its_release() -> None:
    """An engine that is added to it is measured."""
    engines = read(ROOT / "experiments" / "engines.toml").keys.engines
    assert engines == versions.load().kamailio[versions.load().default_kamailio].engines


def test_the_experiment_of_versions_has_every_release() -> None:
    """And engines that each of them has, so that no cell is left out."""
    asked, known = read(ROOT / "experiments" / "versions.toml"), versions.load().kamailio
    assert set(asked.factor("kamailio")) == set(known)
    assert all(set(asked.keys.engines) <= set(facts.engines) for facts in known.values())


@pytest.mark.parametrize(
    ("text", "place", "remedy"),
    [
        (SOUND + "warmup_slice = 1\n", f"{NEXT}: warmup_slice", "did you mean warmup_slices?"),
        # The key that is missing for it would say less.
        (SOUND.replace("slices", "slcies"), "6: slcies", "did you mean slices?"),
        (SOUND + "[limits]\nstael_share = 0.1\n", f"{NEXT + 1}: limits.stael_share", "did you mean steal_share?"),
        (SOUND + '[cpus]\nkamalio = "1"\n', f"{NEXT + 1}: cpus.kamalio", "did you mean kamailio?"),
        (SOUND + '[specimen]\nodrer = "in turn"\n', f"{NEXT + 1}: specimen.odrer", "did you mean order?"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_one(file: Path, text: str, place: str, remedy: str) -> None:
    """At the top and in the tables."""
    error = fault(file, text)
    assert str(error) == f"{file}:{place}: unknown key"
    assert error.remedy == remedy


def test_a_key_that_is_like_no_other_gets_the_list(file: Path) -> None:
    """Of the keys that could stand in its place."""
    error = fault(file, SOUND + "[limits]\nmoon_phase = 1\n")
    assert error.remedy.startswith("known keys: retransmissions, rate_tolerance")
    assert "subscribers" not in error.remedy


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("rate_per_s", "-400", "'auto' or greater than 0"),
        ("rate_per_s", "0", "'auto' or greater than 0"),
        ("rate_per_s", '"fast"', "'auto' or a valid integer"),
        ("rate_per_s", "400.5", "'auto' or a valid integer"),
        ("rate_per_s", '["auto", 400]', "a valid integer"),
        ("rate_share", "0.0", "greater than 0"),
        ("rate_share", "35", "less than 1"),
        ("sipp_processes", "10", "less than or equal to 9"),
        ("rounds", "true", "a valid integer"),
        ("slice_seconds", "0.0", "greater than 0"),
        ("slice_seconds", "601", "less than or equal to 600"),
        ("slice_seconds", "nan", "less than or equal to 600"),
        ("slice_seconds", '"1.5"', "a valid number"),
        ("engines", '"native"', "a valid list"),
        ("engines", "[]", "a list with something in it"),
        ("name", '"../mine"', "a word of small letters, digits and '-'"),
        ("name", f'"{"m" * 41}"', "a shorter word"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(file: Path, key: str, value: str, wanted: str) -> None:
    """With its line, what was expected, and what stands there."""
    lines = [line for line in SOUND.splitlines() if not line.startswith(key)]
    lines.append(f"{key} = {value}")
    said = str(fault(file, "\n".join(lines)))
    assert said.startswith(f"{file}:{len(lines)}: {key}")
    assert f": {wanted} expected, not " in said


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("warmup_slices = -1\n", "warmup_slices: greater than or equal to 0 expected, not -1"),
        ("children = 0\n", "children: 'auto' or greater than 0 expected, not 0"),
        ('children = "two"\n', "children: 'auto' or a valid integer expected, not 'two'"),
        ("routing = []\n", "routing: a string or a list with something in it expected, not []"),
        ("kamailio = []\n", "kamailio: a string or a list with something in it expected, not []"),
        ("scenario = 7\n", "scenario: a string expected, not 7"),
        ('database = "postgres"\n', "database: one of mysql, mariadb expected, not 'postgres'"),
        ('specimen = "yes"\n', "specimen: a table expected, not 'yes'"),
        ('specimen = { order = "random" }\n', "specimen.order: 'interleaved' or 'in turn' expected, not 'random'"),
        ("specimen.call_limit = 0\n", "specimen.call_limit: greater than 0 expected, not 0"),
        ('cpus = "all"\n', "cpus: 'auto', 'nuc', 'isolated' or 'shared' or a table expected, not 'all'"),
        ("limits = 3\n", "limits: a table expected, not 3"),
        ("limits = { steal_share = 7 }\n", "limits.steal_share: less than or equal to 1 expected, not 7"),
        ("limits.steal_share = -0.5\n", "limits.steal_share: greater than or equal to 0 expected, not -0.5"),
    ],
)
def test_a_key_with_a_default_is_checked_all_the_same(file: Path, lines: str, problem: str) -> None:
    """A key that may be one thing or another says so."""
    assert str(fault(file, SOUND + lines)) == f"{file}:{NEXT}: {problem}"


@pytest.mark.parametrize("routing", ["", ".", "..", "../mine/.."])
def test_a_routing_has_a_name(file: Path, routing: str) -> None:
    """The run's own copy of the folder is called by it."""
    assert str(fault(file, f'{SOUND}routing = "{routing}"\n')).startswith(f"{file}:{NEXT}: routing: ")


@pytest.mark.parametrize("cpus", ["", "a", "1-", "-1", "1,,2", "0, 1", "3-1", "1.5"])
def test_what_is_no_list_of_cpus(file: Path, cpus: str) -> None:
    """Told at the table's own key, not at a key of the same name elsewhere. An empty list would mean all CPUs."""
    table = f'kamailio = "6.0.1"\n[cpus]\nmysql = "0"\nkamailio = "{cpus}"\nsipp = "0"\ndriver = "0"\n'
    problem = f"cpus.kamailio: a list of CPUs such as 0-2,5 expected, not {cpus!r}"
    assert str(fault(file, SOUND + table)) == f"{file}:{NEXT + 3}: {problem}"


@pytest.mark.parametrize("key", ["name", "engines", "baseline", "rounds", "slices", "slice_seconds", "rate_per_s"])
def test_what_makes_an_experiment_must_be_there(file: Path, key: str) -> None:
    """No default would be what the user means."""
    text = "\n".join(line for line in SOUND.splitlines() if not line.startswith(f"{key} "))
    assert str(fault(file, text)) == f"{file}: key '{key}' is missing"


def test_a_table_of_cpus_names_every_role(file: Path) -> None:
    """Half a table would leave the rest to chance."""
    error = fault(file, SOUND + '[cpus]\nkamailio = "1"\nmysql = "0"\nsipp = "0"\n')
    assert str(error) == f"{file}: key 'cpus.driver' is missing"


def test_tables_of_cpus_and_limits(file: Path) -> None:
    """What is left out of [limits] has its default; the whole of it is the domain's value."""
    lists = '[cpus]\nkamailio = "2-3"\nmysql = "0"\nsipp = "1"\ndriver = "0-1"\n'
    found = with_lines(file, lists + "[limits]\nretransmissions = 5\n")
    assert found.keys.cpus == CpuLists(kamailio="2-3", mysql="0", sipp="1", driver="0-1")
    assert found.limits == Limits(retransmissions=5)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("routing", ("parity", "../mine/lean")),
        ("kamailio", ("6.0.1", "5.6.3")),
        ("database", ("mysql", "mariadb")),
        ("observe", ("log", "docker")),
        ("scenario", ("register", "../mine/calls.xml")),
    ],
)
def test_a_list_is_a_factor(file: Path, key: str, values: tuple[str, ...]) -> None:
    """One value is a factor of one."""
    assert with_lines(file, f"{key} = {json.dumps(values)}\n").factor(key) == values
    assert with_lines(file, f"{key} = {json.dumps(values[1])}\n").factor(key) == values[1:]


def test_a_factors_values_are_each_checked(file: Path) -> None:
    """The one that is wrong is shown."""
    assert "not 'postgres'" in str(fault(file, SOUND + 'database = ["mysql", "postgres"]\n'))
    said = str(fault(file, SOUND + 'observe = ["log", "syslog"]\n'))
    assert said.endswith("observe.1: one of log, no-log, pipe, docker, colour, trace, page expected, not 'syslog'")


def test_only_a_specimen_has_other_conditions(file: Path) -> None:
    """What is left out of its table is as for ours; without the table it is none."""
    assert read(file).specimen is None
    assert with_lines(file, "[specimen]\n").specimen == Specimen()
    found = with_lines(file, '[specimen]\norder = "in turn"\ncall_limit = 9\n')
    assert found.specimen == Specimen(order="in turn", call_limit=9)


def test_a_path_in_the_file_starts_where_the_file_lies(file: Path) -> None:
    """Wherever the command was called."""
    assert read(file).resolve("../mine/lean") == file.parent.parent / "mine" / "lean"


@pytest.mark.parametrize("text", ["rounds = = 2\n", "rounds = 3\n", "[limits\n"])
def test_bad_toml_is_told_with_its_line(file: Path, text: str) -> None:
    """A key given twice included."""
    error = fault(file, SOUND + text)
    assert str(error).startswith(f"{file}: not valid TOML: ")
    assert f"line {NEXT}" in str(error)


def test_a_file_that_is_none(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong name gets the names that there are; bytes and folders are refused by name."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(BadInputError, match=r"nowhere\.toml: no such experiment file") as caught:
        read(Path("nowhere.toml"))
    assert "experiments/quick.toml" in caught.value.remedy
    file.write_bytes(b"name = '\xff'\n")
    for unreadable in (file, file.parent):
        with pytest.raises(BadInputError, match=f"^{unreadable}: cannot be read: "):
            read(unreadable)


PAGE = (ROOT / "docs" / "experiments.md").read_text()


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("## Keys", Keys),
        ("### [limits]", LimitKeys),
        ("### [cpus]", CpuLists),
        ("### [stop]", StopKeys),
        ("### [specimen]", SpecimenKeys),
    ],
)
def test_the_page_explains_every_key_with_its_default(title: str, table: type) -> None:
    """And no key that is not there."""
    part = PAGE.partition(f"\n{title}\n")[2].partition("\n#")[0]
    shown = {row[1]: row[2] for row in re.finditer(r"^\| `(\w+)` \|[^|]*\| ([^|]+) \|", part, re.MULTILINE)}
    plain = {field.name: field.default for field in fields(table) if isinstance(field.default, str | int | float)}
    defaults = {key: f"`{json.dumps(value)}`" for key, value in plain.items()}
    assert {key: text for key, text in shown.items() if text not in {"required", "table", "none"}} == defaults
    assert list(shown) == [field.name for field in fields(table)]


@pytest.mark.parametrize(
    "example", [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "name =" in text]
)
def test_the_pages_examples_are_experiments(file: Path, example: str) -> None:
    """As they stand there."""
    file.write_text(example)
    assert read(file).keys.rounds > 1
