"""How a stage that judges or harvests samples draws tokens: by its params, and else by the model's own options."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

from guerdon import Model
from guerdon.errors import UsageError
from guerdon.files import replaced
from guerdon.sampling.own import FILE, own_options, read_options
from guerdon.sampling.sampling import NEUTRAL, Sampling, left_out
from guerdon.stage import Launch

__all__ = ["Drawing", "Drawn", "check_own", "drawn"]

logger = logging.getLogger(__name__)


class Drawn(NamedTuple):
    """The sampling of one model."""

    sampling: Sampling
    own: Sequence[str]
    """What of it the model sets."""

    def row(self, model: str) -> dict[str, Any]:
        """Return its row of the table ``sampling``, in which what a server decides is empty."""
        values = {
            name: None if name in self.sampling.unset else getattr(self.sampling, name) for name in NEUTRAL
        }
        return {"model": model, **values, "set_by_model": ", ".join(self.own)}


@dataclass(frozen=True, slots=True)
class Drawing:
    """The options of sampling among a stage's params. ``None`` is the model's own.

    Raises:
        ValueError: One is out of range.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        for name in NEUTRAL:
            if (value := getattr(self, name)) is not None:
                _check(name, value)

    @property
    def _open(self) -> list[str]:
        return [name for name in NEUTRAL if getattr(self, name) is None]

    def by_server(self, max_completion_length: int) -> Drawn:
        """Return the sampling of a model at an endpoint, whose server has its options."""
        return Drawn(self._sampling(max_completion_length, {}, self._open), ())

    def of_model(
        self, max_completion_length: int, model: Model, options: Mapping[str, Any], *, several: bool
    ) -> Drawn:
        """Return the sampling of a model.

        Args:
            max_completion_length: The most tokens of a completion.
            model: The model.
            options: The options in its ``generation_config.json``.
            several: Whether a prompt has several samples, which must differ.

        Raises:
            UsageError: An option that counts is out of range, or the samples would be equal.
        """
        own = {name: options[name] for name in self._open if options.get(name) is not None}
        try:
            for name, value in own.items():
                _check(name, value)
            if several and own.get("temperature") == 0:
                raise ValueError("temperature is 0: samples need more than 0.")
        except ValueError as error:
            raise UsageError(
                f"{FILE} of model '{model.name}': {error} Set the param of this name, or correct the file."
            ) from None
        return Drawn(self._sampling(max_completion_length, own, ()), list(own))

    def _sampling(self, max_completion_length: int, own: Mapping[str, Any], unset: Sequence[str]) -> Sampling:
        params = {name: getattr(self, name) for name in NEUTRAL if name not in self._open}
        return Sampling(max_completion_length, unset=unset, **{**NEUTRAL, **own, **params})


_RANGES: Mapping[str, tuple[type | UnionType, Callable[[Any], bool], str]] = {
    "temperature": (int | float, lambda value: 0 <= value < math.inf, "a number, 0 or more"),
    "top_p": (int | float, lambda value: 0 < value <= 1, "a number above 0, and at most 1"),
    "top_k": (int, lambda value: value >= 0, "a whole number, 0 for no limit"),
    "min_p": (int | float, lambda value: 0 <= value <= 1, "a number from 0 to 1"),
}


def _check(name: str, value: Any) -> None:
    kind, within, wanted = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, kind) or not within(value):
        raise ValueError(f"{name} is {value!r}: give {wanted}.")


def check_own(drawing: Drawing, models: Sequence[Model], *, several: bool) -> None:
    """Check the options of the models that are local folders, before one is loaded.

    Raises:
        UsageError: An option that counts is out of range, or the samples would be equal.
    """
    for model in models:
        drawing.of_model(1, model, read_options(model.name, Path(model.path) / FILE), several=several)


def drawn(
    drawing: Drawing, max_completion_length: int, model: Model, file: Path, launch: Launch, *, several: bool
) -> Drawn:
    """Return the sampling of a model, whose ``generation_config.json`` the first process copies to a file.

    A resumed stage reads the copy: a stage that has all completions does not need the model.

    Args:
        drawing: The stage's params.
        max_completion_length: The most tokens of a completion.
        model: The model.
        file: A file in the stage's work folder.
        launch: The processes of the stage.
        several: Whether a prompt has several samples, which must differ.

    Raises:
        UsageError: An option that counts is out of range, or the samples would be equal.
        InfrastructureError: The hub does not respond.
    """
    known = file.is_file()
    options = read_options(model.name, file) if known else own_options(model)
    settled = drawing.of_model(max_completion_length, model, options, several=several)
    if launch.first and not known:
        with replaced(file) as partial:
            partial.write_text(json.dumps(options), encoding="utf-8")
        _log_own_options(model, settled, options)
    return settled


def _log_own_options(model: Model, settled: Drawn, options: Mapping[str, Any]) -> None:
    """Log what a model's own options do, because a stage's params do not show it."""
    if settled.own:
        values = ", ".join(f"{name} {getattr(settled.sampling, name)}" for name in settled.own)
        logger.warning("model '%s' is sampled with its own %s, of its %s", model.name, values, FILE)
    if names := left_out(options):
        logger.warning("model '%s': what its %s sets without effect: %s", model.name, FILE, ", ".join(names))
