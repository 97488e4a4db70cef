"""Judge sampled groups while the training continues, and give TRL's asynchronous trainer their completions."""

from __future__ import annotations

import math
import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup, RolloutSample

from guerdon.grpo.asynchronous.sampling import Unjudged
from guerdon.grpo.reward_matrix import reward_row
from guerdon.rubric import Rubric
from guerdon.rubric.shared import SharedRubric
from guerdon.types import Judgement, Judgements, Rollout, Row

EPSILON = 1e-8
"""What TRL's asynchronous trainer adds to a group's standard deviation."""

_POLL_S = 0.2
_STOP_S = 5.0
"""Seconds that the thread has to stop by itself."""


@dataclass(frozen=True)
class JudgedGroup:
    """A judged group, for the records."""

    number: int
    """The number of the group since the start of this attempt."""
    step: int
    """The step of the policy that sampled it."""
    rollouts: Sequence[Rollout]
    judgements: Judgements
    advantages: Sequence[float]

    @property
    def rewards(self) -> list[float]:
        """Return the reward of each rollout; NaN without one."""
        return [math.nan if one.reward is None else one.reward for one in self.judgements]


class GroupJudge:
    """Takes groups from the process that samples, lets a rubric judge them, and queues their completions.

    Groups are judged as they come, several at once if the verifiers are slow. A completion without a reward is left
    out of its group.

    Args:
        rubric: The rubric.
        rows: The rows of the training, which the groups name by their places.
        unjudged: The queue of sampled groups.
        step_of: Returns the step of a version of the policy.
        capacity: The most completions that wait for the trainer, or are judged.
    """

    def __init__(
        self,
        rubric: Rubric,
        rows: Sequence[Row],
        unjudged: Any,
        step_of: Callable[[int], int],
        capacity: int,
    ) -> None:
        self.rubric = rubric
        self._rows = rows
        self._unjudged = unjudged
        self._step_of = step_of
        self._capacity = capacity
        self._shared: SharedRubric | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._under_way: set[Future[Judgements]] = set()
        self.samples = SampleQueue()
        """The completions to train on."""
        self.judged: queue.SimpleQueue[JudgedGroup] = queue.SimpleQueue()
        """The judged groups, for the records."""

    def start(self) -> None:
        """Begin to judge."""
        self._shared = SharedRubric(self.rubric)
        self._thread = threading.Thread(target=self._work, name="guerdon-group-judge", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop to judge. Groups that wait are not judged."""
        self._stopped.set()
        if self._thread is not None:
            # It reads without end if the process was killed while it wrote a group.
            self._thread.join(_STOP_S)
        for future in list(self._under_way):
            future.cancel()
        if self._shared is not None:
            self._shared.stop()

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    unjudged: Unjudged = self._unjudged.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                except (EOFError, OSError, pickle.UnpicklingError):
                    return  # the process was killed while it wrote; the trainer's check of its health says so
                self._submit(unjudged.group)
        except Exception as error:
            self.samples.fail(error)

    def _submit(self, group: RolloutGroup) -> None:
        assert self._shared is not None
        while self._shared.pending + self.samples.qsize() + len(group.completions) > self._capacity:
            if not self._shared.pending and not self.samples.qsize():
                break  # a group that is larger than the capacity
            if self._stopped.wait(_POLL_S):
                return
        row = self._rows[group.reward_kwargs["index"][0]]
        columns = {name: value for name, value in row.items() if name != "prompt"}
        rollouts = [
            Rollout(prompt, completion, columns, ids)
            for prompt, completion, ids in zip(
                group.prompts, group.completions, group.completions_ids, strict=True
            )
        ]
        step = self._step_of(group.model_version)
        groups = [group.group_id] * len(rollouts) if self._shared.compares_groups else None
        future = self._shared.submit(rollouts, step, groups)
        self._under_way.add(future)
        future.add_done_callback(lambda done: self._take(group, step, rollouts, done))

    def _take(
        self, group: RolloutGroup, step: int, rollouts: Sequence[Rollout], done: Future[Judgements]
    ) -> None:
        self._under_way.discard(done)
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self.samples.fail(error)
            return
        judgements = done.result()
        advantages = advantages_of([judgement.reward for judgement in judgements])
        self.judged.put(JudgedGroup(group.group_id, step, rollouts, judgements, advantages))
        for sample in samples_of(group, judgements, advantages, self.rubric.names):
            self.samples.put(sample)


class SampleQueue(queue.Queue[RolloutSample | None]):
    """A queue whose readers get the error that ended the judging."""

    _error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Let the readers raise an error."""
        self._error = error
        self.put(None)  # wakes a reader

    def get(self, block: bool = True, timeout: float | None = None) -> RolloutSample:
        """Return the next completion.

        Raises:
            queue.Empty: None came in time.
            Exception: The error that ended the judging.
        """
        sample = super().get(block, timeout)
        if sample is None or self._error is not None:
            assert self._error is not None
            self.put(None)
            raise self._error
        return sample


def advantages_of(rewards: Sequence[float | None]) -> list[float]:
    """Return the advantages in a group, as TRL's asynchronous trainer computes them: 0 without a reward.

    Args:
        rewards: The rewards; ``None`` for a completion without one.
    """
    scored = np.array([reward for reward in rewards if reward is not None])
    if not len(scored):
        return [0.0] * len(rewards)
    mean, spread = scored.mean(), scored.std() + EPSILON
    return [0.0 if reward is None else float((reward - mean) / spread) for reward in rewards]


def samples_of(
    group: RolloutGroup, judgements: Sequence[Judgement], advantages: Sequence[float], names: Sequence[str]
) -> list[RolloutSample]:
    """Return a group's completions for TRL's trainer, without those that have no reward.

    Args:
        group: The sampled group.
        judgements: The judgement of each completion.
        advantages: The advantage of each completion.
        names: The rubric's entries.
    """
    scored = [judgement.reward for judgement in judgements if judgement.reward is not None]
    spread = float(np.std(scored)) if scored else math.nan
    samples = []
    for place, (judgement, advantage) in enumerate(zip(judgements, advantages, strict=True)):
        if judgement.reward is None:
            continue
        values = zip(names, reward_row(judgement, names), strict=True)
        metrics = {"reward": judgement.reward, "reward_std": spread}
        metrics |= {f"rewards/{name}/mean": value for name, value in values}
        samples += [
            RolloutSample(
                prompt=group.prompts[place],
                completion=group.completions[place],
                input_ids=np.asarray(sequence.input_ids, dtype=np.int64),
                completion_mask=np.asarray(sequence.completion_mask, dtype=np.int64),
                old_log_probs=np.asarray(sequence.old_log_probs, dtype=np.float32),
                advantage=advantage,
                model_version=group.model_version,
                group_id=group.group_id,
                metrics=dict(metrics),
                enqueued_at=time.time(),
            )
            for sequence in group.completions_sequences[place]
        ]
    return samples
