"""Verdicts for each CPU-second and the slowest calls of the built-in verifiers, beside other projects' graders.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_throughput.py

The inputs are the cases of the conformance kits: short answers, alone and after 2,000 characters of reasoning. Every
scorer runs in this process, without an engine, for half a second of CPU time. A peer gets the same inputs. It is left
out if it is not installed: the extras `dev` and `benchmarks` have all of them. Verifiers that wait for a server or a
container are not measured here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from inspect import iscoroutine, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import graders

from guerdon.plugins.columns import CallColumns, group_arguments
from guerdon.plugins.discovery import Kind
from guerdon.scoring.entries import offered_columns
from guerdon.testing import Case

TESTS = Path(__file__).parents[1]
CPU_S = 0.5
KITS = ("plugins/test_conformance.py", "plugins/verifiers/test_tool_scores.py")
KINDS = (Kind.VERIFIER, Kind.REWARD, Kind.GROUP_REWARD)
REASONING = f"<think>{'First we read the question, and then we look at each part. ' * 33}</think>\n"

Judge = Callable[..., Any]


def in_a_list(function: Callable[..., Any], completion: str, **columns: Any) -> Any:
    """Call a reward of TRL."""
    return function([[{"role": "assistant", "content": completion}]], **{k: [v] for k, v in columns.items()})


def json_schema(completion: str, reference: Any) -> bool:
    return graders.plain_jsonschema(completion, reference)


PEERS: dict[str, dict[str, tuple[str, Judge]]] = {
    "TestMath": {
        "Math-Verify": ("math-verify", graders.math_verify_defaults),
        "TRL `accuracy_reward`": ("trl", partial(in_a_list, graders.trl_accuracy)),
    },
    "TestBoxes": {"the best IoU of each right box (shapely)": ("shapely", graders.shapely_iou)},
    "TestChoice": {
        "lm-eval's `MultiChoiceRegexFilter`": ("lm-eval", graders.lm_eval_choice),
        "Inspect's `answer`": ("inspect-ai", partial(graders.inspect_scorer, "answer", "letter")),
    },
    "TestFormat": {"TRL `think_format_reward`": ("trl", partial(in_a_list, graders.trl_think_format))},
    "TestInstructions": {"lm-eval's IFEval checkers": ("lm-eval", graders.ifeval_checkers)},
    "TestJsonSchema": {"`jsonschema.validate` of `json.loads`": ("jsonschema", json_schema)},
    "TestLanguage": {"langdetect": ("langdetect", graders.langdetect_target)},
    "TestMatch": {"Inspect's `exact`": ("inspect-ai", partial(graders.inspect_scorer, "exact", None))},
    "TestOverlap": {
        "rouge-score, rougeL": ("rouge-score", graders.rouge_l),
        "sacrebleu `sentence_chrf`": ("sacrebleu", graders.plain_chrf),
        "jiwer `wer`": ("jiwer", graders.word_error_rate),
    },
    "TestQa": {"SQuAD's exact match (transformers)": ("transformers", graders.squad_exact)},
    "TestReasoningGymVerifier": {
        "reasoning-gym's own scorer": ("reasoning-gym", graders.reasoning_gym_scorer)
    },
    "TestRepetitionPenalty": {
        "TRL `get_repetition_penalty_reward`": ("trl", partial(in_a_list, graders.trl_repetition))
    },
    "TestSql": {"equal sets of rows by `sqlite3`": ("sqlite3", graders.plain_sqlite)},
    "TestCosine": {"TRL `get_cosine_scaled_reward`": ("trl", partial(in_a_list, graders.trl_cosine))},
    "TestSoftOverlongPunishment": {
        "TRL `get_soft_overlong_punishment`": ("trl", partial(in_a_list, graders.trl_overlong))
    },
    "TestToolUse": {"BFCL's `ast_checker`": ("bfcl-eval", graders.bfcl_checker)},
}
"""The peers of a kit's verifier: the package, and a function of a completion and the columns of a row."""


def kits() -> Iterator[Any]:
    """Yield the kits of scorers, in the order of their files."""
    for path in KITS:
        for value in vars(_module(TESTS / path)).values():
            if isinstance(value, type) and hasattr(value, "plugin") and bool(getattr(value, "golden", None)):
                yield value


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def own_calls(kit: Any, reasoning: str) -> list[Callable[[], Any]]:
    """Return a call of the scorer for each case; of a group reward, one for each group."""
    component = kit.component()
    built = component.build()
    if component.plugin.kind is Kind.REWARD:
        return [partial(_reward, built, reasoning, case) for case in kit.cases()]
    if component.plugin.kind is Kind.GROUP_REWARD:
        return [partial(_group, built, reasoning, group) for group in kit.groups]
    columns = CallColumns.of_built(component, built)
    runner = asyncio.Runner()

    def call(case: Case) -> Any:
        result = built(reasoning + case.rollout.text, **columns.pick(offered_columns(case.rollout)))
        return runner.run(_wait(result)) if iscoroutine(result) else result

    return [partial(call, case) for case in kit.cases()]


def _reward(built: Any, reasoning: str, case: Case) -> Any:
    rollout = case.rollout
    columns = {name: [value] for name, value in rollout.columns.items()}
    return built(completions=[reasoning + rollout.text], completion_ids=[rollout.completion_ids], **columns)


def _group(built: Any, reasoning: str, group: Sequence[Case]) -> Any:
    known = {"completion_ids": [case.rollout.completion_ids for case in group], "met": [True] * len(group)}
    return built([reasoning + case.rollout.text for case in group], **group_arguments(built, **known))


async def _wait(result: Any) -> Any:
    return await result


def peer_calls(kit: Any, judge: Judge, reasoning: str) -> list[Callable[[], Any]]:
    """Return a call of a peer for each case that it can read."""
    parameters = signature(judge).parameters.values()
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
    names = {one.name for one in parameters}
    calls = []
    for case in kit.golden:
        rollout = case.rollout
        columns = {
            **rollout.columns,
            "completion_ids": rollout.completion_ids,
            "tool_calls": offered_columns(rollout)["tool_calls"],
        }
        wanted = {name: value for name, value in columns.items() if takes_all or name in names}
        if isinstance(case.value, float):
            calls.append(partial(judge, reasoning + rollout.text, **wanted))
    return [call for call in calls if _works(call)]


def _works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (
        TypeError,
        AttributeError,
        ValueError,
        KeyError,
    ):  # columns or references that the peer does not know
        return False
    return True


def measure(calls: Sequence[Callable[[], Any]]) -> str:
    """Return two cells: verdicts for each CPU-second, and the CPU time in ms that 99 % of the calls stay below."""
    for call in calls:
        call()
    latencies: list[float] = []
    started = time.process_time()
    while (spent := time.process_time() - started) < CPU_S or len(latencies) < 100:
        for call in calls:
            began = time.thread_time()
            call()
            latencies.append(time.thread_time() - began)
    p99 = sorted(latencies)[int(0.99 * len(latencies))]
    return f"{len(latencies) / spent:,.0f} | {1000 * p99:.2f}"


def main() -> None:
    asked = set(sys.argv[1:])
    wanted = [
        kit for kit in kits() if kit.component().plugin.kind in KINDS and (not asked or kit.plugin in asked)
    ]
    peers = {package for kit in wanted for package, _ in PEERS.get(kit.__name__, {}).values()}
    installed = [
        f"{name} {version(name)}" for name in ("guerdon", *sorted(peers - {"sqlite3"})) if _is_there(name)
    ]
    click.echo(f"{', '.join(installed)}; Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    click.echo(
        "| scorer | short answers: verdicts/CPU-s | p99 ms | after reasoning: verdicts/CPU-s | p99 ms |"
    )
    click.echo("|---|---|---|---|---|")
    for kit in wanted:
        name = kit.plugin.rpartition(":")[2]
        params = ", ".join(
            f"{key}={value}" for key, value in kit.params.items() if not isinstance(value, list | dict)
        )
        _write(f"`{name}`" + (f" ({params})" if params else ""), partial(own_calls, kit))
        for label, (package, judge) in PEERS.get(kit.__name__, {}).items():
            if _is_there(package):
                _write(f"*{label}*", partial(peer_calls, kit, judge))


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package.replace("-", "_")) is not None


def _write(label: str, calls: Callable[[str], list[Callable[[], Any]]]) -> None:
    made = [calls(""), calls(REASONING)]
    cells = [measure(some) if some else "– | –" for some in made]
    click.echo(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
