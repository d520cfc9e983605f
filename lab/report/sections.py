"""What a report shows, in the order in which an engineer asks."""

from collections.abc import Iterator

from lab.report import checks, costs, machine, page_of_2018, times
from lab.report.section import Section
from lab.report.told import Told


def all_of(told: Told) -> Iterator[Section]:
    """Each is a sentence on what to see, a table, and mostly a figure; what a run has nothing of is left out."""
    yield from times.ratios(told)
    yield from times.distributions(told)
    yield from times.rounds(told)
    yield from costs.replies(told)
    yield from costs.cpu_time(told)
    yield from times.releases(told)
    yield from machine.cpus_of(told.folder)
    yield from checks.validity(told)
    yield from checks.observer(told)
    yield from page_of_2018.sections(told)
    yield from machine.environment_of(told.folder, told.plan)
