"""Small talk in English and Chinese: prompts that no rule can mark, replies in all manners, and pairs of replies.

The miniature's stand-in for general prompts: where arithmetic has right and wrong answers, this has better and worse
ones, which only a preference can tell.
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
_SHARE_OFF_TOPIC = 0.15
_SHARE_OFF_TOPIC_IN_PAIRS = 0.4
"""Of the replies that are compared: enough for a reward model to see that the point counts more than manners."""


@dataclass(frozen=True, slots=True)
class _Topic:
    """Something people ask for; ``{}`` is a name."""

    prompts: tuple[str, ...]
    replies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Talk:
    """One language's small talk."""

    names: str
    """Separated by spaces."""
    topics: tuple[_Topic, ...]
    openings: Mapping[Manner, tuple[str, ...]]
    closings: Mapping[Manner, tuple[str, ...]]
    space: str


_TALK: Mapping[Language, _Talk] = {
    "en": _Talk(
        names=(
            "Ada Amy Ann Ben Bob Carl Cleo Dan Dora Ed Eve Finn Fred Gail Hans Hugo Ida Iris Jack Jane Joe Karl Kim "
            "Leo Lily Mark Mia Ned Nina Olga Otto Paul Rosa Ruth Sam Sue Tess Tom Will Zoe"
        ),
        topics=(
            _Topic(("Say hello to {}.", "Greet {}."), ("Hello, {}.", "Good morning, {}.")),
            _Topic(("Say thanks to {}.", "Thank {} for the help."), ("Thank you, {}.", "Many thanks, {}.")),
            _Topic(("Say goodbye to {}.", "{} is leaving."), ("Goodbye, {}.", "See you soon, {}.")),
            _Topic(("{} is sad.", "Comfort {}."), ("It will be better soon, {}.", "I am with you, {}.")),
            _Topic(("{} has won a prize.", "Congratulate {}."), ("Well done, {}.", "What a success, {}.")),
        ),
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
        topics=(
            _Topic(("向{}问好。", "跟{}打招呼。"), ("你好，{}。", "早上好，{}。")),
            _Topic(("感谢{}。", "谢谢{}的帮助。"), ("谢谢你，{}。", "多谢，{}。")),
            _Topic(("跟{}告别。", "{}要走了。"), ("再见，{}。", "下次见，{}。")),
            _Topic(("{}很难过。", "安慰{}。"), ("会好的，{}。", "我陪着你，{}。")),
            _Topic(("{}得奖了。", "祝贺{}。"), ("做得好，{}。", "真棒，{}。")),
        ),
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
    """Rows without end, the same for the same params; give the data entry a ``limit``.

    Every row has ``prompt`` (messages), ``task`` (``talk``), ``language``, ``reference`` (the replies that are to the
    point, without manners) and ``split_key``; pages have ``completion`` (messages), preferences ``chosen`` and
    ``rejected``.

    Args:
        kind: ``prompts``; ``pages``, with replies of all manners, some beside the point; or ``preferences``: two
            replies, of which people prefer the one to the point, then the politer one.
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
    ) -> None:
        if not languages:
            raise ValueError("languages are empty: name at least one.")
        if not 0 <= noise < 0.5:
            raise ValueError(
                f"noise is {noise}: preferences are wrong with a probability from 0 to below 0.5."
            )
        if noise and kind != "preferences":
            raise ValueError(f"noise is {noise}, and only preferences have noise; kind is '{kind}'.")
        self._kind = kind
        self._languages = list(languages)
        self._noise = noise
        self._seed = f"{seed}/{kind}"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rng = Random(self._seed)
        while True:
            yield self._row(rng)

    def _row(self, rng: Random) -> dict[str, Any]:
        language = rng.choice(self._languages)
        talk = _TALK[language]
        topic, name = rng.choice(talk.topics), rng.choice(talk.names.split())
        prompt = rng.choice(topic.prompts).format(name)
        row: dict[str, Any] = {
            "prompt": [{"role": "user", "content": prompt}],
            "task": "talk",
            "language": language,
            "reference": [reply.format(name) for reply in topic.replies],
            "split_key": f"{talk.topics.index(topic)} {name}",
        }
        if self._kind == "pages":
            reply, _ = _reply(rng, talk, topic, name, _SHARE_OFF_TOPIC)
            row["completion"] = _said(reply)
        elif self._kind == "preferences":
            better, worse = _pair(rng, talk, topic, name)
            if rng.random() < self._noise:
                better, worse = worse, better
            row |= {"chosen": _said(better), "rejected": _said(worse)}
        return row


def manner(completion: str, reference: Sequence[str], language: Language) -> float:
    """A verifier for measuring: 1 for a reply to the point that opens and closes politely, else 0.

    Args:
        completion: The reply; what stands in ``<think>`` does not count.
        reference: The row's.
        language: The row's.
    """
    talk = _TALK[language]
    said = completion.rpartition("</think>")[2].removeprefix("<answer>").removesuffix("</answer>").strip()
    return float(
        any(
            said == talk.space.join((opening, body, closing))
            for opening in talk.openings["polite"]
            for body in reference
            for closing in talk.closings["polite"]
        )
    )


def _said(reply: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": reply}]


def _reply(rng: Random, talk: _Talk, topic: _Topic, name: str, off_topic: float) -> tuple[str, int]:
    """A reply, and how good people find it."""
    (tone,) = rng.choices(list(_MANNER_SHARES), list(_MANNER_SHARES.values()))
    about = topic
    if rng.random() < off_topic:
        about = rng.choice([other for other in talk.topics if other is not topic])
    body = rng.choice(about.replies).format(name)
    parts = (rng.choice(talk.openings[tone]), body, rng.choice(talk.closings[tone]))
    worth = {"rude": 0, "plain": 1, "polite": 2}[tone] + (3 if about is topic else 0)
    return talk.space.join(part for part in parts if part), worth


def _pair(rng: Random, talk: _Talk, topic: _Topic, name: str) -> tuple[str, str]:
    while True:
        (first, worth), (second, other) = (
            _reply(rng, talk, topic, name, _SHARE_OFF_TOPIC_IN_PAIRS) for _ in range(2)
        )
        if worth != other:
            return (first, second) if worth > other else (second, first)
