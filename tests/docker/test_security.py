"""What SECURITY.md promises of containers and images, of those of a real run; and each promise, broken, is told."""

import gzip
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container

from lab import testbed
from tests.docker.conftest import ROLES, Bench, Stock
from tests.docker.driver import FIRST_SLICE, SERVICE, Lab

NO_CAPABILITY = "0000000000000000"


def broken(container: Container) -> list[str]:
    """Promises that a running container does not keep."""
    container.reload()
    host = container.attrs["HostConfig"]
    writable = [f"{one['Source']} can be written to" for one in container.attrs["Mounts"] if bound(one) and one["RW"]]
    return [*_of_engine(host), *writable, *sorted({text for pid in _pids(container) for text in _of_process(pid)})]


def bound(mount: dict[str, Any]) -> bool:
    """A folder or file of this machine, in a container."""
    return bool(mount["Type"] == "bind")


def _of_engine(host: dict[str, Any]) -> Iterator[str]:
    if not host["ReadonlyRootfs"]:
        yield "its root can be written to"
    if not host["Memory"]:
        yield "its memory has no bound"
    if not host["PidsLimit"]:
        yield "its processes have no bound"
    if host["Privileged"] or host["CapAdd"] or host["Devices"]:
        yield "it has more than a container has"
    for ports in (host["PortBindings"] or {}).values():
        for port in ports:
            if port["HostIp"] != "127.0.0.1" or port["HostPort"] not in {"", "0"}:
                yield f"a port is published at {port['HostIp']}:{port['HostPort']}"


def _of_process(pid: int) -> Iterator[str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:  # it has ended meanwhile
        return
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if "0" in status["Uid"].split() or "0" in status["Gid"].split():
        yield "a process is root's"
    if {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} != {NO_CAPABILITY}:
        yield "a process has a capability, or may get one"
    if status["NoNewPrivs"] != "1":
        yield "a process may get privileges"


def _pids(container: Container) -> list[int]:
    top = container.top()
    column = top["Titles"].index("PID")
    return [int(line[column]) for line in top["Processes"]]


def interfaces(container: Container) -> set[str]:
    """Of its network namespace."""
    lines = Path(f"/proc/{container.attrs['State']['Pid']}/net/dev").read_text().splitlines()[2:]
    return {line.split(":")[0].strip() for line in lines}


# --- a real run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(module_lab: Lab) -> Iterator[dict[str, Container]]:
    """Every container of a run that measures, by service."""
    run = module_lab.begin("run", module_lab.experiment(database=["mysql", "mariadb"]))
    run.wait_for(FIRST_SLICE)
    run.process.send_signal(signal.SIGSTOP)  # it stays as it is while it is looked at
    yield {one.labels[SERVICE]: one for one in module_lab.containers()}
    run.process.send_signal(signal.SIGCONT)
    run.interrupt()
    run.end()


def test_every_container_of_a_run_keeps_the_promises(running: dict[str, Container]) -> None:
    """Each role, of the engines that are compared first."""
    assert {name.partition("-")[0] for name in running} == {"kamailio", "sipp", "mysql", "mariadb", "log"}
    assert {name: broken(container) for name, container in running.items()} == {name: [] for name in running}


def test_there_is_no_network_but_loopback_in_the_path_of_the_load(running: dict[str, Container]) -> None:
    """Of Kamailio and SIPp, and of whoever reads the logs."""
    for name, container in running.items():
        if name not in {"mysql", "mariadb"}:
            assert interfaces(container) == {"lo"}, name


def test_the_databases_password_is_nowhere(running: dict[str, Container], module_lab: Lab) -> None:
    """But in one file of a folder that keeps others out: not in what Docker tells, not in the dataset."""
    (secret,) = Path(module_lab.environment["TMPDIR"]).glob("kemi-lab-secret-*/driver-password")
    password = secret.read_text()
    assert re.fullmatch(r"[0-9a-f]{32}", password)
    assert secret.parent.stat().st_mode & 0o077 == 0
    for container in running.values():
        assert password not in json.dumps(container.attrs)
    (folder,) = module_lab.runs()
    for file in (path for path in folder.rglob("*") if path.is_file()):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        assert password.encode() not in content, file


# --- each promise, broken -------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "read_only": True,
    "mem_limit": "64m",
    "pids_limit": 16,
    "network_mode": "none",
}


def started(bench: Bench, **changed: Any) -> Container:  # noqa: ANN401  (whatever the SDK takes)
    """A container that keeps all of them, but for what is changed."""
    labels = {testbed.LABEL_RUN: bench.run}
    options = {**GOOD, "labels": labels, **changed}
    return bench.client.containers.run(bench.built["sipp"].id, ["sleep", "infinity"], detach=True, **options)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, []),
        ({"user": "0:5061"}, ["a process is root's"]),
        ({"user": "5061:0"}, ["a process is root's"]),
        ({"cap_drop": []}, ["a process has a capability, or may get one"]),
        ({"security_opt": []}, ["a process may get privileges"]),
        ({"read_only": False}, ["its root can be written to"]),
        ({"mem_limit": 0}, ["its memory has no bound"]),
        ({"pids_limit": 0}, ["its processes have no bound"]),
        (
            {"network_mode": "bridge", "ports": {"5060/udp": ("0.0.0.0", 0)}},  # noqa: S104  (it is what is looked for)
            ["a port is published at 0.0.0.0:0"],
        ),
    ],
    ids=str,
)
def test_a_promise_that_is_broken_is_told(bench: Bench, changed: dict[str, Any], told: list[str]) -> None:
    """Each by a container that keeps all of them but this one."""
    assert broken(started(bench, **changed)) == told


def test_a_folder_that_can_be_written_to_is_told(bench: Bench, tmp_path: Path) -> None:
    """Of this machine's; one that can only be read is nothing to be told."""
    options = {**GOOD, "detach": True, "labels": {testbed.LABEL_RUN: bench.run}}
    for mode, told in (("ro", []), ("rw", [f"{tmp_path} can be written to"])):
        volumes = {str(tmp_path): {"bind": "/mnt", "mode": mode}}
        container = bench.client.containers.run(
            bench.built["sipp"].id, ["sleep", "infinity"], volumes=volumes, **options
        )
        assert broken(container) == told


def test_another_interface_is_seen(bench: Bench) -> None:
    """Of a container that has a network."""
    container = bench.start("sipp", "sleep", "infinity").get_wrapped_container()
    container.reload()
    assert interfaces(container) > {"lo"}


# --- images ---------------------------------------------------------------------------------------------------------

LOOK = """
find / -xdev -type f -perm /6000
for name in gcc cc g++ c++ clang make cmake cpp as ld rustc; do command -v "$name"; done
find /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock
true
"""


@pytest.mark.parametrize("role", [*ROLES, "mariadb", "counter"])
def test_images_carry_nothing_that_they_do_not_need(bench: Bench, stock: Stock, role: str) -> None:
    """No setuid file, no compiler, no packages' cache."""
    image = bench.built.get(role) or (stock.counter() if role == "counter" else stock.database(role))
    container = bench.start(image, "-c", LOOK, entrypoint="sh", user="0").get_wrapped_container()
    assert container.wait()["StatusCode"] == 0
    assert container.logs().decode() == ""


def test_what_an_image_should_not_carry_is_found(bench: Bench) -> None:
    """The same look, at an image that has some of it."""
    spoil = "touch /tmp/su && chmod 4755 /tmp/su && ln -s /bin/true /tmp/gcc && PATH=$PATH:/tmp;"
    container = bench.start("sipp", "-c", spoil + LOOK, entrypoint="sh", user="0").get_wrapped_container()
    assert container.wait()["StatusCode"] == 0
    assert container.logs().decode().split() == ["/tmp/su", "/tmp/gcc"]  # noqa: S108  (the container's)
