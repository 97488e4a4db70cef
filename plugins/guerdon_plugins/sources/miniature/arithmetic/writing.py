"""Generate replies to arithmetic problems, of all qualities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from guerdon_plugins.sources.miniature.arithmetic.phrasing import PHRASINGS, Language
from guerdon_plugins.sources.miniature.arithmetic.problems import Chain, Problem, Search, forget_carry


@dataclass(frozen=True, slots=True)
class Author:
    """A style of reasoning; every field is a probability per step."""

    forgets: float = 0.0
    """A carry or a borrow is forgotten, if there is one."""
    errs: float = 0.0
    """The sum has another error."""
    notices: float = 0.0
    """A wrong sum is noticed and the step is done again."""
    switches: float = 0.0
    """The language changes from this step on."""
    persists: float = 1.0
    """A search continues after a candidate that does not fit."""


CAREFUL = Author()

# The author of average pages. A model trained on these pages is right about a quarter of the time.
# A language reward has to remove their mixing of languages.
CARELESS = Author(forgets=0.55, errs=0.06, notices=0.2, persists=0.5)
CARELESS_AND_MIXING = Author(forgets=0.55, errs=0.06, notices=0.2, switches=0.5, persists=0.5)
SHARE_MIXING = 0.4

SHARE_GUESSES = 0.55
# The forms, and their weights among the replies that reason and among those that guess.
_REASONED = {"tagged": 0.20, "plain": 0.25}
_GUESSED = {"guess": 0.25, "tagged guess": 0.30}
_SHARE_WRONG_GUESSES = 0.6
_GUESS_SPREAD = 6


def page_reply(
    rng: Random,
    problem: Problem,
    language: Language,
    guesses: float = SHARE_GUESSES,
    forgets: float = CARELESS.forgets,
) -> str:
    """Return a reply of mixed quality, as on a page; a share ``guesses`` of them has no reasoning."""
    phrasing = PHRASINGS[language]
    weights = _scaled(_REASONED, 1 - guesses) | _scaled(_GUESSED, guesses)
    (form,) = rng.choices(list(weights), list(weights.values()))
    if form in ("guess", "tagged guess"):
        answer = _guess(rng, problem)
        if form == "tagged guess":
            return tagged(rng.choice(phrasing.musings), answer)
        return rng.choice(phrasing.guesses).format(_boxed(answer))
    author = CARELESS_AND_MIXING if rng.random() < SHARE_MIXING else CARELESS
    reasoning, answer, ending = reason(rng, problem, language, replace(author, forgets=forgets))
    if form == "tagged":
        return tagged(reasoning, answer)
    conclusion = rng.choice(PHRASINGS[ending].conclusions).format(_boxed(answer))
    return reasoning + PHRASINGS[ending].space + conclusion


def _scaled(weights: Mapping[str, float], total: float) -> dict[str, float]:
    return {form: weight * total / sum(weights.values()) for form, weight in weights.items()}


def tagged(reasoning: str, answer: int) -> str:
    """Return a reply in R1's format."""
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def _boxed(answer: int) -> str:
    return f"\\boxed{{{answer}}}"


def reason(rng: Random, problem: Problem, language: Language, author: Author) -> tuple[str, int, Language]:
    """Return step-by-step reasoning, its answer, and the language that it ends in."""
    if isinstance(problem, Chain):
        return _follow(rng, problem, language, author)
    return _search(rng, problem, language, author)


def _follow(rng: Random, chain: Chain, language: Language, author: Author) -> tuple[str, int, Language]:
    value = chain.start
    text = ""
    for step in chain.steps:
        text += PHRASINGS[language].space if text else ""
        language = _next_language(rng, language, author)
        phrasing = PHRASINGS[language]
        total = _sum(rng, value, step, author)
        text += phrasing.step(value, step, total)
        if total != value + step and rng.random() < author.notices:
            total = value + step
            text += phrasing.space + phrasing.second_thought + phrasing.step(value, step, total)
        value = total
    return text, value, language


def _search(rng: Random, search: Search, language: Language, author: Author) -> tuple[str, int, Language]:
    """Return a search through the candidates in order. Authors always recognise a match, but may stop too early."""
    text = ""
    for candidate in search.candidates:
        text += PHRASINGS[language].space if text else ""
        language = _next_language(rng, language, author)
        phrasing = PHRASINGS[language]
        text += phrasing.second_thought if text else ""
        text += phrasing.step(candidate, search.step, candidate + search.step)
        if candidate == search.result:
            break
        text = text.removesuffix(phrasing.stop) + phrasing.misfit + phrasing.stop
        if rng.random() >= author.persists:
            break
    return text, candidate, language


def _next_language(rng: Random, language: Language, author: Author) -> Language:
    if rng.random() < author.switches:
        return "zh" if language == "en" else "en"
    return language


def _sum(rng: Random, value: int, step: int, author: Author) -> int:
    if rng.random() < author.forgets:  # no effect without a carry
        return forget_carry(value, step)
    error = rng.choice((-2, -1, 1, 2)) if rng.random() < author.errs else 0
    return value + step + error


def _guess(rng: Random, problem: Problem) -> int:
    if rng.random() >= _SHARE_WRONG_GUESSES:
        return problem.result
    if isinstance(problem, Search):
        return rng.choice(problem.candidates)
    offset = rng.randint(1, _GUESS_SPREAD) * rng.choice((-1, 1))
    return problem.result + offset if problem.result + offset >= 0 else problem.result - offset
