"""Plugins that break, or do not load, end in one line or in a typed failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wrong_inputs import Guerdon, only_line, stage, write


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (
            "{use: format, when: {task: code}}",
            "its 'when' asks for the column 'task', which no sampled row has",
        ),
        ("{use: format, when: {reference: y}}", "its 'when' matches none of 2 sampled rows"),
        ("{use: format, params: {tags: []}}", "refuses its params: tags is []"),
        ("{use: ./p.py:gives_up}", "it failed on every one of"),
    ],
)
def test_rubrics(guerdon: Guerdon, rewards: str, message: str) -> None:
    write("m.yaml", stage(f"data: [{{use: ./p.py:Rows}}], rewards: [{rewards}]"))
    ended = guerdon("check", "m.yaml")
    assert ended.status == 1
    assert message in ended.err


BROKEN_VERIFIERS = {
    "raises": ("verifier", "IndexError: list index out of range"),
    "speechless": ("verifier", "MuteError: <MuteError whose text cannot be made: RuntimeError>"),
    "returns_nan": ("verifier", "returned nan, which is not a finite number"),
    "returns_infinity": ("verifier", "returned inf, which is not a finite number"),
    "returns_text": ("verifier", "returned 'yes' of type str"),
    "returns_what_is_not_json": (
        "verifier",
        "ValueError: a Score's metadata cannot be JSON: keys must be str",
    ),
    "sleeps_forever": ("timeout", "no verdict within 0.5 s"),
    "never_yields": ("timeout", "no verdict within 0.5 s"),
    "waits_forever": ("timeout", "no verdict within 0.5 s"),
    "swallows_interrupts": ("timeout", "no verdict within 0.5 s"),
    "segfaults": ("verifier", "the worker process was killed by SIGSEGV"),
    "exits": ("verifier", "SystemExit: bye"),
    "exits_at_once": ("verifier", "the worker process ended with exit status 7"),
    "kills_itself": ("verifier", "the worker process was killed by SIGKILL"),
    "recurses": ("verifier", "RecursionError"),
    "takes_all_memory": ("verifier", "MemoryError"),
    "reads_input": ("verifier", "EOFError"),
    "has_no_network": ("infrastructure", "ConnectionRefusedError: nobody there"),
}


def test_verifiers_that_break_on_one_completion(guerdon: Guerdon) -> None:
    rewards = ", ".join(f"{{use: ./p.py:{verifier}, timeout: 0.5}}" for verifier in BROKEN_VERIFIERS)
    write("m.yaml", stage(f"rewards: [{rewards}]"))
    rows = [{"prompt": "?", "completion": completion} for completion in ("good", "bad", "fine")]
    write("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert guerdon("score", "d.jsonl", "-m", "m.yaml", "-o", "o.jsonl").status == 0
    scored = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in scored] == ["good", "bad", "fine"]
    for verifier, (failure, explanation) in BROKEN_VERIFIERS.items():
        good, bad, fine = (row["scores"][verifier] for row in scored)
        assert (good["value"], bad["value"], fine["value"]) == (1.0, None, 1.0), verifier
        assert (bad["outcome"], bad["failure"]) == ("failed", failure), verifier
        assert explanation in bad["explanation"]
    assert [row["reward"] for row in scored] == [
        float(len(BROKEN_VERIFIERS)),
        None,
        float(len(BROKEN_VERIFIERS)),
    ]


def test_forks_of_a_verifier_judge_no_completion(guerdon: Guerdon) -> None:
    write("f.py", "import os\ndef fork(completion): return float(completion) if os.fork() else -1.0\n")
    write("d.jsonl", "".join(json.dumps({"prompt": "?", "completion": str(n)}) + "\n" for n in range(20)))
    assert guerdon("score", "d.jsonl", "--use", "./f.py:fork", "-o", "o.jsonl").status == 0
    scored = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert [row["reward"] for row in scored] == [float(n) for n in range(20)]


def test_what_a_verifier_prints_goes_nowhere(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "bad"}\n')
    ended = guerdon("score", "d.jsonl", "--use", "./p.py:prints_a_gigabyte")
    assert ended.status == 0
    assert len(ended.out + ended.err) < 10_000


@pytest.mark.parametrize(
    ("reward", "explanation"),
    [
        ("gives_too_few", "returned 1 rewards for 2 completions"),
        ("gives_too_many", "returned 3 rewards for 2 completions"),
        ("gives_nothing", "returned a NoneType"),
        ("gives_text", "returned a str"),
        ("gives_nan", "returned nan"),
        ("gives_an_error", "KeyError: 'missing'"),
    ],
)
def test_rewards_that_break(guerdon: Guerdon, reward: str, explanation: str) -> None:
    write("d.jsonl", '{"completion": "a"}\n{"completion": "b"}\n')
    ended = guerdon("score", "d.jsonl", "--use", f"./p.py:{reward}")
    assert ended.status == 1
    assert (
        f"CheckFailedError: '{reward}' failed on every row, the last time: verifier: {explanation}"
        in only_line(ended)
    )


def test_a_dead_service_behind_every_verdict_is_infrastructure(guerdon: Guerdon) -> None:
    write("d.jsonl", '{"completion": "bad"}\n')
    ended = guerdon("score", "d.jsonl", "--use", "./p.py:has_no_network")
    assert ended.status == 3
    assert only_line(ended).startswith("InfrastructureError: 'has_no_network' failed on every row")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("mth", "PluginNotFoundError: no verifier or reward is named 'mth'. Did you mean 'math'?"),
        (
            "grpo",
            "PluginNotFoundError: no verifier or reward is named 'grpo', which is stage 'grpo' (guerdon 0.1.0)",
        ),
        ("./q.py:f", "PluginNotFoundError: './q.py:f' names the file"),
        ("./p.py:f", "p.py defines no 'f'"),
        ("./raises.py:f", "RuntimeError: broken module"),
        ("./syntax.py:f", "SyntaxError"),
        ("./quits.py:f", "SystemExit: 4"),
        ("no_such_package:f", "No module named 'no_such_package'"),
        ("./p.py:neither", "PluginContractError: plugin 'neither'"),
        ("./p.py:number", "PluginContractError: plugin 'number'"),
        ("./p.py:NeedsAKey", "cannot be built: RuntimeError: no key in the environment"),
        ("./p.py:EndsTheProcess", "cannot be built: the worker process ended with exit status 3"),
    ],
)
def test_plugins_that_do_not_load(guerdon: Guerdon, use: str, message: str) -> None:
    write("raises.py", "raise RuntimeError('broken module')")
    write("syntax.py", "def f(:")
    write("quits.py", "import sys; sys.exit(4)")
    write("d.jsonl", '{"completion": "a"}\n')
    ended = guerdon("score", "d.jsonl", "--use", use)
    assert ended.status == 2
    assert message in only_line(ended)
