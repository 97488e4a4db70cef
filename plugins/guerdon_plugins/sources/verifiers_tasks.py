"""``verifiers_tasks``: the tasks of an environment or a taskset of the library verifiers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from guerdon.errors import library_of
from guerdon.plugins.objects import load_object


class VerifiersTasks:
    """Yields the data set of an environment (before verifiers 0.4), or the tasks of a ``Taskset`` (from 0.4).

    A row has ``prompt``, ``reference`` (the task's ``answer``, if it has one), and the task's other fields as columns.
    ``info`` is JSON, because its keys may differ between rows.

    Args:
        tasks: An import string ``package.module:name``, or a file ``./file.py:name``, of a class of tasksets, an
            environment, or a function that makes one of them: ``my_env:load_environment``.
        args: The function's arguments, or the fields of the taskset's configuration.
        split: Which data set of an environment; a taskset has only one.
        size: The number of rows; by default all. A taskset without an end needs it.
        base_dir: The folder that a file is relative to; given by the engine.

    Raises:
        MissingDependencyError: The library is not installed.
        PluginLoadError: The object does not import.
        ValueError: The object has no tasks, or they never end and ``size`` is missing.
    """

    def __init__(
        self,
        tasks: str,
        args: Mapping[str, Any] | None = None,
        split: Literal["train", "eval"] = "train",
        size: int | None = None,
        base_dir: Path | None = None,
    ) -> None:
        with library_of("source 'verifiers_tasks'", package="verifiers"):
            import verifiers  # noqa: F401
        if size is not None and size < 1:
            raise ValueError(f"size is {size}; give at least 1")
        self._name = tasks
        self._made = _made(load_object(tasks, base_dir), tasks, args or {})
        self._split = split
        self._size = size
        if size is None and not getattr(self._made, "bounded", True):
            raise ValueError(f"the tasks of '{tasks}' never end; give the param 'size'")
        if split == "eval" and _is_taskset(self._made):
            raise ValueError(f"split is 'eval', and the taskset '{tasks}' has only one data set")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in islice(self._rows(), self._size):
            yield _plain(row)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if _is_taskset(self._made):
            return (_task_row(task) for task in self._made)
        given = self._made.get_dataset() if self._split == "train" else self._made.get_eval_dataset()
        return iter(given)


def _made(found: Any, name: str, args: Mapping[str, Any]) -> Any:
    """Return the taskset or the environment that an object is or makes."""
    made: Any = found
    if inspect.isclass(found) and hasattr(found, "task_type"):
        taskset: Any = found
        return taskset(_config_type(found)(**args))
    if inspect.isroutine(found) or inspect.isclass(found):
        made = found(**args)
    elif args:
        raise ValueError(f"args is {dict(args)}, but '{name}' is not a function and takes none")
    if not _is_taskset(made) and not hasattr(made, "get_dataset"):
        raise ValueError(
            f"tasks is '{name}', which gives a {type(made).__name__}; name a class of tasksets, an environment, or a "
            "function that makes one of them"
        )
    return made


def _config_type(taskset: Any) -> Any:
    from verifiers.v1.configs.taskset import TasksetConfig
    from verifiers.v1.utils.generic import concrete_type

    return concrete_type(taskset, TasksetConfig) or TasksetConfig


def _is_taskset(made: Any) -> bool:
    return hasattr(made, "task_type") and hasattr(made, "load")


def _task_row(task: Any) -> dict[str, Any]:
    """Return the fields of a task that its class or its author set, and its prompt with the system's turn."""
    data = task.data.model_dump(mode="json", exclude_defaults=True)
    system = data.pop("system_prompt", None)
    prompt = data.get("prompt") or ""
    if system is not None:
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        prompt = [{"role": "system", "content": system}, *asked]
    return {**data, "prompt": prompt}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if value is not None}
    if "answer" in found:
        found.setdefault("reference", found["answer"])
    if isinstance(found.get("info"), Mapping):
        found["info"] = json.dumps(found["info"], ensure_ascii=False, default=str)
    return found
