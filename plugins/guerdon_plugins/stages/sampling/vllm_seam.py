"""The parts of vLLM that the stages use and that may change without notice; written for vLLM 0.31.

``LLM.generate`` returns only when all completions are done, so a killed stage would lose them all. Instead, requests
are added to the engine, which is stepped here. If a version lacks one of these members, ``LLM.generate`` is used, after
one line in the log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from guerdon.errors import UsageError
from guerdon.training.seam import Member, absences

logger = logging.getLogger(__name__)

_STREAM = "completions one by one"

LLM = (Member("enqueue", _STREAM, "puts requests into the engine and returns their names", 0),)
"""Members of ``vllm.LLM``."""

ENGINE = (
    Member("step", _STREAM, "computes on, and returns the requests that have news", 0),
    Member("has_unfinished_requests", _STREAM, "says whether anything is left", 0),
    Member("abort_request", _STREAM, "gives requests up", 0),
)
"""Members of its ``llm_engine``. An output's ``request_id`` is the start of its request's name, up to a dash."""


_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables of a launcher, besides torchelastic's. torch, in vLLM's processes, would join that launch."""


@contextmanager
def own_devices(options: Mapping[str, Any]) -> Iterator[None]:
    """Let an engine that is made in the block use this process's accelerators, and hide the launch from it.

    Args:
        options: The options of ``vllm.LLM``.

    Raises:
        UsageError: There are too few accelerators for all processes of this machine.
    """
    before = dict(os.environ)
    if int(before.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    size = options.get("tensor_parallel_size", 1) * options.get("pipeline_parallel_size", 1)
    rank, count = (int(before.get(name, default)) for name, default in zip(_LAUNCH[2:4], (0, 1), strict=True))
    visible = before.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible is not None else [str(number) for number in range(size * count)]
    if len(devices) < size * count:
        raise UsageError(
            f"{count} processes on this machine need {size * count} accelerators for vLLM, and CUDA_VISIBLE_DEVICES "
            f"has {len(devices)}. Start fewer processes, or lower tensor_parallel_size."
        )
    for name in before:
        if name in _LAUNCH or name.startswith("TORCHELASTIC_"):
            del os.environ[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices[rank * size : (rank + 1) * size])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def longest(llm: Any) -> int | None:
    """Return the most tokens of a prompt with its completion, if this version has that attribute."""
    config = getattr(getattr(llm, "llm_engine", None), "model_config", None)
    length = getattr(config, "max_model_len", None)
    return length if isinstance(length, int) else None


class Request(NamedTuple):
    """A prompt to complete."""

    number: int
    """The caller's name of it."""
    prompt_ids: Sequence[int]
    params: Any
    """Its ``SamplingParams``."""


def outputs_as_they_finish(llm: Any, requests: list[Request]) -> Generator[tuple[int, Any], None, None]:
    """Complete prompts, and yield each one's number and its only output.

    Args:
        llm: A ``vllm.LLM``.
        requests: The requests, which are removed from this list. After each output, the caller may append others.
    """
    engine = llm.llm_engine
    for part, problem in (absences(llm, LLM) | absences(engine, ENGINE)).items():
        logger.warning("%s is off, they come all at once: in this version of vLLM, %s", part, problem)
        while requests:
            now = _taken(requests)
            for request, output in zip(now, llm.generate(*_arguments(now), use_tqdm=False), strict=True):
                yield request.number, output.outputs[0]
        return
    names: list[str] = []
    numbers: dict[str, int] = {}
    try:
        while requests or engine.has_unfinished_requests():
            if now := _taken(requests):
                new: list[str] = llm.enqueue(*_arguments(now), use_tqdm=False)
                names += new
                numbers |= {
                    name.split("-")[0]: request.number for name, request in zip(new, now, strict=True)
                }
            for output in engine.step():
                if output.finished:
                    (done,) = output.outputs
                    yield numbers[output.request_id], done
    finally:
        engine.abort_request(names, internal=True)  # requests that remain when the caller stops reading


def _taken(requests: list[Request]) -> list[Request]:
    taken = requests.copy()
    requests.clear()
    return taken


def _arguments(requests: Sequence[Request]) -> tuple[list[dict[str, list[int]]], list[Any]]:
    prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
    return prompts, [request.params for request in requests]
