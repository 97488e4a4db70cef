"""Rubrics by name: what they accept, what they refuse, and how they travel to other processes."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from guerdon.adapters.named_rubric import NamedRubric, reward_of
from guerdon.errors import (
    CheckFailedError,
    FailureBudgetError,
    InfrastructureError,
    ManifestError,
    ParamsError,
    PluginNotFoundError,
    UsageError,
)
from guerdon.types import Rollout


def test_a_stages_rubric_judges_as_a_run_would(folder: Path) -> None:
    with NamedRubric("m.yaml", stage="zero", workers=1) as rubric:
        assert rubric.names == ["equals", "choosy", "shout"]
        rollouts = [Rollout("p", "A", {"reference": "A"}), Rollout("p", "skip", {"reference": "x"})]
        assert [judgement.reward for judgement in rubric.score(rollouts)] == [1.0 + 2.0 * 0.1, 0.0]
        assert [judgement.reward for judgement in rubric.score(rollouts, step=10)] == [3.0 + 2.0 * 0.1, 0.0]
        assert rubric.weights(10)["equals"] == 3.0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rubric": "m.yaml"}, UsageError, "rewards in the stages zero, forgiving. Say which one is meant"),
        ({"rubric": "m.yaml", "stage": "one"}, UsageError, "There is none in 'one'"),
        ({"rubric": "m.yaml", "stage": "zero", "params": {"x": 1}}, UsageError, "m.yaml is a manifest"),
        ({"rubric": "nowhere.yaml"}, ManifestError, "nowhere.yaml: cannot be read"),
        ({"rubric": "broken.yaml"}, ManifestError, "broken.yaml:5: unknown param 'tag'"),
        ({"rubric": "learned.yaml"}, UsageError, "uses the checkpoint of stage 'rm', which only a run makes"),
        ({"rubric": "mth"}, PluginNotFoundError, "Did you mean 'math'?"),
        ({"rubric": "format", "params": {"tag": "x"}}, ParamsError, "Did you mean 'tags'?"),
        ({"rubric": "format", "stage": "zero"}, UsageError, "names a plugin"),
    ],
)
def test_mistakes_are_told_at_once(
    folder: Path, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    (folder / "broken.yaml").write_text(
        "name: x\nstages:\n- id: a\n  use: grpo\n  rewards: [{use: format, params: {tag: x}}]\n"
    )
    (folder / "learned.yaml").write_text(
        "name: x\nstages:\n- {id: rm, use: reward_model}\n"
        "- {id: a, use: grpo, rewards: [{use: preference, params: {model: 'stage:rm'}}]}\n"
    )
    with pytest.raises(error, match=words):
        NamedRubric(**arguments)


def test_a_manifest_needs_no_torch_to_judge(folder: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'trl'): sys.modules[name] = None\n"
        "from guerdon.adapters.named_rubric import NamedRubric\n"
        "print(NamedRubric('m.yaml', stage='zero').names)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['equals', 'choosy', 'shout']\n"


def test_no_reward_is_an_error_or_what_the_user_says(folder: Path) -> None:
    with NamedRubric("./v.py:choosy", workers=1) as rubric:
        skipped, broken, down = rubric.score([Rollout("p", c) for c in ("skip", "bug", "down")])
    with pytest.raises(CheckFailedError, match="nothing judged it"):
        reward_of(skipped)
    with pytest.raises(
        CheckFailedError, match=r"'choosy' failed: verifier: KeyError: 'x'\. The trainer cannot"
    ):
        reward_of(broken)
    with pytest.raises(InfrastructureError, match="'choosy' failed: infrastructure"):
        reward_of(down)
    assert reward_of(down, unscored=-1.0) == -1.0


def test_many_failures_stop_whoever_trains(folder: Path) -> None:
    with (
        NamedRubric("./v.py:choosy", workers=1) as rubric,
        pytest.raises(FailureBudgetError, match="failure budget of 10%"),
    ):
        rubric.score([Rollout("p", "down", {"n": n}) for n in range(20)])


def test_a_pickled_one_opens_in_another_process_and_folder(folder: Path, tmp_path: Path) -> None:
    with NamedRubric("./v.py:equals", workers=1) as rubric:
        rubric.score([Rollout("p", "x", {"reference": "y"})])
        (folder / "rubric.pickle").write_bytes(pickle.dumps(rubric))
    script = (
        "import pickle, sys\nfrom guerdon.types import Rollout\n"
        "rubric = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(rubric.score([Rollout('p', 'A', {'reference': 'A'})])[0].reward)"
    )
    command = [sys.executable, "-c", script, str(folder / "rubric.pickle")]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"


def _judge(rubric: NamedRubric, answers: Any) -> None:
    answers.put([judgement.reward for judgement in rubric.score([Rollout("p", "A", {"reference": "A"})])])
    rubric.close()


def test_a_fork_opens_its_own(folder: Path) -> None:
    with NamedRubric("./v.py:equals", workers=1) as rubric:
        rubric.score([Rollout("p", "x", {"reference": "y"})])
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(target=_judge, args=(rubric, answers))
        child.start()
        assert answers.get(timeout=60) == [1.0]
        child.join()
        assert child.exitcode == 0
        assert rubric.score([Rollout("p", "z", {"reference": "z"})])[0].reward == 1.0


@pytest.mark.parametrize("ending", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_no_worker_outlives_its_process(folder: Path, ending: str) -> None:
    (folder / "pid.py").write_text(
        "import os\ndef pid(completion): open('pids', 'a').write(f'{os.getpid()}\\n'); return 1.0\n"
    )
    script = (
        "from guerdon.adapters.named_rubric import NamedRubric\nfrom guerdon.types import Rollout\n"
        f"NamedRubric('./pid.py:pid', workers=1).score([Rollout('p', 'c')])\n{ending}"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    (pid,) = (folder / "pids").read_text().split()
    deadline = time.monotonic() + 10
    while Path("/proc", pid).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path("/proc", pid).exists()
