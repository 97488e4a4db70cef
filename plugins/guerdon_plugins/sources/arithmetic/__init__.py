"""Arithmetic in English and Chinese, made up on the spot: problems, worked solutions, and a small web about them.

Everything is in it that an R1-like run needs without a download: a corpus of mixed quality to pretrain on, clean
solutions for a cold start, problems with references for reinforcement learning and evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Literal

from guerdon_plugins.sources.arithmetic.chains import LARGEST_VALUE, Chain, random_chain
from guerdon_plugins.sources.arithmetic.phrasing import PHRASINGS, Language
from guerdon_plugins.sources.arithmetic.writing import Author, page_reply, reason, tagged

Kind = Literal["problems", "solutions", "pages"]

# Copying teaches a small model to look back at numbers, long before sums could.
_SHARE_COPIES = 0.2
_COPY_LENGTHS = (2, 5)


class Arithmetic:
    """Rows without end, the same for the same params; give the data entry a ``limit``.

    Every row has ``prompt`` (messages), ``language`` and ``split_key`` (the problem itself, so that its translations
    and rephrasings are on its side of the held-out split). Problems and solutions also have ``reference`` and
    ``level``; solutions and pages have ``completion`` (messages).

    Args:
        kind: ``problems`` to be solved; ``solutions``, step by step in one language and R1's tags; or ``pages``, the
            miniature's web: questions with replies of all qualities (careless, guessed, in two languages), and
            numbers to copy.
        levels: The difficulties to draw from: a problem of level n has n additions and subtractions.
        languages: The languages to draw from.
        slips: For solutions, the probability that a step's carry or borrow is forgotten, where it has one.
        seed: Another seed gives other rows.

    Raises:
        ValueError: A param is out of range.
    """

    endless = True

    def __init__(
        self,
        kind: Kind = "problems",
        levels: Sequence[int] = (2, 3, 4),
        languages: Sequence[Language] = ("en", "zh"),
        slips: float = 0.0,
        seed: int = 0,
    ) -> None:
        if not levels or min(levels) < 1:
            raise ValueError(f"levels are {list(levels)}: name at least one, each 1 or more.")
        if not languages:
            raise ValueError("languages are empty: name at least one.")
        if not 0 <= slips <= 1:
            raise ValueError(f"slips is {slips}, and a probability is from 0 to 1.")
        if slips and kind != "solutions":
            raise ValueError(f"slips is {slips}, and only solutions slip; kind is '{kind}'.")
        self._make = {"problems": self._problem, "solutions": self._solution, "pages": self._page}[kind]
        self._levels = list(levels)
        self._languages = list(languages)
        self._author = Author(forgets=slips)
        self._seed = f"{seed}/{kind}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            yield self._make(rng)

    def _problem(self, rng: Random) -> dict[str, Any]:
        chain, language = self._draw(rng)
        return _problem_row(rng, chain, language)

    def _solution(self, rng: Random) -> dict[str, Any]:
        chain, language = self._draw(rng)
        reasoning, answer, _ = reason(rng, chain, language, self._author)
        return _problem_row(rng, chain, language) | {"completion": _reply(tagged(reasoning, answer))}

    def _page(self, rng: Random) -> dict[str, Any]:
        if rng.random() < _SHARE_COPIES:
            language = rng.choice(self._languages)
            numbers = " ".join(str(rng.randint(0, LARGEST_VALUE)) for _ in range(rng.randint(*_COPY_LENGTHS)))
            question, reply, key = PHRASINGS[language].copy.format(numbers), numbers, numbers
        else:
            chain, language = self._draw(rng)
            question = rng.choice(PHRASINGS[language].questions)(chain)
            reply, key = page_reply(rng, chain, language), chain.key
        return {
            "prompt": _question(question),
            "completion": _reply(reply),
            "language": language,
            "split_key": key,
        }

    def _draw(self, rng: Random) -> tuple[Chain, Language]:
        return random_chain(rng, rng.choice(self._levels)), rng.choice(self._languages)


def _problem_row(rng: Random, chain: Chain, language: Language) -> dict[str, Any]:
    return {
        "prompt": _question(rng.choice(PHRASINGS[language].questions)(chain)),
        "reference": str(chain.result),
        "language": language,
        "level": len(chain.steps),
        "split_key": chain.key,
    }


def _question(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
