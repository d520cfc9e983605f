"""From an experiment file to a specification: every name in it found and checked before anything starts."""

import dataclasses
from pathlib import Path

import docker

from lab import cores, host, images, plan, store, versions
from lab.cores import Layout
from lab.experiment import CpuLists, Experiment
from lab.images import Built, Listen, Recipe, Workshop
from lab.model import Role
from lab.runner import PROBE, Specification

CONFIGURATION = images.FOLDER / "kamailio" / "etc"
SCENARIOS = images.FOLDER / "sipp" / "scenarios"


def specify(
    experiment: Experiment,
    client: docker.DockerClient,
    *,
    kamailio_source: Path | None = None,
) -> Specification:
    """Check the experiment against this tree and machine, and decide everything."""
    recipe, release, engines = _kamailio(experiment, kamailio_source)
    scenario = _scenario(experiment)
    layout = _layout(experiment)
    routings = {name: _routing(experiment, name) for name in experiment.routings}
    configuration = _configuration(experiment)
    children = experiment.keys.children
    decided = plan.make(
        experiment,
        engines=engines,
        kamailio=release,
        scenario=plan.read_scenario(scenario),
        children=len(layout.cpus[Role.KAMAILIO]) if children == "auto" else children,
        inputs={
            "scenario": store.digest(scenario),
            "configuration": store.digest(configuration),
            **{f"routing {name}": store.digest(folder) for name, folder in routings.items()},
        },
    )

    def make_images(listen: Listen) -> dict[str, Built]:
        workshop = Workshop(client, listen)
        return {one.folder: workshop.ensure(one) for one in images.all_recipes(recipe)}

    return Specification(decided, experiment.text, layout, make_images, configuration, routings, scenario)


def _kamailio(experiment: Experiment, source: Path | None) -> tuple[Recipe, str, list[str]]:
    """What is measured: the recipe, its name, the engines that it has."""
    known = versions.load().kamailio
    default = versions.load().default_kamailio
    if source is not None:
        recipe = images.kamailio_from(source)
        return recipe, recipe.tag.partition(":")[2], known[default].engines
    release = experiment.keys.kamailio or default
    if release not in known:
        raise experiment.fault("kamailio", f"no release {release!r}", f"there are: {', '.join(known)}")
    return images.kamailio(release), release, known[release].engines


def _routing(experiment: Experiment, name: str) -> Path:
    """Ours by its name, or the user's folder, seen from the experiment file."""
    folder = CONFIGURATION / name if "/" not in name else experiment.resolve(name)
    if not folder.is_dir():
        ours = sorted(path.name for path in CONFIGURATION.iterdir() if path.is_dir())
        remedy = f"ours: {', '.join(ours)}; or a folder of scripts, with a '/' in its name"
        raise experiment.fault("routing", f"no folder {folder}", remedy)
    return folder


def _configuration(experiment: Experiment) -> Path:
    if not experiment.keys.configuration:
        return CONFIGURATION / "kamailio.cfg"
    path = experiment.resolve(experiment.keys.configuration)
    if not path.is_file():
        raise experiment.fault("configuration", f"no file {path}")
    return path


def _scenario(experiment: Experiment) -> Path:
    name = experiment.keys.scenario
    path = experiment.resolve(name) if name.endswith(".xml") else SCENARIOS / f"{name}.xml"
    if not path.is_file():
        ours = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
        remedy = f"ours: {', '.join(ours)}; or the path of a SIPp scenario (.xml)"
        raise experiment.fault("scenario", f"no scenario file {path}", remedy)
    if path.stem == PROBE.stem:
        raise experiment.fault("scenario", f"the name {PROBE.stem!r} is the engine proof's", "give it another name")
    return path


def _layout(experiment: Experiment) -> Layout:
    """CPUs of each role, all of which the kernel must allow."""
    allowed = host.allowed_cpus()
    asked = experiment.keys.cpus
    if not isinstance(asked, CpuLists):
        return cores.shared(allowed) if asked == "shared" else cores.auto(allowed)
    lists = {Role(field.name): getattr(asked, field.name) for field in dataclasses.fields(asked)}
    layout = Layout("lists", {role: cores.parse_list(text) for role, text in lists.items()})
    absent = sorted(layout.all - set(allowed))
    if absent:
        problem = f"CPU {', '.join(map(str, absent))} is not allowed here"
        raise experiment.fault("cpus", problem, f"this process may use {cores.format_list(allowed)}")
    return layout
