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
from inspect import iscoroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import bench_audit as peers
import click

from guerdon.plugins.columns import CallColumns
from guerdon.plugins.discovery import Kind
from guerdon.scoring.entries import offered_columns
from guerdon.testing import Case

TESTS = Path(__file__).parents[1]
CPU_S = 0.5
KITS = ("plugins/test_conformance.py", "plugins/verifiers/test_tool_scores.py")
REASONING = f"<think>{'First we read the question, and then we look at each part. ' * 33}</think>\n"

Judge = Callable[..., Any]


def rouge_l(completion: str, reference: str) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rougeL"]).score(reference, completion)["rougeL"].fmeasure)


def word_error_rate(completion: str, reference: str) -> float:
    import jiwer

    return float(jiwer.wer(reference, completion or " "))


def reasoning_gym_scorer(completion: str, reference: str) -> float:
    from reasoning_gym import get_score_answer_fn
    from reasoning_gym.utils import extract_answer

    score = get_score_answer_fn("basic_arithmetic")
    return float(score(answer=extract_answer(completion), entry={"answer": reference, "metadata": {}}))


def ifeval(completion: str, reference: Any, **_: Any) -> bool:
    return peers.ifeval_checkers(completion, reference)


def in_a_list(function: Callable[..., Any], completion: str, **columns: Any) -> Any:
    """Call a reward of TRL."""
    return function([[{"role": "assistant", "content": completion}]], **{k: [v] for k, v in columns.items()})


PEERS: dict[str, dict[str, tuple[str, Judge]]] = {
    "math": {
        "Math-Verify": ("math-verify", peers.math_verify_defaults),
        "TRL `accuracy_reward`": ("trl", partial(in_a_list, peers.trl_accuracy)),
    },
    "format": {"TRL `think_format_reward`": ("trl", partial(in_a_list, peers.trl_think_format))},
    "choice": {"lm-eval's `MultiChoiceRegexFilter`": ("lm-eval", peers.lm_eval_choice)},
    "instructions": {"lm-eval's IFEval checkers": ("lm-eval", ifeval)},
    "qa": {"SQuAD's exact match": ("transformers", peers.squad_exact)},
    "json_schema": {
        "`jsonschema.validate`": (
            "jsonschema",
            lambda text, reference: peers.plain_jsonschema(text, reference),
        )
    },
    "overlap": {
        "rouge-score": ("rouge-score", rouge_l),
        "sacrebleu `sentence_chrf`": ("sacrebleu", peers.plain_chrf),
        "jiwer `wer`": ("jiwer", word_error_rate),
    },
    "reasoning_gym": {"reasoning-gym's own scorer": ("reasoning-gym", reasoning_gym_scorer)},
}
"""The peers of a verifier: the package, and a function of a completion and a row's columns."""


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
    """Return a call of the scorer for each case."""
    component = kit.component()
    built = component.build()
    if component.plugin.kind is Kind.REWARD:
        return [partial(_reward, built, reasoning, case) for case in kit.cases()]
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


async def _wait(result: Any) -> Any:
    return await result


def peer_calls(kit: Any, judge: Judge, reasoning: str) -> list[Callable[[], Any]]:
    """Return a call of a peer for each case whose reference it can read."""
    calls = [
        partial(judge, reasoning + case.rollout.text, **case.rollout.columns)
        for case in kit.golden
        if isinstance(case.value, float) and case.rollout.columns.get("reference", "") is not None
    ]
    return [call for call in calls if _works(call)]


def _works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except (TypeError, AttributeError, ValueError):  # columns or references that the peer does not know
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
    packages = (
        "guerdon",
        "math-verify",
        "trl",
        "lm-eval",
        "transformers",
        "jsonschema",
        "rouge-score",
        "sacrebleu",
        "jiwer",
    )
    installed = [
        f"{name} {version(name)}" for name in packages if importlib.util.find_spec(name.replace("-", "_"))
    ]
    click.echo(f"{', '.join(installed)}; Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}\n")
    click.echo(
        "| scorer | short answers: verdicts/CPU-s | p99 ms | after reasoning: verdicts/CPU-s | p99 ms |"
    )
    click.echo("|---|---|---|---|---|")
    asked = set(sys.argv[1:])
    for kit in kits():
        component = kit.component()
        if component.plugin.kind not in (Kind.VERIFIER, Kind.REWARD) or (asked and kit.plugin not in asked):
            continue
        name = kit.plugin.rpartition(":")[2]
        params = ", ".join(
            f"{key}={value}" for key, value in kit.params.items() if not isinstance(value, list | dict)
        )
        _write(f"`{name}`" + (f" ({params})" if params else ""), partial(own_calls, kit))
        for label, (package, judge) in PEERS.get(kit.plugin.rpartition(".")[2].split(":")[0], {}).items():
            if importlib.util.find_spec(package.replace("-", "_")):
                _write(f"*{label}*", partial(peer_calls, kit, judge))


def _write(label: str, calls: Callable[[str], list[Callable[[], Any]]]) -> None:
    made = [calls(""), calls(REASONING)]
    cells = [measure(some) if some else "– | –" for some in made]
    click.echo(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
