"""What may happen to a run, each as something that is really done to it. `FAULTS` is the list.

Who adds one says which slices cannot be valid while it lasts: a fault that hit one of them, and was not seen, is what
the suite looks for. Where nothing is said, the slices may be valid: only the way that the run ends is looked at.
"""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, cast

from docker.errors import APIError
from docker.models.containers import Container
from docker.models.images import Image

from lab.errors import Exit
from lab.override import VOLUME
from lab.store import write_atomically
from tests.docker.driver import SERVICE, Lab
from tests.docker.root import as_root, small_disk
from tests.faults.scene import ALL, Scene, Struck, TooLateError, now, run_in

CLOCK = Path(__file__).with_name("clock")
SPARE_BYTES = 16 << 20
PAUSE_SECONDS = 1.5  # SIPp sends again what has no answer after half a second
LOSS_SECONDS = 0.7
STANDSTILL_SECONDS = 1.5
CLOCK_STEP_SECONDS = 30
CONTAINERS = {"Kamailio": "kamailio-", "SIPp": "sipp-", "MySQL": "mysql", "log holder": "log-holder"}
HALF_A_LINE = " 7(31) INFO: |1|2 REGIS"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind."""

    name: str
    inject: Callable[[Scene], Struck]
    around: Callable[[Lab], AbstractContextManager[None]] = lambda _: nullcontext()  # what the run needs for it
    second_engine: bool = False  # the run is on an engine of its own, as that comes to harm
    untidy: bool = False  # where nothing may be written, nothing can be tidied up either


def kill(pid: int) -> None:
    """With SIGKILL."""
    as_root("kill", "-KILL", str(pid))


# --- processes ------------------------------------------------------------------------------------------------------


def kill_first(service: str, scene: Scene) -> Struck:
    """The first process of a container, by the kernel's number."""
    container = scene.container(service)
    kill(scene.first(container))
    return now(scene, container, "first process")


def kill_one(service: str, part: str, scene: Scene) -> Struck:
    """One process of a container that is not its first."""
    container = scene.container(service)
    first = scene.first(container)
    pids = scene.wait(lambda: [pid for pid in scene.processes(container, part) if pid != first])
    kill(scene.chance.choice(pids))
    return now(scene, container, "a process")


def kill_sipp(scene: Scene) -> Struck:
    """The SIPp that sends, wherever one does."""
    found = scene.wait(
        lambda: [
            (container, pid)
            for container in scene.containers("sipp-")
            for pid in scene.processes(container, "^sipp .*-cid_str")
        ]
    )
    container, pid = scene.chance.choice(found)
    kill(pid)
    return now(scene, container, "SIPp", until=time.time())  # the next slice has a SIPp of its own


def signal_driver(number: signal.Signals, times: int, scene: Scene) -> Struck:
    """The driver's process, once it says something; with SIGKILL nothing can be taken down."""
    scene.wait(lambda: scene.running.said)
    if scene.running.process.poll() is not None:
        raise TooLateError
    for _ in range(times):
        scene.running.process.send_signal(number)
        time.sleep(0.2)  # or several would be one
    return Struck(time.time(), what=f"driver, {number.name}", driver_killed=number == signal.SIGKILL)


# --- containers and the engine --------------------------------------------------------------------------------------


def kill_container(service: str, scene: Scene) -> Struck:
    """By `docker kill`."""
    container = scene.container(service)
    container.kill()
    return now(scene, container, "container")


def pause(service: str, seconds: float, scene: Scene) -> Struck:
    """By `docker pause`; it goes on after a while, or stays so."""
    container = scene.container(service)
    container.pause()
    struck = now(scene, container, "container")
    if seconds:
        time.sleep(seconds)  # so long it stands still
        struck = replace(struck, until=time.time())
        with suppress(APIError):  # it was removed meanwhile
            container.unpause()
    return struck


def limit_memory(service: str, scene: Scene) -> Struck:
    """A little more than it has; then somebody in there wants more, and the kernel kills the largest."""
    container = scene.container(service)
    used = cast("dict[str, Any]", container.stats(stream=False))["memory_stats"].get("usage", 0)
    if not used:
        raise TooLateError
    container.update(mem_limit=used + SPARE_BYTES)
    run_in(container, "head -c 256M /dev/zero | tail")
    return Struck(time.time(), what=f"{(used + SPARE_BYTES) >> 20} MB for {container.labels[SERVICE]}")


def restart_engine(number: signal.Signals, scene: Scene) -> Struck:
    """The engine ends, with all that it runs, and comes back."""
    scene.container("kamailio-")
    assert scene.engine
    since = scene.engine.restart(number)
    return Struck(since, ALL, since, number.name)


def image_of(container: Container) -> Image:
    """What it was made of."""
    assert container.image
    return container.image


def untag(scene: Scene) -> Struck:
    """The name that an image has is gone: `docker rmi`."""
    image = image_of(scene.container("kamailio-"))
    (name, *_) = image.tags
    assert image.tag("kemi-lab/kept", "faults")
    scene.mending.callback(scene.lab.client.images.remove, "kemi-lab/kept:faults")
    scene.mending.callback(image.tag, *name.rsplit(":", 1))
    scene.lab.client.images.remove(name)
    return Struck(time.time(), what=name)


def remove_image(scene: Scene) -> Struck:
    """The image itself, in a moment in which no container of it is there."""
    client = scene.lab.client
    image = image_of(scene.container("kamailio-"))
    kept = scene.lab.folder / "image.tar"
    with kept.open("wb") as file:
        file.writelines(image.save(named=True))

    def back() -> None:
        with kept.open("rb") as file:
            client.images.load(file)

    scene.mending.callback(back)

    def gone() -> list[bool]:
        client.images.remove(str(image.id), force=True)
        return [True]

    scene.wait(gone)
    return Struck(time.time(), what=str(image.id))


# --- time and network -----------------------------------------------------------------------------------------------


@contextmanager
def faked_clock(lab: Lab) -> Iterator[None]:
    """The driver's clock can be set: by a file, for it and nobody else."""
    seconds = lab.folder / "clock"
    seconds.write_text("0")
    lab.environment |= {"PYTHONPATH": str(CLOCK), "LAB_CLOCK": str(seconds)}
    yield


def step_clock(scene: Scene) -> Struck:
    """The driver's wall clock, forward; a slice that has begun sees it."""
    scene.container("kamailio-")
    write_atomically(scene.lab.folder / "clock", str(CLOCK_STEP_SECONDS).encode())
    moment = time.time()
    return Struck(moment, ALL, moment, f"{CLOCK_STEP_SECONDS} s forward")


def stand_still(scene: Scene) -> Struck:
    """A database that answers nothing for a while."""
    pid = str(scene.first(scene.container("mysql")))
    as_root("kill", "-STOP", pid)
    since = time.time()
    time.sleep(STANDSTILL_SECONDS)
    until = time.time()
    with suppress(CalledProcessError):  # it was taken down meanwhile
        as_root("kill", "-CONT", pid)
    return Struck(since, ALL, until, f"{STANDSTILL_SECONDS} s")


def slow_down(scene: Scene) -> Struck:
    """A database that is slow: it stands still for 30 ms of every 60. No slice is wrong by that, but slow."""
    pid = str(scene.first(scene.container("mysql")))
    since = time.time()
    with suppress(CalledProcessError):  # it ends with the run
        while scene.running.process.poll() is None and time.time() < since + 5:
            for name in ("-STOP", "-CONT"):
                as_root("kill", name, pid)
                time.sleep(0.03)
    return Struck(since, what="30 ms of every 60")


def lose(scene: Scene) -> Struck:
    """Every UDP message within a cell's network namespace."""
    container = scene.container("kamailio-")
    rule = ("INPUT", "-p", "udp", "-j", "DROP")
    inside = ("nsenter", "--net", "--target", str(scene.first(container)), "iptables")
    as_root(*inside, "-I", *rule)
    struck = now(scene, container, "loopback")
    time.sleep(LOSS_SECONDS)
    struck = replace(struck, until=time.time())
    with suppress(CalledProcessError):  # the namespace has gone with its container
        as_root(*inside, "-D", *rule)
    return struck


# --- files ----------------------------------------------------------------------------------------------------------


def write_log(script: str, scene: Scene, *, torn: bool) -> Struck:
    """Something else into a cell's log; `torn`: the next latency line is then no line any more."""
    cell, path = scene.log()
    kamailio = scene.container(f"kamailio-{cell}")
    if run_in(kamailio, f"{{ {script}; }} >>{path}"):
        raise TooLateError
    moment = time.time()
    return Struck(moment, frozenset({cell}) if torn else frozenset(), moment, f"log of {cell}")


def fill_log_volume(scene: Scene) -> Struck:
    """The memory that holds Kamailio's logs is full, until logs are begun anew and what earlier ones took is free."""
    scene.log()
    run_in(scene.container("kamailio-"), f"head -c 2G /dev/zero >{VOLUME}/full")  # whose memory has room for it
    if scene.in_holder(f"df {VOLUME} | grep -q 100%"):
        raise TooLateError
    return Struck(time.time(), ALL, what="log volume", round=scene.round)


@contextmanager
def own_disk(lab: Lab) -> Iterator[None]:
    """The results are on a file system of their own."""
    with small_disk(lab.results, "3g"):
        yield


def fill_disk(scene: Scene) -> Struck:
    """Where results go there is no room left."""
    results = scene.lab.results
    scene.container("kamailio-")
    scene.mending.callback(as_root, "mount", "-o", "remount,size=3g", str(results))

    def full() -> list[bool]:
        with suppress(CalledProcessError):  # somebody has written meanwhile
            as_root("mount", "-o", f"remount,size={shutil.disk_usage(results).used}", str(results))
            return [True]
        return []

    scene.wait(full)
    return Struck(time.time(), what="results")


def no_more_writing(scene: Scene) -> Struck:
    """Where results go nothing may be written any more."""
    results = str(scene.lab.results)
    scene.container("kamailio-")
    scene.mending.callback(as_root, "mount", "-o", "remount,rw", results)

    def remount() -> list[bool]:
        with suppress(CalledProcessError):  # somebody writes just now
            as_root("mount", "-o", "remount,ro", results)
            return [True]
        return []

    scene.wait(remount)
    return Struck(time.time(), what="results")


# --- others ---------------------------------------------------------------------------------------------------------


def second_run(scene: Scene) -> Struck:
    """On the same CPUs: it is refused, and the first one goes on."""
    scene.container("mysql")
    second = scene.lab("run", scene.lab.experiment(name="second"))
    if scene.running.process.poll() is not None:
        raise TooLateError
    assert second.process.returncode == Exit.SETUP, second.error
    assert "taken by" in second.error
    return Struck(time.time(), what="refused")


def nothing(_: Scene) -> Struck:
    """The run as it is without any: so that what the others show is theirs."""
    return Struck(time.time())


FAULTS = (
    Fault("nothing", nothing),
    Fault("Kamailio's first process is killed", partial(kill_first, "kamailio-")),
    Fault("a worker of Kamailio is killed", partial(kill_one, "kamailio-", "kamailio")),
    Fault("MySQL is killed", partial(kill_first, "mysql")),
    Fault("SIPp is killed", kill_sipp),
    Fault("the driver is killed", partial(signal_driver, signal.SIGKILL, 1)),
    Fault("Ctrl-C", partial(signal_driver, signal.SIGINT, 1)),
    Fault("Ctrl-C, three times", partial(signal_driver, signal.SIGINT, 3)),
    Fault("SIGTERM", partial(signal_driver, signal.SIGTERM, 1)),
    *(Fault(f"docker kill: {name}", partial(kill_container, service)) for name, service in CONTAINERS.items()),
    *(
        Fault(f"docker pause, {PAUSE_SECONDS} s: {name}", partial(pause, service, PAUSE_SECONDS))
        for name, service in CONTAINERS.items()
    ),
    *(Fault(f"docker pause, for good: {name}", partial(pause, service, 0)) for name, service in CONTAINERS.items()),
    Fault("the engine is restarted", partial(restart_engine, signal.SIGTERM), second_engine=True),
    Fault("the engine is killed, and started", partial(restart_engine, signal.SIGKILL), second_engine=True),
    Fault("too little memory: MySQL", partial(limit_memory, "mysql")),
    Fault("too little memory: Kamailio", partial(limit_memory, "kamailio-")),
    Fault("an image loses its name", untag, second_engine=True),
    Fault("an image is removed", remove_image, second_engine=True),
    Fault("the driver's clock is set", step_clock, faked_clock),
    Fault(f"MySQL stands still, {STANDSTILL_SECONDS} s", stand_still),
    Fault("MySQL is slow", slow_down),
    Fault(f"no UDP message arrives, {LOSS_SECONDS} s", lose),
    Fault("log: half a line", partial(write_log, f"printf '{HALF_A_LINE}'", torn=True)),
    Fault("log: garbage", partial(write_log, "head -c 300 /dev/urandom | tr -d '\\n\\r'", torn=True)),
    Fault("log: a million lines", partial(write_log, "yes 'somebody else says' | head -n 1000000", torn=False)),
    Fault("log volume full", fill_log_volume),
    Fault("disk full", fill_disk, own_disk),
    Fault("disk read-only", no_more_writing, own_disk, untidy=True),
    Fault("a second run", second_run),
)
