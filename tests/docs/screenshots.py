"""Make the screenshots of `guerdon view` in docs/how-to/look-at-a-run/, in Debian's Chromium.

    python tests/docs/screenshots.py runs/r1-zero-mini

RUN is a finished run of the recipe `r1-zero-mini`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import click
from playwright.sync_api import sync_playwright

from guerdon.errors import InfrastructureError
from guerdon.index import RunIndex, grow_fully

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "look-at-a-run"

SHOTS: dict[str, tuple[str, Literal["light", "dark"], int, int]] = {
    "overview": ("", "light", 1180, 860),
    "curves": ("curves?stage=zero", "dark", 1180, 860),
    "rollouts": (
        "rollouts?stage=zero&prompt_text=what&sort=reward&step_min=10&step_max=20",
        "light",
        1180,
        860,
    ),
    "group": ("group?stage=zero&step=10&group=1", "light", 1180, 860),
    "phone": ("rollouts?stage=zero&entry=math&value_max=0", "dark", 400, 860),
}
"""Pages by the name of their picture: place, colours, width and height."""


@contextmanager
def viewer(run: Path, cache: Path) -> Iterator[str]:
    """Serve the run. Yields the viewer's address."""
    command = [sys.executable, "-m", "guerdon", "view", str(run), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"XDG_CACHE_HOME": str(cache)}
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("Viewing on "):
            raise InfrastructureError("the viewer did not start.")
        yield line.removeprefix("Viewing on ").strip()
        server.terminate()


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(run: Path) -> None:
    """Write a picture of each page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        cache = Path(made)
        grow_fully(RunIndex(run, cache / "guerdon" / "index"))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with viewer(run, cache) as address:
            for name, (place, colours, width, height) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
                page.goto(f"{address}/runs/{quote(run.resolve().name)}/{place}", wait_until="networkidle")
                page.screenshot(path=FOLDER / f"{name}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
