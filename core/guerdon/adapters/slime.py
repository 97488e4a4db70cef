"""Adapter for slime: the function that ``--custom-rm-path`` names, with ``--group-rm`` and without.

```python
# my_rewards.py, named by --custom-rm-path my_rewards.zero
from guerdon.adapters.slime import reward_function

zero = reward_function("zero.yaml", stage="zero")
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from guerdon.adapters.named_rubric import NamedRubric, renamed, reward_of
from guerdon.errors import DataError
from guerdon.types import Judgement, Rollout

__all__ = [
    "reward_function",
]


def reward_function(
    rubric: str,
    stage: str | None = None,
    params: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
    unscored: float | None = None,
    workers: int | None = None,
) -> Callable[..., Awaitable[Any]]:
    """Return a reward function for slime.

    A sample's ``label`` is the column ``reference``, and each key of its ``metadata`` is a column. The function writes
    each entry's value into the metadata, as ``guerdon``.

    Args:
        rubric: A manifest (``zero.yaml``), a recipe, or a verifier or reward as a manifest names it.
        stage: The manifest's stage; needed if several have rewards.
        params: The plugin's params; not allowed for a manifest.
        columns: For each name that a verifier reads, the data's name: ``{"reference": "answer"}``.
        unscored: The reward of a sample that has none, which is then left out of the loss (``remove_sample``); without
            it, such a sample is an error.
        workers: How many processes share the sync verifiers; by default one per usable CPU.

    Raises:
        ManifestError: The manifest cannot be run.
        UsageError: The stage, the plugin or its params do not fit.
    """
    named = NamedRubric(rubric, stage, params, workers)
    named.warn_of_schedules("slime")

    def record(args: Any, sample: Any, judgement: Judgement) -> Any:
        reward = reward_of(judgement, unscored)
        if judgement.reward is None:
            sample.remove_sample = True
        values = {name: verdict.score.value for name, verdict in judgement.verdicts.items()}
        sample.metadata = {**(sample.metadata or {}), "guerdon": values}
        keys = [key for key in (args.reward_key, getattr(args, "eval_reward_key", None)) if key]
        return {**values, **dict.fromkeys(keys, reward)} if keys else reward

    async def reward_func(args: Any, sample: Any, **_: Any) -> Any:
        """Return the reward of a sample, or those of a list of samples.

        With ``--reward-key``, a reward is a mapping with that key and each entry's value.

        Raises:
            DataError: A sample's text is not the model's own.
            UsageError: The rubric has a group reward, and slime runs without ``--group-rm``.
            CheckFailedError, InfrastructureError: A sample has no reward, and ``unscored`` is not set.
        """
        if isinstance(sample, Sequence):
            rollouts = [_rollout(one, columns or {}) for one in sample]
            judgements = await named.judge(rollouts, [one.group_index for one in sample])
            return [record(args, one, judgement) for one, judgement in zip(sample, judgements, strict=True)]
        named.refuse_groups("slime without --group-rm", "Start slime with --group-rm.")
        (judgement,) = await named.judge([_rollout(sample, columns or {})])
        return record(args, sample, judgement)

    reward_func.__name__ = named.name
    return reward_func


def _rollout(sample: Any, names: Mapping[str, str]) -> Rollout:
    """Return a sample of slime as a rollout.

    Raises:
        DataError: The response has text that the model did not write, and the metadata does not show the turns.
    """
    columns = {**(sample.metadata or {}), "reference": sample.label}
    columns.pop("guerdon", None)
    turns = columns.pop("turns", None)
    if turns is None and sample.loss_mask is not None and not all(sample.loss_mask):
        raise DataError(
            f"the response of sample {sample.index} has text that the model did not write (its loss_mask has zeros), "
            "such as results of tools, and verifiers would judge it as the model's. Let the function of "
            "--custom-generate-function-path put the response's messages into sample.metadata['turns']."
        )
    ids = sample.tokens[-sample.response_length :] if sample.response_length else ()
    return Rollout(sample.prompt, sample.response if turns is None else turns, renamed(columns, names), ids)
