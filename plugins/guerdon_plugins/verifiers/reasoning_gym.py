"""``reasoning_gym``: score an answer with the scorer of its Reasoning Gym task."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from guerdon import Failure, Score
from guerdon.errors import library_of
from guerdon.text import checked_tags, last_tagged, select_part, split_reasoning
from guerdon_plugins.shared.formulas import formula, integers, is_arithmetic, value_of


class ReasoningGymVerifier:
    """Scores with the task's own scorer, which may give partial credit, for rows of the source ``reasoning_gym``.

    Tasks and scorers: Reasoning Gym (arXiv 2505.24760). Rows have the columns ``task``, ``reference`` and ``metadata``.
    An answer is wrong if the scorer raises on it, but can read the reference. Some scorers evaluate the answer as
    Python; here they only read literals and formulas, so that a completion cannot run code.

    Args:
        answer: The place of the answer: in the last ``<answer>`` tags (``tags``), or, without tags, all text after the
            reasoning (``final``).
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        MissingDependencyError: Reasoning Gym is not installed.
    """

    audit_kind = "answer"

    def __init__(
        self, answer: Literal["tags", "final"] = "tags", reasoning_tags: Sequence[str] | None = None
    ) -> None:
        with library_of("verifier 'reasoning_gym'", extra="reasoning-gym"):
            import reasoning_gym  # noqa: F401
        self._tags_only = answer == "tags"
        self._tags = checked_tags(reasoning_tags)

    def __call__(
        self, completion: str, reference: str | None, task: str, metadata: str | Mapping[str, Any]
    ) -> Score:
        try:
            details = (
                json.loads(metadata, object_hook=_restore) if isinstance(metadata, str) else dict(metadata)
            )
            config = json.dumps(details.get("source_config", {}), sort_keys=True)
            score_answer = _scorer(task, config)
        except (ValueError, TypeError, AssertionError) as error:
            return Score.failed(Failure.REFERENCE, f"no scorer for the task {task!r}: {error}")
        answer = self._answer(completion)
        if answer is None:
            return Score(0.0, explanation="no answer in <answer> tags")
        problem = _problem(answer, reference, task, details)
        if problem:
            return Score(0.0, answer=answer, explanation=problem)
        entry = {"question": "", "answer": reference, "metadata": details}
        try:
            value = float(score_answer(answer, entry))
            return Score(value, answer=answer, explanation="" if value == 1 else f"{task} gives it {value:g}")
        except Exception as error:  # each task parses answers in its own way
            if reference is not None:
                score_answer(reference, entry)  # raises too if the answer is not at fault
            return Score(0.0, answer=answer, explanation=f"the task cannot read the answer: {error}")

    def gold_completion(self, reference: str | None) -> str | None:
        """Return a right completion for the check before a run, or None for tasks without a reference."""
        return None if reference is None else f"<answer>{reference}</answer>"

    def _answer(self, completion: str) -> str | None:
        if self._tags_only:
            return last_tagged(split_reasoning(completion, self._tags).answer, "answer")
        return select_part(completion, "answer", self._tags)


def _restore(value: dict[str, Any]) -> Any:
    """Undo the source's marks for tuples and for keys that are not strings, which JSON does not have."""
    if value.keys() == {"__tuple__"}:
        return tuple(value["__tuple__"])
    if value.keys() == {"__items__"}:
        return dict(value["__items__"])
    return value


def _problem(answer: str, reference: str | None, task: str, details: Mapping[str, Any]) -> str:
    """Return why the scorer must not read an answer, or an empty text. SymPy's parser would run it as Python."""
    from reasoning_gym.factory import DATASETS

    if "parse_expr" not in DATASETS[task][0].score_answer.__code__.co_names:
        return ""
    if answer == reference:  # such as an integral that SymPy left as it is
        return ""
    tree = formula(answer)
    if tree is None:
        return "the answer is not a formula"
    wanted = formula(reference or "")
    if wanted is not None and is_arithmetic(wanted):
        # The tasks ask for a whole number of given numbers, and their scorers would take other ways to write one.
        if not is_arithmetic(tree) or value_of(tree).denominator != 1:
            return "the answer is not arithmetic with a whole result"
        if sorted(integers(tree)) != sorted(details["numbers"]):
            return "the answer does not use each number once"
    return ""


@cache
def _scorer(task: str, config: str) -> Callable[[str, Mapping[str, Any]], float]:
    from reasoning_gym.factory import DATASETS

    if task not in DATASETS:
        raise ValueError("reasoning-gym has no such task")
    dataset_class, config_class = DATASETS[task]
    score_answer: Callable[[str, Mapping[str, Any]], float] = dataset_class(
        config_class(**json.loads(config))
    ).score_answer
    function = dataset_class.score_answer
    if "eval" in function.__code__.co_names:
        function.__globals__["eval"] = ast.literal_eval
    return score_answer
