"""The examples of the README, as a reader would copy them, and the recipes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from pages import ROOT, blocks

from guerdon.cli.main import cli
from guerdon.plugins.discovery import Kind, installed_plugins


def block(language: str) -> str:
    (only,) = [block.text for block in blocks("README.md") if block.language == language]
    return only


def guerdon(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guerdon", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_readmes_verifier_scores_and_its_manifest_checks(tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(block("python"))
    (tmp_path / "loud.yaml").write_text(block("yaml"))
    rows = [
        {"prompt": f"Shout {word}.", "completion": word.upper(), "reference": word} for word in ("yes", "no")
    ]
    rows += [
        {"prompt": f"Shout {word}.", "completion": "", "reference": word} for word in map(chr, range(97, 123))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rollouts.jsonl").write_text(text)
    (tmp_path / "train.jsonl").write_text(text)
    scored = guerdon(tmp_path, "score", "rollouts.jsonl", "--use", "./shout.py:shout", "-o", "out.jsonl")
    assert scored.returncode == 0, scored.stderr
    assert [json.loads(line)["reward"] for line in (tmp_path / "out.jsonl").read_text().splitlines()[:3]] == [
        1,
        1,
        0,
    ]
    checked = guerdon(tmp_path, "check", "loud.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "would come from the hub" in checked.stderr


CHECK_EACH = """
import sys
from guerdon.cli.main import main
for recipe in sys.argv[1:]:
    sys.argv = ["guerdon", "check", "--offline", recipe]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, f"{recipe} ended with exit status {end.code}"
    print(f"checked {recipe}")
"""
"""One process, which pays for the imports once. It is a new one: the hub's library reads its options at its import."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_every_recipe_is_fit_to_run(tmp_path: Path) -> None:
    recipes = [plugin.name for plugin in installed_plugins(Kind.RECIPE)]
    assert "r1-mini" in recipes
    command = [sys.executable, "-c", CHECK_EACH, *recipes]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("checked ")] == [
        f"checked {recipe}" for recipe in recipes
    ]


def test_readme_box_names_what_is_registered() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## What is in the box")[2]
    rows = re.findall(r"^\| ([^|]*) \| (`[^|]*) \|$", table, flags=re.MULTILINE)
    named = sorted(name for _, cell in rows for name in re.findall(r"`([^`]+)`", cell))
    kinds = set(Kind) - {Kind.COMMAND}
    built_in = [plugin.name for plugin in installed_plugins(*kinds) if plugin.distribution == "guerdon"]
    commands = cli.list_commands(click.Context(cli))
    assert named == sorted([*built_in, *commands])
