"""The lab's console script as a user has it: a process with exit code, output, and a results folder."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError
from docker.models.containers import Container

from lab import testbed
from lab.versions import ROOT

PARITY = ROOT / "images" / "kamailio" / "etc" / "parity"
DATA = Path(__file__).parent / "data"
SMALL = tomllib.loads((DATA / "small.toml").read_text())
SCRIPT = Path(sys.executable).with_name("lab")
SERVICE = "com.docker.compose.service"
FIRST_SLICE = r"^1/\d+ r01-s001"  # what a run says when it is sealed
PATIENCE_SECONDS = 120  # for a line that comes after a few seconds on an idle machine


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace what must be there exactly once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {old!r} is not there once"
    path.write_text(text.replace(old, new))


def scripts(folder: Path) -> Path:
    """A copy of our routing, to be spoiled."""
    return Path(shutil.copytree(PARITY, folder, copy_function=shutil.copyfile))


def toml(content: dict[str, Any]) -> str:
    """A TOML file of plain values and tables; JSON writes both kinds of plain values as TOML does."""
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in plain.items()]
    for name, table in tables.items():
        lines += [f"\n[{name}]\n", toml(table)]
    return "".join(lines)


@dataclass
class Running:
    """A run that is going on."""

    process: subprocess.Popen[str]
    lab: "Lab"
    said: list[str] = field(default_factory=list)
    _lines: "queue.SimpleQueue[str | None]" = field(default_factory=queue.SimpleQueue)
    _out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read both outputs, so that neither blocks."""
        self._readers = [threading.Thread(target=read) for read in (self._hear, self._keep)]
        for reader in self._readers:
            reader.start()

    def wait_for(self, pattern: str) -> str:
        """The next line on standard error that matches."""
        while True:
            line = self._lines.get(timeout=PATIENCE_SECONDS)
            assert line is not None, f"ended without a line {pattern!r}:\n{self.error}"
            if re.search(pattern, line):
                return line

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, patience_seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(timeout=patience_seconds)
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code

    @property
    def error(self) -> str:
        """Standard error so far."""
        return "".join(self.said)

    @property
    def output(self) -> str:
        """Standard output so far."""
        return "".join(self._out)

    def _hear(self) -> None:
        for line in self.process.stderr or ():
            self.said.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def _keep(self) -> None:
        self._out.extend(self.process.stdout or ())


@dataclass
class Lab:
    """The console script and where it works."""

    folder: Path
    client: docker.DockerClient
    environment: dict[str, str]
    enter: tuple[str, ...] = ()  # a command that runs the one behind it somewhere else
    begun: list[Running] = field(default_factory=list)

    @classmethod
    @contextmanager
    def at(cls, folder: Path, client: docker.DockerClient) -> Iterator["Lab"]:
        """A folder for results, experiments and claims; at the end nothing of its runs is left on the engine.

        Claims of CPUs are our own (LAB_CLAIMS): the tests neither wait for a measurement on this machine nor stand in
        its way.
        """
        temporary = folder / "tmp"
        temporary.mkdir()
        own = {"TMPDIR": str(temporary), "LAB_CLAIMS": str(temporary / "cpus")}
        lab = cls(folder, client, {**os.environ, **own})
        try:
            yield lab
        finally:
            for running in lab.begun:
                running.interrupt()
                running.end()
            for run in lab.runs():
                testbed.remove_all(client, run.name)

    @property
    def results(self) -> Path:
        """Where runs lie: a path that many tools would stumble over."""
        return self.folder / "results: ours"

    def runs(self) -> list[Path]:
        """Folders of runs, oldest first."""
        return sorted(path.parent for path in self.results.glob("*/evidence") if not path.parent.is_symlink())

    def experiment(self, **changes: object) -> Path:
        """The small experiment with some keys changed; None takes one out."""
        keys = {**SMALL, **changes}
        path = self.folder / f"{keys['name']}.toml"
        path.write_text(toml({key: value for key, value in keys.items() if value is not None}))
        return path

    def begin(self, *arguments: str | Path) -> Running:
        """Start a command; results go to our folder."""
        process = subprocess.Popen(
            [*self.enter, SCRIPT, *arguments, "--results", self.results],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=ROOT,
        )
        self.begun.append(Running(process, self))
        return self.begun[-1]

    def __call__(self, *arguments: str | Path, patience_seconds: float = PATIENCE_SECONDS) -> Running:
        """Run a command to its end."""
        running = self.begin(*arguments)
        running.end(patience_seconds)
        return running

    def containers(self) -> list[Container]:
        """Those of the newest run that run; none where there is no run yet."""
        if not self.runs():
            return []
        label: dict[str, str | list[str] | bool] = {"label": f"{testbed.LABEL_RUN}={self.runs()[-1].name}"}
        return self.client.containers.list(filters=label, ignore_removed=True)

    def sending(self) -> list[str]:
        """Services of the newest run in which a SIPp sends."""
        found = []
        for container in self.containers():
            with suppress(APIError):  # it is on its way out
                # Before a slice there is a shell that waits, with the same words behind it.
                if any(re.match("sipp .*-cid_str", line[-1]) for line in container.top()["Processes"] or ()):
                    found.append(container.labels[SERVICE])
        return found

    def under_load(self, running: Running) -> None:
        """Wait until a SIPp sends: then a slice is being collected, whatever the last line said."""
        while not self.sending():
            assert running.process.poll() is None, f"ended without load:\n{running.error}"

    def left(self) -> list[str]:
        """What the engine still has of our runs: containers, networks, volumes."""
        found: list[str] = []
        for run in self.runs():
            label: dict[str, str | list[str] | bool] = {"label": f"{testbed.LABEL_RUN}={run.name}"}
            found += [
                f"container {one.name}"
                for one in self.client.containers.list(all=True, filters=label, ignore_removed=True)
            ]
            found += [f"network {one.name}" for one in self.client.networks.list(filters=label)]
            found += [f"volume {one.name}" for one in self.client.volumes.list(filters=label)]
        return found
