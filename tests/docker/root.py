"""What takes root on this machine: file systems, signals to processes in containers, rules of the firewall."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def as_root(*command: str) -> None:
    """Run a command, which must succeed."""
    subprocess.run(command if os.geteuid() == 0 else ["sudo", "--non-interactive", *command], check=True)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", str(folder))
    try:
        yield
    finally:
        as_root("umount", str(folder))
