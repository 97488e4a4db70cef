"""Rollouts of many turns in TRL's trainer: TRL samples and tokenizes, the toolbox calls the tools."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from trl.trainer.grpo_trainer import GRPOTrainer

from guerdon.sampling.sampling import positions_of
from guerdon.tools import Conversation, Limits, Session, Toolbox, take_turns, with_observation
from guerdon.training.together import raised_in_all
from guerdon.training.tool_dialect import ToolDialect
from guerdon.types import Rollout


class ToolTurnsTrainer(GRPOTrainer):
    """TRL's trainer with a toolbox's tools and environments.

    TRL's own loop (``_tool_call_loop``) calls the tools of one rollout after another, in this process, without a
    deadline. This loop gives the same tokens for the same results.

    Args:
        *args: As for TRL's trainer.
        toolbox: The tools and environments; without it, nothing changes.
        **kwargs: As for TRL's trainer.
    """

    def __init__(self, *args: Any, toolbox: Toolbox | None = None, **kwargs: Any) -> None:
        self._toolbox = toolbox
        self._sessions: list[Session] = []
        if toolbox is not None:
            kwargs["tools"] = toolbox.stubs
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self._toolbox is not None:
            with raised_in_all():
                inputs = self._opened(inputs)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return output

    def _opened(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Begin a session for each rollout, and add what the environments show to the prompts."""
        assert self._toolbox is not None
        process = self.accelerator.process_index
        keys = [(self._step, process, number) for number in range(len(inputs))]
        self._sessions = self._toolbox.open([one["row"] for one in inputs], keys)
        return [
            {**one, "prompt": with_observation(one["prompt"], session.observation)}
            for one, session in zip(inputs, self._sessions, strict=True)
        ]

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        if self._toolbox is None:
            return super()._tokenize_prompts(prompts)
        dialect = self._dialect()
        ids = [dialect.prompt_ids(prompt, one) for prompt, one in zip(prompts, self._sessions, strict=True)]
        return ids, None, {}

    def _tool_call_loop(
        self,
        prompts: Any,
        prompt_ids: list[list[int]],
        completion_ids: list[list[int]],
        completions: list[list[dict[str, Any]]],
        logprobs: list[list[float]] | None,
        images: Any,
        multimodal_fields: Any,
    ) -> Any:
        if self._toolbox is None:
            loop: Any = super()._tool_call_loop
            return loop(prompts, prompt_ids, completion_ids, completions, logprobs, images, multimodal_fields)
        dialect = self._dialect()
        conversations = [
            Conversation(
                session,
                prompt_ids[number],
                list(completion_ids[number]),
                [1] * len(completion_ids[number]),
                [dialect.parse(completion_ids[number], prompt_ids[number], session)],
                None if logprobs is None else list(logprobs[number]),
            )
            for number, session in enumerate(self._sessions)
        ]
        take_turns(self._toolbox, conversations, self._sampled, dialect, self._limits())
        self._toolbox.finish(self._sessions)
        calls = [call for session in self._sessions for call in session.calls]
        return (
            [one.written for one in conversations],
            [one.messages for one in conversations],
            [one.completion_ids for one in conversations],
            None if logprobs is None else [one.logprobs for one in conversations],
            len(calls),
            sum(call.failure is not None for call in calls),
            [[] for _ in conversations],
        )

    def _dialect(self) -> ToolDialect:
        assert self._toolbox is not None
        options: Any = self.chat_template_kwargs
        return ToolDialect(self._tokenizer, self._toolbox.stubs_of, self.chat_template, options)

    def _sampled(self, prompts: Sequence[list[int]]) -> Any:
        generate: Any = self._generate_single_turn
        return generate(list(prompts), None, {}, 1)

    def _limits(self) -> Limits:
        assert self.max_completion_length is not None
        assert self.model is not None
        positions = positions_of(self.model.config)
        return Limits(
            turns=self.max_tool_calling_iterations,
            tokens=self.max_completion_length,
            positions=sys.maxsize if positions is None else positions,
        )


def with_session(rollout: Rollout, session: Session) -> Rollout:
    """Return a rollout with what its session knows of tools and the environment."""
    return replace(
        rollout,
        calls=tuple(session.calls),
        environment=session.state,
        environment_reward=session.reward,
        broken=session.broken,
    )


def tool_metrics(rollouts: Iterable[Rollout]) -> dict[str, float]:
    """Return the calls for each rollout and the failures for each call, in all and by tool."""
    count = 0
    calls: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    broken = 0
    for rollout in rollouts:
        count += 1
        broken += rollout.broken is not None
        for call in rollout.calls or ():
            name = "(unknown)" if call.failure == "unknown" else call.name
            calls[name] += 1
            failures[name] += call.failure is not None
    metrics = {"tools/broken_environments": broken / count} if count else {}
    for name, number in sorted(calls.items()):
        metrics[f"tools/{name}/calls"] = number / count
        metrics[f"tools/{name}/failure_rate"] = failures[name] / number
    return metrics
