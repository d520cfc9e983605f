"""From an experiment file to a specification: every name in it found and checked before anything starts."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import docker

from lab import images, layouts, plan, planted, scenario, store, versions
from lab.errors import BadInputError, UnavailableError
from lab.experiment import Experiment
from lab.images import Built, Listen, Recipe, Workshop
from lab.model import Counting, Plan, Role, Scenario
from lab.planted import PlantError, Routing
from lab.runner import CONFIGURATION, PROBE, SCENARIOS, Asked, Images, Specification

UPSTREAM = "upstream"  # the routing that lies in Kamailio's image: see images/kamailio/upstream


def specify(
    experiment: Experiment,
    client: docker.DockerClient,
    *,
    given: Mapping[str, Recipe] | None = None,
    counting: tuple[Counting, int] | None = None,
) -> Specification:
    """Check the experiment against this tree and machine, and decide everything.

    `given` are Kamailios by the names that they shall have, instead of the releases that the file names. With
    `counting` its cells' instructions are counted, in so many fresh starts, and its rounds and slices are none.
    """
    recipes, releases = _kamailio(experiment, given or {})
    paths, scenarios = _scenarios(experiment)
    layout = layouts.of(experiment)
    routings = {name: routing for name in experiment.factor("routing") if (routing := _routing(experiment, name))}
    configurations = _configurations(experiment)
    decided = plan.make(
        experiment,
        releases=releases,
        scenarios=scenarios,
        children=len(layout.cpus[Role.KAMAILIO]),
        inputs={
            **{f"scenario {name}": store.digest(path) for name, path in paths.items()},
            **{f"configuration {path.name}": store.digest(path) for path in configurations},
            **{f"routing {name}": _digest(routing) for name, routing in routings.items()},
            **{f"kamailio {name}": recipe.tag for name, recipe in (given or {}).items()},
        },
    )

    if counting:
        decided = plan.counted(decided, *counting)
        recipes = {name: images.counter(recipe) for name, recipe in recipes.items()}

    def make_images(listen: Listen) -> Images:
        return _make_images(Workshop(client, listen), recipes, decided)

    return Specification(
        decided,
        experiment.text,
        layout,
        make_images,
        configurations,
        routings,
        tuple(dict.fromkeys(paths.values())),
        Asked(experiment.search),
    )


def _make_images(workshop: Workshop, recipes: Mapping[str, Recipe], decided: Plan) -> Images:
    """All that the plan needs; a release or a server that cannot be had is left out, if there is another."""
    unavailable: dict[str, str] = {}

    def make(wanted: Mapping[str, Recipe]) -> dict[str, Built]:
        built: dict[str, Built] = {}
        for name, recipe in wanted.items():
            try:
                built[name] = workshop.ensure(recipe)
            except UnavailableError as error:
                if len(wanted) == 1:
                    raise
                unavailable[name] = str(error)
        return built

    kamailio = make(recipes)
    return Images(
        kamailio=kamailio,
        database=make({server: images.database(server) for server in decided.databases}),
        unavailable=unavailable,
        sipp=workshop.ensure(images.sipp()),
        schemas={release: workshop.schema(built) for release, built in kamailio.items()},
        probes=workshop.ensure(images.probes()) if decided.counting and decided.counting.probes else None,
    )


def given(source: Path | None, suite: str) -> dict[str, Recipe]:
    """A Kamailio source that the user has named, by the name of its image; none where none was."""
    if suite and source is None:
        raise BadInputError("--kamailio-suite says what a source is built on", remedy="name one: --kamailio-source")
    if source is None:
        return {}
    recipe = images.kamailio_from(source, suite)
    return {recipe.tag.partition(":")[2]: recipe}


def _kamailio(experiment: Experiment, given: Mapping[str, Recipe]) -> tuple[dict[str, Recipe], dict[str, plan.Release]]:
    """What is measured: recipes, and what each has, by the names of the releases."""
    known = versions.load()
    if given:
        return dict(given), {name: _given_release(recipe) for name, recipe in given.items()}
    found = {}
    for name in experiment.factor("kamailio"):
        release = name or known.default_kamailio
        build = known.release(release)
        if build is None:
            remedy = f"there are: {', '.join(known.kamailio)}; each with {versions.UNOPTIMISED} behind it, too"
            raise experiment.fault("kamailio", f"no release {release!r}", remedy)
        found[release] = _release(build)
    return {name: images.kamailio(name) for name in found}, found


def _given_release(recipe: Recipe) -> plan.Release:
    """What is known of a Kamailio that was given: of a release all that is, whatever it is called here."""
    build = versions.load().release(recipe.tag.partition(":")[2])
    return _release(build) if build else plan.Release(recipe.engines)


def _release(build: versions.Build) -> plan.Release:
    return plan.Release(build.facts.engines, build.facts.broken, build.facts.ends, build.variant)


def _routing(experiment: Experiment, name: str) -> Routing | None:
    """Ours by its name, or the user's folder, seen from the experiment file. Upstream's lies in Kamailio's image."""
    base, usec = planted.split(name)
    if base == UPSTREAM:
        if usec:
            remedy = "copy the script that is to wait into a folder of your own"
            raise experiment.fault("routing", f"no wait can be planted into {UPSTREAM}, which is in the image", remedy)
        return None
    folder = CONFIGURATION / base if "/" not in base else experiment.resolve(base)
    if not folder.is_dir():
        ours = sorted(path.name for path in CONFIGURATION.iterdir() if path.is_dir())
        remedy = f"ours: {', '.join(ours)}, {UPSTREAM}; or a folder of scripts, with a '/' in its name"
        raise experiment.fault("routing", f"no folder {folder}", remedy)
    if usec:
        try:
            planted.check(folder, experiment.keys.engines)
        except PlantError as error:
            raise experiment.fault("routing", f"{name}: {error}", "see docs/resolution.md") from error
    return Routing(folder, usec)


def _digest(routing: Routing) -> str:
    """Of the scripts as the run will have them, with what is planted there."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "routing"
        planted.place(routing, copy)
        return store.digest(copy)


def _configurations(experiment: Experiment) -> tuple[Path, ...]:
    """Ours by their names, or the user's files: each by the name of its file."""
    found: dict[str, Path] = {}
    for name in experiment.factor("configuration"):
        file = plan.configuration_file(name)
        path = experiment.resolve(name) if plan.is_path(name) else CONFIGURATION / file
        if not path.is_file():
            ours = ", ".join(sorted(path.stem for path in CONFIGURATION.glob("*.cfg")))
            raise experiment.fault("configuration", f"no file {path}", f"ours: {ours}; or the path of a file")
        if found.setdefault(file, path) != path:
            problem = f"{found[file]} and {path} are both called {file!r}"
            raise experiment.fault("configuration", problem, "give one of them another name")
    return tuple(found.values())


def _scenarios(experiment: Experiment) -> tuple[dict[str, Path], dict[str, Scenario]]:
    """SIPp's files and what they declare, by the experiment's names; and those that set others up."""
    paths: dict[str, Path] = {}
    found: dict[str, Scenario] = {}
    places: dict[str, Path] = {}  # by what the run calls a scenario, and its copy of SIPp's file

    def add(key: str, path: Path) -> Scenario:
        declared = _scenario(experiment, path)
        found[key], paths[key] = declared, path.with_name(declared.file)
        for name, place in ((declared.name, path), (declared.file, paths[key])):
            if places.setdefault(name, place) != place:
                problem = f"{places[name]} and {place} are both called {name!r}"
                raise experiment.fault("scenario", problem, "give one of them another name")
        return declared

    for name in experiment.factor("scenario"):
        path = experiment.resolve(name) if name.endswith(".xml") else SCENARIOS / f"{name}.xml"
        declared = add(name, path)
        if declared.setup:
            add(declared.setup, path.with_name(f"{declared.setup}.xml"))
    return paths, found


def _scenario(experiment: Experiment, path: Path) -> Scenario:
    """One declaration; the file that SIPp plays is there, too."""
    if path.stem == PROBE.stem:
        raise experiment.fault("scenario", f"the name {PROBE.stem!r} is the engine proof's", "give it another name")
    if not path.is_file() and not path.with_suffix(".toml").is_file():
        ours = sorted(str(path.relative_to(SCENARIOS).with_suffix("")) for path in SCENARIOS.rglob("*.toml"))
        remedy = f"ours: {', '.join(ours)}; or the path of a SIPp scenario (.xml)"
        raise experiment.fault("scenario", f"no scenario file {path}", remedy)
    declared = scenario.read(path)
    if not path.with_name(declared.file).is_file():
        raise experiment.fault("scenario", f"no scenario file {path.with_name(declared.file)}")
    return declared
