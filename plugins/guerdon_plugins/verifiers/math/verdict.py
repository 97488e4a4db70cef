"""Comparing an answer with a reference, from text to a verdict with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from guerdon.data.references import placeholder_reason
from guerdon_plugins.verifiers.math.budget import Budget
from guerdon_plugins.verifiers.math.comparing.alignment import aligned
from guerdon_plugins.verifiers.math.comparing.approximations import exact_and_rounded, is_true_rounding
from guerdon_plugins.verifiers.math.comparing.comparison import Comparer, is_plain
from guerdon_plugins.verifiers.math.comparing.constants import with_the_same_integral
from guerdon_plugins.verifiers.math.comparing.parametrisations import same_parametrised
from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.errors import TooLargeError, UnreadableError
from guerdon_plugins.verifiers.math.nodes import Node, Text
from guerdon_plugins.verifiers.math.policy import Policy
from guerdon_plugins.verifiers.math.reading.cleaning import clean
from guerdon_plugins.verifiers.math.reading.options import (
    marked_option,
    option_with_text,
    plain_option,
    same_options,
)
from guerdon_plugins.verifiers.math.reading.parser import parse
from guerdon_plugins.verifiers.math.reading.parts import marked_part, only_part
from guerdon_plugins.verifiers.math.reading.quantifiers import in_signs
from guerdon_plugins.verifiers.math.reading.roundings import has_floor, with_floors
from guerdon_plugins.verifiers.math.reading.vectors import has_arrows, with_arrows
from guerdon_plugins.verifiers.math.references import Reference, accepted_texts, gold_text

_SAID_AGAIN = re.compile(r"(.*?\S)\s*[(（]\s*(?:或者?|or|\\text\{\s*or\s*\})\s*(.+)[)）]", re.DOTALL)
_LONGEST_SAID_AGAIN = 200
_REGION_AND_INTERVAL = re.compile(
    r"(.*(?:[<>]|\\(?:le|ge|ne)|[Rr]eal|solution).*?)[.\s]*:\s*"
    r"((?:\\left\s*)?[(\[].+|\\(?:mathbb\s?\{?\s?R\s?\}?|oslash|emptyset|varnothing))",
    re.DOTALL,
)
"""``x<-7 : (-\\infty,-7)``: a solution said in two ways."""
_YES_AND_FORMULA = re.compile(
    r"(?:\\text\s*\{\s*)?[Yy]es\s*[.,:;]?\s*(?:\}\s*)?[.,:;]?\s*([^\W\d_\\$].*=.*|[$\\].*=.*)", re.DOTALL
)
"""``Yes, F = x^2y``: the formula says it as well."""
_DECIMAL_COMMA = re.compile(r"\$?0,(\d{2,}|\d*\(\d+\))\$?")
"""``0,25`` as a reference: the two numbers 0 and 25, or a decimal as in Russian; ``0,5`` is more often a list."""
_STARTS_OF_OPTIONS = frozenset("(\\$ABCDEFGHIJ")


class MathOutcome(StrEnum):
    """How a comparison ended."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    UNPARSEABLE_ANSWER = "unparseable_answer"
    UNPARSEABLE_REFERENCE = "unparseable_reference"
    GUARD = "guard"
    """The answer is too large to read or to evaluate."""


@dataclass(frozen=True, slots=True)
class MathVerdict:
    """What the library says of one answer."""

    outcome: MathOutcome
    reason: str
    """In a person's words."""
    tier: str = ""
    """The step that decided."""
    answer: str | None = None
    reference: str = ""
    witness: str = ""
    """Where answer and reference differ, if a point is known."""

    def __bool__(self) -> bool:
        return self.outcome is MathOutcome.CORRECT


@dataclass(frozen=True, slots=True)
class Reading:
    """A text and the tree that was read from it, or the error that reading it raised."""

    text: str
    node: Node | None
    error: str = ""
    too_large: bool = False
    option: str = ""
    """The letter of an option whose text this is."""
    affirms: bool = False
    """Whether the text says "yes" before the formula that this is."""
    others: tuple[Reading, ...] = ()
    """Other answers that the reference accepts."""

    @property
    def unreadable(self) -> MathVerdict:
        """Return the verdict on any answer where this reading of the reference failed."""
        text = shortened(self.text)
        reason = f"the reference {text!r} cannot be read: {self.error}"
        return MathVerdict(MathOutcome.UNPARSEABLE_REFERENCE, reason, "reading", reference=text)


def reference_text(reference: Reference) -> str:
    """Return the first answer that a reference accepts, as text.

    Raises:
        TypeError: The reference is not text, a number, a bool or a list of these.
    """
    return accepted_texts(reference)[0]


@lru_cache(maxsize=4096)
def _read(text: str) -> Reading:
    if (
        text.endswith((")", "）"))
        and len(text) < _LONGEST_SAID_AGAIN
        and (said_again := _SAID_AGAIN.fullmatch(text))
    ):
        return _read_said_again(*said_again.groups())
    if ":" in text and len(text) < _LONGEST_SAID_AGAIN and (both := _read_in_two_ways(text)):
        return both
    try:
        return Reading(text, parse(text))
    except TooLargeError as error:
        return Reading(text, None, str(error), too_large=True)
    except UnreadableError as error:
        return Reading(text, None, str(error))
    except RecursionError:
        return Reading(text, None, "it is nested too deeply", too_large=True)


def _read_said_again(first: str, second: str) -> Reading:
    r"""Return the reading of a value that brackets say again, ``\frac\pi6 (or 30°)``, and of two values as a list."""
    said, again = _read(first.strip()), _read(second.strip())
    if said.node is not None and again.node is not None and _compare_nodes(said.node, again.node, Policy()):
        return said
    return _read(f"{first} \\text{{ or }} {second}")


def _read_in_two_ways(text: str) -> Reading | None:
    """Return the reading of an inequality with its interval where both say the same; ``None`` for other answers."""
    match = _REGION_AND_INTERVAL.fullmatch(text.replace("$", ""))
    if match is None:
        return None
    said, again = _read(re.sub(r"^\\?\{|\\?\}$", "", match[1].strip())), _read(match[2])
    if said.node is None or again.node is None or not _compare_nodes(said.node, again.node, Policy()):
        return None
    return replace(again, text=text)


def _without_yes(text: str) -> str:
    """Return a formula without the "yes" before it."""
    match = _YES_AND_FORMULA.fullmatch(text)
    return match[1] if match else text


def _read_answer(answer: str, gold: Node) -> Reading:
    """Return the reading of an answer; ``B. 12`` names an option only where the reference is one."""
    if (asked := only_part(gold)) and (given := marked_part(answer)):
        return _read(given[1]) if given[0] == asked else Reading(answer, Text(answer))
    reading = _read(answer)
    if isinstance(gold, Text) and len(gold.words) == 1 and not reading.too_large:
        option = marked_option(clean(answer))
        return reading if option is None else Reading(answer, Text(option))
    return reading


def read_reference(reference: Reference) -> Reading:
    """Return the reading of a reference; readings are cached. A placeholder, such as ``N/A``, cannot be read.

    Raises:
        TypeError: The reference is neither text nor a number.
    """
    if type(reference) is str:
        return _read_gold(gold_text(reference).strip())
    first, *others = [_read_gold(text.strip()) for text in accepted_texts(reference)]
    return (
        next(
            (reading for reading in others if reading.node is None),
            replace(first, others=(*first.others, *others)),
        )
        if others
        else first
    )


@lru_cache(maxsize=4096)
def _read_gold(text: str) -> Reading:
    r"""Return the reading of one accepted answer: ``B. 12`` is B and 12; ``\sqrt2 \approx 1.41`` is either."""
    if reason := placeholder_reason(text):
        return Reading(text, None, f"it {reason}")
    if (option := option_with_text(text)) is not None and (said := _read(option[1])).node is not None:
        return replace(said, option=option[0])
    if text[:1] in "Yy\\" and (formula := _without_yes(text)) != text:
        said = _read(formula)
        if said.node is not None and not isinstance(said.node, Text):
            return replace(said, affirms=True)
    reading = _read(text)
    if match := _DECIMAL_COMMA.fullmatch(text):
        return replace(reading, others=(_read(f"0.{match[1]}"),))
    if reading.node is not None and (values := exact_and_rounded(reading.node)):
        exact, rounded = (replace(reading, node=node) for node in values)
        return replace(exact, others=(rounded,))
    return reading


def compare(answer: str, reference: Reference, policy: Policy | None = None) -> MathVerdict:
    """Compare an answer, as in a box, with a gold answer.

    Never raises for anything that a model can write, and takes bounded time and memory.

    Raises:
        TypeError: The reference is neither text nor a number.
    """
    return compare_reading(answer, read_reference(reference), policy or Policy())


@lru_cache(maxsize=4096)
def compare_texts(answer: str, gold: str, policy: Policy) -> MathVerdict:
    """Compare an answer with a reference that is one text; verdicts are cached, since a group repeats its answers."""
    return compare_reading(answer, _read_gold(gold), policy)


def compare_reading(answer: str, gold: Reading, policy: Policy) -> MathVerdict:
    """Compare an answer with a reference that was read before."""
    if gold.node is None:
        return gold.unreadable
    if gold.others:
        verdicts = [compare_reading(answer, one, policy) for one in (replace(gold, others=()), *gold.others)]
        return next(filter(None, verdicts), verdicts[0])
    if gold.affirms:
        return compare_reading(_without_yes(answer.strip()), replace(gold, affirms=False), policy)
    if gold.option:
        return _compare_option(answer, gold, policy)
    if answer.strip() == gold.text:
        return _verdict(MathOutcome.CORRECT, "the same text", "text", answer, gold)
    if has_arrows(gold.text) or has_arrows(answer):
        answer = with_arrows(answer)
        if (arrows := with_arrows(gold.text)) != gold.text:
            return compare_reading(answer, _read_gold(arrows), policy)
    if has_floor(gold.text) != has_floor(answer):
        answer = with_floors(answer)
        if (floors := with_floors(gold.text)) != gold.text and has_floor(answer):
            return compare_reading(answer, _read_gold(floors), policy)
    verdict = _compare_read(answer, gold, gold.node, policy)
    if verdict or verdict.outcome is MathOutcome.GUARD:
        return verdict
    statement, wanted = in_signs(answer), in_signs(gold.text)
    if statement is not None and wanted is not None:
        signs = _read_gold(wanted)
        return verdict if signs.node is None else _compare_read(statement, signs, signs.node, policy)
    said = _text_of_option(answer, gold.node)
    return verdict if said is None else compare_reading(said, gold, policy)


def _compare_read(answer: str, gold: Reading, reference: Node, policy: Policy) -> MathVerdict:
    """Read an answer and compare it with the reference's tree."""
    reading = _read_answer(answer, reference)
    if reading.node is None:
        outcome = MathOutcome.GUARD if reading.too_large else MathOutcome.UNPARSEABLE_ANSWER
        return _verdict(outcome, f"the answer cannot be read: {reading.error}", "reading", answer, gold)
    options = same_options(gold.text, answer.strip())
    if options is not None:
        reason = "the same options" if options else "other options"
        return _verdict(
            MathOutcome.CORRECT if options else MathOutcome.INCORRECT, reason, "options", answer, gold
        )
    try:
        finding = _compare_nodes(reference, reading.node, policy)
    except (TooLargeError, RecursionError, MemoryError, OverflowError) as error:
        return _verdict(
            MathOutcome.GUARD, f"the answer is too large to compare: {error}", "guard", answer, gold
        )
    outcome = MathOutcome.CORRECT if finding else MathOutcome.INCORRECT
    reason = finding.reason or f"it equals the reference, by {finding.tier}"
    return _verdict(outcome, reason, finding.tier, answer, gold, finding.witness)


def _compare_nodes(reference: Node, answer: Node, policy: Policy) -> Finding:
    comparer = Comparer(policy, Budget())
    if is_plain(reference) and is_plain(answer):
        return comparer.same(reference, answer)
    given, rounded = exact_and_rounded(answer) or (answer, None)
    left, right = aligned(reference, given)
    finding = comparer.same(left, right)
    if not finding and rounded is not None and is_true_rounding(given, rounded):
        again = Comparer(policy, Budget()).same(*aligned(reference, rounded))
        finding = again if again else finding
    if not finding and (moved := with_the_same_integral(left, right)) is not None:
        return Comparer(policy, Budget()).same(left, moved)
    return finding or same_parametrised(reference, given) or finding


def _text_of_option(answer: str, reference: Node) -> str | None:
    """Return the text of an answer such as "(B) 12" where the reference names no option."""
    if answer.lstrip()[:1] not in _STARTS_OF_OPTIONS or (
        isinstance(reference, Text) and len(reference.words) == 1
    ):
        return None
    option = option_with_text(clean(answer))
    return None if option is None else option[1]


def _compare_option(answer: str, gold: Reading, policy: Policy) -> MathVerdict:
    """Compare an answer with an option that has a letter and a text: it may name either, and both must be right."""
    said = replace(gold, option="")
    given = option_with_text(clean(answer)) or (plain_option(clean(answer)), None)
    if given[0] is None:
        return compare_reading(answer, said, policy)
    if given[0] != gold.option:
        return _verdict(MathOutcome.INCORRECT, "it is another option", "options", answer, gold)
    if given[1] is None:
        return _verdict(MathOutcome.CORRECT, "the same option", "options", answer, gold)
    return compare_reading(given[1], said, policy)


def _verdict(
    outcome: MathOutcome, reason: str, tier: str, answer: str, gold: Reading, witness: str = ""
) -> MathVerdict:
    return MathVerdict(outcome, reason, tier, shortened(answer), shortened(gold.text), witness)


def shortened(text: str) -> str:
    """Return a text of at most 200 characters, for messages and logs."""
    return text if len(text) <= 200 else f"{text[:150]}… ({len(text):,} characters)"
