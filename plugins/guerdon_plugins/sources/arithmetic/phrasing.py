"""How people ask and answer arithmetic, in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from guerdon_plugins.sources.arithmetic.chains import Chain

Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One language's words."""

    questions: tuple[Callable[[Chain], str], ...]
    """Ways to ask for a chain's result."""
    step: Callable[[int, int, int], str]
    """The sentence for ``(value, step, sum)``."""
    second_thought: str
    """What comes before a step that is done again."""
    space: str
    """What follows a sentence, before the next."""
    conclusions: tuple[str, ...]
    """Closing sentences, with ``{}`` for the boxed answer."""
    guesses: tuple[str, ...]
    """Whole replies without reasoning, likewise."""
    musings: tuple[str, ...]
    """What someone writes who does not reason where reasoning is expected."""
    copy: str
    """Asks for a repetition of ``{}``."""


def _spelled(chain: Chain, plus: str, minus: str) -> str:
    return str(chain.start) + "".join(f"{plus if step > 0 else minus}{abs(step)}" for step in chain.steps)


PHRASINGS: Mapping[Language, Phrasing] = {
    "en": Phrasing(
        questions=(
            lambda chain: f"What is {_spelled(chain, ' + ', ' - ')}?",
            lambda chain: f"Compute {_spelled(chain, ' plus ', ' minus ')}.",
            lambda chain: f"Start with {_spelled(chain, ', add ', ', take away ')}. What is left?",
        ),
        step=lambda value, step, total: f"{value} {'plus' if step > 0 else 'minus'} {abs(step)} is {total}.",
        second_thought="wait, ",
        space=" ",
        conclusions=("The answer is {}.", "So it is {}."),
        guesses=("{}", "I think it is {}."),
        musings=("That is easy.", "Let me guess."),
        copy="Copy: {}",
    ),
    "zh": Phrasing(
        questions=(
            lambda chain: f"{_spelled(chain, ' + ', ' - ')} 等于多少？",
            lambda chain: f"计算{_spelled(chain, '加', '减')}。",
            lambda chain: f"先有{_spelled(chain, '，加上', '，减去')}，得多少？",
        ),
        step=lambda value, step, total: f"{value}{'加' if step > 0 else '减'}{abs(step)}得{total}。",
        second_thought="等等，",
        space="",
        conclusions=("答案是{}。", "所以是{}。"),
        guesses=("{}", "我想是{}。"),
        musings=("这很简单。", "我猜一下。"),
        copy="抄写：{}",
    ),
}
