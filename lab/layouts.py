"""The CPU layout that an experiment asks for, on this machine: a profile's, or the one that it lists."""

from dataclasses import fields

from lab import cores, topology
from lab.cores import Layout, LayoutError
from lab.errors import BadInputError
from lab.experiment import CpuLists, Experiment
from lab.model import Role


def of_profile(profile: str) -> Layout:
    """What a profile gives here; BadInputError where it cannot be had."""
    try:
        return cores.lay_out(topology.this(), profile)
    except LayoutError as error:
        raise BadInputError(
            f"profile {profile}: {error}", remedy="lab cpus --profile auto shows what is best"
        ) from error


def of(experiment: Experiment) -> Layout:
    """CPUs of each role, all of which the kernel allows us; a fault of the experiment where it asks for others."""
    machine = topology.this()
    asked = experiment.keys.cpus
    try:
        if not isinstance(asked, CpuLists):
            return cores.lay_out(machine, asked)
        lists = {Role(field.name): topology.parse_list(getattr(asked, field.name)) for field in fields(asked)}
        return cores.listed(machine, lists)
    except LayoutError as error:
        remedy = f"this process may use CPU {topology.format_list(machine.allowed)}: see lab cpus, and docs/cpus.md"
        raise experiment.fault("cpus", str(error), remedy) from error
