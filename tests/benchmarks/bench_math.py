"""The math verifier beside Math-Verify, verl's graders and sympy alone: wrong verdicts, refusals and speed on each set.

    python tests/benchmarks/bench_math.py [--sample 400] [--cap 10] [--only NAME ...] [--sets NAME ...] [--verl FOLDER]
    python tests/benchmarks/bench_math.py --garbage N

Needs the shared data beside the checkout (or GUERDON_SHARED) and math-verify. ``--verl`` is a folder with verl's wheel
unpacked (``pip download --no-deps verl==0.6.1``, ``unzip``), and pylatexenc installed beside it; without it, verl's own
graders are left out. Every grader runs in a process of its own, which is killed and replaced where a single verdict
takes longer than the cap. Times are CPU time. prime_math evaluates model output as Python: run it where that is safe.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import multiprocessing
import os
import platform
import random
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
SHARED = Path(os.environ.get("GUERDON_SHARED", HERE.parents[3] / "shared"))
sys.path.insert(0, str(HERE.parents[1] / "plugins" / "verifiers" / "math"))

Judge = Callable[[str, str], bool | None]


@dataclass(frozen=True)
class Case:
    """One completion with its reference and the right verdict."""

    completion: str
    reference: str
    right: bool


def guerdon() -> Judge:
    from guerdon_plugins.verifiers.math import MathVerifier

    verifier = MathVerifier(calculations=True)

    def judge(completion: str, reference: str) -> bool | None:
        value = verifier(completion, reference).value
        return None if value is None else value == 1.0

    return judge


def math_verify_as_in_trl() -> Judge:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify

    config = LatexExtractionConfig(
        normalization_config=NormalizationConfig(units=True),
        boxed_match_priority=0,
        try_extract_without_anchor=False,
    )

    def judge(completion: str, reference: str) -> bool | None:
        gold = parse(f"${reference}$", parsing_timeout=10)
        if not gold:
            return None
        answer = parse(
            completion, extraction_config=[config], extraction_mode="first_match", parsing_timeout=10
        )
        return bool(verify(gold, answer, timeout_seconds=5))

    return judge


def math_verify_as_in_verl() -> Judge:
    from math_verify.metric import math_metric
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    metric = math_metric(
        gold_extraction_target=(LatexExtractionConfig(),),
        pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
    )

    def judge(completion: str, reference: str) -> bool | None:
        try:
            return bool(metric([f"\\boxed{{{reference}}}"], [completion])[0])
        except Exception:  # verl's wrapper scores every error 0
            return False

    return judge


def _verl_module(name: str) -> Any:
    """One of verl's graders, without verl's package, which loads torch and ray."""
    folder = Path(os.environ["BENCH_VERL"])
    sys.path.insert(0, str(folder))
    for package in ("verl", "verl.utils", "verl.utils.reward_score"):
        module = types.ModuleType(package)
        module.__path__ = [str(folder.joinpath(*package.split(".")))]
        sys.modules[package] = module
    functional = types.ModuleType("verl.utils.py_functional")
    functional.timeout_limit = lambda **_: lambda function: function  # type: ignore[attr-defined]
    sys.modules["verl.utils.py_functional"] = functional
    return importlib.import_module(f"verl.utils.reward_score.{name}")


def verl_math_reward() -> Judge:
    module = _verl_module("math_reward")
    return lambda completion, reference: bool(module.compute_score(completion, reference))


def verl_prime_math() -> Judge:
    module = _verl_module("prime_math")

    def judge(completion: str, reference: str) -> bool | None:
        try:
            return bool(module.compute_score(completion, reference)[0])
        except Exception:  # its wrapper scores every error 0
            return False

    return judge


def sympy_alone() -> Judge:
    import sympy
    from latex2sympy2_extended import latex2sympy  # sympy's own reader needs another version of ANTLR

    from guerdon_plugins.verifiers.math import extract

    def judge(completion: str, reference: str) -> bool | None:
        try:
            gold = latex2sympy(reference)
        except Exception:  # ANTLR's errors and its own
            return None
        try:
            answer = latex2sympy(extract(completion).answer or "")
            return bool(answer == gold or sympy.simplify(answer - gold) == 0)
        except Exception:
            return False

    return judge


SCORERS = {
    "guerdon": guerdon,
    "Math-Verify, TRL": math_verify_as_in_trl,
    "Math-Verify, verl": math_verify_as_in_verl,
    "verl math_reward": verl_math_reward,
    "verl prime_math": verl_prime_math,
    "sympy alone": sympy_alone,
}


def serve(name: str, connection: Connection) -> None:
    logging.disable(logging.CRITICAL)
    judge = SCORERS[name]()
    judge("\\boxed{1}", "1")
    connection.send("ready")
    while True:
        try:
            completion, reference = connection.recv()
        except EOFError:
            return
        started = time.process_time()
        try:
            verdict, note = judge(completion, reference), ""
        except Exception as error:
            verdict, note = None, type(error).__name__
        connection.send((verdict, time.process_time() - started, note))


class Worker:
    """A process that judges, replaced when a verdict does not come in time."""

    def __init__(self, name: str, cap: float) -> None:
        self._name = name
        self._cap = cap
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(self._name, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def judge(self, case: Case) -> tuple[bool | None, float, str]:
        """The verdict, the CPU seconds it took, and what went wrong."""
        self._connection.send((case.completion, case.reference))
        try:
            if self._connection.poll(self._cap):
                result: tuple[bool | None, float, str] = self._connection.recv()
                return result
        except EOFError:
            pass
        self.close()
        self._start()
        return None, self._cap, "killed"

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHARED / name).read_text("utf-8").splitlines()]


def golds() -> list[str]:
    found = []
    for name in ("math500", "gsm8k_test", "amc23", "aime24"):
        found += [row["answer"].rpartition("####")[2].strip() for row in rows(f"data/{name}.jsonl")]
    return found


def boxed(answer: str) -> str:
    return f"so the answer is $\\boxed{{{answer}}}$."


def graded_cases() -> Iterator[Case]:
    for row in rows("cases/math.jsonl"):
        if not row.get("policy"):
            yield Case(row["completion"], row["reference"], row["expected"] == "correct")


def field_faults() -> Iterator[Case]:
    for row in rows("cases/field_faults.jsonl"):
        plain = row["area"] == "math" and not row.get("params") and isinstance(row.get("reference"), str)
        if plain and row.get("completion") and isinstance(row["expected"], float):
            yield Case(row["completion"], row["reference"], bool(row["expected"]))


def real_completions() -> Iterator[Case]:
    # One label of the file is wrong: 10000 is the reference's 10{,}000.
    for row in rows("data/qwen_math_completions.jsonl"):
        right = bool(row["label"] or "\\boxed{10000}" in row["completion"])
        yield Case(row["completion"], row["reference"], right)


def identity() -> Iterator[Case]:
    for gold in golds():
        yield Case(boxed(gold), gold, True)


def rewrites() -> Iterator[Case]:
    from math_rewrites import changing, keeping

    for gold in dict.fromkeys(golds()):
        for rewritten, right in ((keeping, True), (changing, False)):
            for _, text in rewritten(gold):
                yield Case(boxed(text), gold, right)


def fuzzed() -> Iterator[Case]:
    from pair_fuzz import pairs

    for pair in pairs(12345, 1_500):
        yield Case(boxed(pair.answer), pair.reference, pair.equal)


SETS: dict[str, Callable[[], Iterator[Case]]] = {
    "800 real completions": real_completions,
    "identity on real golds": identity,
    "rewrites of real golds": rewrites,
    "pairs by grammar": fuzzed,
    "graded cases": graded_cases,
    "field faults": field_faults,
}


def measure(name: str, sets: dict[str, list[Case]], cap: float) -> dict[str, str]:
    """One row of each set's table for one grader."""
    worker = Worker(name, cap)
    lines = {}
    for title, cases in sets.items():
        counts: Counter[str] = Counter()
        times = []
        for case in cases:
            verdict, seconds, note = worker.judge(case)
            times.append(seconds)
            kind = (note == "killed" and "killed") or (verdict is None and "refused")
            if not kind and verdict is not case.right:
                kind = "positive" if verdict else "negative"
            counts[kind or "right"] += 1
        times.sort()
        numbers = (counts[kind] for kind in ("right", "positive", "negative", "refused", "killed"))
        rate, p99 = len(times) / sum(times), 1000 * times[int(0.99 * (len(times) - 1))]
        lines[title] = f"| {name} | {' | '.join(map(str, numbers))} | {rate:,.0f} | {p99:,.1f} |"
        sys.stderr.write(f"{title}: {lines[title]}\n")
    worker.close()
    return lines


def compare_graders(options: argparse.Namespace) -> None:
    source = random.Random(0)
    sets = {}
    for title, make in SETS.items():
        if options.sets and title not in options.sets:
            continue
        cases = list(make())
        whole = title in ("800 real completions", "graded cases", "field faults")
        sets[title] = cases if whole or len(cases) <= options.sample else source.sample(cases, options.sample)
    names = [name for name in SCORERS if not options.only or name in options.only]
    if options.verl:
        os.environ["BENCH_VERL"] = str(Path(options.verl).resolve())
    else:
        names = [name for name in names if not name.startswith("verl ")]
    columns = [measure(name, sets, options.cap) for name in names]
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores of {platform.machine()}"
    sys.stdout.write(f"{machine}, math-verify {version('math-verify')}, {time.strftime('%Y-%m-%d')}\n")
    for title, cases in sets.items():
        sys.stdout.write(f"\n**{title}**, {len(cases):,}:\n\n")
        sys.stdout.write("| | right | FP | FN | refused | killed | verdicts per CPU-s | p99, CPU-ms |\n")
        sys.stdout.write("|---|---|---|---|---|---|---|---|\n")
        sys.stdout.write("".join(f"{column[title]}\n" for column in columns))


def judge_garbage(count: int) -> None:
    """Judge strings of mathematical notation in any order; print the slowest."""
    from math_fuzz import answers

    from guerdon_plugins.verifiers.math import MathVerifier, compare

    verifier = MathVerifier()
    references = ("7", r"\frac{1}{2}", "x^2+1", "(1,2)", r"\{1,2\}", r"(0,\infty)", "x=5", "A", "1,2")
    slowest = 0.0
    started = time.process_time()
    for index, answer in enumerate(answers(7, count)):
        before = time.process_time()
        verifier(f"\\boxed{{{answer}}}", references[index % len(references)])
        compare(references[index % len(references)], answer)
        slowest = max(slowest, time.process_time() - before)
    spent = time.process_time() - started
    sys.stdout.write(f"{count:,} inputs without a crash, {spent:.0f} CPU-s, slowest {slowest:.2f} CPU-s\n")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sample", type=int, default=400, help="cases of each large set")
    arguments.add_argument("--cap", type=float, default=10.0, help="seconds after which a verdict is killed")
    arguments.add_argument("--only", nargs="*", help="graders to run")
    arguments.add_argument("--sets", nargs="*", help="sets to run")
    arguments.add_argument("--verl", help="folder with verl's wheel unpacked")
    arguments.add_argument("--garbage", type=int, metavar="N", help="judge N garbage answers instead")
    options = arguments.parse_args()
    judge_garbage(options.garbage) if options.garbage else compare_graders(options)
