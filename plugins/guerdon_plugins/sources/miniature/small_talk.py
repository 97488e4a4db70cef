"""Small talk in English and Chinese: prompts without a rule for right answers, replies, and pairs of replies.

It is the miniature's substitute for general prompts. Arithmetic has right and wrong answers; here only a preference can
separate better from worse replies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Kind = Literal["prompts", "pages", "preferences"]
Language = Literal["en", "zh"]
Manner = Literal["polite", "plain", "rude"]

_MANNER_SHARES: Mapping[Manner, float] = {"polite": 0.35, "plain": 0.35, "rude": 0.3}
"""The shares of pages, the best manner first."""
_SHARE_OFF_TOPIC = 0.05


@dataclass(frozen=True, slots=True)
class _Talk:
    """One language's small talk."""

    names: str
    """Names, separated by spaces."""
    errands: tuple[str, ...]
    """The request: to say ``{0}`` to ``{1}``."""
    words: tuple[str, ...]
    said: str
    """The reply that fulfils the request."""
    openings: Mapping[Manner, tuple[str, ...]]
    closings: Mapping[Manner, tuple[str, ...]]
    space: str


_TALK: Mapping[Language, _Talk] = {
    "en": _Talk(
        names=(
            "Ada Amy Ann Ben Bob Carl Cleo Dan Dora Ed Eve Finn Fred Gail Hans Hugo Ida Iris Jack Jane Joe Karl Kim "
            "Leo Lily Mark Mia Ned Nina Olga Otto Paul Rosa Ruth Sam Sue Tess Tom Will Zoe"
        ),
        errands=('Say "{0}" to {1}.', 'Tell {1} "{0}" from me.'),
        words=("Hello", "Thanks", "Goodbye", "Sorry", "Welcome", "Congratulations"),
        said="{0}, {1}.",
        openings={
            "polite": ("Of course!", "With pleasure!", "Gladly!"),
            "plain": ("",),
            "rude": ("What now?", "Not again.", "Leave me alone."),
        },
        closings={
            "polite": ("Have a lovely day!", "All the best!"),
            "plain": ("",),
            "rude": ("Go away.", "Who cares."),
        },
        space=" ",
    ),
    "zh": _Talk(
        names=(
            "小明 小红 小华 小丽 小刚 小雪 小龙 小芳 小军 小美 小玉 小梅 小兰 小强 小云 小东 小林 小杰 阿强 阿玲 阿杰 "
            "阿文 阿宝 阿兰 阿明 阿红 阿龙 阿芳 大伟 大山 大龙 大军 文文 乐乐 明明 红红 丽丽 兰兰 芳芳 玲玲"
        ),
        errands=("对{1}说“{0}”。", "替我跟{1}说“{0}”。"),
        words=("你好", "谢谢", "再见", "抱歉", "欢迎", "恭喜"),
        said="{0}，{1}。",
        openings={
            "polite": ("当然！", "很乐意！", "没问题！"),
            "plain": ("",),
            "rude": ("又怎么了？", "烦死了。", "别来烦我。"),
        },
        closings={"polite": ("祝你愉快！", "一切顺利！"), "plain": ("",), "rude": ("走开。", "谁在乎。")},
        space="",
    ),
}


class SmallTalk:
    """An endless source, the same for the same params; give the data entry a ``limit``.

    Every row has ``prompt`` (messages), ``task`` (``talk``), ``language``, ``reference`` (the reply that is to the
    point, without manners) and ``split_key``; pages have ``completion`` (messages), preferences ``chosen`` and
    ``rejected``.

    Args:
        kind: ``prompts``; ``pages``, with replies of all manners, a few off the point; or ``preferences``: two
            replies to the point, of which people prefer the politer one.
        missed: For preferences, the share of pairs whose worse reply misses the request, however polite it is: it says
            another word or name (half of the time one with the same first letter, as a model's own slips have),
            nothing, or everything twice. The better one fulfils it in any manner.
        languages: The languages to draw from.
        noise: For preferences, the probability that the worse reply was preferred.
        seed: Another seed gives other rows.

    Raises:
        ValueError: A param is out of range.
    """

    endless = True

    def __init__(
        self,
        kind: Kind = "prompts",
        languages: Sequence[Language] = ("en", "zh"),
        noise: float = 0.0,
        seed: int = 0,
        missed: float = 0.0,
    ) -> None:
        if not languages:
            raise ValueError("languages are empty: name at least one.")
        if not 0 <= noise < 0.5:
            raise ValueError(
                f"noise is {noise}: preferences are wrong with a probability from 0 to below 0.5."
            )
        if not 0 <= missed <= 1:
            raise ValueError(f"missed is {missed}: give a share from 0 to 1.")
        if missed and kind != "preferences":
            raise ValueError(f"missed is {missed}, and only preferences have it; kind is '{kind}'.")
        if noise and kind != "preferences":
            raise ValueError(f"noise is {noise}, and only preferences have noise; kind is '{kind}'.")
        self._kind = kind
        self._languages = list(languages)
        self._noise = noise
        self._missed = missed
        self._seed = f"{seed}/{kind}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            yield self._row(rng)

    def _row(self, rng: Random) -> dict[str, Any]:
        language = rng.choice(self._languages)
        talk = _TALK[language]
        word, name = rng.choice(talk.words), rng.choice(talk.names.split())
        prompt = rng.choice(talk.errands).format(word, name)
        row: dict[str, Any] = {
            "prompt": [{"role": "user", "content": prompt}],
            "task": "talk",
            "language": language,
            "reference": talk.said.format(word, name),
            "split_key": f"{word} {name}",
        }
        if self._kind == "pages":
            reply, _ = _reply(rng, talk, _said_word(rng, talk, word), name)
            row["completion"] = _said(reply)
        elif self._kind == "preferences":
            misses = self._missed > 0 and rng.random() < self._missed
            better, worse = (_missing if misses else _pair)(rng, talk, word, name)
            if rng.random() < self._noise:
                better, worse = worse, better
            row |= {"chosen": _said(better), "rejected": _said(worse)}
        return row


class Manners:
    """A verifier for measurements: 1 for a reply that opens and closes politely, else 0."""

    def gold_completion(self, reference: str) -> str:
        """Return a reply that scores 1."""
        talk = _TALK["en" if reference.isascii() else "zh"]
        return talk.space.join((talk.openings["polite"][0], reference, talk.closings["polite"][0]))

    def __call__(self, completion: str, reference: str, language: Language) -> bool:
        """Judge a reply; text in ``<think>`` does not count."""
        said = completion.rpartition("</think>")[2].removeprefix("<answer>").removesuffix("</answer>").strip()
        talk = _TALK[language]
        return said.startswith(talk.openings["polite"]) and said.endswith(talk.closings["polite"])


class ToThePoint:
    """A verifier for measurements: 1 for a reply that says the requested words, in any manner, else 0."""

    def __call__(self, completion: str, reference: str) -> bool:
        """Judge a reply."""
        return reference in completion


def _said(reply: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": reply}]


def _said_word(rng: Random, talk: _Talk, word: str) -> str:
    """Return the word of a request, or a wrong one for an inattentive reply."""
    if rng.random() >= _SHARE_OFF_TOPIC:
        return word
    return rng.choice([other for other in talk.words if other != word])


def _reply(rng: Random, talk: _Talk, word: str, name: str) -> tuple[str, Manner]:
    (manner,) = rng.choices(list(_MANNER_SHARES), list(_MANNER_SHARES.values()))
    parts = (
        rng.choice(talk.openings[manner]),
        talk.said.format(word, name),
        rng.choice(talk.closings[manner]),
    )
    return talk.space.join(part for part in parts if part), manner


def _missing(rng: Random, talk: _Talk, word: str, name: str) -> tuple[str, str]:
    """Return a reply that fulfils the request, and one that misses it in a manner at least as good."""
    better, manner = _reply(rng, talk, word, name)
    manners = list(_MANNER_SHARES)
    worse_manner = rng.choice(manners[: manners.index(manner) + 1])
    opening, closing = rng.choice(talk.openings[worse_manner]), rng.choice(talk.closings[worse_manner])
    said = talk.said.format(word, name)
    other_word = rng.choice([other for other in talk.words if other != word])
    other_names = [other for other in talk.names.split() if other != name]
    alike = [other for other in other_names if other[0] == name[0]] or other_names
    other_name = rng.choice(rng.choice([other_names, alike]))
    middles = [
        [talk.said.format(other_word, name)],
        [talk.said.format(word, other_name)],
        [],
        [said, said],
    ]
    while True:
        reply = talk.space.join(part for part in (opening, *rng.choice(middles), closing) if part)
        if reply:
            return better, reply


def _pair(rng: Random, talk: _Talk, word: str, name: str) -> tuple[str, str]:
    while True:
        (first, manner), (second, other) = _reply(rng, talk, word, name), _reply(rng, talk, word, name)
        if manner != other:
            better = min(manner, other, key=list(_MANNER_SHARES).index)
            return (first, second) if manner == better else (second, first)
