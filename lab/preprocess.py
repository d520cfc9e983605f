"""What Kamailio's preprocessor leaves of a configuration, for releases that cannot print it (before 5.6). Pure.

It knows what configurations of this lab use: #!define, #!ifdef, #!ifndef, #!else, #!endif, include_file, import_file,
and of the command line -A and --substdefs. Its answers are tested against those of releases that print their own.
"""

import re
from collections.abc import Iterator, Mapping

_DIRECTIVE = re.compile(r"^\s*(?:#!|!!)(define|trydef|ifdef|ifndef|else|endif)\b\s*(\w*)")
_INCLUDE = re.compile(r'^\s*(?:include_file|import_file|#!include_file)\s+"?([^"\n]+?)"?\s*$')


def evaluate(files: Mapping[str, str], main: str, arguments: list[str]) -> str:
    """The lines of `main` that count, those of the files that it includes in their place; quoted defines replaced."""
    defines = {value.partition("=")[0] for value in _values(arguments, "-A")}
    substitutions = (re.fullmatch(r"--substdefs?=(.)(.*?)\1(.*?)\1\w*", argument) for argument in arguments)
    substituted = {found[2]: found[3] for found in substitutions if found}
    return "\n".join(_lines(files, main, defines, substituted))


def _values(arguments: list[str], option: str) -> Iterator[str]:
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            yield arguments[place + 1]
        elif argument.startswith(option) and len(argument) > len(option):
            yield argument[len(option) :]


def _lines(files: Mapping[str, str], name: str, defines: set[str], substituted: Mapping[str, str]) -> Iterator[str]:
    open_: list[bool] = []  # of each #!ifdef around a line, whether its lines count
    for line in files.get(name, "").splitlines():
        found = _DIRECTIVE.match(line)
        if found:
            word, define = found.groups()
            if word in {"ifdef", "ifndef"}:
                open_.append((define in defines) == (word == "ifdef"))
            elif word == "else" and open_:
                open_[-1] = not open_[-1]
            elif word == "endif" and open_:
                open_.pop()
            elif word in {"define", "trydef"} and all(open_):
                defines.add(define)
        elif all(open_):
            include = _INCLUDE.match(line)
            if include:
                path = substituted.get(include[1], include[1])
                folder = "" if path.startswith("/") else f"{name.rpartition('/')[0]}/"
                yield from _lines(files, f"{folder}{path}", defines, substituted)
            else:
                yield line
