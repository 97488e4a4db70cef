"""Every check of the kits fails on a plugin that breaks it, and passes on one that does not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from guerdon import Failure
from guerdon.errors import CheckFailedError, GuerdonError, InfrastructureError
from guerdon.testing import (
    Case,
    Conformance,
    EnvironmentConformance,
    HooksConformance,
    RewardConformance,
    SourceConformance,
    StageConformance,
    ToolConformance,
    VerifierConformance,
    run_checks,
)

GOOD_VERIFIER = """
from guerdon import Failure, Score

def it(completion, reference):
    if not isinstance(reference, str) or not reference.strip():
        return Score.failed(Failure.REFERENCE, "it is empty")
    return Score(float(completion == reference), answer=completion[:100])
"""

GOOD_ASYNC_VERIFIER = """
import asyncio

async def it(completion, reference):
    await asyncio.sleep(0)
    return bool(reference) and completion == reference
"""

GOOD_REWARD = """
from guerdon.types import message_text

def it(completions, **kwargs):
    return [1.0 if message_text(completion) == "4" else 0.0 for completion in completions]
"""

GOOD_SOURCE = """
import random

class it:
    def __iter__(self):
        random_numbers = random.Random(0)
        for number in range(100):
            yield {"prompt": f"{number} + {random_numbers.random()}", "reference": str(number)}
    def fingerprint(self):
        return "1"
"""

GOOD_STAGE = """
import json
from guerdon import StageResult

class it:
    needs = ("data",)
    def run(self, context):
        rows = list(context.rows())
        done = context.work / "done.jsonl"
        start = len(done.read_text().splitlines()) if done.exists() else 0
        for number, row in enumerate(rows[start:], start=start + 1):
            with done.open("a") as file:
                print(json.dumps({**row, "length": len(row["prompt"])}), file=file)
            context.progress(number, len(rows), {})
        done.replace(context.output / "rows.jsonl")
        return StageResult(dataset=context.output / "rows.jsonl", metrics={"rows": len(rows)})
"""

GOOD_HOOKS = """
from guerdon.hookspecs import hookimpl

class it:
    @hookimpl
    def run_finished(self, run, error):
        pass
"""

GOOD_TOOL = """
def it(number: int) -> int:
    '''Double a number.

    Args:
        number: The number.
    '''
    if not isinstance(number, int):
        raise ValueError("this is not a whole number")
    return 2 * number
"""

GOOD_ENVIRONMENT = """
class it:
    def reset(self, **row):
        self.count = row["start"]
        return "Count."
    def add(self, number: int) -> int:
        '''Add a number.

        Args:
            number: The number.
        '''
        if type(number) is not int or abs(number) > 99:
            raise ValueError("this is not a small whole number")
        self.count += number
        return self.count
    def get_reward(self):
        return float(self.count)
"""

CASES: dict[str, Any] = {
    "golden": (
        Case("4", 1.0, reference="4"),
        Case("5", 0.0, reference="4"),
        Case("4", Failure.REFERENCE, reference=""),
    ),
    "hacks": (Case("", 0.0, reference="4", why="an empty answer"),),
}
REWARD_CASES: dict[str, Any] = {
    "golden": (Case("4", 1.0), Case("5", 0.0)),
    "hacks": (Case("", 0.0, why="an empty answer"),),
}
ROWS: dict[str, Any] = {"rows": ({"prompt": "a"}, {"prompt": "bb"}, {"prompt": "ccc"})}

ATTRIBUTES: dict[type[Conformance], dict[str, Any]] = {
    VerifierConformance: CASES,
    RewardConformance: REWARD_CASES,
    SourceConformance: {"columns": ("prompt", "reference")},
    StageConformance: ROWS,
    HooksConformance: {},
    ToolConformance: {"calls": (({"number": 4}, "8"), ({"number": 5}, "10"))},
    EnvironmentConformance: {
        "row": {"start": 1},
        "episode": (("add", {"number": 2}), ("add", {"number": 3})),
        "reward": 6.0,
    },
}

BROKEN_VERIFIERS = {
    "loads": "def it(completion): ...\nraise ImportError('no such thing')",
    "golden_cases": "def it(completion, reference): return 0.5",
    "hack_cases": "def it(completion, reference): return completion in reference",
    "value_range": "def it(completion, reference): return len(completion)",
    "none_semantics": "def it(completion, reference): return True if completion == reference else None",
    "deterministic": "import os\ndef it(completion, reference): return os.getpid() % 10007 / 10007",
    "order_independent": """
seen = []
def it(completion, reference):
    seen.append(len(completion))
    return 0.0 if len(seen) < 2 else float(seen[-1] > seen[-2])
""",
    "process_safe": """
import os, pathlib, tempfile, time
mark = pathlib.Path(tempfile.gettempdir(), "guerdon-test-of-the-kit")
def it(completion, reference):
    mark.write_text(str(os.getpid()))
    time.sleep(0.005)
    return mark.read_text() == str(os.getpid())
""",
    "hostile_input": """
def nested(text, start):
    return nested(text, start + 1) if text[start:start + 1] == "(" else start
def it(completion, reference): return bool(completion == reference or nested(completion, 0) > 9e9)
""",
    "deadline": """
import re
def it(completion, reference):
    return bool(completion[:40] == "a" * 40 and re.fullmatch("(a|a)*b", completion[:40]) or completion == reference)
""",
    "picklable": """
import threading
class it:
    def __init__(self): self._lock = threading.Lock()
    def __call__(self, completion, reference): return completion == reference
""",
    "batch_equals_single": """
import time
last = [0.0]
def it(completion, reference):
    alone = time.monotonic() - last[0] > 0.0005
    time.sleep(0.001)
    last[0] = time.monotonic()
    return alone
""",
    "alignment": """
previous = []
def it(completion, reference):
    previous.append(float(completion == reference))
    return previous[-2] if len(previous) > 1 else 0.0
""",
    "thread_safe": """
import time
class it:
    def __call__(self, completion, reference):
        self.completion = completion
        time.sleep(0.001)
        return self.completion == reference
""",
    "no_mutation": """
def it(completion, reference, steps=()):
    steps.sort()
    return completion == reference
""",
    "unreadable_reference": "def it(completion, reference): return str(reference or '') in completion",
}

BROKEN_REWARDS = {
    "loads": "def it(completions): ...\nraise ImportError('no such thing')",
    "golden_cases": "def it(completions, **kwargs): return [0.5 for _ in completions]",
    "hack_cases": "def it(completions, **kwargs): return [1.0 for _ in completions]",
    "value_range": "def it(completions, **kwargs): return [float(len(c)) for c in completions]",
    "none_semantics": "def it(completions, **kwargs): return [float('nan') for c in completions]",
    "deterministic": "import random\ndef it(completions, **kwargs): return [random.random() for _ in completions]",
    "order_independent": "def it(completions, **kwargs): return [float(i) for i, _ in enumerate(completions)]",
    "process_safe": """
import os, pathlib, tempfile, time
mark = pathlib.Path(tempfile.gettempdir(), "guerdon-test-of-the-kit")
def it(completions, **kwargs):
    mark.write_text(str(os.getpid()))
    time.sleep(0.01)
    return [float(mark.read_text() == str(os.getpid())) for _ in completions]
""",
    "hostile_input": "def it(completions, **kwargs): return [1 / len(c) for c in completions]",
    "deadline": """
import time
def it(completions, **kwargs): return [float(time.sleep(9) or 0) if len(c) > 190_000 else 0.0 for c in completions]
""",
    "picklable": BROKEN_VERIFIERS["picklable"].partition("    def __call__")[0]
    + "    def __call__(self, completions, **kwargs): return [0.0 for _ in completions]",
    "batch_equals_single": "def it(completions, **kwargs): return [1.0 / len(completions) for _ in completions]",
    "alignment": "def it(completions, **kwargs): return [1.0 for _ in set(completions)]",
    "trl_contract": "def it(completions): return [1.0 for _ in completions]",
    "thread_safe": """
import time
class it:
    def __call__(self, completions, **kwargs):
        self.rewards = []
        for completion in completions:
            time.sleep(0.001)
            self.rewards.append(float(completion == "4"))
        return self.rewards
""",
    "no_mutation": "def it(completions, **kwargs): completions.sort(); return [1.0 for _ in completions]",
}

BROKEN_SOURCES = {
    "loads": "class it:\n    def __init__(self): raise ValueError('no such thing')",
    "yields_rows": "class it:\n    def __iter__(self): yield {'prompt': 'a'}",
    "prompts": "class it:\n    def __iter__(self): yield {'prompt': [{'text': 'a'}], 'reference': '1'}",
    "json": "class it:\n    def __iter__(self): yield {'prompt': 'a', 'reference': {1, 2}}",
    "deterministic": """
class it:
    def __iter__(self):
        for word in {"a", "b", "c", "d", "e", "f", "g", "h"}:
            yield {"prompt": word, "reference": word}
""",
    "independent_iterations": """
import random
class it:
    def __iter__(self):
        random.seed(0)
        while True:
            yield {"prompt": str(random.random()), "reference": "1"}
""",
    "rows_stay": """
class it:
    def __iter__(self):
        row = {}
        for number in range(9):
            row.update(prompt=str(number), reference=str(number))
            yield row
""",
    "split": """
class it:
    def __iter__(self):
        for number in range(64):
            yield {"prompt": str(number), "reference": "1", "split_key": "numbers"}
""",
    "fingerprint": """
import time
class it:
    def __iter__(self): yield {"prompt": "a", "reference": "1"}
    def fingerprint(self): return time.time_ns()
""",
}

_STAGE = """
import json, random
from guerdon import StageResult
class it:
    def run(self, context):
        {}
"""

BROKEN_STAGES = {
    "loads": "class it:\n    def __init__(self): raise ValueError('no such thing')\n    def run(self, context): ...",
    "needs": "class it:\n    needs = ('modell',)\n    def run(self, context): ...",
    "result": _STAGE.format("return {'loss': 1.0}"),
    "dataset": _STAGE.format(
        "(context.output / 'a.jsonl').write_text('one'); return StageResult(dataset=context.output / 'a.jsonl')"
    ),
    "writes_nowhere_else": _STAGE.format("open('log.txt', 'w').close(); return StageResult()"),
    "no_mutation": _STAGE.format("[row.clear() for row in context.rows()]; return StageResult()"),
    "progress": _STAGE.format("context.progress(2, 1, {}); return StageResult()"),
    "deterministic": _STAGE.format("return StageResult(metrics={'loss': random.random()})"),
    "resumes": _STAGE.format(
        "log = (context.work / 'log').open('a'); log.write('x'); log.close(); context.progress(1, 1, {}); "
        "return StageResult(metrics={'tries': (context.work / 'log').stat().st_size})"
    ),
}

_HOOKS = """
from guerdon.hookspecs import hookimpl
class it:
    @hookimpl
    def {}
"""

BROKEN_HOOKS = {
    "loads": "class it:\n    def __init__(self): raise ValueError('no such thing')",
    "fits_the_specifications": _HOOKS.format("run_startet(self, run): ..."),
    "hears_a_run": _HOOKS.format("stage_progress(self, metrics): metrics['reward']"),
    "hears_a_failed_run": _HOOKS.format("run_finished(self, error): assert error is None"),
}

_BODY = "    return 2 * number\n"
_TYPED = "        if type(number) is not int or abs(number) > 99:\n"

BROKEN_TOOLS = {
    "loads": "def it(): ...\nraise ImportError('no such thing')",
    "shape": "def it(number): return 2 * number",
    "calls": GOOD_TOOL.replace("2 * number", "number"),
    "repeatable": "calls = []\n"
    + GOOD_TOOL.replace(_BODY, "    calls.append(1)\n    return 2 * number + (len(calls) > 2)\n"),
    "hostile_arguments": "import os\n"
    + GOOD_TOOL.replace("    if not", "    if number is None: os._exit(1)\n    if not"),
}

BROKEN_ENVIRONMENTS = {
    "loads": "class it:\n    def __init__(self): raise ValueError('no such thing')\n    def reset(self, **row): ...",
    "shape": "class it:\n    def reset(self, **row): ...\n    def add(self, number): return number",
    "episode": GOOD_ENVIRONMENT.replace("return float(self.count)", "return 'much'"),
    "reset_clears": GOOD_ENVIRONMENT.replace(
        'self.count = row["start"]', 'self.count = getattr(self, "count", row["start"])'
    ),
    # Every call of every instance leaves a byte, so that no two of them see the same, in whatever order they run.
    "isolated": GOOD_ENVIRONMENT.replace(
        "class it:", "import pathlib\nmark = pathlib.Path(__file__).with_name('mark')\nclass it:"
    ).replace(
        "self.count += number\n",
        "self.count += number\n"
        "        with mark.open('a') as file: file.write('x')\n"
        "        self.seen = mark.stat().st_size\n",
    ),
    "seeded": "import os\n" + GOOD_ENVIRONMENT.replace('return "Count."', "return str(os.getpid())"),
    "hostile_calls": "import os\n"
    + GOOD_ENVIRONMENT.replace(_TYPED, "        if number is None: os._exit(1)\n" + _TYPED),
}

GOOD = {
    VerifierConformance: GOOD_VERIFIER,
    RewardConformance: GOOD_REWARD,
    SourceConformance: GOOD_SOURCE,
    StageConformance: GOOD_STAGE,
    HooksConformance: GOOD_HOOKS,
    ToolConformance: GOOD_TOOL,
    EnvironmentConformance: GOOD_ENVIRONMENT,
}
BROKEN = {
    VerifierConformance: BROKEN_VERIFIERS,
    RewardConformance: BROKEN_REWARDS,
    SourceConformance: BROKEN_SOURCES,
    StageConformance: BROKEN_STAGES,
    HooksConformance: BROKEN_HOOKS,
    ToolConformance: BROKEN_TOOLS,
    EnvironmentConformance: BROKEN_ENVIRONMENTS,
}
SPECIAL: dict[tuple[type[Conformance], str], dict[str, Any]] = {
    (VerifierConformance, "deadline"): {"timeout_s": 0.5},
    (RewardConformance, "deadline"): {"timeout_s": 0.5},
    (RewardConformance, "value_range"): {"value_range": (0.0, 1.0)},
    (VerifierConformance, "no_mutation"): {"golden": (Case("4", 1.0, reference="4", steps=["b", "a"]),)},
}


def kit_of(kit: type[Conformance], folder: Path, source: str, **attributes: Any) -> type[Conformance]:
    (folder / "plugin.py").write_text(source)
    return type(
        "Tested", (kit,), {"plugin": "./plugin.py:it", "base_dir": folder, **ATTRIBUTES[kit], **attributes}
    )


@pytest.mark.parametrize(
    ("kit", "check"),
    [(kit, check) for kit, checks in BROKEN.items() for check in checks],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_check_fails_on_a_plugin_that_breaks_it(
    kit: type[Conformance], check: str, tmp_path: Path
) -> None:
    broken = kit_of(kit, tmp_path, BROKEN[kit][check], **SPECIAL.get((kit, check), {}))
    expected = GuerdonError if check == "loads" else CheckFailedError
    broken.setup_class()
    try:
        with pytest.raises(expected) as caught:
            getattr(broken(), f"test_{check}")()
    finally:
        broken.teardown_class()
    if check != "loads":
        assert re.search(r".+\n  why: .+\n  fix: .+", str(caught.value))


def test_every_check_is_broken_here() -> None:
    for kit, checks in BROKEN.items():
        names = {name for base in kit.__mro__ for name in vars(base) if name.startswith("test_")}
        assert {f"test_{check}" for check in checks} == names


@pytest.mark.parametrize("kit", GOOD, ids=lambda kit: kit.__name__)
def test_a_good_plugin_passes_every_check(kit: type[Conformance], tmp_path: Path) -> None:
    results = list(run_checks(kit_of(kit, tmp_path, GOOD[kit])))
    assert {result.check: result.message for result in results if result.outcome != "passed"} == {}
    assert len(results) == len(BROKEN[kit])


def test_a_good_async_verifier_passes_too(tmp_path: Path) -> None:
    kit = kit_of(VerifierConformance, tmp_path, GOOD_ASYNC_VERIFIER, golden=CASES["golden"][:2])
    assert [result for result in run_checks(kit) if result.outcome == "failed"] == []


def test_a_reward_that_compares_completions_says_so(tmp_path: Path) -> None:
    source = """
from guerdon.types import message_text
def it(completions, **kwargs):
    lengths = [len(message_text(completion)) for completion in completions]
    return [sum(length >= other for other in lengths) / len(lengths) for length in lengths]
"""
    cases = {"golden": (Case("aa", 1.0), Case("a", 0.5)), "hacks": ()}
    kit = kit_of(RewardConformance, tmp_path, source, **cases)
    failed = {result.check for result in run_checks(kit) if result.outcome == "failed"}
    assert failed == {"batch equals single"}
    kit = kit_of(RewardConformance, tmp_path, source, **cases, compares_completions=True)
    assert [result for result in run_checks(kit) if result.outcome == "failed"] == []


def test_reward_that_counts_twins_in_its_group_passes(tmp_path: Path) -> None:
    source = """
from guerdon.types import message_text
def it(completions, **kwargs):
    texts = [message_text(completion) for completion in completions]
    return [1.0 / texts.count(text) for text in texts]
"""
    cases = {"golden": (Case("aa", 1.0), Case("a", 1.0)), "hacks": ()}
    kit = kit_of(RewardConformance, tmp_path, source, **cases, compares_completions=True)
    assert [result for result in run_checks(kit) if result.outcome == "failed"] == []


def test_what_is_missing_outside_is_not_a_failed_check(tmp_path: Path) -> None:
    kit = kit_of(
        VerifierConformance, tmp_path, "def it(completion, reference): raise ConnectionError('down')"
    )
    with pytest.raises(InfrastructureError, match="cannot be tested: ConnectionError: down"):
        list(run_checks(kit))


def test_a_verifier_that_asks_for_the_prompt_gets_it_everywhere(tmp_path: Path) -> None:
    source = "def it(completion, prompt): return bool(prompt) and completion == prompt[::-1]"
    kit = kit_of(VerifierConformance, tmp_path, source, golden=(Case("cba", 1.0, prompt="abc"),), hacks=())
    assert [result for result in run_checks(kit) if result.outcome == "failed"] == []


def test_environment_without_an_episode_skips_the_checks_of_episodes(tmp_path: Path) -> None:
    kit = kit_of(EnvironmentConformance, tmp_path, GOOD_ENVIRONMENT, episode=(), reward=None)
    skipped = {result.check: result.message for result in run_checks(kit) if result.outcome == "skipped"}
    assert skipped.keys() == {"episode", "reset clears", "isolated", "seeded"}
    assert all("no call was tried: give the kit's 'episode'" in message for message in skipped.values())
