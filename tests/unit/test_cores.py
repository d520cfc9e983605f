"""Who gets which CPUs: every profile on every machine of machines.py, and lists as a user writes them."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from lab.cores import PROFILES, Layout, LayoutError, lay_out, listed
from lab.experiment import Keys
from lab.model import Role
from lab.topology import parse_list, read
from tests.unit.machines import MACHINES

ROLES = (Role.KAMAILIO, Role.MYSQL, Role.SIPP, Role.DRIVER)
APART = ("Kamailio", "database", "SIPp", "driver")

# machine -> Kamailio's CPUs, the database's, SIPp's, the driver's, and those that are left idle
AUTO = {
    "2-core virtual machine": ("1", "0", "0", "0", ""),
    "4-core laptop": ("3", "2,6", "1,5", "0,4", "7"),
    "hybrid": ("8,10,12,14", "4-7", "2-3", "16", "9,11,13,15"),
    "2-socket server": ("6-9", "4-5,24-25", "3,23", "10,30", "26-29"),
    "64-core sockets, SMT off": ("12-15", "10-11", "9", "112", ""),
    "ARM big.LITTLE": ("4-5", "3", "2", "0", ""),
    "container with three CPUs": ("1", "2", "2", "2", "5"),
    "offline CPUs": ("3", "2", "1", "0,4", ""),
    "1-core virtual machine with two threads": ("1", "0", "0", "0", ""),
    "hybrid, efficient cores only": ("17", "16", "16", "16", ""),
    "2-socket server, a part of it": ("10-12,19", "17-18", "16", "0", "30-32"),
    "64-core sockets, a part of one node": ("5-7", "4,9", "8", "2", ""),
    "2-socket server, one node": ("9,11,13,15", "5,7", "3", "0", ""),
}
# machine -> the CPUs that all roles share
NUC = {
    "2-core virtual machine": "0-1",
    "4-core laptop": "0-7",
    "hybrid": "0-7",
    "2-socket server": "0-3,20-23",
    "64-core sockets, SMT off": "0-3",
    "ARM big.LITTLE": "4-5",
    "container with three CPUs": "1-2,5",
    "offline CPUs": "0-4",
    "1-core virtual machine with two threads": "0-1",
    "hybrid, efficient cores only": "16-17",
    "2-socket server, a part of it": "10-13,30-32",
    "64-core sockets, a part of one node": "4-7",
    "2-socket server, one node": "0,2,4,6",
}
SMALL = {name for name, texts in AUTO.items() if texts[1] == texts[2]}  # too few cores to keep all roles apart
FEW, SINGLE, MEMORY = "of the NUC's 4 cores", "without a second thread", "GB of memory"
UNLIKE = {
    "2-core virtual machine": (FEW, SINGLE, MEMORY),
    "64-core sockets, SMT off": (SINGLE,),
    "ARM big.LITTLE": (FEW, SINGLE, MEMORY),
    "container with three CPUs": (FEW, SINGLE, "not for us"),
    "offline CPUs": (SINGLE,),
    "1-core virtual machine with two threads": (FEW, MEMORY),
    "hybrid, efficient cores only": (FEW, SINGLE, "on efficient cores"),
    "2-socket server, a part of it": (SINGLE, "not for us"),
    "64-core sockets, a part of one node": (SINGLE,),
    "2-socket server, one node": (SINGLE,),
}


def on(name: str, profile: str, folder: Path) -> Layout:
    """A profile on a machine."""
    return lay_out(MACHINES[name].topology(folder), profile)


def cpus(text: str) -> tuple[int, ...]:
    """None where nothing is listed."""
    return parse_list(text) if text else ()


@pytest.mark.parametrize("name", MACHINES)
def test_auto_is_the_best_that_the_machine_allows(tmp_path: Path, name: str) -> None:
    """Kamailio on cores of its own, whose siblings idle; the others apart where there are four cores."""
    layout = on(name, "auto", tmp_path)
    assert (*(layout.cpus[role] for role in ROLES), layout.idle) == tuple(map(cpus, AUTO[name]))
    assert layout.profile == "auto"
    assert any("the database, SIPp and the driver share CPU" in note for note in layout.notes) == (name in SMALL)


@pytest.mark.parametrize("name", sorted(set(MACHINES) - SMALL))
def test_isolated_keeps_all_roles_apart(tmp_path: Path, name: str) -> None:
    """No CPU has two roles, no core has Kamailio and another one; only what is out of our hands is remarked on."""
    layout = on(name, "isolated", tmp_path)
    assert (*(layout.cpus[role] for role in ROLES), layout.idle) == tuple(map(cpus, AUTO[name]))
    assert sum(len(layout.cpus[role]) for role in ROLES) + len(layout.idle) == len(layout.all)
    assert [note for note in layout.notes if "not for us" not in note] == []


@pytest.mark.parametrize("name", sorted(SMALL))
def test_isolated_is_refused_where_there_are_too_few_cores(tmp_path: Path, name: str) -> None:
    """Rather than given by halves: whoever asks for it relies on it."""
    with pytest.raises(LayoutError, match="it takes 4 cores to keep the roles apart"):
        on(name, "isolated", tmp_path)


@pytest.mark.parametrize("name", MACHINES)
def test_the_nuc_is_four_cores_with_their_siblings(tmp_path: Path, name: str) -> None:
    """Of one node and one kind, shared by all roles; what a machine lacks of that is said."""
    layout = on(name, "nuc", tmp_path)
    assert layout.cpus == dict.fromkeys(Role, cpus(NUC[name]))
    assert len(layout.notes) == len(UNLIKE.get(name, ()))
    for note, said in zip(layout.notes, UNLIKE.get(name, ()), strict=True):
        assert said in note


@pytest.mark.parametrize("name", MACHINES)
def test_shared_gives_everything_to_all(tmp_path: Path, name: str) -> None:
    """All that this process may use, and no CPU more."""
    machine = MACHINES[name].topology(tmp_path)
    assert lay_out(machine, "shared").cpus == dict.fromkeys(Role, machine.allowed)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", MACHINES)
def test_no_layout_uses_what_it_may_not(tmp_path: Path, name: str, profile: str) -> None:
    """Nor leaves a role without a CPU, which for Docker would mean all of them."""
    if profile == "isolated" and name in SMALL:
        return
    machine = MACHINES[name].topology(tmp_path)
    layout = lay_out(machine, profile)
    assert layout.all <= set(machine.allowed)
    assert all(layout.cpus[role] for role in ROLES)
    assert not set(layout.idle) & {cpu for role in ROLES for cpu in layout.cpus[role]}


def test_an_experiment_can_name_each_profile() -> None:
    """And no other one."""
    names, _ = get_args(next(field.type for field in fields(Keys) if field.name == "cpus"))
    assert get_args(names) == tuple(PROFILES)


def test_one_cpu_is_shared(tmp_path: Path) -> None:
    """There is nothing to divide, and that is said."""
    root = MACHINES["4-core laptop"].write(tmp_path)
    layout = lay_out(read(root, (5,), memory_bytes=0), "auto")
    assert layout.cpus == dict.fromkeys(Role, (5,))
    assert [note for note in layout.notes if "takes turns with Kamailio" in note]


def test_who_shares_kamailios_core_is_named(tmp_path: Path) -> None:
    """Two threads of one core are no two cores."""
    notes = [note for note in on("1-core virtual machine with two threads", "auto", tmp_path).notes if "core" in note]
    assert len(notes) == len(APART) - 1
    assert all(
        who in note and "shares a core with Kamailio" in note for who, note in zip(APART[1:], notes, strict=True)
    )


def lists(kamailio: str, others: str) -> dict[Role, tuple[int, ...]]:
    """As an experiment's [cpus] has them."""
    return {role: cpus(kamailio if role == Role.KAMAILIO else others) for role in ROLES}


def test_lists_are_taken_as_they_are(tmp_path: Path) -> None:
    """With the siblings that they leave idle; the roles beside Kamailio may share."""
    layout = listed(MACHINES["4-core laptop"].topology(tmp_path), lists("2-3", "0-1,4-5"))
    assert (layout.profile, layout.idle, layout.notes) == ("lists", (6, 7), ())
    assert layout.text(Role.SIPP) == "0-1,4-5"


@pytest.mark.parametrize(
    ("kamailio", "others", "said"),
    [
        ("0-1", "1-2", "CPU 1: the database takes turns with Kamailio"),
        ("0", "4", "CPU 4: the database shares a core with Kamailio"),
    ],
)
def test_lists_that_disturb_each_other_are_remarked_on(tmp_path: Path, kamailio: str, others: str, said: str) -> None:
    """They are the user's, and obeyed."""
    layout = listed(MACHINES["4-core laptop"].topology(tmp_path), lists(kamailio, others))
    assert any(note.startswith(said) for note in layout.notes), layout.notes


@pytest.mark.parametrize(
    ("name", "kamailio", "said"),
    [
        ("2-core virtual machine", "1-3", "CPU 2-3 does not exist"),
        ("offline CPUs", "4-6", "CPU 5-6 is offline"),
        ("container with three CPUs", "5-6", "CPU 6 is not allowed to this process"),
    ],
)
def test_lists_of_cpus_that_cannot_be_had_are_refused(tmp_path: Path, name: str, kamailio: str, said: str) -> None:
    """With the reason, since each has another remedy."""
    with pytest.raises(LayoutError, match=f"^{said}$"):
        listed(MACHINES[name].topology(tmp_path), lists(kamailio, "1"))


@pytest.mark.parametrize(
    ("name", "kamailio", "said"),
    [
        ("2-socket server", "9-10", "several memory nodes"),
        ("hybrid", "14,16", "of two kinds"),
        ("64-core sockets, SMT off", "7-8", "several last-level caches"),
        ("hybrid", "16-17", "on efficient cores"),
        ("ARM big.LITTLE", "2-3", "on efficient cores"),
    ],
)
def test_unlike_cpus_for_kamailio_are_remarked_on(tmp_path: Path, name: str, kamailio: str, said: str) -> None:
    """Its workers have to be alike, or the figures are of a mixture."""
    layout = listed(MACHINES[name].topology(tmp_path), lists(kamailio, "1"))
    assert len(layout.notes) == 1
    assert said in layout.notes[0]


def test_who_is_beside_kamailio() -> None:
    """On its very CPUs; unknown where somebody has but some of them, whose time cannot be told apart then."""
    apart: dict[Role, tuple[int, ...]] = {Role.KAMAILIO: (0, 1), **dict.fromkeys((Role.MYSQL, Role.DRIVER), (2,))}
    assert Layout("lists", {**apart, Role.SIPP: (3,)}).beside(Role.KAMAILIO) == ()
    assert Layout("lists", {**apart, Role.SIPP: (0, 1)}).beside(Role.KAMAILIO) == (Role.SIPP,)
    assert Layout("lists", {**apart, Role.SIPP: (1, 2)}).beside(Role.KAMAILIO) is None
