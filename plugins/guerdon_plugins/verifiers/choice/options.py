"""The options of a question, and the labels that name them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from guerdon.data.references import plain

Gold: TypeAlias = Literal["auto", "label", "index", "number", "text"]
"""What a reference is: an option's label, its index from 0, its number from 1, its text, or the first that fits."""

LATIN = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_CYRILLIC = str.maketrans("АВЕКМНОРСТХ", "ABEKMHOPCTX")
"""Cyrillic letters that look like Latin ones."""


def normalized(text: str) -> str:
    """Return a text in one form of each character (Unicode's NFKC), without invisible characters."""
    return "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")


def bare(text: str) -> str:
    """Return a text for comparison: one form of each character, no case, no punctuation at the ends, single spaces."""
    folded = normalized(text).casefold().replace("−", "-")
    return " ".join(folded.split()).strip(" .,;:!?。，；：！？、।*_`\"'“”‘’«»「」『』$")


@dataclass(frozen=True, slots=True)
class Options:
    """The labels of a question's options, with their texts if they are known."""

    labels: Sequence[str]
    texts: Sequence[str] | None

    @classmethod
    def of(cls, column: Any, labels: Sequence[str]) -> Options:
        """Return the options in a row's column.

        Args:
            column: A list of texts; a mapping of labels to texts; ``{"label": [...], "text": [...]}``; one of these as
                JSON; or ``None``.
            labels: The labels of options in a list.

        Raises:
            ValueError: The column is none of these, or has more options than labels.
        """
        value = plain(column)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError(f"options is the text {value[:40]!r}, which is not JSON") from None
        if value is None:
            return cls(tuple(labels), None)
        if isinstance(value, Mapping) and {"label", "text"} <= value.keys():
            found = list(value["label"]), list(value["text"])
        elif isinstance(value, Mapping):
            found = list(value), list(value.values())
        elif isinstance(value, list | tuple):
            found = list(labels[: len(value)]), list(value)
        else:
            raise ValueError(
                f"options is {value!r:.60}; give a list of texts, or a mapping of labels to texts"
            )
        names, texts = ([str(item).strip() for item in side] for side in found)
        if not names or len(names) != len(texts) or len({label_key(name) for name in names}) < len(names):
            raise ValueError(f"options has {len(texts)} texts for {len(names)} different labels")
        return cls(tuple(names), tuple(texts))

    def by_label(self, text: str) -> str | None:
        """Return the label that a text is, in its own spelling, or ``None``."""
        wanted = label_key(text)
        found = [label for label in self.labels if label_key(label) == wanted]
        if not found and all(label.isascii() for label in self.labels):
            latin = wanted.translate(_CYRILLIC)
            found = [label for label in self.labels if label_key(label) == latin]
        return found[0] if found else None

    def latin(self, text: str) -> str:
        """Return a text with Latin letters for look-alikes, if the labels are Latin and no other letter is Cyrillic."""
        changed = text.translate(_CYRILLIC)
        is_latin = all(label.isascii() for label in self.labels) and not re.search(
            r"[\u0400-\u04ff]", changed
        )
        return changed if is_latin else text

    def by_text(self, text: str) -> str | None:
        """Return the label of the only option that has a text, or ``None``."""
        if self.texts is None or not bare(text):
            return None
        found = [label for label, known in self._pairs() if bare(known) == bare(text)]
        return found[0] if len(found) == 1 else None

    def text_of(self, label: str) -> str | None:
        return dict(self._pairs()).get(label)

    def _pairs(self) -> list[tuple[str, str]]:
        return list(zip(self.labels, self.texts or (), strict=self.texts is not None))

    def gold(self, reference: str | int, kind: Gold) -> str:
        """Return the label that one reference names.

        Raises:
            ValueError: It names none, or could name two.
        """
        readings = {
            "label": None if isinstance(reference, int) else self.by_label(_unwrapped(reference)),
            "text": None if isinstance(reference, int) else self.by_text(reference),
            "index": self._at(reference, 0),
            "number": self._at(reference, 1),
        }
        order = [kind] if kind != "auto" else ["label", "text", "index"]
        found = [label for name in order if (label := readings[name]) is not None]
        if kind == "auto" and readings["label"] is None and len(set(found)) > 1:
            raise ValueError(
                f"the reference {reference!r:.60} could name the options {' and '.join(dict.fromkeys(found))}; "
                "set the param 'gold' to label, index, number or text"
            )
        if not found:
            names = ", ".join(self.labels[:8])
            raise ValueError(
                f"the reference {reference!r:.60} does not name an option by its {_MEANT[kind]} ({names})"
            )
        return found[0]

    def _at(self, reference: str | int, base: int) -> str | None:
        if not re.fullmatch(r"\s*\d{1,3}\s*", str(reference)):
            return None
        index = int(reference) - base
        known = self.labels if self.texts is None else self.labels[: len(self.texts)]
        return known[index] if 0 <= index < len(known) else None


_MEANT = {
    "auto": "label, text or index",
    "label": "label",
    "index": "index from 0",
    "number": "number from 1",
    "text": "text",
}


def label_key(text: str) -> str:
    """Return a label for comparison: one form of each character, upper case."""
    return normalized(text).strip().upper()


def _unwrapped(text: str) -> str:
    return text.strip().strip("()[]（）【】. ").strip()
