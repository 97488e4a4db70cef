"""Rollouts by a user's own function, as TRL's ``rollout_func`` takes them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon.errors import ParamsError
from guerdon.plugins.boundary import boundary
from guerdon.plugins.local_modules import import_file, import_from
from guerdon.plugins.spelling import did_you_mean

__all__ = ["COLUMNS", "RolloutFunction"]

COLUMNS = "rollout_columns"
"""The field of TRL's rows that holds a rollout's own columns."""

_TOKENS = ("prompt_ids", "completion_ids", "logprobs")
_MASK = "env_mask"


class RolloutFunction:
    """A function that samples the completions itself, with checks of what it returns.

    Args:
        target: ``package.module:function`` or ``./file.py:function``.
        base_dir: The folder that the file's path starts from, whose modules can be imported.

    Raises:
        ParamsError: The function does not exist.
    """

    def __init__(self, target: str, base_dir: Path | None) -> None:
        self._name = f"rollout_func '{target}'"
        self._function = _load(target, self._name, base_dir)

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Return the tokens of the rollouts, and their other fields as columns.

        Args:
            prompts: One prompt for each rollout of this process; those of a group follow each other.
            trainer: The trainer, with the model, the tokenizer and the options.

        Raises:
            PluginContractError: The function raised, or returned something else than it has to.
        """
        with boundary(f"{self._name} raised"):
            made: Any = self._function(prompts, trainer)
        with boundary(f"{self._name} is wrong:"):
            return _checked(made, len(prompts))


def _load(target: str, name: str, base_dir: Path | None) -> Callable[..., Any]:
    place, _, attribute = target.rpartition(":")
    if not place:
        raise ParamsError(f"{name} names no function. Write package.module:function or ./file.py:function.")
    folder = base_dir or Path.cwd()
    with boundary(f"{name} cannot be loaded:", ParamsError):
        import_from(folder)
        module = import_file(folder / place) if place.endswith(".py") else importlib.import_module(place)
    function = getattr(module, attribute, None)
    if not callable(function):
        hint = did_you_mean(attribute, [key for key, value in vars(module).items() if callable(value)])
        raise ParamsError(f"{name}: {place} defines no function '{attribute}'.{hint}")
    found: Callable[..., Any] = function
    return found


def _checked(made: Any, count: int) -> dict[str, Any]:
    """Return TRL's fields, with all others as one column.

    Raises:
        TypeError: A field is missing, or has another length.
    """
    if not isinstance(made, Mapping):
        raise TypeError(f"it returned a {type(made).__name__}, not a dict with {', '.join(_TOKENS)}")
    missing = [name for name in _TOKENS if name not in made]
    if missing:
        raise TypeError(f"its result has no {' and no '.join(missing)}; logprobs may be None")
    for name, values in made.items():
        if values is None and name == "logprobs":
            continue
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
            length = len(values) if hasattr(values, "__len__") else type(values).__name__
            raise TypeError(f"there are {count} prompts, and '{name}' has not one value for each: {length}")
    _check_tokens(made)
    own = {name: values for name, values in made.items() if name not in (*_TOKENS, _MASK)}
    columns = [{name: values[number] for name, values in own.items()} for number in range(count)]
    kept = {name: made[name] for name in (*_TOKENS, _MASK) if name in made}
    return {**kept, COLUMNS: columns}


def _check_tokens(made: Mapping[str, Any]) -> None:
    for number, ids in enumerate(made["completion_ids"]):
        if not len(ids):
            raise TypeError(f"completion {number} has no token; a completion ends with at least one")
        for name in ("logprobs", _MASK):
            values = made.get(name)
            if values is not None and len(values[number]) != len(ids):
                raise TypeError(
                    f"completion {number} has {len(ids)} tokens, and its {name} has {len(values[number])} values"
                )
