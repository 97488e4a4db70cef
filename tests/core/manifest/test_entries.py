"""The entries of a rubric in a manifest: ``needs``, ``first_of`` and retries, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from guerdon.errors import ManifestError
from guerdon.manifest.rubrics import resolve_rubric
from guerdon.rubric import OnFailure
from guerdon.rubric.entry import names_of

HEAD = """\
name: composed
model: some-org/some-model
stages:
  - id: zero
    use: grpo
    data: [{use: arithmetic, limit: 20}]
    rewards:
"""


def write(folder: Path, rewards: str) -> str:
    path = folder / "m.yaml"
    path.write_text(HEAD + "".join(f"      {line}\n" for line in rewards.strip().splitlines()))
    return str(path)


def test_first_of_becomes_members_of_one_whole(tmp_path: Path) -> None:
    entries = resolve_rubric(
        write(
            tmp_path,
            """
- {use: format, weight: 0}
- name: equivalence
  first_of:
    - {use: math}
    - {use: length, on_failure: {retry: 2, then: zero}}
  weight: 0.5
  when: {task: math}
  needs: [format]
""",
        )
    ).entries
    assert names_of(entries) == ["format", "math", "length", "equivalence"]
    _, math, length = entries
    assert math.within is not None
    assert math.within == length.within
    assert (math.within.weight, math.within.needs, math.weight) == (0.5, ("format",), 0.0)
    assert (length.retries, length.on_failure) == (2, OnFailure.ZERO)
    assert math.applies_to({"task": "math"})
    assert not math.applies_to({"task": "code"})


@pytest.mark.parametrize(
    ("rewards", "line", "words"),
    [
        ("- {use: math, needs: [fromat]}\n- {use: format}", 8, "no such reward. Did you mean 'format'?"),
        ("- {use: math, needs: [math]}", 8, "'math' needs itself"),
        ("- {use: math, needs: [format]}\n- {use: format, needs: [math]}", 8, "circle: "),
        ("- {use: math, needs: [format, format]}\n- {use: format}", 8, "names 'format' twice"),
        ("- {use: math, needs: format}", 8, "give a list"),
        (
            "- name: e\n  first_of: [{use: math}, {use: length}]\n- {use: format, needs: [math]}",
            10,
            "a member of 'e'. Name 'e' instead",
        ),
        ("- name: e\n  first_of: [{use: math}, {use: length}]\n  needs: [e]", 10, "'e' needs itself"),
        ("- name: e\n  first_of: [{use: math}]", 9, "at least 2 items"),
        ("- first_of: [{use: math}, {use: length}]", 8, "'stages.0.rewards.0.name' is missing"),
        (
            "- name: e\n  first_of:\n    - {use: math}\n    - {use: length, weight: 1}",
            11,
            "unknown key 'weight'",
        ),
        ("- name: e\n  use: math\n  first_of: [{use: math}, {use: length}]", 9, "unknown key 'use'"),
        ("- name: math\n  first_of: [{use: math}, {use: length}]", 9, "another reward is named 'math' too"),
        ("- {use: math}\n- name: e\n  first_of: [{use: math}, {use: length}]", 10, "named 'math' too"),
        ("- {use: math, on_failure: ignore}", 8, "give skip, zero or abort, or {retry: 2, then: skip}"),
        ("- {use: math, on_failure: {retry: 0}}", 8, "give a number of at least 1"),
        ("- {use: math, on_failure: {retry: 1, then: stop}}", 8, "give skip, zero or abort"),
        ("- {use: math, on_failure: {retry: 1, them: skip}}", 8, "Did you mean 'then'?"),
        ("- {use: math, on_failure: {then: skip}}", 8, "retry' is missing"),
    ],
)
def test_wrong_entry_is_an_error_with_its_line(tmp_path: Path, rewards: str, line: int, words: str) -> None:
    with pytest.raises(ManifestError) as error:
        resolve_rubric(write(tmp_path, rewards))
    assert f":{line}: " in str(error.value)
    assert words in str(error.value)
    assert "RewardRef" not in str(error.value)
    assert "FirstOfRef" not in str(error.value)
