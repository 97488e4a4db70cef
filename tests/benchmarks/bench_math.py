"""The math verifier beside Math-Verify in TRL's settings, its defaults and verl's wrapper: verdicts, errors, speed.

    python tests/benchmarks/bench_math.py [--fuzz N]

Needs the shared data beside the checkout (or GUERDON_SHARED) and math-verify. Every verifier runs in a process of its
own, which is killed and replaced where a single verdict takes longer than CAP seconds. Times are CPU time.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
SHARED = Path(os.environ.get("GUERDON_SHARED", HERE.parents[3] / "shared"))
sys.path.insert(0, str(HERE.parents[1] / "plugins" / "verifiers" / "math"))

CAP = 20.0
HARD_PAIRS = 1_500

Judge = Callable[[str, str], bool | None]


def guerdon() -> Judge:
    from guerdon_plugins.verifiers.math import MathVerifier

    verifier = MathVerifier()

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


def math_verify_defaults() -> Judge:
    from math_verify import parse, verify

    def judge(completion: str, reference: str) -> bool | None:
        gold = parse(f"${reference}$")
        return bool(verify(gold, parse(completion))) if gold else None

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


JUDGES = {
    "guerdon": guerdon,
    "Math-Verify, TRL": math_verify_as_in_trl,
    "Math-Verify, defaults": math_verify_defaults,
    "Math-Verify, verl": math_verify_as_in_verl,
}


@dataclass
class Result:
    """One verdict and what it cost."""

    verdict: bool | None
    cpu_s: float
    note: str = ""


@dataclass
class Batch:
    """The verdicts on many pairs, and the CPU seconds that they took together."""

    verdicts: list[bool | None]
    cpu_s: float


def serve(name: str, connection: Connection) -> None:
    logging.disable(logging.CRITICAL)
    judge = JUDGES[name]()
    judge("\\boxed{1}", "1")
    connection.send("ready")
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        if isinstance(task, list):
            started = time.process_time()
            verdicts = [judge(*pair) for pair in task]
            connection.send(Batch(verdicts, time.process_time() - started))
            continue
        completion, reference = task
        started = time.process_time()
        try:
            result = Result(judge(completion, reference), 0.0)
        except Exception as error:
            result = Result(None, 0.0, type(error).__name__)
        result.cpu_s = time.process_time() - started
        connection.send(result)


class Worker:
    """A process that judges, replaced when a verdict does not come in time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(self._name, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def judge(self, completion: str, reference: str) -> Result:
        self._connection.send((completion, reference))
        try:
            if self._connection.poll(CAP):
                result: Result = self._connection.recv()
                return result
            note = "killed"
        except EOFError:
            note = "died"
        self.close()
        self._start()
        return Result(None, CAP, note)

    def judge_all(self, pairs: list[tuple[str, str]]) -> Batch:
        self._connection.send(pairs)
        batch: Batch = self._connection.recv()
        return batch

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


def graded_cases(worker: Worker) -> dict[str, str]:
    wrong: Counter[str] = Counter()
    cases = [row for row in rows("cases/math.jsonl") if not row.get("policy")]
    slow = []
    for row in cases:
        expected = row["expected"] == "correct"
        result = worker.judge(row["completion"], row["reference"])
        if result.verdict is not expected:
            wrong["positive" if result.verdict else "negative" if expected else "no verdict"] += 1
        if row["category"] == "resource_bomb":
            slow.append(result.cpu_s)
    return {
        f"graded cases right, of {len(cases)}": str(len(cases) - wrong.total()),
        "… false positives": str(wrong["positive"]),
        "… false negatives": str(wrong["negative"]),
        "… no verdict (reference refused, error, killed)": str(wrong["no verdict"]),
        "resource bombs: longest verdict, CPU-s": f"{max(slow):.2f}",
    }


def identity(worker: Worker) -> dict[str, str]:
    found = golds()
    bare = sum(worker.judge(f"so $\\boxed{{{gold}}}$.", gold).verdict is True for gold in found)
    return {f"identity on {len(found):,} real golds": f"{100 * bare / len(found):.2f} %"}


def real_completions(worker: Worker) -> dict[str, str]:
    # One label of the file is wrong: 10000 is the reference's 10{,}000.
    found = rows("data/qwen_math_completions.jsonl")
    batch = worker.judge_all([(row["completion"], row["reference"]) for row in found])
    errors = 0
    for row, verdict in zip(found, batch.verdicts, strict=True):
        errors += bool(verdict) != (row["label"] or "\\boxed{10000}" in row["completion"])
    return {
        f"errors on {len(found)} real completions": str(errors),
        "… verdicts per CPU-second, first pass": f"{len(found) / batch.cpu_s:,.0f}",
    }


def hard_rewrites(worker: Worker) -> dict[str, str]:
    from math_rewrites import changing, keeping

    cases = [
        (gold, text, expected)
        for gold in dict.fromkeys(golds())
        for rewrites, expected in ((keeping, True), (changing, False))
        for _, text in rewrites(gold)
    ]
    sample = random.Random(0).sample(cases, HARD_PAIRS)
    times = []
    wrong: Counter[bool] = Counter()
    for gold, text, expected in sample:
        result = worker.judge(f"so $\\boxed{{{text}}}$.", gold)
        times.append(result.cpu_s)
        wrong[expected] += (result.verdict is True) != expected
    times.sort()
    keep = sum(expected for *_, expected in sample)
    return {
        f"rewrites refused, of {keep} that keep the meaning": str(wrong[True]),
        f"edits accepted, of {len(sample) - keep} that change it": str(wrong[False]),
        "… verdicts per CPU-second": f"{len(times) / sum(times):,.0f}",
        "… p50, p99 in CPU-ms": f"{1000 * times[len(times) // 2]:.2f}, {1000 * times[int(0.99 * len(times))]:.1f}",
    }


def compare_verifiers() -> None:
    columns: dict[str, dict[str, str]] = {}
    for name in JUDGES:
        sys.stderr.write(f"… {name}\n")
        worker = Worker(name)
        columns[name] = {
            key: value
            for measure in (real_completions, identity, hard_rewrites, graded_cases)
            for key, value in measure(worker).items()
        }
        worker.close()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores of {platform.machine()}"
    sys.stdout.write(f"{machine}, math-verify {version('math-verify')}, {time.strftime('%Y-%m-%d')}\n\n")
    sys.stdout.write(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}" + "\n")
    for key in columns["guerdon"]:
        sys.stdout.write(f"| {key} | {' | '.join(column[key] for column in columns.values())} |" + "\n")


def fuzz(count: int) -> None:
    """Judge garbage; print the slowest."""
    from math_fuzz import answers

    from guerdon_plugins.verifiers.math import MathVerifier, compare

    verifier = MathVerifier()
    references = [
        "7",
        r"\frac{1}{2}",
        "x^2+1",
        "(1,2)",
        r"\{1,2\}",
        r"(0,\infty)",
        "x=5",
        "A",
        r"10\text{ cm}",
        "1,2",
    ]
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
    arguments.add_argument("--fuzz", type=int, metavar="N", help="judge N garbage answers instead")
    options = arguments.parse_args()
    fuzz(options.fuzz) if options.fuzz else compare_verifiers()
