"""Adapter for OpenRLHF: the ``reward_func`` of the file that ``--reward.remote_url`` names.

```python
# reward.py
from guerdon.adapters.openrlhf import reward_function

reward_func = reward_function("zero.yaml", stage="zero")
```

Over HTTP, without a file: ``guerdon serve`` answers OpenRLHF's requests at ``/get_reward``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerdon.adapters.named_rubric import NO_GROUPS, NamedRubric, reward_of
from guerdon.errors import DataError, GuerdonError
from guerdon.types import Rollout

__all__ = [
    "END_TOKENS",
    "reward_function",
    "rollouts",
]

logger = logging.getLogger(__name__)

END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
)
"""End tokens of common tokenizers. OpenRLHF leaves them in the text, and verifiers should not see them."""


def reward_function(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    unscored: float | None = None,
    end_tokens: Sequence[str] = END_TOKENS,
    workers: int | None = None,
) -> Callable[..., dict[str, Any]]:
    """Return a reward function for OpenRLHF.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        unscored: The reward of a completion that has none; without it, such a completion is an error.
        end_tokens: The tokens to cut from the end of each query.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
    """
    named = NamedRubric(rubric, stage, params, workers)
    named.refuse_groups("OpenRLHF", NO_GROUPS)
    named.warn_of_schedules("OpenRLHF")

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
    ) -> dict[str, Any]:
        """Return tensors under ``rewards``, ``scores`` and, per entry, ``extra_logs``, as OpenRLHF expects.

        Raises:
            DataError: A query does not hold its prompt.
            CheckFailedError, InfrastructureError: A completion has no reward, and ``unscored`` is not set.
        """
        from torch import tensor

        try:
            judgements = named.score(rollouts(queries, prompts, labels, end_tokens))
            rewards = tensor([reward_of(judgement, unscored) for judgement in judgements])
        except GuerdonError as error:
            # OpenRLHF catches the error and does not log it
            logger.error("%s: %s", type(error).__name__, error)
            raise
        values = [judgement.values(named.names) for judgement in judgements]
        extra = {name: tensor([by_name[name] for by_name in values]) for name in named.names}
        return {"rewards": rewards, "scores": rewards, "extra_logs": extra}

    return reward_func


def rollouts(
    queries: Sequence[str],
    prompts: Sequence[str],
    labels: Sequence[Any],
    end_tokens: Sequence[str] = END_TOKENS,
) -> list[Rollout]:
    """Return OpenRLHF's queries as rollouts. A query is a prompt and its completion, with special tokens.

    A label is the column ``reference``. If a label is a mapping with that key, it holds all columns.

    Raises:
        DataError: The lengths differ, or a query does not hold its prompt, so that its completion is unknown.
    """
    if not len(queries) == len(prompts) == len(labels):
        raise DataError(
            f"there are {len(queries)} queries, {len(prompts)} prompts and {len(labels)} labels; send one of each for "
            "every completion."
        )
    result = []
    for number, (query, prompt, label) in enumerate(zip(queries, prompts, labels, strict=True)):
        _, found, completion = query.partition(prompt) if prompt else ("", "", query)
        if prompt and not found:
            raise DataError(
                f"query {number} does not hold its prompt, so its completion is unknown. OpenRLHF cuts prompts that "
                "are too long: raise its max_len."
            )
        columns = label if isinstance(label, Mapping) and "reference" in label else {"reference": label}
        result.append(Rollout(prompt, _without_end(completion, end_tokens), columns))
    return result


def _without_end(completion: str, end_tokens: Sequence[str]) -> str:
    while ending := next((token for token in end_tokens if completion.rstrip("\n").endswith(token)), None):
        completion = completion.rstrip("\n").removesuffix(ending)
    return completion
