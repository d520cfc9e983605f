"""A Docker Engine of our own: its own root, socket and network namespace, so that it may be killed.

What it does to the firewall and to bridges stays inside its namespace, and the lab that uses it runs in there as well.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from tests.docker.driver import SCRIPT
from tests.docker.root import as_root

PATIENCE_SECONDS = 60
_HOLD = "ip link set lo up && exec sleep infinity"


@dataclass
class SecondEngine:
    """One that runs."""

    folder: Path
    network: int  # id of the process that holds its network namespace
    storage: str  # its storage driver
    client: docker.DockerClient = field(init=False)
    _daemon: "subprocess.Popen[bytes] | None" = None

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["SecondEngine"]:
        """Empty; all of it is gone afterwards."""
        assert os.geteuid() == 0, "a second engine takes root"
        storage = str(docker.from_env().info()["Driver"])
        with tempfile.TemporaryDirectory(prefix="kemi-lab-engine-") as name, ExitStack() as stack:
            stack.callback(_unmount, Path(name))
            network = stack.enter_context(_network())
            engine = cls(Path(name), network, storage)
            stack.enter_context(engine._containers())
            stack.callback(engine._end, signal.SIGTERM)
            engine._start()
            yield engine

    @classmethod
    @contextmanager
    def with_images(cls) -> Iterator["SecondEngine"]:
        """With the lab's images, as they come to a machine that reaches no mirror."""
        with cls.started() as engine, tempfile.TemporaryDirectory() as name:
            file = Path(name) / "images.tar"
            subprocess.run([SCRIPT, "export-images", file], check=True, stdout=subprocess.DEVNULL)
            there = {**os.environ, "DOCKER_HOST": engine.host}
            subprocess.run([SCRIPT, "import-images", file], check=True, stdout=subprocess.DEVNULL, env=there)
            file.unlink()
            yield engine

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command needs in front of it to see the ports that it publishes."""
        return "nsenter", "--net", "--target", str(self.network)

    def restart(self, number: signal.Signals) -> float:
        """End it by a signal, and start it again; time.time() in between. Returns when it answers."""
        self._end(number)
        moment = time.time()
        self._start()
        return moment

    @contextmanager
    def _containers(self) -> Iterator[None]:
        """A containerd, as it is a service of its own on most machines: it outlives a killed engine."""
        configuration = self.folder / "containerd.toml"
        configuration.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        options = {
            "config": configuration,
            "address": self._containerd,
            "root": self.folder / "containerd-root",
            "state": self.folder / "containerd-state",
        }
        daemon = self._run("containerd", options)
        try:
            yield
        finally:
            for shim in _shims(self._containerd):  # of containers that nobody has taken down
                for pid in (*_children(shim), shim):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            _stop(daemon, signal.SIGTERM)

    @property
    def _containerd(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def _namespace(self) -> str:
        return f"kemi-lab-{self.network}"

    def _run(self, program: str, options: Mapping[str, object]) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{program}.log").open("ab") as log:
            command = [*self.enter, program, *(f"--{name}={value}" for name, value in options.items())]
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _start(self) -> None:
        configuration, mark = self.folder / "daemon.json", self.folder / "docker.pid"
        configuration.write_text("{}")  # none of the machine's own
        mark.unlink(missing_ok=True)
        options = {
            "config-file": configuration,
            "storage-driver": self.storage,
            "containerd": self._containerd,
            "containerd-namespace": self._namespace,
            "containerd-plugins-namespace": f"plugins.{self._namespace}",
            "data-root": self.folder / "root",
            "exec-root": self.folder / "exec",
            "pidfile": mark,
            "host": self.host,
            "bridge": "none",
            "default-address-pool": "base=10.213.0.0/16,size=24",
        }
        self._daemon = self._run("dockerd", options)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.client = docker.DockerClient(self.host, timeout=120)
                self.client.ping()
            except (DockerException, RequestException):
                said = (self.folder / "dockerd.log").read_text(errors="replace")[-2000:]
                assert self._daemon.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)  # between two questions
            else:
                return

    def _end(self, number: signal.Signals) -> None:
        if self._daemon:
            _stop(self._daemon, number)


def _stop(daemon: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    daemon.send_signal(number)
    try:
        daemon.wait(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _shims(address: Path) -> list[int]:
    """Of the containerd at this socket."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"-address" in words and str(address).encode() in words:
                found.append(int(path.parent.name))
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


@contextmanager
def _network() -> Iterator[int]:
    """A network namespace with a loopback; the process that holds it."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", _HOLD])
    try:
        while Path(f"/proc/{holder.pid}/comm").read_text().strip() != "sleep":  # before, it may still be our own
            assert holder.poll() is None
            time.sleep(0.01)  # between two looks
        assert Path(f"/proc/{holder.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


def _unmount(folder: Path) -> None:
    """What a killed engine has left mounted below its folder."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        as_root("umount", "--lazy", mount)
