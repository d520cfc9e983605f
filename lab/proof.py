"""The engine proof of a start: Kamailio's own word, and a marker that only the right script sets. Never the file name.

Kamailio silently ignores a KEMI engine when the configuration has a request_route, and an engine whose script throws
answers nothing and looks fast: so both the loaded configuration and a live reply are asked.
"""

import re
from dataclasses import dataclass

from lab.errors import TestbedError
from lab.model import NATIVE
from lab.sampling import parse_processes, sections

# Runs inside Kamailio's container. Kamailio itself prints the configuration, with the arguments of the very process
# that runs: includes are in it and what is switched off is not. (It reports a parse error at the end of the file all
# the same, hence the `|| true`; and it does not flush what it prints, hence stdbuf.)
SCRIPT = """
set -e
echo '== modules'; timeout 10 kamcmd core.modules
echo '== processes'; timeout 10 kamcmd core.psx
echo '== arguments'; tr '\\0' '\\n' </proc/1/cmdline
echo '== configuration'
xargs -0 -a /proc/1/cmdline sh -c 'exec stdbuf -o0 "$0" --cfg-print "$@"' 2>/dev/null || true
echo
echo '== allowed'; grep -H Cpus_allowed_list /proc/[0-9]*/status || true
echo '== end'
"""

# What Kamailio calls an engine (cfgengine), the module that brings it, and what names its script. A row an engine.
_KEMI = {
    "lua": ("lua", "app_lua", "load"),
    "python3": ("python", "app_python3", "load"),
}


@dataclass(frozen=True, slots=True)
class Word:
    """Kamailio's own word about itself."""

    engine: str
    script: str
    request_route: bool
    processes: dict[int, str]
    allowed: dict[int, str]  # pid -> CPUs, in the kernel's list form


def parse(text: str) -> Word:
    """Output of SCRIPT -> what Kamailio says. A missing section is an error."""
    parts = sections(text, {"modules", "processes", "arguments", "configuration", "allowed"})
    configuration = re.sub(r"#.*", "", parts["configuration"])
    if "loadmodule" not in configuration:
        raise TestbedError("Kamailio does not print its configuration", detail=text[-2000:])
    engine, script = _engine(configuration, set(parts["modules"].split()), parts["arguments"])
    processes = parse_processes(parts["processes"])
    allowed = re.findall(r"^/proc/(\d+)/status:Cpus_allowed_list:\s*(\S+)$", parts["allowed"], re.MULTILINE)
    return Word(
        engine=engine,
        script=script,
        request_route=re.search(r"^\s*(request_route|route)\s*\{", configuration, re.MULTILINE) is not None,
        processes=processes,
        allowed={int(pid): cpus for pid, cpus in allowed if int(pid) in processes},
    )


def _engine(configuration: str, modules: set[str], arguments: str) -> tuple[str, str]:
    named = re.search(r'^\s*cfgengine\s*=?\s*"?(\w+)"?', configuration, re.MULTILINE)
    word = named[1] if named else NATIVE
    for engine, (name, module, parameter) in _KEMI.items():
        if word == name and module in modules:
            script = re.search(rf'modparam\(\s*"{module}"\s*,\s*"{parameter}"\s*,\s*([^)\s]+)\s*\)', configuration)
            return engine, _resolve(script[1], arguments) if script else ""
    return word, ""


def _resolve(value: str, arguments: str) -> str:
    """A quoted string as it is; a define by what the command line says (--substdefs=|NAME|value|)."""
    if value.startswith('"'):
        return value.strip('"')
    found = re.search(rf"\|{re.escape(value)}\|([^|]*)\|", arguments)
    return found[1] if found else ""
