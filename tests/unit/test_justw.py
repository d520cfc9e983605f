"""justw on machines that are not this one: bare, without root, on other distributions, without a network."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.machine import ROOT, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A bare machine."""
    return Machine(tmp_path)


# --- what stays inside the project ---


def test_the_first_call_sets_up_and_the_second_finds_nothing_to_do(machine: Machine) -> None:
    """In order: tools by hash, an environment, the locked dependencies by hash, the lab itself."""
    assert machine.justw("--list").returncode == 0
    calls = [call.split()[:3] for call in machine.calls()]
    assert [" ".join(words[1:]) for words in calls if words[1] != "-c"][:5] == [
        *("-m venv", "-m pip"),
        *("venv --clear", "pip sync", "pip install"),
    ]
    assert machine.justw("--list").returncode == 0
    assert [call.split()[0] for call in machine.calls()] == ["just"]


def test_downloads_are_checked_by_hash(machine: Machine) -> None:
    """Neither pip nor uv takes anything that the lock does not know."""
    machine.justw("--setup")
    downloads = [call for call in machine.calls() if "pip install --no-deps --req" in call or "pip sync" in call]
    assert [("--require-hashes" in call) for call in downloads] == [True, True]


def test_a_changed_lock_is_followed_without_starting_over(machine: Machine) -> None:
    """New dependencies go into the environment that is there."""
    machine.justw("--setup")
    machine.calls()
    with (machine.project / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    machine.justw("--setup")
    assert [" ".join(call.split()[:3]) for call in machine.calls() if "uv" in call] == ["uv pip sync", "uv pip install"]


def test_a_moved_project_gets_a_new_environment(machine: Machine) -> None:
    """The old one has its old path written into it."""
    machine.justw("--setup")
    machine.calls()
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    machine.justw("--setup")
    assert "uv venv --clear" in "\n".join(machine.calls())


def test_a_failed_download_says_so_and_the_next_call_tries_again(machine: Machine) -> None:
    """Half an environment is never taken for a whole one."""
    machine.has(no_network="")
    first = machine.justw("--setup")
    assert first.returncode == 5
    assert "could not get just and uv" in first.stderr
    assert "PIP_INDEX_URL" in first.stderr
    (machine.state / "no-network").unlink()
    assert machine.justw("--setup").returncode == 0


def test_two_first_calls_at_the_same_time_set_up_once(machine: Machine) -> None:
    """The second waits, then finds everything there."""
    command = [str(machine.project / "justw"), "--setup"]
    both = [subprocess.Popen(command, env=machine.environment(), stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [child.wait() for child in both] == [0, 0]
    assert "\n".join(machine.calls()).count("uv pip sync") == 1


@pytest.mark.parametrize("user", ["joe", "root"])
def test_a_python_that_cannot_make_environments(machine: Machine, user: str) -> None:
    """Root gets the package installed; anybody else is told its name."""
    machine.become(user)
    machine.has(no_venv="")
    outcome = machine.justw("--setup")
    if user == "root":
        assert outcome.returncode == 0
        assert "apt-get install --yes --no-install-recommends python3.12-venv" in machine.calls()
    else:
        assert outcome.returncode == 5
        assert "    sudo apt-get install python3.12-venv\n" in outcome.stderr


def test_a_python_that_is_too_old(machine: Machine) -> None:
    """When even the distribution's own is older, the message names what is needed."""
    machine.has(python_is_old="")
    outcome = machine.justw("--setup")
    assert outcome.returncode == 5
    assert "Python 3.11 or later is missing" in outcome.stderr


def test_nothing_is_installed_under_lab_no_install(machine: Machine) -> None:
    """Not even by root."""
    machine.has(no_venv="")
    outcome = machine.justw("--setup", LAB_NO_INSTALL="1")
    assert outcome.returncode == 5
    assert "LAB_NO_INSTALL=1 forbids" in outcome.stderr
    assert not [call for call in machine.calls() if call.startswith("apt-get")]


# --- the lab ---


def test_the_lab_gets_its_arguments_untouched(machine: Machine, tmp_path: Path) -> None:
    """Quotes, blanks, stars, empty words; and it runs where the user stands."""
    arguments = ["frames", "a b", "", "*", "$HOME", 'it\'s "so"', "-x", "--y=1 2", "\\"]
    outcome = machine.justw("lab", *arguments, folder=tmp_path)
    first, second = outcome.stdout.splitlines()
    assert first == "".join(f"<{argument}>" for argument in arguments)
    assert second.split(" ", 1)[1] == str(tmp_path)


def test_the_lab_takes_the_place_of_justw(machine: Machine) -> None:
    """Same process, so that signals and the exit code are its own."""
    machine.justw("--setup")
    environment = machine.environment(LAB_EXIT="130")
    command = [str(machine.project / "justw"), "lab", "report"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        output, _ = child.communicate()
    assert child.returncode == 130
    assert output.splitlines()[1].split()[0] == str(child.pid)


@pytest.mark.parametrize(
    "arguments",
    [("report", "latest"), ("frames",), ("doctor",), ("observer", "latest"), ("gate", "--help"), ("up", "-h"), ()],
)
def test_what_needs_no_engine_asks_for_none(machine: Machine, arguments: tuple[str, ...]) -> None:
    """Results can be read by someone without Docker, and the doctor wants to say it himself."""
    machine.become("joe")
    assert machine.justw("lab", *arguments).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        *("run", "images", "engines", "up", "down", "capacity", "gate a b", "aa", "observer", "resume latest"),
        *("observer mine.toml --json", "clean", "reproduce a.zip", "export-images a.tar", "import-images a.tar"),
    ],
)
def test_what_needs_an_engine_sees_to_it_first(machine: Machine, command: str) -> None:
    """Without one the lab is not even started."""
    machine.become("joe")
    outcome = machine.justw("lab", *command.split())
    assert outcome.returncode == 5
    assert outcome.stdout == ""


# --- the engine ---


def test_an_engine_that_fits_is_left_alone(machine: Machine) -> None:
    """Nothing is installed, nothing started, nothing said."""
    machine.has_engine()
    outcome = machine.justw("--engine")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert {call.split()[0] for call in machine.calls()} == {"docker"}


@pytest.mark.parametrize(
    ("codename", "helps"),
    [
        ("bookworm", ["justw --engine"]),
        ("trixie", ["justw --engine", "sudo apt-get install docker.io docker-cli docker-compose docker-buildx"]),
        ("noble", ["justw --engine", "sudo apt-get install docker.io docker-compose-v2 docker-buildx"]),
        ("forty", ["docs.docker.com/engine/install"]),
    ],
)
def test_without_root_the_commands_that_help_are_named(machine: Machine, codename: str, helps: list[str]) -> None:
    """One line of command for each way out, and exit code 5."""
    machine.become("joe")
    machine.distribution(codename)
    outcome = machine.justw("--engine")
    assert outcome.returncode == 5
    assert "no Docker Engine answers here" in outcome.stderr
    assert all(words in outcome.stderr for words in helps)


def test_root_is_refused_under_lab_no_install(machine: Machine) -> None:
    """The message says by what, and how to go on."""
    outcome = machine.justw("--engine", LAB_NO_INSTALL="1")
    assert outcome.returncode == 5
    assert "LAB_NO_INSTALL=1 forbids" in outcome.stderr
    assert "    env --unset=LAB_NO_INSTALL " in outcome.stderr
    assert machine.calls() == []


@pytest.mark.parametrize(
    ("codename", "installed"),
    [
        ("trixie", ["docker.io docker-cli", "docker-compose docker-buildx"]),
        ("noble", ["docker.io", "docker-compose-v2 docker-buildx"]),
    ],
)
def test_root_gets_the_distributions_engine(machine: Machine, codename: str, installed: list[str]) -> None:
    """Installed, started, and said in a line each."""
    machine.distribution(codename)
    outcome = machine.justw("--engine")
    assert outcome.returncode == 0, outcome.stderr
    calls = machine.calls()
    assert [call.partition("--yes ")[2] for call in calls if call.startswith("apt-get install")] == [
        installed[0],
        "--no-install-recommends " + installed[1],
    ]
    assert len([call for call in calls if call == "apt-get update"]) == 1
    assert "installing the distribution's and starting it" in outcome.stderr


def test_debian_12_takes_compose_and_buildx_of_the_next_release(machine: Machine) -> None:
    """By a source that only this one call of apt knows, from the mirror that the machine uses anyhow."""
    machine.distribution("bookworm")
    machine.has_engine(compose="1.29.2", buildx="")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 0, outcome.stderr
    calls = machine.calls()
    (source,) = [call for call in calls if call.startswith("deb ")]
    assert source.endswith("http://mirror.example/debian trixie main")
    for verb in ("update", "download"):
        (call,) = [call for call in calls if f"APT::Sandbox::User=root {verb}" in call]
        assert "Dir::Etc::SourceParts=/dev/null" in call
    (call,) = [call for call in calls if call.startswith("apt-get install")]
    assert "docker-compose_1_all.deb" in call
    assert "docker-buildx_1_all.deb" in call


def test_only_the_missing_plugin_is_installed(machine: Machine) -> None:
    """An engine of Docker's own packages gets the plugin of the same origin."""
    machine.command("dpkg", "exit 0")
    machine.has(packages="docker-buildx-plugin 0.17.1\ndocker-buildx 0.13.1\n")
    machine.has_engine(buildx="")
    assert machine.justw("--engine").returncode == 0
    (call,) = [call for call in machine.calls() if call.startswith("apt-get install")]
    assert call.endswith("--no-install-recommends docker-buildx-plugin")


def test_an_engine_that_is_down_is_started(machine: Machine) -> None:
    """Root needs no package for that."""
    machine.has_engine(engine="")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 0, outcome.stderr
    assert not [call for call in machine.calls() if call.startswith("apt-get")]


@pytest.mark.parametrize("what", ["service", "systemctl"])
def test_an_engine_that_never_answers_ends_in_an_error(machine: Machine, what: str) -> None:
    """Waiting has a bound."""
    machine.has_engine(engine="")
    for name in ("service", "systemctl", "dockerd"):
        machine.command(name, "exit 1" if name == what else "exit 0")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 5
    assert "did not answer within 1 s" in outcome.stderr


def test_a_user_outside_the_docker_group_is_told_how_to_get_in(machine: Machine) -> None:
    """The engine is there; it only does not listen to this user."""
    machine.become("joe")
    machine.has_engine()
    machine.has(denied="")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 5
    assert "    sudo usermod --append --groups docker joe\n" in outcome.stderr


def test_a_remote_engine_that_is_silent_is_no_reason_to_install_one(machine: Machine) -> None:
    """Whoever sets DOCKER_HOST does not mean this machine."""
    outcome = machine.justw("--engine", DOCKER_HOST="tcp://away.example:2375")
    assert outcome.returncode == 5
    assert "DOCKER_HOST=tcp://away.example:2375" in outcome.stderr
    assert machine.calls() == []


def test_an_engine_that_is_too_old_is_named(machine: Machine) -> None:
    """It is not replaced behind its owner's back."""
    machine.has_engine(engine="19.03.8")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 5
    assert "Docker Engine 19.03.8 is older than 20.10" in outcome.stderr


def test_a_package_that_cannot_be_installed_shows_what_apt_said(machine: Machine) -> None:
    """The cause stands above our own line."""
    machine.has(no_network="")
    outcome = machine.justw("--engine")
    assert outcome.returncode == 5
    assert outcome.stderr.index("E: no network") < outcome.stderr.index("could not install docker.io docker-cli")


# --- the browser ---


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_any_chromium_will_do(machine: Machine, name: str) -> None:
    """It is left alone."""
    machine.command(name, "exit 0")
    outcome = machine.justw("--browser")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert machine.calls() == [f"{name} --version"]


def test_a_stub_is_no_browser(machine: Machine) -> None:
    """Ubuntu's asks for snap; the message says what helps."""
    machine.distribution("noble")
    machine.command("chromium-browser", "exit 10")
    outcome = machine.justw("--browser")
    assert outcome.returncode == 5
    assert "no browser here" in outcome.stderr


def test_root_gets_the_distributions_chromium(machine: Machine) -> None:
    """Without what it only recommends."""
    outcome = machine.justw("--browser")
    assert outcome.returncode == 0, outcome.stderr
    (call,) = [call for call in machine.calls() if call.startswith("apt-get install")]
    assert call.endswith("--no-install-recommends chromium")


def test_a_browser_is_never_installed_against_anybodys_will(machine: Machine) -> None:
    """As everything else."""
    outcome = machine.justw("--browser", LAB_NO_INSTALL="1")
    assert outcome.returncode == 5
    assert "missing on this machine: chromium" in outcome.stderr
    assert machine.calls() == []


# --- the recipes ---


@pytest.fixture
def just() -> str:
    """The pinned just, which is there whenever the tests are run as a recipe."""
    found = shutil.which("just", path=f"{ROOT / '.tools/bin'}:{os.environ['PATH']}")
    if not found:
        pytest.skip("just is not there: run ./justw --setup")
    return found


def test_recipes_are_few_and_each_has_its_line(just: str) -> None:
    """What ./justw shows to somebody who has just come here fits on one screen."""
    dump = subprocess.run(
        [just, "--dump", "--dump-format", "json"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    recipes = [recipe for recipe in json.loads(dump.stdout)["recipes"].values() if not recipe["private"]]
    assert len(recipes) < 15
    assert [recipe["name"] for recipe in recipes if not recipe["doc"]] == []


@pytest.mark.parametrize("recipe", ["bench", "lab", "images"])
def test_recipes_hand_arguments_on_untouched(just: str, recipe: str, tmp_path: Path) -> None:
    """Also those that look like options of just, or that a shell would take apart."""
    shutil.copy(ROOT / "Justfile", tmp_path)
    (tmp_path / "justw").write_text("""#!/bin/sh\nprintf '<%s>' "$@"\nexit 4\n""")
    (tmp_path / "justw").chmod(0o755)
    arguments = ["a b", "", "*", "$HOME", "it's", "--list", "x=1"]
    outcome = subprocess.run([just, recipe, *arguments], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert outcome.stdout.endswith("".join(f"<{argument}>" for argument in arguments))
    assert (outcome.returncode, outcome.stderr) == (4, "")


def test_ctrl_c_in_a_recipe_waits_for_the_teardown(just: str, tmp_path: Path) -> None:
    """A terminal sends it to just and to the lab alike; just must not be gone before the lab has tidied up."""
    shutil.copy(ROOT / "Justfile", tmp_path)
    (tmp_path / "justw").write_text(
        "#!/bin/bash\ntrap 'sleep 0.3; touch tidy; exit 130' INT\ntouch ready\nfor _ in {1..100}; do sleep 0.1; done\n"
    )
    (tmp_path / "justw").chmod(0o755)
    with subprocess.Popen([just, "bench"], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE) as child:
        deadline = time.monotonic() + 10
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(timeout=10) == 130
    assert (tmp_path / "tidy").exists()


def test_locks_name_no_index() -> None:
    """What they say holds behind any mirror."""
    for name in ("requirements.txt", "requirements-tools.txt"):
        assert "://" not in (ROOT / name).read_text()
