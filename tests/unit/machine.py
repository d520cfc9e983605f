"""What a run's folder says of the machine that it was made on, for folders that were made without one."""

import json
from pathlib import Path

FACTS: dict[str, object] = {
    "cpu_model": "a processor",
    "cpus_allowed": "0-1",
    "memory_bytes": 8 * 10**9,
    "kernel": "6.1.0",
    "system": "Debian GNU/Linux 12 (bookworm)",
    "architecture": "x86_64",
    "engine": "20.10.24",
    "compose": "2.26.1",
    "virtualisation": "kvm",
}
CPUS = {"kamailio": [1], "mysql": [0], "sipp": [0], "driver": [0]}


def describe(folder: Path, **facts: object) -> Path:
    """Put host.json, layout.json and images.json into a run's evidence, some facts being others."""
    layout = {"profile": "auto", "cpus": CPUS, "idle": [], "notes": []}
    images = {"sipp": {"id": "sha256:1"}, "database": {"mysql": {"id": "sha256:2"}}, "kamailio": {}}
    for name, content in {"host": FACTS | facts, "layout": layout, "images": images}.items():
        (folder / "evidence" / f"{name}.json").write_text(json.dumps(content))
    return folder
