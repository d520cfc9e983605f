"""A report's page in a real browser: Debian's chromium, headless, as somebody would open it from a disk."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

PHONE, DESKTOP = 390, 1100  # px wide
HEIGHT = 900
NAMES = ("google-chrome", "chromium", "chromium-browser")

# Of each figure: its name, its size, how much is drawn, the size of its smallest letters as they are on the screen.
_FIGURES = """
() => [...document.querySelectorAll("svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  const letters = [...svg.querySelectorAll("text")].map(text =>
    parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b));
  return [svg.getAttribute("aria-label"), box.width, box.height,
          svg.querySelectorAll("path, use, rect").length, Math.min(...letters)];
})
"""
_COLOURS = """
() => ["--paper", "--ink", "--soft", "--bad", ...Array.from({length: 8}, (_, number) => `--c${number}`)].map(name => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return [name, found];
})
"""


@dataclass(frozen=True)
class Figure:
    """A figure as it is rendered; lengths in px."""

    name: str
    width: float
    height: float
    drawn: int  # shapes
    letters: float  # size of the smallest


@dataclass
class Opened:
    """A page that is open, with all that it has said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)  # on its console, or as an error
    asked: list[str] = field(default_factory=list)  # addresses

    @property
    def figures(self) -> list[Figure]:
        """In their order."""
        return [Figure(*found) for found in self.page.evaluate(_FIGURES)]

    @property
    def overflow(self) -> int:
        """By how many px it is wider than its window."""
        return int(self.page.evaluate("() => document.documentElement.scrollWidth - innerWidth"))

    def contrasts(self) -> dict[str, float]:
        """Of each colour of its style sheet to the paper, as WCAG 2 has it: from 1 to 21."""
        colours = {str(name): _luminance(str(colour)) for name, colour in self.page.evaluate(_COLOURS)}
        paper = colours.pop("--paper")
        return {name: (max(found, paper) + 0.05) / (min(found, paper) + 0.05) for name, found in colours.items()}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The one that is installed; justw --browser sees to it."""
    found = next((name for name in filter(None, map(shutil.which, NAMES)) if _runs(name)), None)
    assert found, "no chromium here: ./justw --browser"
    with sync_playwright() as driver:
        # No sandbox: it does not start as root otherwise. The pages are our own.
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def _runs(program: str) -> bool:
    """Ubuntu's is a stub that asks for snap."""
    return subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0


@contextmanager
def opened(
    browser: Browser, file: Path, width: int = DESKTOP, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Opened]:
    """A page of a file, in a window of that width."""
    page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(file.as_uri(), wait_until="load")
    yield found
    page.close()


def _luminance(colour: str) -> float:
    """Relative luminance of rgb(r, g, b), as WCAG 2 defines it."""
    linear = []
    for part in re.findall(r"[\d.]+", colour)[:3]:
        share = float(part) / 255
        linear.append(share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
