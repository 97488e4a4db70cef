"""``inspect_ai``: scorers of Inspect, their own and hostile ones, and what their scores are worth."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guerdon import Failure, Outcome, Score
from guerdon.errors import MissingDependencyError
from guerdon_plugins.verifiers.inspect_ai import InspectAI, to_score


def given(value: Any, **fields: Any) -> SimpleNamespace:
    """A score of Inspect."""
    empty = {"answer": None, "explanation": None, "reason": None, "metadata": None}
    return SimpleNamespace(value=value, **{**empty, **fields})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(("C", 1.0), ("P", 0.5), ("I", 0.0), ("N", 0.0), ("Yes", 1.0), ("false", 0.0), ("0.25", 0.25)),
        *((True, 1.0), (3, 3.0), (-0.5, -0.5), ("good", 0.75)),
    ],
)
def test_to_score_reads_a_value_as_the_metrics_of_inspect(value: Any, expected: float) -> None:
    assert to_score(given(value), values={"good": 0.75}).value == expected


@pytest.mark.parametrize("value", ["c", "maybe", "", [1, 0], math.inf, "nan", None, {"a": 1}])
def test_to_score_of_a_value_without_a_number_is_a_failure(value: Any) -> None:
    score = to_score(given(value))
    assert (score.value, score.failure) == (None, Failure.VERIFIER)


def test_to_score_keeps_what_the_scorer_says() -> None:
    score = to_score(given("C", answer="4", explanation="as it should be", metadata={"grade": 1}))
    assert score == Score(1.0, answer="4", explanation="as it should be", metadata={"grade": 1})


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("refusal", Outcome.SKIPPED),
        ("no_response", Outcome.SKIPPED),
        ("invalid_response_format", Outcome.SKIPPED),
        ("grader_failed", Outcome.FAILED),
        ("scoring_failed", Outcome.FAILED),
        ("another", Outcome.FAILED),
        (None, Outcome.FAILED),
    ],
)
def test_to_score_without_a_value_asks_whose_fault_it_is(reason: str | None, outcome: Outcome) -> None:
    assert to_score(given(math.nan, reason=reason)).outcome is outcome


def test_to_score_of_a_mapping_takes_the_component_and_keeps_all_as_parts() -> None:
    value = {"right": "C", "short": 0.5, "none": None}
    assert to_score(given(value), "right") == Score(1.0, parts={"right": 1.0, "short": 0.5})
    assert to_score(given(value), "none").outcome is Outcome.SKIPPED
    unnamed = to_score(given(value))
    assert unnamed.failure is Failure.VERIFIER
    assert "right, short, none" in unnamed.explanation
    assert to_score(given("C"), "right").failure is Failure.VERIFIER


def test_to_score_of_another_object_is_a_failure() -> None:
    assert to_score(None).outcome is Outcome.SKIPPED
    for returned in (1.0, "C", {"value": 1}, [given("C")]):
        assert to_score(returned).failure is Failure.VERIFIER


def test_inspect_ai_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "inspect_ai", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match="pip install inspect-ai"):
        InspectAI("inspect_ai.scorer:match")


class _Without:
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "inspect_ai":
            raise ModuleNotFoundError("No module named 'inspect_ai'", name=fullname)


PACKAGES = (
    *("inspect_ai==0.3.285", "nest-asyncio2==1.7.4", "shortuuid==1.0.13", "jsonlines==4.0.0", "ijson==3.6.0"),
    *("tenacity==9.2.1", "textual==8.2.8", "semver==3.1.2", "jsonpatch==1.48", "jsonpointer==3.12"),
    *("docstring-parser==0.18.0", "mmh3==5.3.1", "botocore==1.44.8", "zstandard==0.25.0"),
    *("zipfile-zstd==0.0.4", "agent-client-protocol==0.12.1"),
)

SCORERS = """
import asyncio
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, model_graded_qa

def grader(input, tools, tool_choice, config):
    text = "GRADE: C" if "Submission]: 4" in str(input[0].content) else "It depends."
    output = ModelOutput.from_content("grader", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output

def graded():
    return model_graded_qa(model=get_model("mockllm/grader", custom_outputs=grader))

def seen(state, target):
    return Score(value=1, metadata={
        "prompt": state.input_text, "turns": [m.role for m in state.messages], "target": list(target),
        "call": state.messages[1].tool_calls[0].arguments, "output": state.output.completion,
        "task": state.metadata["task"]})

async def odd(state, target):
    said = state.output.completion
    if said == "4": return seen(state, target)
    if said == "hang": await asyncio.sleep(60)
    if said == "down": raise ConnectionError("nobody there")
    if said == "bug": raise KeyError("x")
    values = {"list": [1, 0], "nan": float("nan"), "dict": {"a": 1}, "text": "maybe"}
    if said in values: return Score(value=values[said])
    return {"none": None, "number": 1.0, "raw": {"value": 1}}[said]

def sync(state, target): return Score(value=1)
def makes_nothing(): return None
"""

SCRIPT = """
import asyncio, json, sys
from dataclasses import replace
from itertools import combinations, permutations
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelName, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Target, answer, exact, f1, includes, match, pattern
from inspect_ai.solver import TaskState
from guerdon.errors import GuerdonError
from guerdon.manifest.rubrics import plugin_entries
from guerdon.rubric import Rubric
from guerdon.types import Rollout
from guerdon.verifier import load_verifier
sys.path.insert(0, ".")
from scorers import graded

def build(params):
    (entry,) = plugin_entries("inspect_ai", params)
    return entry.component.build()

def judge(texts, **params):
    async def ask(verifier):
        row = {"prompt": "2 + 2?", "reference": "4"}
        return [await verifier(t, messages=[{"role": "assistant", "content": t}], **row) for t in texts]
    return [score.to_dict() for score in asyncio.run(ask(build(params)))]

def judge_in_a_rubric(rollouts, **params):
    (entry,) = plugin_entries("inspect_ai", params)
    with Rubric([replace(entry, timeout_s=5.0)], workers=1) as rubric:
        return [next(iter(j.verdicts.values())).score.to_dict() for j in rubric.score(rollouts)]

said = ["4", "It is 4", "five", "", "ANSWER: 4", "44"]
names = {"inspect_ai.scorer:match": {}, "inspect_ai.scorer:includes": {}, "inspect_ai.scorer:exact": {},
         "inspect_ai.scorer:f1": {}, "inspect_ai.scorer:answer": {"pattern": "word"},
         "inspect_ai.scorer:pattern": {"pattern": r"(\\\\d)"}, "./scorers.py:graded": {}}
def output(text):
    made = ModelOutput.from_content("m", text)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made
peers = [match(), includes(), exact(), f1(), answer("word"), pattern(r"(\\\\d)"), graded()]
(log,) = eval(
    Task(dataset=[Sample(input="2 + 2?", target="4") for _ in said], scorer=peers), display="none", log_dir="logs",
    model=get_model("mockllm/model", custom_outputs=map(output, said)), max_samples=1, fail_on_error=False)
for peer, (name, args) in zip(log.samples[0].scores, names.items(), strict=True):
    own = [sample.scores[peer] for sample in log.samples]
    print(json.dumps([[str(s.value), s.answer, s.reason] for s in own]))
    print(json.dumps(judge(said, scorer=name, args=args)))
turns = [
    {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function",
     "function": {"name": "add", "arguments": {"a": 2}}}]},
    {"role": "tool", "tool_call_id": "1", "name": "add", "content": "4"},
    {"role": "assistant", "content": "<think>so</think>4"}]
asked = [{"role": "user", "content": "2 + 2?"}]
seen = [Rollout(asked, turns, {"reference": ["4", 5], "task": "t"})]
odd = ["hang", "down", "bug", "list", "nan", "dict", "text", "none", "number", "raw"]
seen += [Rollout("p", text, {"reference": "4"}) for text in odd]
print(json.dumps(judge_in_a_rubric(seen, scorer="./scorers.py:odd")))
words = ["Paris", "the", "St.", "1990", "it's", "a", "York"]
pairs = [(" ".join(a), " ".join(b)) for n in (1, 2, 3) for a, b in zip(combinations(words, n), permutations(words, n))]
pairs += [("1000.0", "1,000"), ("twelve", "12"), ("1776-07-04", "July 4, 1776"), ("wellknown", "well-known")]
pairs = [pair for pair in pairs if pair not in {("the", "the"), ("a", "a")}] + [("the", "the")]
judges = [load_verifier("qa", {"metric": name, "extraction": "whole"}) for name in ("exact", "f1")]
grades = []
for text, gold in pairs:
    own = [ask(text, {"reference": gold}) for ask in judges]
    state = TaskState(ModelName("a/b"), 0, 1, "?", [], output=ModelOutput.from_content("m", text))
    peer = [asyncio.run(made(state, Target(gold))).value for made in (exact(), f1())]
    grades.append([text, gold, [float(peer[0] == "C"), peer[1]], [one.value for one in own]])
print(json.dumps(grades))
for params in json.loads(sys.argv[1]):
    try:
        build(params)
        print(json.dumps([""]))
    except GuerdonError as error:
        print(json.dumps([f"{type(error).__name__}: {error}"]))
"""

KIT = """
from pathlib import Path
from guerdon.testing import Case, VerifierConformance, run_checks

class Kit(VerifierConformance):
    plugin = "inspect_ai"
    base_dir = Path.cwd()
    params = {"scorer": "inspect_ai.scorer:match"}
    golden = (Case("The answer is 4", 1.0, reference="4"), Case("The answer is 5", 0.0, reference="4"))
    hacks = (Case("4 or 5", 0.0, reference="4", why="a hedge"),)

print(json.dumps([f"{one.check}: {one.message}" for one in run_checks(Kit) if one.outcome == "failed"]))
"""

DISAGREEMENTS = [
    ("twelve", "12"),
    ("1776-07-04", "July 4, 1776"),
    ("wellknown", "well-known"),  # SQuAD drops hyphens, Inspect makes them spaces
    ("the", "the"),  # Inspect drops articles, and then nothing is left
]
"""The pairs that ``qa`` takes as equal, and Inspect's ``exact`` and ``f1`` do not."""

MISTAKES = [
    ({"scorer": "match"}, "PluginNotFoundError: 'match' names no object"),
    ({"scorer": "inspect_ai.scorer:matches"}, "Did you mean 'match'"),
    ({"scorer": "inspect_ai.scorers:match"}, "No module named 'inspect_ai.scorers'"),
    ({"scorer": "./nowhere.py:match"}, "does not exist"),
    ({"scorer": "inspect_ai.scorer:match", "args": {"place": "end"}}, "unexpected keyword argument 'place'"),
    ({"scorer": "inspect_ai.scorer:choice"}, "use the verifier 'choice'"),
    ({"scorer": "./scorers.py:sync"}, "ParamsError"),
    ({"scorer": "./scorers.py:makes_nothing"}, "gives a NoneType"),
    ({"scorer": "./scorers.py:odd", "args": {"a": 1}}, "takes none"),
    ({"scorer": "inspect_ai.scorer:Score"}, "ParamsError"),
    ({}, "needs the param 'scorer'"),
]


def test_inspect_ai_gives_the_scores_of_the_package(peer: Any, tmp_path: Path) -> None:
    (tmp_path / "scorers.py").write_text(SCORERS)
    *lines, failed = peer(*PACKAGES).run(
        SCRIPT + KIT, tmp_path, json.dumps([params for params, _ in MISTAKES])
    )
    assert failed == []
    compared, (turn, *odd), grades, mistakes = lines[:14], lines[14], lines[15], lines[16:]
    for own, ours in zip(compared[::2], compared[1::2], strict=True):
        expected = [to_score(given(_value(text), answer=answer, reason=why)) for text, answer, why in own]
        assert [(one["value"], one["outcome"], one["failure"]) for one in ours] == [
            (one.value, one.outcome, one.failure) for one in expected
        ]
        assert [one["answer"] for one in ours if one["value"] is not None] == [
            one.answer for one in expected if one.value is not None
        ]
    assert turn["metadata"] == {
        "prompt": "2 + 2?",
        "turns": ["user", "assistant", "tool", "assistant"],
        "target": ["4", "5"],
        "call": {"a": 2},
        "output": "4",
        "task": "t",
    }
    kinds = [one["failure"] or one["outcome"] for one in odd]
    assert kinds == ["timeout"] + ["infrastructure"] + ["verifier"] * 5 + ["skipped"] + ["verifier"] * 2
    different = [
        (text, gold)
        for text, gold, theirs, own in grades
        if own != [theirs[0], pytest.approx(theirs[1], abs=0.01)]
    ]
    assert different == DISAGREEMENTS
    assert len(grades) > 30
    for (params, message), (error,) in zip(MISTAKES, mistakes, strict=True):
        assert message in error, params


def _value(text: str) -> Any:
    return float(text) if text == "nan" or text[:1].isdigit() else text
