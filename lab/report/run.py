"""A run's folder -> its report."""

from pathlib import Path

from lab import experiment, figures, frames, store, summary, versions
from lab.model import Plan
from lab.report import sections, story, view
from lab.report.page import Report
from lab.report.told import Told
from lab.summary import Summary


def build(folder: Path, plan: Plan, found: Summary) -> Report:
    """Everything that is shown of it, from its frames."""
    loaded = frames.load(folder, summary.MESSAGE_COLUMNS)
    timed = summary.timed_slices(plan, loaded, complete=store.status(folder).complete)
    counted = loaded.messages[loaded.messages["slice"].isin(timed["slice"])]
    told = Told(folder, plan, found, loaded.slices, timed, figures.first_transmissions(counted))
    shown = view.build(found, plan, folder)
    return Report(
        run=folder.name,
        title=shown.title,
        design=". ".join(filter(None, (shown.design, shown.cpus, shown.verdict))),
        answers=story.answers(found, plan),
        valid=found.valid,
        sections=tuple(sections.all_of(told)),
        again=_again(folder, plan),
    )


def _again(folder: Path, plan: Plan) -> tuple[str, ...]:
    """The command that did it; of an experiment of ours by its name, of any other by what the run has kept of it."""
    kept = folder / "evidence" / "experiment.toml"
    text = kept.read_text(encoding="utf-8") if kept.is_file() else ""
    if command := experiment.command_of(text):
        return ("./justw", *command)
    ours = Path("experiments") / f"{plan.experiment}.toml"
    place = versions.ROOT / ours
    same = place.is_file() and place.read_text(encoding="utf-8") == text
    given = ("--kamailio-source", "SOURCE") if any(name.startswith("kamailio ") for name in plan.inputs) else ()
    return ("./justw", "lab", "run", str(ours if same else f"results/{folder.name}/evidence/experiment.toml"), *given)
