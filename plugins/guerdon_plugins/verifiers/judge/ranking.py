"""The judge that ranks the completions of one prompt in one call."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from guerdon import Failure, Messages, Score
from guerdon.errors import GuerdonError
from guerdon.text import Part, checked_tags, select_part
from guerdon.types import total_usage
from guerdon_plugins.shared.reading import read
from guerdon_plugins.verifiers.judge.answers import json_object
from guerdon_plugins.verifiers.judge.asking import Asker, NoVerdictError, Spent, failed
from guerdon_plugins.verifiers.judge.questions import ranking, system_message


class RankingJudge:
    """A language model that ranks a prompt's completions, all in one question.

    The value is the share of the other completions that are worse, where an equal one counts half: 1 for the best of
    all, 0 for the worst. The replies are shuffled, in an order that their texts decide, because judges favor a
    position. Equal texts are shown once and get one value. An answer that does not name each reply exactly once is
    invalid; the question is asked again, and after ``tries`` all completions of the group fail.

    Args:
        endpoint: The judge's endpoint, as of the verifier ``judge``.
        mode: ``rank``.
        criteria: What makes a reply good, in words for the judge.
        reference: The column with what a good reply says; by default not shown.
        part: The part to judge: ``reasoning``, ``answer`` or ``whole``.
        reasoning_tags: The tags around reasoning; by default those of all known model families.
        tries: The most attempts to get a valid answer.
        sampling: Options of the request, by OpenAI's names.

    Raises:
        ValueError: A param is out of range.
    """

    timeout_s = 600.0
    """The deadline of one ranking, without the wait for a free request."""
    audit_kind = "judge_rank"

    def __init__(
        self,
        endpoint: Mapping[str, Any],
        mode: Literal["rank"],
        criteria: str = "A good reply is correct, helpful and clear.",
        reference: str | None = None,
        part: Part = "whole",
        reasoning_tags: Sequence[str] | None = None,
        tries: int = 3,
        sampling: Mapping[str, Any] | None = None,
    ) -> None:
        self._asker = Asker(endpoint, tries, sampling)
        self._mode = mode
        self._criteria = criteria
        self._reference = reference
        self._part = part
        self._tags = checked_tags(reasoning_tags)

    async def preflight(self) -> None:
        """Raise if the endpoint does not respond, or refuses the model, the key or the options."""
        await self._asker.preflight()

    async def aclose(self) -> None:
        """Close the connections; another call opens new ones."""
        await self._asker.close()

    async def __call__(self, completions: list[str], prompt: str | Messages, **columns: Any) -> list[Score]:
        replies = [await read(select_part, completion, self._part, self._tags) for completion in completions]
        if len(replies) < 2:
            return [Score.skipped("there is no other completion to compare with")] * len(replies)
        reference = None if self._reference is None else columns.get(self._reference)
        if self._reference is not None and not str(reference or "").strip():
            problem = f"the row has no text '{self._reference}' to compare with"
            return [Score.failed(Failure.REFERENCE, problem)] * len(replies)
        shown = list(dict.fromkeys(replies))
        if len(shown) == 1:
            return [Score(0.5, explanation="all completions are equal")] * len(replies)
        shuffled(shown)
        form = Ranking(len(shown))
        opening = system_message(self._criteria, self._mode, form.in_words())
        question = ranking(prompt, shown, None if reference is None else str(reference))
        spent: Spent = []
        try:
            verdict = await self._asker.ask([opening, question], form, spent)
        except (NoVerdictError, GuerdonError) as error:
            first = failed(error, spent)
            return [first, *[replace(first, usage={})] * (len(replies) - 1)]
        place = {shown[number - 1]: rank for rank, tied in enumerate(verdict["ranking"]) for number in tied}
        ranks = [place[reply] for reply in replies]
        scores = [
            Score(value, explanation=f"rank {rank + 1} of {len(verdict['ranking'])}: {verdict['reasoning']}")
            for rank, value in zip(ranks, shares_of_worse(ranks), strict=True)
        ]
        # The group was one question, so its first completion has the usage.
        return [replace(scores[0], usage=total_usage(spent)), *scores[1:]]


def shuffled(texts: list[str]) -> None:
    """Shuffle texts in place, in an order that only the texts decide, whatever order they came in."""
    texts.sort()
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
    random.Random(digest).shuffle(texts)


def shares_of_worse(ranks: Sequence[int]) -> list[float]:
    """Return for each rank the share of the others that are worse; an equal one counts half."""
    others = len(ranks) - 1
    return [
        (sum(other > rank for other in ranks) + (sum(other == rank for other in ranks) - 1) / 2) / others
        for rank in ranks
    ]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The form of a ranking: the reasons, and the replies' numbers from best to worst, equal ones together."""

    count: int

    max_tokens: ClassVar[int] = 512

    def schema(self) -> dict[str, Any]:
        """Return the form as JSON Schema."""
        numbers = {"type": "array", "items": {"type": "integer", "enum": list(range(1, self.count + 1))}}
        return {
            "type": "object",
            "properties": {
                "reasoning": {"type": "string", "description": "why, in one to three sentences"},
                "ranking": {"type": "array", "items": numbers},
            },
            "required": ["reasoning", "ranking"],
            "additionalProperties": False,
        }

    def in_words(self) -> str:
        """Return the form as text for the judge."""
        return (
            '"reasoning": a string, why, in one to three sentences\n'
            f'"ranking": a list of lists with the numbers 1 to {self.count}, each once: the best replies first, and '
            "equally good replies in one inner list, such as [[2], [1, 3]]"
        )

    def read(self, text: str, asked: str = "") -> dict[str, Any]:
        """Return the object in a judge's answer to a question.

        Raises:
            ValueError: The answer is something else.
        """
        found = json_object(text, asked)
        if not isinstance(found, dict) or not {"reasoning", "ranking"} <= set(found):
            raise ValueError("it is not an object with the keys reasoning, ranking")
        given = found["ranking"]
        if not isinstance(found["reasoning"], str) or not isinstance(given, list):
            raise ValueError('"reasoning" is not a string, or "ranking" is not a list')
        ranks = [one if isinstance(one, list) else [one] for one in given]
        numbers = [number for one in ranks for number in one]
        if not all(type(number) is int for number in numbers) or sorted(numbers) != [
            *range(1, self.count + 1)
        ]:
            raise ValueError(f'"ranking" is {json.dumps(given)[:80]}, and not each of 1 to {self.count} once')
        return {"reasoning": found["reasoning"], "ranking": [one for one in ranks if one]}
