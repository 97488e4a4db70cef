"""Trainers whose teacher or reference model is behind an endpoint, which knows a few tokens' probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer.distillation_trainer import DistillationTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import entropy_from_logits

from guerdon.errors import UsageError
from guerdon.grpo import RubricGRPOTrainer
from guerdon.training.seam import Member, absences
from guerdon.training.together import raised_in_all
from guerdon_plugins.stages.trl.teacher import Known, Teacher

__all__ = ["EndpointDistillationTrainer", "EndpointReferenceTrainer", "estimated_reverse_kl"]

_TOP = 20
"""The most probable tokens that a distillation asks for at each place: as many as vLLM gives by default."""

_NO_LESS = 1e-6
"""The least probability of all other tokens whose logarithm is taken: a difference from 1 is not more precise."""

_DISTILLATION = (
    Member("_generate_and_score_completions", "endpoint", "samples the student's answers", 1532, ("inputs",)),
    Member(
        "_compute_loss",
        "endpoint",
        "makes the loss, the sum of the entropies and the number of tokens",
        1818,
        ("unwrapped_student", "inputs", "num_items_in_batch"),
    ),
)
_GRPO = (
    Member(
        "_get_per_token_logps_and_entropies",
        "endpoint",
        "gives the log-probabilities of completions by a model",
        1419,
        ("model", "input_ids", "attention_mask", "logits_to_keep"),
    ),
)
"""The private members of TRL 1.16.0's trainers that are overridden."""


def estimated_reverse_kl(logps: Tensor, teacher_logps: Tensor, is_top: Tensor) -> Tensor:
    """Return an unbiased estimate of each place's reverse KL, whose gradient is one of the reverse KL's gradient.

    The reverse KL of the student p and the teacher q is the sum of p (log p - log q) over the vocabulary. Its
    gradient is the sum of (log p - log q) grad p, because the sum of grad p is 0. The terms of the teacher's most
    probable tokens are exact. So is one term for all others together. The sampled token estimates the divergence
    among the others, if it is one of them.

    Args:
        logps: The student's log-probabilities [..., 1 + others]: of the token that it sampled, and of other ones.
        teacher_logps: The teacher's.
        is_top: Whether each token is one of the teacher's most probable ones; false for padding.
    """
    away = (logps - teacher_logps).detach()
    left, teacher_left = (1 - torch.where(is_top, one.exp(), 0.0).sum(-1) for one in (logps, teacher_logps))
    # Any value is right here, because both parts have it. This one makes the estimated part small.
    away_left = (left.clamp(min=_NO_LESS).log() - teacher_left.clamp(min=_NO_LESS).log()).detach()
    exact = (torch.where(is_top, away, 0.0) * logps.exp()).sum(-1) + away_left * left
    own, among = logps[..., 0], away[..., 0] - away_left
    return exact + torch.where(is_top[..., 0], 0.0, among + among * (own - own.detach()))


class EndpointDistillationTrainer(DistillationTrainer):
    """A trainer whose loss is the reverse KL, of which a part is estimated on the sampled tokens.

    Args:
        *args: As for TRL's trainer.
        teacher: The teacher.
        **kwargs: As for TRL's trainer, without a teacher's model.

    Raises:
        UsageError: TRL's version lacks a member, or the model reads images.
    """

    def __init__(self, *args: Any, teacher: Teacher, **kwargs: Any) -> None:
        _check_members(DistillationTrainer, _DISTILLATION)
        super().__init__(*args, **kwargs)
        if self._is_vlm:
            raise UsageError("a teacher at an endpoint cannot be combined with a student that reads images.")
        self._teacher = teacher

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        length = output["completion_ids"].size(1)
        known = _asked(self._teacher, *_whole(output), length, _TOP)
        tokens = torch.zeros(len(known), length, 1 + _TOP, dtype=torch.long)
        logps, is_top = torch.zeros(tokens.shape), torch.zeros(tokens.shape, dtype=torch.bool)
        tokens[..., 0] = output["completion_ids"]
        for row, places in enumerate(known):
            for place, one in enumerate(places):
                count = 1 + len(one.others)
                tokens[row, place, 1:count] = torch.tensor(list(one.others), dtype=torch.long)
                logps[row, place, :count] = torch.tensor([one.sampled, *one.others.values()])
                is_top[row, place, :count] = torch.tensor([one.is_top, *[True] * len(one.others)])
        device = output["completion_ids"].device
        columns = {"teacher_tokens": tokens, "teacher_logps": logps, "teacher_is_top": is_top}
        return {**output, **{name: column.to(device) for name, column in columns.items()}}

    def _compute_loss(
        self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        ids, mask = _whole(inputs)
        length = inputs["completion_ids"].size(1)
        kept = {"logits_to_keep": length + 1} if "logits_to_keep" in self.model_kwarg_keys else {}
        logits = unwrapped_student(input_ids=ids, attention_mask=mask, use_cache=False, **kept).logits
        logits = logits[:, -length - 1 : -1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logps = logits.gather(-1, inputs["teacher_tokens"]) - logits.logsumexp(-1, keepdim=True)
        terms = estimated_reverse_kl(logps, inputs["teacher_logps"], inputs["teacher_is_top"])
        sampled = inputs["completion_mask"]
        count = sampled.sum()
        total = count.clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        with torch.no_grad():
            entropy = entropy_from_logits(logits)
        return (terms * sampled).sum() / total, (entropy * sampled).sum(), count


class EndpointReferenceTrainer(RubricGRPOTrainer):
    """A trainer whose reference model of ``beta`` is behind an endpoint.

    Args:
        *args: As for guerdon's trainer.
        teacher: The reference model.
        **kwargs: As for guerdon's trainer, without ``load_reference``.

    Raises:
        UsageError: TRL's version lacks a member.
    """

    def __init__(self, *args: Any, teacher: Teacher, **kwargs: Any) -> None:
        _check_members(GRPOTrainer, _GRPO)
        no_model: Any = lambda: None  # noqa: E731 - TRL would prepare a model for the devices
        super().__init__(*args, load_reference=no_model, **kwargs)
        self._teacher = teacher
        self.ref_model = _AT_ENDPOINT

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, **kwargs: Any
    ) -> Any:
        if model is not _AT_ENDPOINT:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, **kwargs
            )
        known = _asked(self._teacher, input_ids, attention_mask, logits_to_keep)
        logps = torch.zeros(len(known), logits_to_keep)
        for row, places in zip(logps, known, strict=True):
            row[: len(places)] = torch.tensor([one.sampled for one in places])
        return logps.to(input_ids.device), None, None


_AT_ENDPOINT: Any = object()
"""What TRL gets as the reference model."""


def _check_members(trainer: type[Any], members: Sequence[Member]) -> None:
    for problem in absences(trainer, members).values():
        raise UsageError(
            f"this version of TRL cannot train with an endpoint: {problem}. Install a version that guerdon supports."
        )


def _whole(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the tokens of prompts and completions, and their mask."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)


def _asked(teacher: Teacher, ids: Tensor, mask: Tensor, length: int, top: int = 0) -> list[list[Known]]:
    """Return what the teacher knows of the completions' tokens. All processes call it.

    Args:
        teacher: The teacher.
        ids: The tokens of prompts, padded on the left, and completions, padded on the right.
        mask: 1 for tokens, 0 for padding.
        length: The length of the completions with their padding.
        top: As for the teacher.
    """

    def rows(part: slice) -> list[list[int]]:
        return [row[kept].tolist() for row, kept in zip(ids[:, part], mask[:, part].bool(), strict=True)]

    with raised_in_all():
        return teacher.logprobs(rows(slice(None, -length)), rows(slice(-length, None)), top)
