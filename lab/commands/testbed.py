"""Commands about images and the testbed by hand: images, engines, up, down."""

import argparse
import json
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from lab import arguments
from lab.errors import BadInputError, Exit, UnavailableError
from lab.output import listener, say

if TYPE_CHECKING:
    from lab.images import Recipe


def images(options: argparse.Namespace) -> int:
    """Build what is missing, and list."""
    from lab import host, images

    workshop = images.Workshop(host.engine(), listener())
    recipes = _recipes(options)
    for recipe in () if options.list else recipes:
        try:
            workshop.ensure(recipe)
        except UnavailableError as error:
            if not options.all:
                raise
            Console(stderr=True, highlight=False).print(f"! {error}", markup=False, soft_wrap=True)
    rows = [(recipe, workshop.built(recipe) if workshop.current(recipe) else None) for recipe in recipes]
    if options.json:
        say(json.dumps([{"tag": recipe.tag, "image": built and asdict(built)} for recipe, built in rows], indent=1))
    else:
        for recipe, built in rows:
            say(
                f"{recipe.tag:28} {built.size_bytes / 1e6:4.0f} MB  {built.version}"
                if built
                else f"{recipe.tag:28} missing, or out of date: lab images"
            )
    return Exit.OK


def export_images(options: argparse.Namespace) -> int:
    """Built images -> a file."""
    from lab import host, image_files, images

    options.kamailio_source = None
    workshop = images.Workshop(host.engine(), listener())
    for tag in image_files.export(workshop, _recipes(options), options.file):
        say(tag)
    return Exit.OK


def import_images(options: argparse.Namespace) -> int:
    """A file -> images on this engine."""
    from lab import host, image_files

    host.engine()
    for tag in image_files.load(options.file):
        say(tag)
    return Exit.OK


def engines(options: argparse.Namespace) -> int:
    """The matrix of engines and releases."""
    from lab import host, images, matrix

    places = list(matrix.places(images.Workshop(host.engine(), listener())))
    if options.json:
        say(json.dumps([asdict(place) for place in places], indent=1))
        return Exit.OK
    engines = list(dict.fromkeys(place.engine for place in places))
    width = max(map(len, (*matrix.State, *engines))) + 2
    say(f"{'Kamailio':10} {'suite':10} " + "".join(f"{engine:{width}}" for engine in engines).rstrip())
    for release in dict.fromkeys(place.kamailio for place in places):
        row = [place for place in places if place.kamailio == release]
        states = ("" if place.state == matrix.State.NONE else place.state for place in row)
        say(f"{release:10} {row[0].suite:10} " + "".join(f"{state:{width}}" for state in states).rstrip())
    for place in places:
        if place.why:
            say(f"Kamailio {place.kamailio}, {place.engine}: {place.state}: {place.why}")
        for limit in place.limits:
            say(f"Kamailio {place.kamailio}, {place.engine}: {limit}")
    for variant in dict.fromkeys(f"Kamailio {place.kamailio} {place.variant}" for place in places if place.variant):
        say(variant)
    return Exit.OK


def _recipes(options: argparse.Namespace) -> "tuple[Recipe, ...]":
    """What `lab images` is about: the testbed's, every release's, or those of a given source."""
    from lab import images

    by_hand = images.by_hand()
    if options.kamailio_source:
        return (images.kamailio_from(options.kamailio_source, options.kamailio_suite), *by_hand[1:])
    return images.everything() if options.all else by_hand


def up(_: argparse.Namespace) -> int:
    """Raise the testbed by hand."""
    from lab import by_hand, host, images

    workshop = images.Workshop(host.engine(), listener())
    for recipe in images.by_hand():
        workshop.ensure(recipe)
    by_hand.up(workshop.client)
    say("MySQL and Kamailio are up; registrations: docker compose run --rm sipp; down again: lab down")
    return Exit.OK


def down(_: argparse.Namespace) -> int:
    """Take it down."""
    from lab import by_hand, host

    by_hand.down(host.engine())
    return Exit.OK


def clean(options: argparse.Namespace) -> int:
    """What runs that were killed have left: list it and, where that is wanted, remove it."""
    from lab import host, leftovers, store

    client, run = host.engine(), options.run or ""
    if run:
        with suppress(BadInputError):  # its folder may be elsewhere, or gone
            run = store.find(arguments.RESULTS, run).name
    found = leftovers.find(client, run)
    if options.json:
        say(json.dumps([asdict(one) for one in found], indent=1))
    for one in () if options.json else found:
        said = "its run goes on: left alone" if one.living else "is removed" if options.yes else "to be removed"
        say(f"{one.run:40} {one.kind:10} {one.name}: {said}")
    if options.yes:
        leftovers.remove(client, found)
    if not found and not options.json:
        say(f"nothing is left of {run}" if run else "no run has left anything")
    elif any(not one.living for one in found) and not options.yes and not options.json:
        say("lab clean --yes removes this; results stay in any case")
    return Exit.OK
