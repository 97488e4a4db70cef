"""TRL's trainer, whose rollouts are judged while others are sampled, where guerdon's own loop samples them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from guerdon.grpo.dynamic_trainer import rollout_of
from guerdon.grpo.sampling_trainer import SamplingTrainer
from guerdon.rubric import Rubric, groups_for
from guerdon.rubric.early import EarlyJudge, early_names
from guerdon.sampling.cpu_sampler import Finished, not_awaited
from guerdon.types import Judgement, Rollout

_WORTH_MS = 2.0
"""The least mean time of a rollout's verdicts at which judging in a thread during sampling saves time."""


class EarlyRolloutsTrainer(SamplingTrainer):
    """A trainer that judges each rollout as it ends, if guerdon's own loop samples and the verifiers are slow.

    transformers' ``generate`` and TRL's vLLM return a whole batch at once, so nothing is sampled while they are judged.
    The rubric's later call about the batch finds the answers, so the rewards and the records are the same.
    """

    _rubric: Rubric
    _sampled_inputs: Sequence[dict[str, Any]]
    _slow = True

    def _note_times(self, judgements: Sequence[Judgement]) -> None:
        """Decide by the latest verdicts whether the next rollouts are judged early."""
        times = [verdict.latency_ms for one in judgements for verdict in one.verdicts.values()]
        self._slow = sum(times) > _WORTH_MS * len(judgements)

    @contextmanager
    def _judged_early(self, count: int) -> Iterator[Finished]:
        inputs = self._sampled_inputs
        size = self.num_generations
        assert self.model is not None
        assert size is not None
        groups = getattr(self._rubric, "compares_groups", False)
        if (
            not (self.model.training and self._slow and early_names(self._rubric))
            or self.tools
            or len(inputs) != count
            or (groups and count % size)
            or (not isinstance(inputs[0]["prompt"], str) and _parses(self._tokenizer))
        ):
            yield not_awaited
            return

        def judge(rollouts: Sequence[tuple[int, Rollout]]) -> None:
            given = groups_for(self._rubric, [number // size for number, _ in rollouts])
            step = self.state.global_step
            self._rubric.score([rollout for _, rollout in rollouts], step, **given, early=True)

        with EarlyJudge(judge, size if groups else 1) as judging:

            def finished(number: int, ids: list[int]) -> None:
                row = inputs[number]
                text: Any = self._tokenizer.decode(ids, skip_special_tokens=True)
                prompt = row["prompt"]
                said = text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
                rollout = rollout_of(prompt, said, row["row"], ids)
                judging.submit(number // size, number, (number, rollout))

            yield finished


def _parses(tokenizer: Any) -> bool:
    """Return whether TRL reads more than the text in a completion, such as reasoning apart from the answer."""
    names = ("response_template", "response_schema")
    return any(getattr(tokenizer, name, None) is not None for name in names)
