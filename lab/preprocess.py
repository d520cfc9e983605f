"""What Kamailio's preprocessor leaves of a configuration, for releases that cannot print it (before 5.6). Pure.

It knows what configurations of this lab use: #!define, #!ifdef, #!ifndef, #!else, #!endif, include_file, import_file,
and of the command line -A and --substdefs. Its answers are tested against those of releases that print their own.
"""

import re
from collections.abc import Iterator, Mapping

from lab.errors import TestbedError

_DIRECTIVE = re.compile(r"^\s*(?:#!|!!)(define|trydef|ifdef|ifndef|else|endif)\b\s*(\w*)")
_INCLUDE = re.compile(r'^\s*(?:include_file|import_file|#!include_file)\s+"?([^"\n]+?)"?\s*$')


def evaluate(files: Mapping[str, str], main: str, arguments: list[str]) -> str:
    """The lines of `main` that count, with those of the files that it includes in their place."""
    defines = {value.partition("=")[0] for value in _values(arguments, "-A")}
    return "\n".join(_lines(files, main, defines, substitutions(arguments)))


def substitutions(arguments: list[str]) -> dict[str, str]:
    """What stands for a name, by --substdefs=|NAME|value|."""
    found = (re.fullmatch(r"--substdefs?=(.)(.*?)\1(.*?)\1\w*", argument) for argument in arguments)
    return {each[2]: each[3] for each in found if each}


def _values(arguments: list[str], option: str) -> Iterator[str]:
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            yield arguments[place + 1]
        elif argument.startswith(option) and len(argument) > len(option):
            yield argument[len(option) :]


def _lines(files: Mapping[str, str], name: str, defines: set[str], substituted: Mapping[str, str]) -> Iterator[str]:
    if name not in files:
        raise TestbedError(f"the configuration includes {name}, which the engine proof has not got")
    open_: list[bool] = []  # of each #!ifdef around a line, whether its lines count
    for line in files[name].splitlines():
        found = _DIRECTIVE.match(line)
        if found:
            _obey(found[1], found[2], open_, defines)
        elif all(open_):
            path = _included(line, name, substituted)
            if path is None:
                yield line
            elif path in files or not line.lstrip().startswith("import"):  # what is imported need not be there
                # Without itself: a file that includes itself would have no end.
                yield from _lines({**files, name: ""}, path, defines, substituted)


def _obey(word: str, define: str, open_: list[bool], defines: set[str]) -> None:
    """What a directive does to the conditions that are open, and to what is defined."""
    if word in {"ifdef", "ifndef"}:
        open_.append((define in defines) == (word == "ifdef"))
    elif word == "else" and open_:
        open_[-1] = not open_[-1]
    elif word == "endif" and open_:
        open_.pop()
    elif word in {"define", "trydef"} and all(open_):
        defines.add(define)


def _included(line: str, name: str, substituted: Mapping[str, str]) -> str | None:
    """The file that a line of the file `name` includes; None where it includes none."""
    found = _INCLUDE.match(line)
    if not found:
        return None
    path = substituted.get(found[1], found[1])
    return path if path.startswith("/") else f"{name.rpartition('/')[0]}/{path}"
