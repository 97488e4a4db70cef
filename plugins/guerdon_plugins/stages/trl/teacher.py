"""A teacher behind an endpoint, which gives the log-probabilities of a student's tokens. It must be vLLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from guerdon import Model
from guerdon.errors import InfrastructureError, StageFailedError, UsageError
from guerdon_plugins.shared.endpoint import Endpoint, NoChoiceError

__all__ = ["Known", "Teacher", "check_teacher", "open_teacher"]

_PROBES = 256
"""The tokens of the student's vocabulary whose texts the teacher's tokenizer reads in the check."""

_LEAST = -9000.0
"""vLLM writes -9999 for a log-probability of minus infinity, which JSON lacks."""


class Known(NamedTuple):
    """A teacher's log-probabilities at the place of a sampled token."""

    sampled: float
    """That of the sampled token."""
    is_top: bool
    """Whether the sampled token is one of the most probable ones."""
    others: Mapping[int, float]
    """Those of the other ones of the most probable tokens."""


class Teacher:
    """The model of an endpoint.

    Args:
        endpoint: Its address.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = endpoint.client()

    def check(
        self, student: str, encode: Callable[[str], list[int]], decode: Callable[[int], str], tokens: int
    ) -> None:
        """Check that the teacher's tokenizer gives texts the numbers that the student's gives them.

        Args:
            student: The student's name.
            encode: Return a text's tokens, without special tokens around it.
            decode: Return a token's text.
            tokens: The number of the student's tokens. A part of them is compared.

        Raises:
            UsageError: A text has other numbers, or the server is not vLLM.
            InfrastructureError: The server does not answer.
        """
        few = [text for token in range(0, tokens, max(1, tokens // _PROBES)) if (text := decode(token))]
        for choice in self._asked(few, {"add_special_tokens": False, "return_token_ids": True}):
            text, found = few[choice.index], getattr(choice, "prompt_token_ids", None)
            if found is None:
                raise self._not_vllm("prompt_token_ids")
            if found != (expected := encode(text)):
                raise UsageError(
                    f"{self._endpoint} reads the text {text!r} as the tokens {found}, and model '{student}' as "
                    f"{expected}. The loss compares the probabilities of tokens: serve a teacher of the student's "
                    "tokenizer."
                )

    def logprobs(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], top: int = 0
    ) -> list[list[Known]]:
        """Return what the teacher knows of each token of the completions.

        Args:
            prompts: The tokens of the prompts.
            completions: The tokens of the completions.
            top: How many of the most probable tokens to return; vLLM gives at most 20 if it is not told otherwise.

        Raises:
            InfrastructureError: The server does not answer.
            UsageError: It refuses a request, or is not vLLM.
            StageFailedError: A token has probability 0.
        """
        with ThreadPoolExecutor(self._endpoint.concurrency) as threads:
            try:
                return list(threads.map(partial(self._logprobs, top), prompts, completions))
            finally:
                threads.shutdown(cancel_futures=True)

    def _logprobs(self, top: int, prompt: Sequence[int], completion: Sequence[int]) -> list[Known]:
        ids = [*prompt, *completion]
        (choice,) = self._asked([ids], {"prompt_logprobs": top})
        found: Sequence[Mapping[str, Any] | None] | None = getattr(choice, "prompt_logprobs", None)
        if found is None:
            raise self._not_vllm("prompt_logprobs")
        if len(found) != len(ids):
            raise InfrastructureError(
                f"{self._endpoint} got {len(ids)} tokens and gives the log-probabilities of {len(found)}. Serve it "
                "without a truncation of prompts, and run the same command again."
            )
        return [self._known(*pair, top) for pair in list(zip(ids, found, strict=True))[len(prompt) :]]

    def _known(self, token: int, entry: Mapping[str, Any] | None, top: int) -> Known:
        values = {int(other): float(one["logprob"]) for other, one in (entry or {}).items()}
        value = values.pop(token, None)
        if value is None:
            raise InfrastructureError(
                f"{self._endpoint} gives no log-probability of the token {token}, which it was sent. Serve the model "
                "by vLLM, and run the same command again."
            )
        if not value > _LEAST:  # NaN is not
            raise StageFailedError(
                f"the log-probability of the token {token} is {value} for {self._endpoint}, so the divergence is not "
                "finite. Serve a teacher that can say each token of the student's vocabulary."
            )
        # The sampled token is added to the most probable ones if it is not one of them.
        return Known(value, len(values) < top, {token: one for token, one in values.items() if one > _LEAST})

    def _asked(self, prompts: Sequence[Any], options: Mapping[str, Any]) -> Sequence[Any]:
        import openai

        body: Any = {"prompt": list(prompts), "max_tokens": 1, "temperature": 0.0}
        try:
            answer = self._client.completions.create(
                model=self._endpoint.model, extra_body=dict(options), **body
            )
            if not answer.choices:
                raise NoChoiceError(answer)
        except (openai.OpenAIError, NoChoiceError) as error:
            raise self._endpoint.failure(error) from error
        if len(answer.choices) != len(prompts):
            raise InfrastructureError(
                f"{self._endpoint} gives {len(answer.choices)} answers to {len(prompts)} prompts. Serve the model by "
                "vLLM, and run the same command again."
            )
        choices: Sequence[Any] = answer.choices
        return choices

    def _not_vllm(self, field: str) -> UsageError:
        return UsageError(
            f"{self._endpoint} answers without {field}, which a teacher must give. Serve it by vLLM 0.10.2 or later."
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def check_teacher(endpoint: Endpoint | None, models: Sequence[Model]) -> None:
    """Check the tokenizer of a teacher before the run, if the student's is there.

    Args:
        endpoint: The teacher, if it is at one.
        models: The student, if it is known.
    """
    file = Path(models[0].path) / "tokenizer.json" if models else Path()
    if endpoint is None or not file.is_file():
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    with closing(Teacher(endpoint)) as teacher:
        teacher.check(
            models[0].name,
            lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            lambda token: str(tokenizer.decode([token], skip_special_tokens=False)),
            tokenizer.get_vocab_size(),
        )


@contextmanager
def open_teacher(endpoint: Endpoint, student: Model, tokenizer: Any) -> Iterator[Teacher]:
    """Yield a teacher whose tokenizer was compared with the student's."""
    with closing(Teacher(endpoint)) as teacher:
        teacher.check(
            student.name,
            lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
            lambda token: str(tokenizer.decode([token])),
            len(tokenizer),
        )
        yield teacher
