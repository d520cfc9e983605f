"""What Kamailio's preprocessor leaves of a configuration, for releases that cannot print it (before 5.6). Pure.

It knows the directives of Kamailio 5 that decide by name, and refuses a configuration that uses another one: what it
would leave of that is not known. Its answers are tested against those of releases that print their own.
"""

import re
from collections.abc import Iterator, Mapping

from lab.errors import TestbedError

_DIRECTIVE = re.compile(r"^\s*(?:#!|!!)([a-z_]+)\b\s*(\w*)")
_INCLUDE = re.compile(r'^\s*(?:#!|!!)?(include_file|import_file)\s+"?([^"\s]+?)"?\s*(?:(?:#|//).*)?$')
_SUBSTITUTION = re.compile(r'^\s*(?:#!|!!)subst(?:defs?)?\s+"(.)(.*?)\1(.*?)\1\w*"', re.MULTILINE)
# Strings and comments to the end of a line may hold what begins and ends the other comments.
_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|#(?!!).*|//.*|/\*[\s\S]*?\*/')
_DEFINE = {"define", "trydef", "trydefine", "redef", "redefine"}
_SUBSTITUTE = {"subst", "substdef", "substdefs"}  # all but the first define the name, too


def evaluate(files: Mapping[str, str], main: str, arguments: list[str]) -> str:
    """The lines of `main` that count, with those of the files that it includes in their place."""
    defines = {value.partition("=")[0] for value in _values(arguments, "-A")}
    return "\n".join(_lines(files, main, defines, {}))


def substitutions(text: str) -> dict[str, str]:
    """What stands for a name, by #!subst "|NAME|value|" and its kin."""
    return {name: value for _, name, value in _SUBSTITUTION.findall(text)}


def _values(arguments: list[str], option: str) -> Iterator[str]:
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            yield arguments[place + 1]
        elif argument.startswith(option) and len(argument) > len(option):
            yield argument[len(option) :]


def _lines(files: Mapping[str, str], name: str, defines: set[str], substituted: dict[str, str]) -> Iterator[str]:
    if name not in files:
        raise TestbedError(f"the configuration includes {name}, which the engine proof has not got")
    open_: list[bool] = []  # of each #!ifdef around a line, whether its lines count
    for line in _COMMENT.sub(_kept, files[name]).splitlines():
        directive, included = _DIRECTIVE.match(line), _INCLUDE.match(line)
        if directive and not included:
            _obey(directive[1], directive[2], open_, defines)
        if not all(open_):
            continue
        if included:
            path = substituted.get(included[2], included[2])
            path = path if path.startswith("/") else f"{name.rpartition('/')[0]}/{path}"
            if path in files or included[1] == "include_file":  # what is imported need not be there
                # Without itself: a file that includes itself would have no end.
                yield from _lines({**files, name: ""}, path, defines, substituted)
        elif not directive or directive[1] in _SUBSTITUTE:
            names = substitutions(line)
            substituted.update(names)
            defines.update(names if directive and directive[1] != "subst" else ())
            yield line


def _kept(found: re.Match[str]) -> str:
    """A comment over several lines leaves its lines; all else stays."""
    return "\n" * found[0].count("\n") if found[0].startswith("/*") else found[0]


def _obey(word: str, define: str, open_: list[bool], defines: set[str]) -> None:
    """What a directive does to the conditions that are open, and to what is defined."""
    if word in {"ifdef", "ifndef"}:
        open_.append((define in defines) == (word == "ifdef"))
    elif word == "else" and open_:
        open_[-1] = not open_[-1]
    elif word == "endif" and open_:
        open_.pop()
    elif word in _DEFINE and all(open_):
        defines.add(define)
    elif word not in {*_DEFINE, *_SUBSTITUTE, "else", "endif"}:
        raise TestbedError(f"the configuration uses #!{word}, which the engine proof does not understand")
