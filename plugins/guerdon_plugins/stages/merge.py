"""Merge models of one architecture into one, without training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from guerdon import Model, StageContext, StageResult
from guerdon.errors import ParamsError, UsageError
from guerdon.models import load_config, load_model, load_tokenizer
from guerdon.models.paths import DTYPES
from guerdon_plugins.shared.checks import check_all
from guerdon_plugins.shared.vocabulary import check_vocabularies

if TYPE_CHECKING:
    import torch

_ONE_TOKENIZER = (
    "A row of one's embeddings would not mean what it means in the other: merge models of one tokenizer."
)


class Merge:
    """Averages the weights of the models of ``init``, which have one architecture and one vocabulary.

    ``linear`` is the weighted mean of all models (model soups, arXiv:2203.05482). ``task_arithmetic`` adds what each
    further model has learned to the first one: ``θ0 + Σ w (θ - θ0)`` (arXiv:2212.04089). The tokenizer and the
    generation config are those of the first model. The sums are computed in float32.

    Args:
        method: ``linear`` or ``task_arithmetic``.
        weights: One number for each model; with ``task_arithmetic``, for each after the first. By default equal shares,
            or 1 for each with ``task_arithmetic``. The shares of ``linear`` are divided by their sum.
        dtype: The dtype of the output, by torch's name; ``auto`` is that of the first model's checkpoint.

    Raises:
        ParamsError: A weight is not a number, the shares of ``linear`` have the sum 0, or torch has no such dtype.
    """

    needs = ("model",)

    def __init__(
        self,
        method: Literal["linear", "task_arithmetic"] = "linear",
        weights: Sequence[float] | None = None,
        dtype: str = "auto",
    ) -> None:
        if weights is not None and not all(map(math.isfinite, weights)):
            raise ParamsError(f"weights is {list(weights)}: give finite numbers.")
        if weights is not None and method == "linear" and abs(math.fsum(weights)) < 1e-9:
            raise ParamsError(
                f"weights is {list(weights)}, whose sum is 0: the shares of a mean need another sum."
            )
        if dtype not in DTYPES:
            near = get_close_matches(dtype, DTYPES, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ParamsError(f"dtype is '{dtype}'.{hint} Choose one of {', '.join(DTYPES)}.")
        self._method = method
        self._weights = weights
        self._dtype = dtype

    def preflight(self, init: Sequence[str]) -> None:
        """Check the number of models and of weights.

        Raises:
            UsageError: ``init`` names one model, or there are not as many weights as models.
        """
        check_all(lambda: self._coefficients(init))

    def _coefficients(self, names: Sequence[str]) -> list[float]:
        """Return the factor of each model's weights in the sum."""
        if len(names) < 2:
            raise UsageError(
                f"init names one model ({', '.join(names)}), and a merge needs two or more: give a list, such as "
                "[stage:sft, stage:rl]."
            )
        linear = self._method == "linear"
        count = len(names) if linear else len(names) - 1
        weights = [1.0] * count if self._weights is None else list(self._weights)
        if len(weights) != count:
            raise UsageError(
                f"weights has {len(weights)} numbers, and {self._method} needs {count}: one for each model of init"
                f"{'' if linear else ' after the first'} ({', '.join(names if linear else names[1:])})."
            )
        if linear:
            return [weight / math.fsum(weights) for weight in weights]
        return [1 - math.fsum(weights), *weights]

    def run(self, context: StageContext) -> StageResult:
        """Merge ``context.models``."""
        import torch

        names = [model.name for model in context.models]
        factors = self._coefficients(names)
        first = context.models[0]
        merged = load_model(_wide(first))
        parameters = dict(merged.named_parameters())
        tokenizer = load_tokenizer(first)
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.mul_(factors[0])
            for number, (model, factor) in enumerate(zip(context.models[1:], factors[1:], strict=True), 1):
                check_vocabularies(first, tokenizer, model, load_tokenizer(model), _ONE_TOKENIZER)
                other = dict(load_model(_wide(model)).named_parameters())
                _check_shapes(parameters, first, other, model)
                for name, parameter in parameters.items():
                    parameter.add_(other[name], alpha=factor)
                context.progress(number, len(names) - 1, {})
        merged.to(dtype=self._output_dtype(first)).save_pretrained(context.output)  # type: ignore[call-arg]
        tokenizer.save_pretrained(context.output)
        table = [{"model": name, "factor": factor} for name, factor in zip(names, factors, strict=True)]
        return StageResult(
            checkpoint=context.output, metrics={"models": len(names), "tables": {"merge": table}}
        )

    def _output_dtype(self, first: Model) -> torch.dtype:
        import torch

        named = self._dtype
        if named == "auto":
            own: Any = load_config(first).dtype
            return own if isinstance(own, torch.dtype) else torch.float32
        found: Any = getattr(torch, named)
        assert isinstance(found, torch.dtype)
        return found


def _wide(model: Model) -> Model:
    return replace(model, dtype="float32")


def _check_shapes(
    expected: Mapping[str, torch.Tensor], first: Model, found: Mapping[str, torch.Tensor], model: Model
) -> None:
    shapes, others = ({name: tuple(p.shape) for name, p in own.items()} for own in (expected, found))
    if shapes != others:
        name = min({name for name, _ in set(shapes.items()) ^ set(others.items())})
        raise UsageError(
            f"models '{first.name}' and '{model.name}' have other architectures: the parameter '{name}' is "
            f"{shapes.get(name, 'missing')} in the first and {others.get(name, 'missing')} in the second. Merge models "
            "that were trained from one base."
        )
