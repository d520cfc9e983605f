"""A machine made of stubs, for the tests of our shell scripts: every call of a command is written down."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]

PARTS = (
    *("justw", "setup/machine.sh", "images/base/bootstrap"),
    *("requirements.txt", "requirements-tools.txt", "pyproject.toml"),
)
# What every Debian has; nothing else of this machine can be seen by the scripts.
ESSENTIAL = (
    *("awk", "bash", "cat", "cut", "date", "dirname", "env", "flock", "head", "mkdir", "mktemp", "rm", "sed"),
    *("setsid", "sha256sum", "sleep", "sort", "tail", "touch", "cp", "chmod"),
)

PYTHON = """
case $* in
  *sys.executable*) [[ ! -e $STATE/python-is-old ]] && echo "$0" ;;
  *ensurepip*) [[ ! -e $STATE/no-venv ]] ;;
  *"%d.%d"*) echo 3.12 ;;
  "-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
  "-m pip"*) [[ ! -e $STATE/no-network ]] && cp "$BIN"/tool/{uv,just} "$(dirname "$0")" ;;
esac
"""
UV = """
case $1 in
  venv) mkdir -p "${@: -1}/bin" && touch "${@: -1}/bin/python" && chmod +x "${@: -1}/bin/python" ;;
  pip) [[ ! -e $STATE/no-network ]] && cp "$BIN/tool/lab" "$4/bin/lab" ;;
esac
"""
LAB = """
printf '<%s>' "$@"; echo; echo "$$ $PWD"; exit "${LAB_EXIT:-0}"
"""
DOCKER = """
case "$*" in
  version*) [[ ! -e $STATE/denied ]] || { echo "permission denied while trying to connect" >&2; exit 1; }
    [[ -e $STATE/engine ]] && cat "$STATE/engine" ;;
  "compose version --short") cat "$STATE/compose" ;;
  "buildx version") [[ -e $STATE/buildx ]] ;;
esac
"""
APT_GET = """
case "$*" in
  indextargets*) cat "$STATE/sources" ;;
  *download*) for name in "${@: -2}"; do touch "${name}_1_all.deb"; done; cat "$PWD/next.list" >>"$STATE/calls" ;;
  *install*) [[ ! -e $STATE/no-network ]] || { echo "E: no network" >&2; exit 100; }
    [[ "$*" != *docker.io* ]] || { cp "$BIN/tool/dockerd" "$BIN"; cp "$BIN/tool/docker" "$BIN"; }
    [[ "$*" != *compose* ]] || echo 2.30.0 >"$STATE/compose"
    [[ "$*" != *buildx* ]] || touch "$STATE/buildx"
    [[ "$*" != *python* ]] || rm -f "$STATE/no-venv" ;;
esac
"""
APT_CACHE = """
version=$(sed -n "s/^$2 //p" "$STATE/packages")
echo "$2:"; echo "  Installed: (none)"; echo "  Candidate: ${version:-(none)}"
"""
STARTS = 'echo 24.0.7 >"$STATE/engine"'

RELEASES = {
    "bookworm": ("debian", "12", "docker-compose 1.29.2-3"),
    "trixie": ("debian", "13", "docker-cli 26.1.5\ndocker-compose 2.26.1-4\ndocker-buildx 0.13.1"),
    "noble": ("ubuntu", "24.04", "docker-compose 1.29.2-6\ndocker-compose-v2 2.27.1\ndocker-buildx 0.14.1"),
    "forty": ("fedora", "40", ""),
}


class Machine:
    """A folder that plays a whole machine: its commands, its distribution, and a copy of the project on it."""

    def __init__(self, folder: Path) -> None:
        """Start bare, but for a fitting Python; as root on Debian 13."""
        self.bin, self.state, self.project = folder / "bin", folder / "state", folder / "a project"
        for place in (self.bin / "tool", self.state):
            place.mkdir(parents=True)
        for part in PARTS:
            (self.project / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, self.project / part)
        for name in ESSENTIAL:
            (self.bin / name).symlink_to(shutil.which(name) or f"/missing/{name}")
        self.command("python3", PYTHON)
        self.command("apt-get", APT_GET)
        self.command("apt-cache", APT_CACHE)
        self.command("dpkg", "exit 1")
        self.command("service", STARTS)
        self.command("systemctl", STARTS)
        for name, text in {"uv": UV, "just": "", "lab": LAB, "docker": DOCKER, "dockerd": STARTS}.items():
            self.command(f"tool/{name}", text)
        self.become("root")
        self.distribution("trixie")

    def command(self, name: str, text: str) -> None:
        """Put a stub into PATH; a call of it is written down."""
        path = self.bin / name
        path.write_text(f'#!{shutil.which("bash")}\necho "{path.name} $*" >>"$STATE/calls"\n{text}\n')
        path.chmod(0o755)

    def become(self, user: str) -> None:
        """Be root or somebody else."""
        number = 0 if user == "root" else 1000
        (self.bin / "id").write_text(f"#!/bin/sh\n[ $1 = -u ] && echo {number} || echo {user}\n")
        (self.bin / "id").chmod(0o755)

    def distribution(self, codename: str) -> None:
        """Be another distribution, with what its package lists offer."""
        name, version, packages = RELEASES[codename]
        (self.state / "sources").write_text(
            f"vendor main http://third.example/\n{codename} stable http://engine.example/\n"
            f"{codename} main http://mirror.example/{name}/\n{codename}-security main http://mirror.example/fixes/\n"
        )
        (self.state / "packages").write_text(packages + "\n")
        (self.state / "os-release").write_text(f'ID={name}\nVERSION_ID="{version}"\nVERSION_CODENAME={codename}\n')

    def has(self, **files: str) -> None:
        """Set facts that the stubs look at."""
        for name, text in files.items():
            (self.state / name.replace("_", "-")).write_text(text)

    def has_engine(self, engine: str = "20.10.24", compose: str = "2.26.1-4", buildx: str = "yes") -> None:
        """Have a Docker Engine; an empty string stands for a plugin that is not there."""
        shutil.copy(self.bin / "tool/docker", self.bin)
        shutil.copy(self.bin / "tool/dockerd", self.bin)
        facts = {"engine": engine, "compose": compose, "buildx": buildx}
        self.has(**{name: text for name, text in facts.items() if text})

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of this machine's but its essential commands."""
        own = {"PATH": str(self.bin), "BIN": str(self.bin), "STATE": str(self.state), "TMPDIR": str(self.state)}
        seams = {"JUSTW_OS_RELEASE": str(self.state / "os-release"), "JUSTW_PATIENCE_SECONDS": "1"}
        return own | seams | more

    def run(
        self, script: str, *arguments: str, folder: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the project to its end."""
        command = [str(self.project / script), *arguments]
        environment = self.environment(**more)
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)

    def justw(self, *arguments: str, folder: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Call justw and wait for it."""
        return self.run("justw", *arguments, folder=folder, **more)

    def calls(self) -> list[str]:
        """What was called since the last question."""
        path = self.state / "calls"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()
