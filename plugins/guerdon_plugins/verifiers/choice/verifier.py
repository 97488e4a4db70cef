"""The verifier: a completion, a reference and a row's options in, a score out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Literal

from guerdon import Failure, Row, Score
from guerdon.data.references import placeholder_reason, plain
from guerdon.text import checked_tags
from guerdon_plugins.shared.final_answer import FORMS, Place, check_place, final_answer
from guerdon_plugins.shared.hints import Hint, place_hint
from guerdon_plugins.verifiers.choice.options import LATIN, Gold, Options, label_key
from guerdon_plugins.verifiers.choice.reading import chosen


class Choice:
    """Scores 1 for the right option of a multiple-choice question, named by its label, its text or both.

    An answer that names two options, or a label with the text of another option, is wrong. A row's column ``options``
    holds the options in the order of its prompt, so that shuffled rows are read right.

    Args:
        extraction: The place of the answer, as in ``math``: ``boxed``, ``answer`` (in ``<answer>`` tags), ``hashes``,
            ``line`` ("Answer: …"), ``whole``, or ``auto``, the first that is there.
        gold: What the reference is: the option's ``label``, its ``index`` from 0, its ``number`` from 1, its ``text``,
            or ``auto``: a number is an index, a text is a label, an option's text or an index.
        labels: The options' labels, in order, where the column ``options`` names none.
        several: Whether the reference is a set of options, all of which must be chosen and no other: a list, or a text
            such as ``AC`` or ``A, C``. Otherwise a list holds accepted options.
        partial_credit: With ``several``, whether an answer without a wrong option gets the share of the right ones that
            it has.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: ``labels`` has fewer than two different labels, or ``partial_credit`` is set without ``several``.
    """

    audit_kind = "choice"

    def __init__(
        self,
        extraction: Place = "auto",
        gold: Gold = "auto",
        labels: Sequence[str] = LATIN,
        several: bool = False,
        partial_credit: bool = False,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        check_place(extraction)
        if len(labels) < 2 or len({label_key(label) for label in labels}) < len(labels):
            raise ValueError(
                f"labels is {list(labels)!r}; give at least two different labels, such as [A, B, C, D]"
            )
        if partial_credit and not several:
            raise ValueError("partial_credit is for several right options; set 'several' as well")
        self._place: Place = extraction
        self._gold: Gold = gold
        self._labels = tuple(labels)
        self._several = several
        self._partial_credit = partial_credit
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str, reference: Any, options: Any = None) -> Score:
        try:
            known = Options.of(options, self._labels)
            right = self._right(reference, known)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        found = final_answer(completion, self._place, self._tags)
        if found.text is None:
            return Score(0.0, explanation=found.problem)
        labels = chosen(found.text, known)
        if not labels:
            return Score(
                0.0, answer=found.text[:200], explanation="the answer does not name one option clearly"
            )
        answer = ", ".join(sorted(labels, key=known.labels.index))
        value = self._value(set(labels), right)
        return Score(
            value, answer=answer, explanation="" if value == 1 else _difference(known, labels, right)
        )

    def gold_completion(self, reference: Any) -> str | None:
        """Return a completion with the reference for its answer, or ``None`` if only its row's options tell it."""
        try:
            items = self._gold_items(reference)
        except ValueError:
            return None
        texts = [str(item) for item in items]
        chosen_texts = texts if self._several else texts[:1]
        if not texts or any(placeholder_reason(text) for text in chosen_texts):
            return None
        return FORMS[self._place].format((", " if max(map(len, texts)) < 3 else "; ").join(chosen_texts))

    def prompt_hint(self, row: Row) -> Hint:
        """Return the row's options, which the prompt must show, and the mark of the answer."""
        try:
            texts = Options.of(row.get("options"), self._labels).texts or ()
        except ValueError:
            return {}
        shown = {f"the option {text[:40]!r}": [text] for text in texts if text.strip()}
        return {**shown, **place_hint(self._place)}

    def _gold_items(self, reference: Any) -> list[Any]:
        """Return the labels or texts of a reference; none if a number may be a label, a text or an index.

        Raises:
            ValueError: It cannot be read without the row's options.
        """
        items = [item for item in _items(reference) if item is not None]
        if self._gold in ("index", "number") or any(isinstance(item, int) for item in items):
            base: Literal["index", "number"] = "number" if self._gold == "number" else "index"
            return [Options(self._labels, None).gold(item, base) for item in items]
        unclear = self._gold == "auto" and any(re.fullmatch(r"\s*\d+\s*", str(item)) for item in items)
        return [] if unclear else items

    def _right(self, reference: Any, known: Options) -> set[str]:
        """Return the labels that the reference names.

        Raises:
            ValueError: The reference cannot be read.
        """
        items = _items(reference)
        if not items:
            raise ValueError("the reference is empty")
        for item in items:
            reason = placeholder_reason(item)
            if reason is not None and not (isinstance(item, str) and known.by_text(item)):
                raise ValueError(f"the reference {reason}")
        if self._several and len(items) == 1 and isinstance(items[0], str):
            try:
                return {known.gold(items[0], self._gold)}
            except ValueError:
                labels = chosen(items[0], known)
                if not labels:
                    raise
                return set(labels)
        return {known.gold(item, self._gold) for item in items}

    def _value(self, labels: set[str], right: set[str]) -> float:
        if not self._several:
            return float(len(labels) == 1 and labels <= right)
        if labels == right:
            return 1.0
        return len(labels) / len(right) if self._partial_credit and labels < right else 0.0


def _difference(known: Options, labels: Collection[str], right: Collection[str]) -> str:
    """Return which options were chosen, and which are right."""
    chose, wanted = (sorted(group, key=known.labels.index) for group in (labels, right))
    return f"it chose {', '.join(chose)}; right is {', '.join(wanted)}"


def _items(reference: Any) -> list[Any]:
    """Return the references in a row's reference: texts and indices.

    Raises:
        ValueError: It holds something else.
    """
    value = plain(reference)
    items = list(value) if isinstance(value, list | tuple) else [value]
    for item in items:
        if item is not None and (not isinstance(item, str | int) or isinstance(item, bool)):
            raise ValueError(f"the reference is {item!r:.60}; give an option's label, index or text")
    return items
