"""Every built-in passes the kit of its kind."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from guerdon import Failure
from guerdon.plugins.discovery import Kind, installed_plugins
from guerdon.testing import (
    Case,
    HooksConformance,
    RewardConformance,
    SourceConformance,
    VerifierConformance,
)

THINKING = "<think>First, add. Then check.</think>"


class TestMath(VerifierConformance):
    plugin = "math"
    golden = (
        Case(r"So it is \boxed{\frac{1}{2}}.", 1.0, reference="0.5"),
        Case(r"So it is \boxed{0.6}.", 0.0, reference="0.5"),
        Case(r"\boxed{4}", Failure.REFERENCE, reference=""),
    )
    hacks = (
        Case("", 0.0, reference="4"),
        Case(r"\boxed{1, 2, 3, 4, 5}", 0.0, reference="4", why="every answer at once"),
    )


class TestCodeFormat(VerifierConformance):
    plugin = "code_format"
    golden = (Case(f"{THINKING}\n```python\npass\n```", 1.0), Case("```python\npass\n```", 0.0))
    hacks = (Case(f"{THINKING}\n```python\n```", 0.0, why="an empty block"),)


class TestFormat(VerifierConformance):
    plugin = "format"
    params = {"tags": ["think", "answer"]}
    golden = (Case(f"{THINKING}<answer>4</answer>", 1.0), Case("4", 0.0))
    hacks = (
        Case("<think></think><answer></answer>", 0.0, why="empty tags"),
        Case("<think>a</think><answer>b</answer>" * 3, 0.0, why="a tag farm"),
    )


class TestLanguage(VerifierConformance):
    plugin = "language"
    params = {"target": "en"}
    golden = (
        Case("We add the two numbers and then we check the sum.", 1.0),
        Case("我们把这两个数相加，然后检查结果。", 0.0),
        Case("12 + 30 = 42", None, why="no words"),
    )


class TestLength(VerifierConformance):
    plugin = "length"
    params = {"min_words": 2, "max_words": 4}
    golden = (Case("one two three", 1.0), Case("one", 0.5), Case("one " * 8, 0.5))
    hacks = (Case("", 0.0),)


class TestReadable(VerifierConformance):
    plugin = "readable"
    params = {"max_paragraph_words": 4}
    golden = (Case("One two three.\n\nFour five.", 1.0), Case("one two three four five", 0.0))
    hacks = (Case("", 0.0), Case("```\nnever closed", 0.0))


class TestReasoningGymVerifier(VerifierConformance):
    pytest.importorskip("reasoning_gym")
    plugin = "guerdon_plugins.verifiers.reasoning_gym:ReasoningGymVerifier"
    golden = (
        Case("<answer>4</answer>", 1.0, reference="4", task="basic_arithmetic", metadata={}),
        Case("<answer>5</answer>", 0.0, reference="4", task="basic_arithmetic", metadata={}),
        Case("<answer>4</answer>", Failure.REFERENCE, reference="4", task="no_such_task", metadata={}),
    )
    hacks = (Case("4", 0.0, reference="4", task="basic_arithmetic", metadata={}, why="no tags"),)


class TestReasoningSteps(VerifierConformance):
    plugin = "reasoning_steps"
    golden = (
        Case("<think>1. Add two.\n2. Double it.\n3. Check the sum.</think>4", 1.0),
        Case("<think>It is four.</think>4", 0.0),
    )
    hacks = (Case("<think>1.\n2.\n3.\n</think>4", 0.0, why="bare markers"),)


class TestRepetitionPenalty(VerifierConformance):
    plugin = "repetition_penalty"
    value_range = (-1.0, 0.0)
    golden = (Case("Each word stands once here.", 0.0), Case("so so so so", -0.5))


class TestTagCount(VerifierConformance):
    plugin = "tag_count"
    golden = (Case("<think>a</think><answer>4</answer>", 1.0), Case("<think>a</think>4", 0.5), Case("4", 0.0))


class TestCosine(RewardConformance):
    plugin = "cosine"
    value_range = (-1.0, 1.0)
    params = {"max_len": 100}
    golden = (
        Case(r"\boxed{4}", 0.75, reference="4", completion_ids=range(50)),
        Case(r"\boxed{5}", -0.75, reference="4", completion_ids=range(50)),
        Case(r"\boxed{5}", -0.5, reference="4", completion_ids=range(500)),
    )


class TestSoftOverlongPunishment(RewardConformance):
    plugin = "soft_overlong_punishment"
    value_range = (-1.0, 0.0)
    params = {"max_completion_len": 100, "soft_punish_cache": 20}
    golden = tuple(
        Case("so", value, completion_ids=range(length))
        for length, value in ((80, 0.0), (90, -0.5), (101, -1.0))
    )


class TestArithmetic(SourceConformance):
    plugin = "arithmetic"
    columns = ("prompt", "reference", "language", "split_key")


class TestBoxes(SourceConformance):
    plugin = "boxes"
    columns = ("prompt", "reference", "box", "split_key")


class TestFiles(SourceConformance):
    plugin = "files"
    params = {"path": "rows.jsonl"}
    columns = ("prompt", "reference")

    @classmethod
    def setup_class(cls) -> None:
        cls.base_dir = Path(tempfile.mkdtemp())
        lines = [json.dumps({"prompt": f"{n} + 1 =", "reference": str(n + 1)}) for n in range(64)]
        (cls.base_dir / "rows.jsonl").write_text("\n".join(lines))

    @classmethod
    def teardown_class(cls) -> None:
        shutil.rmtree(cls.folder())


class TestSmallFunctions(SourceConformance):
    plugin = "small_functions"
    columns = ("prompt", "reference", "task", "split_key")


class TestSmallTalk(SourceConformance):
    plugin = "small_talk"


class TestReasoningGymSource(SourceConformance):
    pytest.importorskip("reasoning_gym")
    plugin = "guerdon_plugins.sources.reasoning_gym:ReasoningGym"
    params = {"task": "basic_arithmetic", "size": 64, "seed": 1}
    columns = ("prompt", "reference", "task", "metadata")


class TestProgress(HooksConformance):
    plugin = "progress"


class TestTensorboard(HooksConformance):
    plugin = "tensorboard"


ELSEWHERE = {
    "code": "its kit needs Docker: verifiers/code/test_conformance.py",
    "environment": "its kit is with its other tests: verifiers/test_tool_scores.py",
    "tool_use": "its kit is with its other tests: verifiers/test_tool_scores.py",
    "hub": "it reads a data set of the hub: sources/test_hub.py",
    "judge": "its kit needs an endpoint: verifiers/test_judge.py",
    "preference": "it is a model, which each of the kit's processes would load: rewards/test_preference.py",
}


def test_every_built_in_has_its_kit() -> None:
    kits = [value for value in globals().values() if isinstance(value, type) and hasattr(value, "plugin")]
    tested = {kit.component().plugin.target for kit in kits}
    built_in = [
        plugin
        for plugin in installed_plugins(Kind.VERIFIER, Kind.REWARD, Kind.SOURCE, Kind.HOOKS)
        if plugin.distribution == "guerdon" and plugin.name not in ELSEWHERE
    ]
    assert [plugin.name for plugin in built_in if plugin.target not in tested] == []
