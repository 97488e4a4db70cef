"""The wording of arithmetic questions and answers, in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from guerdon_plugins.sources.miniature.arithmetic.problems import Chain, Problem, Search

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One language's words."""

    sums: tuple[Callable[[Chain], str], ...]
    """Ways to ask for a chain's result."""
    searches: tuple[Callable[[Search], str], ...]
    """Ways to ask for the result of a search."""
    step: Callable[[int, int, int], str]
    """The sentence for ``(value, step, sum)``."""
    misfit: str
    """Added to a step's sentence if the sum is not the round number that is searched."""
    stop: str
    """The end of a sentence."""
    second_thought: str
    """The text before a step that is done again."""
    space: str
    """The text after a sentence, before the next."""
    conclusions: tuple[str, ...]
    """Closing sentences, with ``{}`` for the boxed answer."""
    guesses: tuple[str, ...]
    """Whole replies without reasoning, with ``{}`` for the boxed answer."""
    musings: tuple[str, ...]
    """Texts without reasoning where reasoning is expected."""
    copy: str
    """Asks for a repetition of ``{}``."""

    def question(self, rng: Random, problem: Problem) -> str:
        """Return one of the ways to ask for a problem's result."""
        if isinstance(problem, Chain):
            return rng.choice(self.sums)(problem)
        return rng.choice(self.searches)(problem)


def _spelled(chain: Chain, plus: str, minus: str) -> str:
    return str(chain.start) + "".join(f"{plus if step > 0 else minus}{abs(step)}" for step in chain.steps)


def _listed(numbers: Sequence[int], comma: str) -> str:
    return comma.join(map(str, numbers))


def _added(search: Search, plus: str, minus: str) -> str:
    space = " " if plus.isascii() else ""
    return f"{plus if search.step > 0 else minus}{space}{abs(search.step)}"


PHRASINGS: Mapping[Language, Phrasing] = {
    "en": Phrasing(
        sums=(
            lambda chain: f"What is {_spelled(chain, ' + ', ' - ')}?",
            lambda chain: f"Compute {_spelled(chain, ' plus ', ' minus ')}.",
            lambda chain: f"Start with {_spelled(chain, ', add ', ', take away ')}. What is left?",
        ),
        searches=(
            lambda search: (
                f"Which of {_listed(search.candidates, ', ')} {_added(search, 'plus', 'minus')} is a round number?"
            ),
            lambda search: (
                f"{_listed(search.candidates, ', ')}: which {_added(search, 'plus', 'minus')} makes a round number?"
            ),
        ),
        step=lambda value, step, total: f"{value} {'plus' if step > 0 else 'minus'} {abs(step)} is {total}.",
        misfit=", not round",
        stop=".",
        second_thought="wait, ",
        space=" ",
        conclusions=("The answer is {}.", "So it is {}."),
        guesses=("{}", "I think it is {}."),
        musings=("That is easy.", "Let me guess."),
        copy="Copy: {}",
    ),
    "zh": Phrasing(
        sums=(
            lambda chain: f"{_spelled(chain, ' + ', ' - ')} 等于多少？",
            lambda chain: f"计算{_spelled(chain, '加', '减')}。",
            lambda chain: f"先有{_spelled(chain, '，加上', '，减去')}，得多少？",
        ),
        searches=(
            lambda search: f"{_listed(search.candidates, '、')}，哪个{_added(search, '加', '减')}得整十数？",
            lambda search: (
                f"哪个数{_added(search, '加', '减')}是整十数：{_listed(search.candidates, '、')}？"
            ),
        ),
        step=lambda value, step, total: f"{value}{'加' if step > 0 else '减'}{abs(step)}得{total}。",
        misfit="，不是整十",
        stop="。",
        second_thought="等等，",
        space="",
        conclusions=("答案是{}。", "所以是{}。"),
        guesses=("{}", "我想是{}。"),
        musings=("这很简单。", "我猜一下。"),
        copy="抄写：{}",
    ),
}
