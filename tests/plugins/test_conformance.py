"""Every built-in passes the kit of its kind."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure
from guerdon.plugins.discovery import Kind, installed_plugins
from guerdon.testing import (
    Case,
    GroupRewardConformance,
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


class TestAbstain(VerifierConformance):
    plugin = "abstain"
    golden = (
        Case("Paris", 1.0, reference="Paris"),
        Case("I do not know.", 0.25, reference="Paris"),
        Case("Lyon", 0.0, reference="Paris"),
        Case("Paris", Failure.REFERENCE, reference={}),
    )
    hacks = (Case("I do not know, perhaps Paris", 0.0, reference="Paris", why="a hedge"),)


class TestAbstainConfidence(VerifierConformance):
    plugin = "abstain"
    params = {"mode": "confidence"}
    value_range = (-1.0, 1.0)
    golden = (
        Case("Paris\nConfidence: 90%", 0.99, reference="Paris"),
        Case("Lyon\nConfidence: 90%", -0.81, reference="Paris"),
    )
    hacks = (Case("Lyon\nConfidence: 0%", 0.0, reference="Paris", why="a wrong answer without confidence"),)


class TestBoxes(VerifierConformance):
    plugin = "boxes"
    golden = (
        Case("[[0, 0, 10, 10]]", 1.0, reference=[[0, 0, 10, 10]]),
        Case("[0, 0, 10, 5]", 0.5, reference=[[0, 0, 10, 10]]),
        Case("[0, 0, 10, 10]", Failure.REFERENCE, reference=[[0, 0]] * 500),
    )
    hacks = (Case("[]", 0.0, reference=[[0, 0, 10, 10]], why="no boxes"),)


class TestChoice(VerifierConformance):
    plugin = "choice"
    golden = (
        Case("Answer: B", 1.0, reference="B", options=["Lyon", "Paris"]),
        Case("Paris", 1.0, reference="B", options=["Lyon", "Paris"]),
        Case("Answer: A", 0.0, reference="B", options=["Lyon", "Paris"]),
        Case("Answer: B", Failure.REFERENCE, reference="C", options=["Lyon", "Paris"]),
    )
    hacks = (Case("A or B", 0.0, reference="B", options=["Lyon", "Paris"], why="a hedge"),)


class TestCitations(VerifierConformance):
    plugin = "citations"
    golden = (
        Case("A river [1].", 1.0, sources=["The Nile.", "Sand."], reference=["1"]),
        Case("A river [2].", 0.0, sources=["The Nile.", "Sand."], reference=["1"]),
        Case("A river [1].", Failure.REFERENCE, sources=["The Nile."], reference=["3"]),
    )
    hacks = (Case("[1]", 0.0, sources=["The Nile.", "Sand."], reference=["1"], why="a mark alone"),)


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


class TestInstructions(VerifierConformance):
    plugin = "instructions"
    golden = (
        Case("A cat.", 1.0, reference=[{"id": "keywords:existence", "keywords": ["cat"]}]),
        Case("A dog.", 0.0, reference=[{"id": "keywords:existence", "keywords": ["cat"]}]),
        Case("A dog.", Failure.REFERENCE, reference=[{"id": "keywords:existence"}]),
        Case("A dog", 1.0, reference=None, instruction_id_list=["punctuation:no_comma"], kwargs=[{}]),
    )
    hacks = (Case("\u200b", 0.0, reference=["punctuation:no_comma"], why="an empty response"),)


INTEGER_A = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


class TestJsonSchema(VerifierConformance):
    plugin = "json_schema"
    golden = (
        Case('{"a": 1}', 1.0, reference=INTEGER_A),
        Case('{"a": "1"}', 0.0, reference=INTEGER_A),
        Case('{"a": 1}', Failure.REFERENCE, reference={"type": "object"}),
    )
    hacks = (Case("{}", 0.0, reference=INTEGER_A, why="an empty object"),)


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


class TestMatch(VerifierConformance):
    plugin = "match"
    golden = (
        Case("Paris", 1.0, reference="paris"),
        Case("In Paris", 0.0, reference="Paris"),
        Case("Paris", Failure.REFERENCE, reference=[]),
    )
    hacks = (Case("Paris or Lyon", 0.0, reference="Paris", why="a hedge"),)


class TestMatchPattern(VerifierConformance):
    plugin = "match"
    params = {"mode": "pattern"}
    golden = (Case("AB-12", 1.0, reference=r"[A-Z]+-\d+"), Case("AB", 0.0, reference=r"[A-Z]+-\d+"))


class TestOverlap(VerifierConformance):
    plugin = "overlap"
    params = {"metric": "rouge_l"}
    golden = (
        Case("the cat sat", 1.0, reference=["a dog", "the cat sat"]),
        Case("the dog ran", 1 / 3, reference="the cat sat"),
        Case("the cat", Failure.REFERENCE, reference=""),
    )
    hacks = (Case("the cat sat " * 20, 0.0, reference="the cat sat", why="repetition"),)


class TestQa(VerifierConformance):
    plugin = "qa"
    golden = (
        Case("Answer: the Paris.", 1.0, reference=["Paris", "Paname"]),
        Case("Answer: 1,000", 1.0, reference="1000"),
        Case("Answer: Lyon", 0.0, reference="Paris"),
        Case("Paris", Failure.REFERENCE, reference={}),
    )
    hacks = (Case("Paris or Lyon", 0.0, reference="Paris", why="a hedge"),)


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


TABLE = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2);"


class TestSql(VerifierConformance):
    plugin = "sql"
    golden = (
        Case("SELECT a FROM t", 1.0, reference="SELECT a FROM t", setup=TABLE),
        Case("SELECT a + 1 FROM t", 0.0, reference="SELECT a FROM t", setup=TABLE),
        Case("SELECT a FROM t", Failure.REFERENCE, reference="SELECT b FROM t", setup=TABLE),
    )
    hacks = (Case("SELECT 1 UNION SELECT 2", 0.0, reference="SELECT a FROM t", setup=TABLE, why="constants"),)


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


class TestTokens(RewardConformance):
    plugin = "tokens"
    value_range = (float("-inf"), 1.0)  # a token costs alpha, at any length
    params = {"alpha": 0.01}
    golden = (
        Case(r"\boxed{4}", 0.9, reference="4", target_tokens=60, completion_ids=range(50)),
        Case(r"\boxed{5}", -0.1, reference="4", target_tokens=60, completion_ids=range(70)),
        Case(r"\boxed{4}", Failure.REFERENCE, reference="4", target_tokens=None),
    )


class TestConcise(GroupRewardConformance):
    plugin = "concise"
    value_range = (0.0, 1.0)
    groups = (
        (
            Case("4", 1.0, completion_ids=range(4)),
            Case("It is 4.", 0.0, completion_ids=range(8)),
            Case("So: 4", 0.5, completion_ids=range(6)),
        ),
    )


class TestArithmetic(SourceConformance):
    plugin = "arithmetic"
    columns = ("prompt", "reference", "language", "split_key")


class TestBoxesSource(SourceConformance):
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


class TestWandb(HooksConformance):
    plugin = "wandb"
    params = {"mode": "offline"}


class TestTrackio(HooksConformance):
    plugin = "trackio"


class TestMlflow(HooksConformance):
    plugin = "mlflow"


ELSEWHERE = {
    "code": "its kit needs Docker: verifiers/code/test_conformance.py",
    "environment": "its kit is with its other tests: verifiers/test_tool_scores.py",
    "tool_use": "its kit is with its other tests: verifiers/test_tool_scores.py",
    "hub": "it reads a data set of the hub: sources/test_hub.py",
    "harbor": "its kit is with its other tests: sources/test_harbor.py",
    "inspect_ai": "its kit needs Inspect: verifiers/test_inspect_ai.py",
    "verifiers_rubric": "its kit needs the library verifiers: verifiers/test_verifiers_rubric.py",
    "verifiers_tasks": "it needs the library verifiers: verifiers/test_verifiers_rubric.py",
    "lean": "its kit needs a server: verifiers/test_lean.py",
    "judge": "its kit needs an endpoint: verifiers/test_judge.py",
    "remote": "its kit needs a reward server: verifiers/test_remote.py",
    "nemo_gym": "its kit needs a server: verifiers/test_nemo_gym.py",
    "equivalence": "it is a preset, which is never called: verifiers/test_equivalence.py",
    "prm": "it is a model, which each of the kit's processes would load: stages/test_process_reward_model.py",
    "preference": "it is a model, which each of the kit's processes would load: rewards/test_preference.py",
}


def test_every_built_in_has_its_kit() -> None:
    kits: list[Any] = [
        value for value in globals().values() if isinstance(value, type) and hasattr(value, "plugin")
    ]
    tested = {kit.component().plugin.target for kit in kits}
    built_in = [
        plugin
        for plugin in installed_plugins(
            Kind.VERIFIER, Kind.REWARD, Kind.GROUP_REWARD, Kind.SOURCE, Kind.HOOKS
        )
        if plugin.distribution == "guerdon" and plugin.name not in ELSEWHERE
    ]
    assert [plugin.name for plugin in built_in if plugin.target not in tested] == []
