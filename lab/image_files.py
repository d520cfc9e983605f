"""Built images as one file, and onto another engine: for a machine that reaches no package mirror.

The file is what `docker save` writes. Whoever loads images runs what is in them; all that is looked at here is that
they are the lab's by their names.
"""

import json
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import process, store
from lab.errors import BadInputError, SetupError
from lab.images import PROJECT, Recipe, Workshop

MOST_MANIFEST = 1 << 20  # bytes
NAME = "io.containerd.image.name"


def export(workshop: Workshop, recipes: Sequence[Recipe], file: Path) -> list[str]:
    """Write images to a file, with those that they are made from, so that they are current over there; their tags."""
    built = [recipe for recipe in recipes if workshop.current(recipe)]
    if missing := [recipe.tag for recipe in recipes if recipe not in built]:
        raise BadInputError(f"not built, or out of date: {', '.join(missing)}", remedy="lab images --all builds them")
    # An image is current by the ids of what it is made from.
    tags = sorted({tag for one in built for tag in (one.tag, one.base, *(need.tag for need in one.needs))})
    try:
        with store.atomically(file) as draft:
            process.run(["docker", "save", "--output", draft.name, *tags], what="saving images")
    except OSError as error:
        raise SetupError(f"{file}: cannot be written: {error}", remedy="name another file") from error
    return tags


def load(file: Path) -> list[str]:
    """Put a file's images onto the engine; their tags. Files with others than the lab's are refused."""
    tags = _tags(file)
    others = [tag for tag in tags if not tag.startswith(f"{PROJECT}/")]
    if others or not tags:
        raise BadInputError(f"{file}: holds {', '.join(others) or 'no image'}: only the lab's images are loaded")
    process.run(["docker", "load", "--input", str(file)], what="loading images")
    return tags


def _tags(file: Path) -> list[str]:
    """Names of the images in a file, by its own lists of them: engines read the one or the other."""
    try:
        lists = _lists(file)
        tags = {str(tag) for image in lists["manifest.json"] for tag in image["RepoTags"] or [image["Config"]]}
        if "index.json" in lists:
            names = [one.get("annotations", {}).get(NAME, one["digest"]) for one in lists["index.json"]["manifests"]]
            tags |= {str(name).removeprefix("docker.io/") for name in names}
        return sorted(tags)
    except (OSError, EOFError, tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        remedy = "lab export-images FILE writes one"
        raise BadInputError(f"{file}: no file of images: {error}", remedy=remedy) from error


def _lists(file: Path) -> dict[str, Any]:
    """Both lists, where they are there; each of them once, whatever way its name is written."""
    found: dict[str, Any] = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = posixpath.normpath(member.name).lstrip("/")
            if name in {"manifest.json", "index.json"}:
                content = archive.extractfile(member)
                if name in found or content is None or member.size > MOST_MANIFEST:
                    raise ValueError(f"{name} is no plain file, too large, or there twice")
                found[name] = json.loads(content.read())
    return found
