"""Small files in which a kernel shows, and lets us set, one value: those of /sys and /proc."""

import re
from pathlib import Path


def value(path: Path) -> str:
    """What it holds; of a choice (always [madvise] never) the chosen one; '' where it is absent or not ours to read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()  # a process may call itself anything
    except OSError:
        return ""
    chosen = re.search(r"\[(\S+)\]", text)
    return chosen[1] if chosen else text


def values(root: Path, pattern: str) -> dict[Path, str]:
    """Each file below `root` that fits the pattern, in order, with what it holds; none that shows nothing."""
    return {path: shown for path in sorted(root.glob(pattern)) if (shown := value(path))}
