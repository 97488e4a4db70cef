"""Generated arithmetic in English and Chinese: problems, worked solutions, and a small web of pages about them.

It covers an R1-like run without a download: a corpus of mixed quality to pretrain on, clean solutions for a cold start,
and problems with references for reinforcement learning and evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Literal

from guerdon_plugins.sources.miniature.arithmetic.phrasing import PHRASINGS, Language
from guerdon_plugins.sources.miniature.arithmetic.problems import (
    LARGEST_STEP,
    Chain,
    Problem,
    Task,
    longest_search,
    random_chain,
    random_search,
)
from guerdon_plugins.sources.miniature.arithmetic.writing import (
    CAREFUL,
    CARELESS,
    SHARE_GUESSES,
    Author,
    page_reply,
    reason,
    tagged,
)

Kind = Literal["problems", "solutions", "pages", "preferences"]

# Copying teaches a small model to read back numbers, long before it learns sums.
_SHARE_COPIES = 0.2
_COPY_LENGTHS = (2, 5)
# The miniature's vocabularies have a token of its own for each number below it.
_TWO_DIGITS = 100


class Arithmetic:
    """An endless source, the same for the same params; give the data entry a ``limit``.

    Every row has ``prompt`` (messages), ``language`` and ``split_key`` (the problem itself, so that its translations
    and rephrasings are on its side of the held-out split). Problems and solutions also have ``task``, ``reference`` and
    ``level``; solutions and pages have ``completion`` (messages), preferences ``chosen`` and ``rejected``.

    Args:
        kind: ``problems`` to be solved; ``solutions``, step by step in one language and R1's tags; or ``pages``, the
            miniature's web: questions with replies of all qualities (careless, guessed, in two languages), and
            numbers to copy; or ``preferences``: a solution and a page's reply, for a reward model to tell apart.
        tasks: The tasks to draw from: ``sum``, or ``search``, where one of several numbers makes a round number with a
            step and checking each one pays off.
        levels: The difficulties to draw from: n additions and subtractions, or n candidates.
        largest: The largest number, at least 10 and at most 99. Small models learn small numbers sooner.
        languages: The languages to draw from.
        slips: The probability that a step's carry or borrow is forgotten: by default 0 in solutions and 0.55 in pages.
            In solutions it is also the probability that a search stops after a candidate that does not fit.
        guesses: For pages, the share of replies to problems that guess, without reasoning.
        seed: Another seed gives other rows.

    Raises:
        ValueError: A param is out of range.
    """

    endless = True

    def __init__(
        self,
        kind: Kind = "problems",
        tasks: Sequence[Task] = ("sum",),
        levels: Sequence[int] = (2, 3, 4),
        largest: int = 40,
        languages: Sequence[Language] = ("en", "zh"),
        slips: float | None = None,
        guesses: float = SHARE_GUESSES,
        seed: int = 0,
    ) -> None:
        if not tasks:
            raise ValueError("tasks are empty: name at least one.")
        if not levels or min(levels) < 1:
            raise ValueError(f"levels are {list(levels)}: name at least one, each 1 or more.")
        if not LARGEST_STEP < largest < _TWO_DIGITS:
            raise ValueError(
                f"largest is {largest}: give a number from {LARGEST_STEP + 1} to {_TWO_DIGITS - 1}."
            )
        if "search" in tasks and max(levels) > longest_search(largest):
            raise ValueError(
                f"levels are {list(levels)}, and numbers up to {largest} have room for searches among "
                f"{longest_search(largest)}: lower the levels, or raise largest."
            )
        if not languages:
            raise ValueError("languages are empty: name at least one.")
        if slips is not None and not 0 <= slips <= 1:
            raise ValueError(f"slips is {slips}, and a probability is from 0 to 1.")
        if slips is not None and kind not in ("solutions", "pages"):
            raise ValueError(f"slips is {slips}, and only solutions and pages slip; kind is '{kind}'.")
        if not 0 <= guesses <= 1:
            raise ValueError(f"guesses is {guesses}, and a share is from 0 to 1.")
        if guesses != SHARE_GUESSES and kind != "pages":
            raise ValueError(f"guesses is {guesses}, and only pages have it; kind is '{kind}'.")
        self._make = {
            "problems": self._problem,
            "solutions": self._solution,
            "pages": self._page,
            "preferences": self._preference,
        }[kind]
        self._tasks = list(tasks)
        self._levels = list(levels)
        self._largest = largest
        self._languages = list(languages)
        self._author = Author(forgets=slips or 0.0, persists=1 - (slips or 0.0))
        self._page_forgets = CARELESS.forgets if slips is None else slips
        self._guesses = guesses
        self._seed = f"{seed}/{kind}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            yield self._make(rng)

    def _problem(self, rng: Random) -> dict[str, Any]:
        problem, language = self._draw(rng)
        return _problem_row(rng, problem, language)

    def _solution(self, rng: Random) -> dict[str, Any]:
        problem, language = self._draw(rng)
        reasoning, answer, _ = reason(rng, problem, language, self._author)
        return _problem_row(rng, problem, language) | {"completion": _reply(tagged(reasoning, answer))}

    def _page(self, rng: Random) -> dict[str, Any]:
        if rng.random() < _SHARE_COPIES:
            language = rng.choice(self._languages)
            numbers = " ".join(str(rng.randint(0, self._largest)) for _ in range(rng.randint(*_COPY_LENGTHS)))
            question, reply, key = PHRASINGS[language].copy.format(numbers), numbers, numbers
        else:
            problem, language = self._draw(rng)
            question = PHRASINGS[language].question(rng, problem)
            reply, key = page_reply(rng, problem, language, self._guesses, self._page_forgets), problem.key
        return {
            "prompt": _question(question),
            "completion": _reply(reply),
            "language": language,
            "split_key": key,
        }

    def _preference(self, rng: Random) -> dict[str, Any]:
        problem, language = self._draw(rng)
        reasoning, answer, _ = reason(rng, problem, language, CAREFUL)
        chosen = tagged(reasoning, answer)
        rejected = page_reply(rng, problem, language)
        while rejected == chosen:
            rejected = page_reply(rng, problem, language)
        return _problem_row(rng, problem, language) | {
            "chosen": _reply(chosen),
            "rejected": _reply(rejected),
        }

    def _draw(self, rng: Random) -> tuple[Problem, Language]:
        make: Callable[[Random, int, int], Problem] = (
            random_chain if rng.choice(self._tasks) == "sum" else random_search
        )
        return make(rng, rng.choice(self._levels), self._largest), rng.choice(self._languages)


def _problem_row(rng: Random, problem: Problem, language: Language) -> dict[str, Any]:
    return {
        "prompt": _question(PHRASINGS[language].question(rng, problem)),
        "task": "sum" if isinstance(problem, Chain) else "search",
        "reference": str(problem.result),
        "language": language,
        "level": problem.level,
        "split_key": problem.key,
    }


def _question(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
