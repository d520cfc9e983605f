"""Facts of this machine, and checks with advice. Changes nothing."""

import math
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from lab import topology
from lab.errors import SetupError

COMPOSE_MINIMUM = (2, 26)
ENGINE_MINIMUM = (20, 10)
EVENT_SOURCES = Path("/sys/bus/event_source/devices")
DISK_MINIMUM_BYTES = 2 * 2**30
ENGINE_REMEDY = "./justw --engine  (as root on Debian or Ubuntu it installs one); otherwise see docs/setup.md"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reader must know about the machine to judge a number."""

    cpu_model: str
    cpus_allowed: str
    memory_bytes: int
    kernel: str
    system: str
    architecture: str
    engine: str
    compose: str
    virtualisation: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: its value, whether it will do, and what helps if not."""

    name: str
    value: str
    ok: bool
    advice: str = ""


def engine() -> docker.DockerClient:
    """A client of the engine that answers; SetupError with the remedy otherwise."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        raise SetupError(f"no Docker Engine answers: {error}", remedy=ENGINE_REMEDY) from error
    return client


def compose_version() -> str:
    """Version of the Compose plugin, or '' where there is none."""
    return _output(["docker", "compose", "version", "--short"])


def facts(client: docker.DockerClient) -> Facts:
    """Look, don't touch."""
    machine = topology.this()
    return Facts(
        cpu_model=_cpu_model(),
        cpus_allowed=topology.format_list(machine.allowed),
        memory_bytes=machine.memory_bytes,
        kernel=platform.release(),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        architecture=platform.machine(),
        engine=str(client.version()["Version"]),
        compose=compose_version(),
        virtualisation=_output(["systemd-detect-virt"]) or "unknown",
    )


def checks(results: Path) -> tuple[Check, ...]:
    """Everything that `lab doctor` shows, in the order in which it matters."""
    return tuple(check(results) for check in (_engine, _compose, _buildx, _architecture, _cpus, _counters, _disk))


def require_disk(folder: Path, log_bytes: int) -> None:
    """Refuse to start what would die half-way. A run's logs need their room twice, for the frames made of them."""
    check = _disk(folder, 2 * log_bytes)
    if not check.ok:
        raise SetupError(f"{folder}: {check.value} left on the disk", remedy=check.advice)


def _engine(_: Path) -> Check:
    try:
        version = str(engine().version()["Version"])
    except SetupError as error:
        return Check("Docker Engine", str(error), ok=False, advice=error.remedy)
    ok = _numbers(version) >= ENGINE_MINIMUM
    return Check("Docker Engine", version, ok=ok, advice="" if ok else "Engine 20.10 or later is needed")


def _compose(_: Path) -> Check:
    version = compose_version()
    ok = _numbers(version) >= COMPOSE_MINIMUM
    return Check(
        "Compose", version or "absent", ok=ok, advice="" if ok else f"2.26 or later is needed: {ENGINE_REMEDY}"
    )


def _buildx(_: Path) -> Check:
    version = _output(["docker", "buildx", "version"])
    return Check("buildx", version or "absent", ok=bool(version), advice="" if version else ENGINE_REMEDY)


def _architecture(_: Path) -> Check:
    machine = platform.machine()
    known = machine == "x86_64"
    return Check("architecture", machine, ok=known, advice="" if known else "only x86-64 was tried")


def _cpus(_: Path) -> Check:
    allowed = topology.this().allowed
    ok = len(allowed) > 1
    advice = "" if ok else "with one CPU Kamailio, MySQL and SIPp take turns: expect noise"
    return Check("CPUs", f"{topology.format_list(allowed)} ({_cpu_model()})", ok=ok, advice=advice)


def _counters(_: Path) -> Check:
    """For `lab count --probes` alone: to have none is no fault."""
    return Check("hardware counters", ", ".join(counters()) or "none, as in most virtual machines", ok=True)


def counters() -> list[str]:
    """The processor's own, as the kernel calls them: cpu, on hybrids cpu_core and cpu_atom, on ARM armv8_..."""
    return sorted(path.name for kind in ("cpu", "cpu_*", "armv*") for path in EVENT_SOURCES.glob(kind))


def _disk(folder: Path, needed_bytes: int = 0) -> Check:
    while not folder.exists():
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    needed = DISK_MINIMUM_BYTES + needed_bytes
    ok = free >= needed
    advice = (
        ""
        if ok
        else f"{math.ceil(needed / 2**30 * 10) / 10:.1f} GiB are needed: make room, or name another folder by --results"
    )
    return Check("disk for results", f"{free / 2**30:.1f} GiB", ok=ok, advice=advice)


def _numbers(version: str) -> tuple[int, ...]:
    """'2.26.1-4' -> (2, 26): enough to compare."""
    parts = version.lstrip("v").split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
