"""``verifiers_rubric`` and the source ``verifiers_tasks``: rubrics, tasks and data of both versions of the library."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from peers import VERIFIERS, VERIFIERS_BEFORE

from guerdon import Failure
from guerdon.errors import MissingDependencyError
from guerdon_plugins.sources.verifiers_tasks import VerifiersTasks
from guerdon_plugins.verifiers.verifiers_rubric import VerifiersRubric


class _Without:
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "verifiers":
            raise ModuleNotFoundError("No module named 'verifiers'", name=fullname)


def test_verifiers_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "verifiers", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match="pip install verifiers"):
        VerifiersRubric("my_env:load_environment")
    with pytest.raises(MissingDependencyError, match="pip install verifiers"):
        VerifiersTasks("my_env:load_environment")


@pytest.mark.parametrize("columns", [{"answer": ""}, {"answer": None}, {"answer": " "}, {"reference": None}])
def test_rows_without_an_answer_pay_nobody(columns: dict[str, Any]) -> None:
    verifier = VerifiersRubric.__new__(VerifiersRubric)  # no function of a rubric is asked
    score = asyncio.run(verifier("4", "2 + 2?", [], **columns))
    assert (score.value, score.failure) == (None, Failure.REFERENCE)


SCRIPT = """
import json, sys
from dataclasses import replace
from guerdon.errors import GuerdonError
from guerdon.manifest.rubrics import plugin_entries
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.rubric import Rubric
from guerdon.types import Rollout
from pathlib import Path

def judge(rollouts, **params):
    (entry,) = plugin_entries("verifiers_rubric", params)
    with Rubric([replace(entry, timeout_s=5.0)], workers=1) as rubric:
        return [next(iter(j.verdicts.values())).score.to_dict() for j in rubric.score(rollouts)]

def build(use, kind, params):
    return load_component(find_plugin(use, (kind,)), params, Path.cwd()).build()

def mistakes(cases):
    for use, params in cases:
        try:
            build(use, Kind.VERIFIER if use == "verifiers_rubric" else Kind.SOURCE, params)
            print(json.dumps([""]))
        except GuerdonError as error:
            print(json.dumps([f"{type(error).__name__}: {error}"]))

def rows(**params):
    return list(build("verifiers_tasks", Kind.SOURCE, params))
"""

KIT = """
from guerdon import Failure
from guerdon.testing import Case, VerifierConformance, run_checks

class Kit(VerifierConformance):
    plugin = "verifiers_rubric"
    params = {"rubric": sys.argv[2]}
    base_dir = Path.cwd()
    golden = (
        Case("<think>so</think>4", 1.0, reference="4"),
        Case("<think>so</think>5", 0.0, reference="4"),
        Case("<think>so</think>4", Failure.REFERENCE, reference=""),
    )
    hacks = (Case("", 0.0, reference="4", why="an empty answer"), Case("<think>4</think>", 0.0, reference="4"))

checks = list(run_checks(Kit))
print(json.dumps([f"{one.check}: {one.message}" for one in checks if one.outcome == "failed"]))
print(json.dumps([one.check for one in checks if one.outcome == "passed"]))
"""

ENVIRONMENT = """
import asyncio
import verifiers as vf
from datasets import Dataset

def right(parser, completion, answer): return float(parser.parse_answer(completion) == answer)
async def told(completion, info, state, **kwargs):
    await asyncio.sleep(0)
    return info["bonus"] + len(state["trajectory"]) + (state["answer"] == kwargs["answer"])
def odd(completion):
    said = completion[-1]["content"]
    if said == "bug": raise KeyError("x")
    if said == "down": raise ConnectionError("nobody there")
    return {"none": None, "nan": float("nan"), "list": [1.0], "dict": {"a": 1}, "text": "1", "yes": True}.get(said, 0.5)
async def slow(completion):
    if completion[-1]["content"] == "hang": await asyncio.sleep(60)
    return 0.0
def compares(completions, answers): return [0.0 for _ in completions]

def make(**kwargs):
    first = vf.Rubric(funcs=[right, told], weights=[1.0, 0.25], parser=vf.ThinkParser())
    return vf.RubricGroup([first, vf.Rubric(funcs=[odd, slow], weights=[0.5, 0.0])])
rubric = make()
right_only = vf.Rubric(funcs=[right], parser=vf.ThinkParser())
group = vf.Rubric(funcs=[compares])
def load_environment(count=2):
    rows = [{"question": f"{n}?", "answer": str(n), "info": {"bonus": n}} for n in range(count)]
    return vf.SingleTurnEnv(dataset=Dataset.from_list(rows), rubric=make(), system_prompt="Be brief.")
def nothing(): return 3
"""

BEFORE = """
import asyncio
import verifiers as vf
sys.path.insert(0, ".")
from env import make
said = ["<think>so</think>4", "5", "yes", "4"]
row = {"answer": "4", "info": {"bonus": 1}}
def peer(text):
    prompt = [{"role": "user", "content": "2 + 2?"}]
    state = vf.State(input={"prompt": prompt, **row}, completion=[{"role": "assistant", "content": text}],
                     trajectory=[], task={})
    asyncio.run(make().score_rollout(state))
    return [state["reward"], state["metrics"]]
print(json.dumps([peer(text) for text in said]))
odd = ["bug", "down", "none", "nan", "list", "dict", "text", "hang"]
print(json.dumps(judge([Rollout("2 + 2?", text, row) for text in [*said, *odd]], rubric="./env.py:rubric")))
import pickle
pickle.loads(pickle.dumps(build("verifiers_rubric", Kind.VERIFIER, {"rubric": "./env.py:rubric"})))
with_reference = Rollout("0?", "<think>so</think>0", {"reference": "0", "info": '{"bonus": 0}'})
print(json.dumps(judge([with_reference], rubric="./env.py:load_environment", args={"count": 1})))
print(json.dumps(rows(tasks="./env.py:load_environment", args={"count": 3}, size=2)))
print(json.dumps(rows(tasks="./env.py:load_environment", split="eval")))
mistakes(json.loads(sys.argv[1]))
"""

BEFORE_MISTAKES: list[tuple[tuple[str, dict[str, Any]], str]] = [
    (("verifiers_rubric", {"rubric": "rubric"}), "'rubric' names no object"),
    (("verifiers_rubric", {"rubric": "./env.py:rubrik"}), "Did you mean 'rubric'?"),
    (("verifiers_rubric", {"rubric": "./env.py:rubric", "args": {"a": 1}}), "takes none"),
    (("verifiers_rubric", {"rubric": "./env.py:nothing"}), "gives a int"),
    (("verifiers_rubric", {"rubric": "./env.py:group"}), "sees one; name a rubric without them"),
    (("verifiers_rubric", {"rubric": "./env.py:load_environment", "args": {"size": 1}}), "argument 'size'"),
    (("verifiers_tasks", {"tasks": "./env.py:nothing"}), "gives a int"),
    (("verifiers_tasks", {"tasks": "no_such_env:load_environment"}), "No module named 'no_such_env'"),
    (("verifiers_tasks", {"tasks": "./env.py:load_environment", "size": 0}), "give at least 1"),
]


def test_rubrics_and_environments_before_0_4(peer: Any, tmp_path: Path) -> None:
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    cases = json.dumps([case for case, _ in BEFORE_MISTAKES])
    own, ours, (made,), rows, held, *errors = peer(*VERIFIERS_BEFORE).run(SCRIPT + BEFORE, tmp_path, cases)
    scored, odd = ours[: len(own)], ours[len(own) :]
    assert [(one["value"], one["parts"]) for one in scored] == [
        (pytest.approx(reward), metrics) for reward, metrics in own
    ]
    assert len({one["value"] for one in scored}) == 3
    failures = [one["failure"] for one in odd]
    assert failures == ["verifier", "infrastructure", *["verifier"] * 5, "timeout"]
    assert "'odd' returned nan" in odd[3]["explanation"]
    assert made["parts"] == {
        "right": 1.0,
        "told": 1.0,
        "odd": 0.5,
        "slow": 0.0,
        "num_turns": 0.0,  # the environment's own metric
    }
    assert [(row["reference"], row["info"]) for row in rows] == [("0", '{"bonus": 0}'), ("1", '{"bonus": 1}')]
    assert rows[0]["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "0?"},
    ]
    assert len(held) == 2
    for (case, message), (error,) in zip(BEFORE_MISTAKES, errors, strict=True):
        assert message in error, case


TASKS = """
import asyncio, itertools
import verifiers.v1 as vf

class Data(vf.TaskData):
    answer: str
    level: int = 0

class Config(vf.TaskConfig):
    bonus: float = 0.5

class Adding(vf.Task[Data, vf.State, Config]):
    @vf.reward(weight=2.0)
    async def right(self, task, trace) -> float:
        if trace.last_reply == "bug": raise KeyError("x")
        if trace.last_reply == "down": raise ConnectionError("nobody there")
        if trace.last_reply == "hang": await asyncio.sleep(60)
        if trace.last_reply == "none": return None
        if trace.last_reply == "nan": return float("nan")
        return float(trace.last_reply == task.answer)
    @vf.reward
    async def styled(self, trace): return {"short": self.config.bonus, "level": self.data.level}
    @vf.metric
    async def thought(self, trace): return len(trace.assistant_messages[-1].reasoning_content or "")
    @vf.metric
    async def turns(self, trace): return len(trace.messages) + trace.num_turns / 10 + len(trace.tool_messages) / 100

class Plain(vf.Task[Data, vf.State, Config]):
    @vf.reward
    async def right(self, task, trace) -> float: return float(trace.last_reply == task.answer)

class Boxed(vf.Task[Data, vf.State, Config]):
    @vf.reward
    async def passes(self, runtime): return 1.0

class Bare(vf.Task[Data, vf.State, Config]): pass

class SetConfig(vf.TasksetConfig):
    count: int = 2

class Sums(vf.Taskset[Adding, SetConfig]):
    def load(self):
        for n in range(self.config.count):
            yield Adding(Data(prompt=f"{n}?", answer=str(n), system_prompt="Be brief."))

class Endless(vf.Taskset[Adding, SetConfig]):
    INFINITE = True
    def load(self): return (Adding(Data(prompt=f"{n}?", answer=str(n))) for n in itertools.count())
"""

TODAY = """
call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 2}}}
turns = [{"role": "assistant", "content": "", "tool_calls": [call]},
         {"role": "tool", "tool_call_id": "1", "content": "4"},
         {"role": "assistant", "content": "<think>so</think>4"}]
said = [turns, "<think>so</think>4", "5", "bug", "down", "hang", "none", "nan"]
rollouts = [Rollout("2 + 2?", one, {"reference": "4", "level": 3, "other": None}) for one in said]
print(json.dumps(judge(rollouts, rubric="./tasks.py:Adding", args={"bonus": 0.25})))
print(json.dumps(rows(tasks="./tasks.py:Sums", args={"count": 3})))
print(json.dumps(rows(tasks="./tasks.py:Endless", size=2)))
mistakes(json.loads(sys.argv[1]))
"""

MISTAKES: list[tuple[tuple[str, dict[str, Any]], str]] = [
    (("verifiers_rubric", {"rubric": "./tasks.py:Boxed"}), "needs a container for passes"),
    (("verifiers_rubric", {"rubric": "./tasks.py:Bare"}), "has no rewards"),
    (("verifiers_rubric", {"rubric": "./tasks.py:Adding", "args": {"bonus": "much"}}), "bonus"),
    (("verifiers_rubric", {"rubric": "./tasks.py:Data"}), "ParamsError"),
    (("verifiers_tasks", {"tasks": "./tasks.py:Endless"}), "never end; give the param 'size'"),
    (("verifiers_tasks", {"tasks": "./tasks.py:Sums", "split": "eval"}), "has only one data set"),
    (("verifiers_tasks", {"tasks": "./tasks.py:Sums", "args": {"size": 1}}), "size"),
]


@pytest.mark.parametrize(
    ("version", "file", "module"),
    [(VERIFIERS_BEFORE, "env.py:right_only", ENVIRONMENT), (VERIFIERS, "tasks.py:Plain", TASKS)],
    ids=["before-0.4", "from-0.4"],
)
def test_verifiers_rubric_passes_the_kit(
    peer: Any, tmp_path: Path, version: tuple[str, ...], file: str, module: str
) -> None:
    (tmp_path / file.partition(":")[0]).write_text(module)
    installed = peer(*version, http=version is VERIFIERS)
    failed, passed = installed.run(SCRIPT + KIT, tmp_path, "[]", f"./{file}")
    assert failed == []
    assert len(passed) > 10


def test_tasks_and_tasksets_from_0_4(peer: Any, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    cases = json.dumps([case for case, _ in MISTAKES])
    scored, rows, endless, *errors = peer(*VERIFIERS, http=True).run(SCRIPT + TODAY, tmp_path, cases)
    with_a_tool, right, wrong, *broken = scored
    assert right["value"] == 2.0 + 0.25 + 3
    assert right["parts"] == {"right": 1.0, "short": 0.25, "level": 3.0, "thought": 2.0, "turns": 2.1}
    assert (with_a_tool["value"], with_a_tool["parts"]["turns"]) == (right["value"], pytest.approx(4.21))
    assert (wrong["value"], wrong["parts"]["thought"]) == (3.25, 0.0)
    kinds = [one["failure"] for one in broken]
    assert kinds == ["verifier", "infrastructure", "timeout", "verifier", "verifier"]
    assert [row["reference"] for row in rows] == ["0", "1", "2"]
    assert rows[1]["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1?"},
    ]
    assert [row["prompt"] for row in endless] == ["0?", "1?"]
    for (case, message), (error,) in zip(MISTAKES, errors, strict=True):
        assert message in error, case
