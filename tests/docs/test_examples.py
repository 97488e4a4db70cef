"""The examples of the README and the tutorial, as a reader would copy them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def guerdon(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guerdon.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_readmes_verifier_scores_and_its_manifest_checks(tmp_path: Path) -> None:
    (verifier,) = blocks("README.md", "python")
    (manifest,) = blocks("README.md", "yaml")
    (tmp_path / "shout.py").write_text(verifier)
    (tmp_path / "loud.yaml").write_text(manifest)
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


def test_the_tutorials_steps(tmp_path: Path) -> None:
    page = "docs/tutorial/first-verifier.md"
    (verifier,) = blocks(page, "python")
    (rows,) = blocks(page, "json")
    (manifest,) = blocks(page, "yaml")
    (tmp_path / "tidy.py").write_text(verifier)
    (tmp_path / "rollouts.jsonl").write_text(rows)
    (tmp_path / "tidy.yaml").write_text(manifest)
    command = blocks(page, "sh")[0].split()
    scored = guerdon(tmp_path, *command[1:])
    assert scored.returncode == 0, scored.stderr
    short, long = [
        json.loads(line)["scores"]["tidy"] for line in (tmp_path / "scored.jsonl").read_text().splitlines()
    ]
    assert (short["value"], long["value"]) == (1.0, 0.0)
    assert long["explanation"].startswith("2 lines")
    checked = guerdon(tmp_path, "check", "tidy.yaml")
    assert checked.returncode == 0, checked.stderr


def test_every_recipe_is_fit_to_run(tmp_path: Path) -> None:
    listed = json.loads(guerdon(tmp_path, "plugins", "--json", "--kind", "recipe").stdout)
    assert listed
    for recipe in listed:
        checked = guerdon(tmp_path, "check", recipe["name"])
        assert checked.returncode == 0, checked.stderr
