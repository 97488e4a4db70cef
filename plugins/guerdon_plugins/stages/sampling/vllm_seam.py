"""The parts of vLLM that the stages use and that may change without notice; written for vLLM 0.31.

``LLM.generate`` returns only when all completions are done, so a killed stage would lose them all. Instead, requests
are
added to the engine, which is stepped here. If a version lacks one of these members, ``LLM.generate`` is used, after one
line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any

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


def longest(llm: Any) -> int | None:
    """Return the most tokens of a prompt with its completion, if this version has that attribute."""
    config = getattr(getattr(llm, "llm_engine", None), "model_config", None)
    length = getattr(config, "max_model_len", None)
    return length if isinstance(length, int) else None


def outputs_as_they_finish(
    llm: Any, prompt_ids: Sequence[Sequence[int]], params: Sequence[Any]
) -> Generator[tuple[int, Any], None, None]:
    """Complete prompts, and yield each one's number and its only output.

    Args:
        llm: A ``vllm.LLM``.
        prompt_ids: The prompts' tokens.
        params: Each one's ``SamplingParams``.
    """
    prompts = [{"prompt_token_ids": list(ids)} for ids in prompt_ids]
    engine = llm.llm_engine
    for part, problem in (absences(llm, LLM) | absences(engine, ENGINE)).items():
        logger.warning("%s is off, they come all at once: in this version of vLLM, %s", part, problem)
        for number, output in enumerate(llm.generate(prompts, list(params), use_tqdm=False)):
            yield number, output.outputs[0]
        return
    requests: list[str] = llm.enqueue(prompts, list(params), use_tqdm=False)
    numbers = {request.split("-")[0]: number for number, request in enumerate(requests)}
    try:
        while engine.has_unfinished_requests():
            for output in engine.step():
                if output.finished:
                    (done,) = output.outputs
                    yield numbers[output.request_id], done
    finally:
        engine.abort_request(requests, internal=True)  # requests that remain when the caller stops reading
