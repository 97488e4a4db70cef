"""What a recipe's rewards ask for can be done: one right reply earns all of what rules give."""

from __future__ import annotations

import pytest

from guerdon import Rollout
from guerdon.cli.targets import manifest_path
from guerdon.manifest import load_manifest, plan_run
from guerdon.rubric import Rubric

THOUGHTS = "<think>\nTwo and two more are counted on the fingers, which makes four of them.\n</think>"
REPLIES = {
    "r1": THOUGHTS + "\n\nThe answer is \\boxed{4}.",
    "r1-distill": THOUGHTS + "\n\nThe answer is \\boxed{4}.",
    "r1-zero": THOUGHTS + "\n<answer>\n\\boxed{4}\n</answer>",
}
NOT_BY_RULE = ("judge", "preference")


@pytest.mark.parametrize("recipe", REPLIES)
def test_a_right_reply_earns_every_rule_at_once(recipe: str) -> None:
    plan = plan_run(load_manifest(manifest_path(recipe)))
    row = {"reference": "4", "task": "math"}
    stages = [stage for stage in plan.stages if any(entry.name == "math" for entry in stage.entries)]
    assert stages
    for stage in stages:
        entries = [
            e for e in stage.entries if e.applies_to(row) and e.component.plugin.name not in NOT_BY_RULE
        ]
        with Rubric(entries) as rubric:
            (judgement,) = rubric.score([Rollout("What is 2+2?", REPLIES[recipe], row)])
        values = {name: verdict.score.value for name, verdict in judgement.verdicts.items()}
        assert values == {entry.name: 1.0 for entry in entries}, (stage.ref.id, judgement)
