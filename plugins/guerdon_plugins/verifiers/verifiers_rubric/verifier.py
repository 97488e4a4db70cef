"""The plugin: it finds what a name means, and asks it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from guerdon import Failure, Messages, Score
from guerdon.errors import library_of
from guerdon.plugins.objects import load_object
from guerdon.text import checked_tags
from guerdon_plugins.verifiers.verifiers_rubric.classic import ClassicRubric
from guerdon_plugins.verifiers.verifiers_rubric.tasks import TaskRewards


class VerifiersRubric:
    """Scores with the rewards of the library verifiers: a ``Rubric`` (before 0.4), or a ``Task`` (from 0.4).

    The value is the weighted sum, and each function's value is a part. The library turns an exception of a function
    into 0; here it is a failure.

    Args:
        rubric: An import string ``package.module:name``, or a file ``./file.py:name``, of a ``Rubric``, an environment,
            a function that makes one (``my_env:load_environment``), or a class of tasks.
        args: The function's arguments, or the fields of the task's configuration.
        reasoning_tags: For tasks, the tags around reasoning, which they get separately; by default those of all known
            model families. A name is a tag, ``think``, and two marks with a space between them are an opening and a
            closing one, ``[THINK] [/THINK]``.
        base_dir: The folder that a file is relative to; given by the engine.

    Raises:
        MissingDependencyError: The library is not installed.
        PluginLoadError: The object does not import.
        ValueError: The object is none of these, or its rewards need more than one completion, or a container.
    """

    timeout_s = 300.0
    """The deadline of one verdict: a function may ask a model."""

    def __init__(
        self,
        rubric: str,
        args: Mapping[str, Any] | None = None,
        reasoning_tags: Sequence[str] | None = None,
        base_dir: Path | None = None,
    ) -> None:
        with library_of("verifier 'verifiers_rubric'", package="verifiers"):
            import verifiers  # noqa: F401
        self._made = partial(type(self), rubric, args, reasoning_tags, base_dir)
        found = load_object(rubric, base_dir)
        tags = checked_tags(reasoning_tags)
        self._rewards: ClassicRubric | TaskRewards
        if inspect.isclass(found) and hasattr(found, "data_type"):
            self._rewards = TaskRewards(found, args or {}, tags)
        else:
            self._rewards = ClassicRubric(_rubric(found, rubric, args or {}))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process makes it: functions of a rubric may be local, which do not pickle."""
        return self._made, ()

    async def __call__(
        self, completion: str, prompt: str | Messages, messages: Messages, **columns: Any
    ) -> Score:
        row = dict(columns)
        if "answer" not in row and "reference" in row:
            row["answer"] = row["reference"]
        if "answer" in row and not str(row["answer"] if row["answer"] is not None else "").strip():
            return Score.failed(
                Failure.REFERENCE, "the row's answer is empty, which functions may pay for any text"
            )
        value, parts = await self._rewards.score(prompt, messages, row)
        try:
            return Score(value, parts=parts)
        except ValueError as error:
            return Score.failed(Failure.VERIFIER, f"the rewards cannot be a score: {error}")


def _rubric(found: Any, name: str, args: Mapping[str, Any]) -> Any:
    """Return the rubric that an object is, has or makes."""
    made = found
    if inspect.isclass(found) or not _is_rubric(getattr(found, "rubric", found)):
        if not callable(found):
            raise ValueError(f"rubric is '{name}', which is a {type(found).__name__}; {_ALLOWED}")
        made = found(**args)
    elif args:
        raise ValueError(f"args is {dict(args)}, but '{name}' is not a function and takes none")
    rubric = getattr(made, "rubric", made)
    if not _is_rubric(rubric):
        raise ValueError(f"rubric is '{name}', which gives a {type(made).__name__}; {_ALLOWED}")
    return rubric


def _is_rubric(found: Any) -> bool:
    return hasattr(found, "score_rollout") and hasattr(found, "funcs")


_ALLOWED = "name a Rubric, an environment, a function that makes one, or a class of tasks"
