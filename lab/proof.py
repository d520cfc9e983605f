"""The engine proof of a start: Kamailio's own word, and a marker that only the right script sets. Never the file name.

Kamailio silently ignores a KEMI engine when the configuration has a request_route, and an engine whose script throws
answers nothing and looks fast: so both the loaded configuration and a live reply are asked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lab import preprocess
from lab.errors import TestbedError
from lab.model import NATIVE
from lab.sampling import parse_processes, sections

# Runs inside Kamailio's container. Kamailio itself prints the configuration, with the arguments of the very process
# that runs: includes are in it and what is switched off is not. (It reports a parse error at the end of the file all
# the same, hence the `|| true`; and it does not flush what it prints, hence stdbuf.) Releases before 5.6 cannot: of
# those the files are taken, and lab.preprocess says what counts in them.
SCRIPT = """
set -e
kamailio() { sed -z -n '/kamailio$/,$p' /proc/1/cmdline; }  # valgrind's own arguments come before it
echo '== modules'; timeout 10 kamcmd core.modules || sed -n 's|.*/\\(\\w*\\)\\.so$|\\1|p' /proc/1/maps | sort -u
echo '== processes'; timeout 10 kamcmd core.psx
echo '== arguments'; kamailio | tr '\\0' '\\n'
echo '== configuration'
kamailio | xargs -0 sh -c 'exec stdbuf -o0 "$0" --cfg-print "$@"' 2>/dev/null || true
echo
echo '== files'
for file in /run/kamailio/*.cfg /etc/kamailio/*.cfg /etc/kamailio/*/*.cfg /usr/share/kemi-lab/upstream/*.cfg; do
  if [ -f "$file" ]; then echo "=== $file"; cat "$file"; echo; fi
done
echo '== end'
"""


@dataclass(frozen=True, slots=True)
class _Kemi:
    """How Kamailio calls an engine (cfgengine), and the module that brings it."""

    word: str
    module: str
    folder: str = ""  # part of the module's path that tells it from another of the same name


# What names the engine's script, in any of the modules.
_SCRIPT_PARAMETERS = "load|script_name"
# LuaJIT before Lua, which its module would pass for.
_KEMI = {
    "luajit": _Kemi("lua", "app_lua", "/luajit/"),
    "lua": _Kemi("lua", "app_lua"),
    "python": _Kemi("python", "app_python"),
    "python3": _Kemi("python", "app_python3"),
    "python3s": _Kemi("python", "app_python3s"),
    "jsdt": _Kemi("jsdt", "app_jsdt"),
    "ruby": _Kemi("ruby", "app_ruby"),
    "sqlang": _Kemi("sqlang", "app_sqlang"),
}


@dataclass(frozen=True, slots=True)
class Word:
    """Kamailio's own word about itself."""

    engine: str
    script: str
    request_route: bool
    processes: dict[int, str]


def parse(text: str) -> Word:
    """Output of SCRIPT -> what Kamailio says. A missing section is an error."""
    parts = sections(text, {"modules", "processes", "arguments", "configuration", "files"})
    configuration = parts["configuration"]
    if "loadmodule" not in configuration:
        configuration = _evaluated(parts["files"], parts["arguments"].splitlines())
    names = preprocess.substitutions(configuration)
    configuration = re.sub(r"#.*", "", configuration)
    if "loadmodule" not in configuration:
        raise TestbedError("Kamailio does not print its configuration", detail=text[-2000:])
    engine, script = _engine(configuration, set(parts["modules"].split()), names)
    return Word(
        engine=engine,
        script=script,
        request_route=re.search(r"^\s*(request_route|route)\s*\{", configuration, re.MULTILINE) is not None,
        processes=parse_processes(parts["processes"]),
    )


def _evaluated(files: str, arguments: list[str]) -> str:
    pieces = re.split(r"^=== (\S+)\n", files, flags=re.MULTILINE)[1:]
    main = arguments[arguments.index("-f") + 1] if "-f" in arguments else "/etc/kamailio/kamailio.cfg"
    return preprocess.evaluate(dict(zip(pieces[::2], pieces[1::2], strict=True)), main, arguments)


def _engine(configuration: str, modules: set[str], names: Mapping[str, str]) -> tuple[str, str]:
    """The engine that Kamailio has chosen, and the script that its module was given."""
    named = re.findall(r'^\s*cfgengine\s*=?\s*"?(\w+)"?', configuration, re.MULTILINE)
    word = named[-1] if named else NATIVE  # of several assignments the last one counts
    loaded = re.findall(r'^\s*loadmodule\s*\(?\s*"?([^"\s)]+)', configuration, re.MULTILINE)
    paths = {path.rpartition("/")[2].removesuffix(".so"): path for path in loaded}
    for engine, kemi in _KEMI.items():
        if word == kemi.word and kemi.module in modules and kemi.folder in paths.get(kemi.module, ""):
            pattern = rf'modparam\(\s*"{kemi.module}"\s*,\s*"(?:{_SCRIPT_PARAMETERS})"\s*,\s*([^)\s]+)\s*\)'
            script = re.search(pattern, configuration)
            return engine, _resolve(script[1], names) if script else ""
    return word, ""


def _resolve(value: str, names: Mapping[str, str]) -> str:
    """A name by what the configuration substitutes for it; otherwise a quoted string that is a path."""
    name = value.strip('"')
    return names.get(name, name if "/" in name else "")
