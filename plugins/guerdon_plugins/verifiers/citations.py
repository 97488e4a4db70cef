"""``citations``: check the citations of a text: that the sources exist, are the right ones, and hold the quotes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Failure, Messages, Row, Score, message_text
from guerdon.data.references import plain
from guerdon.text import Part, checked_tags, select_part
from guerdon_plugins.shared.hints import Hint
from guerdon_plugins.shared.visible import without_invisible

MAX_CHARACTERS = 100_000
"""A longer text scores 0."""

MAX_RANGE = 100
"""The most sources of a range such as ``[1-5]``."""

MIN_PROMPT = 40
"""A shorter prompt may be in a text by chance."""

_MARK = re.compile(r"[\[【]\s*+([^\[\]【】\n]{1,200}?)\s*+[\]】]")
_SENTENCE = re.compile(
    r"(?<=[.!?。！？।؟])[\"'”’»」』)]*(?:\s*[\[【][^\[\]【】\n]{1,200}[\]】])*(?:\s+|(?<=[。！？])|$)|\n+"
)
_QUOTE = re.compile(
    r"(?:[\"“”„«「『]([^\"“”„«»「」『』\n]{3,2000})[\"”“»」』]"
    r"|(?<!\w)['‘](?=\w+[ ]\w+[ ]\w)([^'‘’\n]{3,2000})['’](?!\w))"
    r"\s*(?:[.,。，]\s*)?[(（]?\s*((?:\\?[\[【][^\[\]【】\n]{1,200}[\]】]\s*)+)"
)
"""A text in quotation marks before a citation. In single ones it has three words, since a few words may be a name."""


class Citations:
    """Scores the citations of a text, such as ``[1]``, ``[2, 3]`` or ``[doc-a]``.

    A text that cites a source that the row does not have scores 0, and so do a quote that is not in its source and a
    text that repeats the prompt. Otherwise the score is the F1 of the cited sources against those that the reference
    names, times the share of the other sources that the text does not cite; so a text that cites all sources scores 0.
    Without ``gold``, it is 1. It is multiplied by the share of sentences with a citation if ``every_sentence`` is set.

    A row's column ``sources`` is a list of texts, numbered from 1; a list of mappings with ``id`` and ``text``; or a
    mapping of ids to texts.

    Args:
        gold: Whether the reference names the right sources. A row without them then fails.
        every_sentence: Whether every sentence should cite.
        quotes: Whether a text in quotation marks before a citation must be in the source.
        min_sources: The number of different sources that a text must cite to score above 0.
        part: The part to check: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: ``min_sources`` is below 1.
    """

    audit_kind = "citations"

    def __init__(
        self,
        gold: bool = True,
        every_sentence: bool = False,
        quotes: bool = True,
        min_sources: int = 1,
        part: Part = "answer",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if min_sources < 1:
            raise ValueError(f"min_sources is {min_sources}; give a number of at least 1")
        self._gold = gold
        self._every_sentence = every_sentence
        self._quotes = quotes
        self._min_sources = min_sources
        self._part: Part = part
        self._tags = checked_tags(reasoning_tags)

    def __call__(
        self, completion: str, sources: Any, reference: Any = None, prompt: str | Messages = ""
    ) -> Score:
        try:
            texts = _sources(sources)
            right = _right(reference, texts) if self._gold else None
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        text = without_invisible(
            unicodedata.normalize("NFKC", select_part(completion, self._part, self._tags))
        )
        if len(text) > MAX_CHARACTERS:
            return Score(0.0, explanation=f"the text has more than {MAX_CHARACTERS} characters")
        marks = [_ids(mark[1], texts) for mark in _MARK.finditer(text)]
        cited = {name for names in marks for name in names}
        answer = ", ".join(sorted(cited))
        problem = _copied(text, message_text(prompt)) or self._problem(text, cited, texts)
        if problem is not None:
            return Score(0.0, answer=answer, explanation=problem)
        value, explanation = 1.0, []
        if right is not None:
            value = _agreement(cited, right, texts)
            if value < 1:
                explanation.append(f"it cites {answer}; right is {', '.join(sorted(right))}")
        if self._every_sentence:
            coverage = _coverage(text)
            value *= coverage
            if coverage < 1:
                explanation.append(f"{coverage:.0%} of the sentences have a citation")
        return Score(value, answer=answer, explanation="; ".join(explanation))

    def prompt_hint(self, row: Row) -> Hint:
        """Return the row's sources, which the prompt must show."""
        try:
            sources = _sources(row.get("sources"))
        except ValueError:
            return {}
        return {f"the source {name}": [text[:60]] for name, text in sources.items() if text.strip()}

    def _problem(self, text: str, cited: set[str], texts: Mapping[str, str]) -> str | None:
        """Return why the text scores 0, or ``None``."""
        if not any(char.isalpha() for char in _MARK.sub("", text)):
            return "the text has no words other than its citations"
        invented = sorted(cited - texts.keys())
        if invented:
            return f"the source {invented[0][:60]!r} does not exist"
        if len(cited) < self._min_sources:
            return f"{len(cited)} sources are cited, fewer than {self._min_sources}"
        for quote in _QUOTE.finditer(text) if self._quotes else ():
            said = quote[1] or quote[2]
            names = [name for mark in _MARK.finditer(quote[3]) for name in _ids(mark[1], texts)]
            if not any(_folded(said) in _folded(texts[name]) for name in names):
                return f"the quote {said[:60]!r} is not in {' or '.join(names)}"
        return None


def _agreement(cited: set[str], right: set[str], texts: Mapping[str, str]) -> float:
    """Return the F1 of the cited sources, times the share of the wrong ones that are not cited."""
    f1 = 2 * len(cited & right) / (len(cited) + len(right))
    wrong = texts.keys() - right
    return f1 * len(wrong - cited) / len(wrong) if wrong else f1


def _copied(text: str, prompt: str) -> str | None:
    """Return a problem if a text holds the whole prompt, which may list the sources with their marks."""
    asked = _folded(prompt)
    return "the text repeats the prompt" if len(asked) >= MIN_PROMPT and asked in _folded(text) else None


def _sources(value: Any) -> dict[str, str]:
    """Return a row's sources by id.

    Raises:
        ValueError: There are none, or they cannot be read.
    """
    found = plain(value)
    if isinstance(found, list | tuple) and all(isinstance(item, str) for item in found):
        pairs = [(str(number), item) for number, item in enumerate(found, start=1)]
    elif isinstance(found, list | tuple) and all(
        isinstance(item, Mapping) and "id" in item for item in found
    ):
        pairs = [(str(item["id"]), str(item.get("text", ""))) for item in found]
    elif isinstance(found, Mapping):
        pairs = [(str(name), str(text)) for name, text in found.items()]
    else:
        raise ValueError(f"sources is {found!r:.60}; give a list of texts, or a mapping of ids to texts")
    names = {_folded(name): text for name, text in pairs}
    if not names or len(names) < len(pairs):
        raise ValueError("sources is empty, or two sources have the same id")
    return names


def _right(reference: Any, texts: Mapping[str, str]) -> set[str]:
    """Return the ids that the reference names.

    Raises:
        ValueError: It names no source, or one that the row does not have.
    """
    value = plain(reference)
    items = value if isinstance(value, list | tuple) else [value]
    names = {_folded(str(item).strip("[] ")) for item in items if isinstance(item, str | int)}
    if not names or len(names) < len(items) or names - texts.keys():
        raise ValueError(
            f"the reference is {value!r:.60}; give ids of the row's sources: {', '.join(list(texts)[:8])}"
        )
    return names


def _ids(mark: str, texts: Mapping[str, str]) -> list[str]:
    """Return the ids in a citation. A bracket that looks like no citation, such as ``[sic]``, has none."""
    whole = _folded(mark.rstrip("\\"))
    if whole in texts:
        return [whole]
    parts = [_number(_folded(part), texts) for part in re.split(r"[,;，、]", whole) if part.strip()]
    names: list[str] = []
    for part in parts:
        span = re.fullmatch(r"(\d{1,6})\s*[-–]\s*(\d{1,6})", part)
        if part not in texts and span and 0 <= int(span[2]) - int(span[1]) < MAX_RANGE:
            names += [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
        else:
            names.append(part)
    shaped = all(name in texts or _looks_like(name, texts) for name in names)
    return names if shaped else []


_AROUND_NUMBER = re.compile(r"(?:\^|(?:source|document|doc|reference|ref)\s*[:#]?\s*)?(\d{1,6})(?:†.*)?")


def _number(part: str, texts: Mapping[str, str]) -> str:
    """Return the number of a part such as ``^1``, ``source 1`` or ``1†source``, if the row has it, or the part."""
    found = _AROUND_NUMBER.fullmatch(part)
    return found[1] if found and part not in texts and found[1] in texts else part


def _looks_like(name: str, texts: Mapping[str, str]) -> bool:
    """Return whether a text has the form of an id of the row: its letters, with other digits."""
    forms = {re.sub(r"\d+", "0", known) for known in texts}
    return name.isdigit() or re.sub(r"\d+", "0", name) in forms


def _folded(text: str) -> str:
    normal = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(normal.split()).strip(" .,;:")


def _coverage(text: str) -> float:
    """Return the share of sentences with a citation."""
    starts = [0, *(mark.end() for mark in _SENTENCE.finditer(text))]
    pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    claims = [piece for piece in pieces if any(char.isalpha() for char in _MARK.sub("", piece))]
    return sum(_MARK.search(piece) is not None for piece in claims) / len(claims) if claims else 0.0
