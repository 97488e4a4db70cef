"""Make the screenshots of `guerdon view` in docs/how-to/look-at-a-run/, in Debian's Chromium.

    python tests/docs/screenshots.py runs/r1-zero-mini

RUN is a finished run of the recipe `r1-zero-mini`.
"""

from __future__ import annotations

import json
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
    "compare": ("compare?b_run=tagged-answer.jsonl&a_run=any-answer.jsonl", "light", 1180, 860),
    "phone": ("rollouts?stage=zero&entry=math&value_max=0", "dark", 400, 860),
}
"""Pages by the name of their picture: place, colours, width and height."""

RUBRICS = {"any-answer": "math.extraction=auto", "tagged-answer": "math.extraction=answer"}
"""Two rubrics, by the names of the files that they score: a param of `math`."""


@contextmanager
def viewer(run: Path, scored: list[Path], cache: Path) -> Iterator[str]:
    """Serve the run and files of scored completions. Yields the viewer's address."""
    command = [sys.executable, "-m", "guerdon", "view", str(run), *map(str, scored), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"XDG_CACHE_HOME": str(cache)}
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("Viewing on "):
            raise InfrastructureError("the viewer did not start.")
        yield line.removeprefix("Viewing on ").strip()
        server.terminate()


def score(run: Path, folder: Path) -> list[Path]:
    """Score English rollouts of the run's training by both rubrics. Return the files."""
    lines = (run / "stages" / "zero" / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    english = [line for line in lines if json.loads(line)["columns"].get("language") == "en"][:1500]
    rollouts = folder / "rollouts.jsonl"
    rollouts.write_text("\n".join(english) + "\n", encoding="utf-8")
    files = []
    for name, param in RUBRICS.items():
        files.append(folder / f"{name}.jsonl")
        command = [sys.executable, "-m", "guerdon", "score", str(rollouts), "--use", "math", "--param", param]
        subprocess.run([*command, "-o", str(files[-1])], check=True, stdout=subprocess.DEVNULL)
    return files


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False, exists=True))
def main(run: Path) -> None:
    """Write a picture of each page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        cache = Path(made)
        scored = score(run, cache)
        for one in (run, *scored):
            grow_fully(RunIndex(one, cache / "guerdon" / "index"))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with viewer(run, scored, cache) as address:
            for name, (place, colours, width, height) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
                shown = scored[0] if name == "compare" else run.resolve()
                page.goto(f"{address}/runs/{quote(shown.name)}/{place}", wait_until="networkidle")
                page.screenshot(path=FOLDER / f"{name}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
