"""The process that samples for TRL's asynchronous trainer: TRL's own loop, which gives groups without rewards."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from random import Random
from typing import Any

import aiohttp
from trl.experimental.async_grpo import async_rollout_worker
from trl.experimental.async_grpo.async_rollout_worker import (
    AsyncRolloutWorker,
    RolloutGroup,
    TurnRecord,
    _AsyncRolloutLoop,
    _chain_to_sequences,
)

from guerdon.errors import DataError, GuerdonError, InfrastructureError, StageFailedError

_RETRIED = frozenset({408, 429})
"""The statuses from 400 to 499 that another try may not give."""

_CONNECTIONS = 5
"""The most tries in a row to connect to the server: 15 s in all. A server that was started again has lost the policy's
weights, so its completions would be of another policy than the trainer believes."""

_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})


class RefusedError(Exception):
    """The server refuses a request, which another try would not change."""


class UnreachableError(Exception):
    """The server cannot be connected to, several times in a row."""


@dataclass
class Unjudged:
    """A sampled group. TRL sets when it was put in the queue."""

    group: RolloutGroup
    enqueued_at: float | None = None


class Prompts(Sequence[dict[str, Any]]):
    """The prompts of a training, with the places of their rows, in an endless order.

    Args:
        prompts: The prompts of the rows.
        seed: The run's seed, which decides the order; ``None`` for the rows' own order.
    """

    def __init__(self, prompts: Sequence[Any], seed: int | None) -> None:
        self._prompts = prompts
        self._seed = seed

    def __len__(self) -> int:
        return len(self._prompts)

    def __getitem__(self, index: Any) -> Any:
        return {"prompt": self._prompts[index], "index": index}

    def passing(self, passed: int) -> Iterator[dict[str, Any]]:
        """Yield the prompts without end, each once in a pass over the rows.

        Args:
            passed: The number of prompts that were passed before.
        """
        number, first = divmod(passed, len(self))
        while True:
            order: Sequence[int] = range(len(self))
            if self._seed is not None:
                order = Random(f"{self._seed}/{number}").sample(order, len(order))
            yield from (self[index] for index in order[first:])
            number, first = number + 1, 0


class SamplingLoop(_AsyncRolloutLoop):
    """TRL's loop, with groups that are judged in the trainer's process, and prompts that are texts or conversations.

    Args:
        dataset: The prompts.
        dataset_start_index: The number of prompts that were passed before.
        positions: The most tokens of a prompt and its completion at the server.
        **kwargs: As for TRL's loop.
    """

    def __init__(self, *, dataset: Prompts, dataset_start_index: int, positions: int, **kwargs: Any) -> None:
        # TRL reads calls of tools by a template of its own, and refuses models whose template it does not know.
        module: Any = async_rollout_worker
        module.add_response_schema = lambda tokenizer: tokenizer
        module.logger.logger.addFilter(lambda record: "Worker process failed" not in str(record.msg))
        super().__init__(dataset=dataset, **kwargs)
        self._dataset_iter = dataset.passing(dataset_start_index)
        self._positions = positions

    def run(self) -> None:
        """Sample until the trainer's process ends, or ends this one."""
        parent = multiprocessing.parent_process()
        assert parent is not None
        threading.Thread(target=_end_with, args=[parent.sentinel], daemon=True).start()
        try:
            super().run()
        except Exception:  # the trainer's process raises it, see failure_of
            self._exception_info_queue.close()
            self._exception_info_queue.join_thread()
            os._exit(1)

    async def _generate_one(
        self, prompt: Any, tool_dict: Any, tools: Any, group_id: int = 0
    ) -> tuple[Any, list[int], list[Any], int, int, float | None]:
        if getattr(self.tokenizer, "response_template", None) is not None and not isinstance(prompt, str):
            return await super()._generate_one(prompt, tool_dict=tool_dict, tools=tools, group_id=group_id)
        started = time.monotonic()
        given = prompt_ids(self.tokenizer, prompt, self.chat_template_kwargs)
        ids, logprobs = await self._generate_one_turn(given)
        sequences, tally = _chain_to_sequences([TurnRecord(given, ids, logprobs)], str(group_id), 0)
        self._push_rollout_metrics(
            turns=1,
            sequences=len(sequences),
            completion_ids=ids,
            tally=tally,
            loop_exhausted=False,
            duration_s=time.monotonic() - started,
        )
        return completion_of(self.tokenizer, prompt, ids), ids, sequences, 0, 0, None

    async def _generate_one_turn(self, prompt_ids: list[int]) -> tuple[list[int], list[float]]:
        if len(prompt_ids) + self.max_tokens > self._positions:
            raise DataError(
                f"the prompt {self.tokenizer.decode(prompt_ids)[:80]!r} has {len(prompt_ids)} tokens, its completion "
                f"has up to {self.max_tokens} (max_completion_length), and the server has {self._positions} positions "
                "for both. Leave out long prompts, lower max_completion_length, or start the server with a larger "
                "--max-model-len."
            )
        turn: tuple[list[int], list[float]] = await super()._generate_one_turn(prompt_ids)
        return turn

    async def _score_group(self, group: RolloutGroup) -> list[Any]:
        return [Unjudged(group)]

    async def _retry(
        self, coro_factory: Callable[[], Awaitable[Any]], *, label: str, max_attempts: int = 1
    ) -> Any:
        failures = 0

        async def attempt() -> Any:
            nonlocal failures
            try:
                return await coro_factory()
            except aiohttp.ClientConnectorError as error:
                failures += 1
                if failures >= _CONNECTIONS:
                    raise UnreachableError(str(error)) from error
                raise
            except aiohttp.ClientResponseError as error:
                if 400 <= error.status < 500 and error.status not in _RETRIED:
                    raise RefusedError(f"the server answers {error.status} {error.message}") from error
                raise

        return await super()._retry(attempt, label=label, max_attempts=max_attempts)


class SamplingWorker(AsyncRolloutWorker):
    """The process that runs a sampling loop, as the trainer sees it.

    Args:
        **kwargs: The arguments of the loop.
    """

    _loop_cls = SamplingLoop

    def start(self) -> None:
        """Start the process, and wait until it is ready.

        A signal to the run's processes does not end it, because the trainer saves a checkpoint first, and then ends it.

        Raises:
            StageFailedError: It ended before, or is not ready in time.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the process inherits it
        try:
            super().start()
        except RuntimeError as error:
            raise StageFailedError(
                f"the process that samples the rollouts does not start: {error} Was it killed, such as for its "
                "memory? Run the same command to resume."
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def check_health(self, stale_after_s: float) -> None:
        """Raise if the process failed, or has not shown that it runs.

        Args:
            stale_after_s: Seconds after which it counts as stuck.

        Raises:
            DataError: A prompt is too long.
            InfrastructureError: The server does not answer.
            StageFailedError: The process failed for another reason, or was killed.
        """
        try:
            super().check_health(stale_after_s)
        except RuntimeError as error:
            raise failure_of(error) from error
        if self._process is not None and not self._process.is_alive():
            raise StageFailedError(
                f"the process that samples the rollouts ended with status {self._process.exitcode}. Was it killed, "
                "such as for its memory? Run the same command to resume."
            )

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        # TRL's event of the stop waits without end for a process that was killed, and the process itself for its
        # requests. It has nothing to save.
        process.kill()
        process.join()


def failure_of(error: RuntimeError) -> GuerdonError:
    """Return an error of TRL's worker as an error of guerdon.

    Args:
        error: The error, whose cause says the class and the text of the error of the other process.
    """
    kind, _, text = str(error.__cause__ or error).splitlines()[0].partition(": ")
    if kind == DataError.__name__:
        return DataError(text)
    if kind == RefusedError.__name__:
        return StageFailedError(f"a rollout cannot be sampled: {text}.")
    if error.__cause__ is None:
        return StageFailedError(f"the process that samples the rollouts is stuck: {error}")
    if kind.startswith("Client") or kind in (
        UnreachableError.__name__,
        "TimeoutError",
        "ConnectionResetError",
        "ServerDisconnectedError",
    ):
        return InfrastructureError(
            f"the vLLM server that samples the rollouts does not answer: {kind}: {text}. Start it, and run the same "
            "command again."
        )
    return StageFailedError(f"the process that samples the rollouts failed: {error.__cause__}")


def _end_with(sentinel: int) -> None:
    """End this process when another one ends, which may be killed."""
    wait([sentinel])
    os._exit(1)


def not_called(**_: Any) -> list[float]:
    """Act as TRL's reward function, of which its loop needs one."""
    raise AssertionError("the trainer's process judges")


def prompt_ids(tokenizer: Any, prompt: Any, options: Mapping[str, Any] | None) -> list[int]:
    """Return the tokens of a prompt, as TRL's trainers make them.

    Args:
        tokenizer: The model's tokenizer.
        prompt: A text, or a conversation.
        options: The options of the chat template.
    """
    ids: list[int]
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(
            prompt, return_dict=False, add_generation_prompt=True, **(options or {})
        )
    return ids


def completion_of(tokenizer: Any, prompt: Any, ids: Sequence[int]) -> Any:
    """Return the completion of a prompt: a text for a text, and a message for a conversation."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
