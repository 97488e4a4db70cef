"""Answers in words: the same words in the same order, and the mathematics between them sign by sign."""

from __future__ import annotations

import re

from guerdon_plugins.verifiers.math.comparing.scalars import Finding
from guerdon_plugins.verifiers.math.comparing.trees import letters
from guerdon_plugins.verifiers.math.nodes import Node, Text
from guerdon_plugins.verifiers.math.reading.formulas_of_chemistry import other_elements

_OPTION = re.compile(r"\(?\s*([^\W\d_])\s*\)?\s*\.?")
"""A single letter counts with its case, in brackets or not."""
_QUOTES = re.compile(r"[\"'`“”‘’]")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_]{2})")
_STOP = re.compile(r"(?<=[^\W\d_])\s*[.,;:!?。，；：]+(?=\s|$)|\s*[.。;；!]+\s*$")
"""Marks after a word: they say nothing. Between digits and next to brackets they do."""
_ARTICLE = re.compile(
    r"\bthe\s+(?=[^\W\d_]{2})|(?<=\bis )an?\s+(?=[^\W\d_]{2})|^an?\s+(?!and\b|or\b|is\b|are\b)(?=[^\W\d_]{2})"
)
_SUBJECT = re.compile(
    r"^(?:(?:they|it|these|this|that) (?:is|are|will be) (?=[^\W\d_])|选择?(?=[^\W\d_])|"
    r"(?:它|其|函数|该函数)?的?图[象像](?=关于)|"
    r"(?:he|she|they|you|we|i) should (?:choose|pick|buy|use|take|select) (?=[^\W\d_])|[是为](?=[\u4e00-\u9fff]{2}))"
)
"""A subject that only points to the question."""
_NUMBERED_HEAD = re.compile(r"^(?:statements?|options?|choices?) (?=[ivx]+\b)")
"""What roman numerals number."""
_BESIDE_HAN = re.compile(r" (?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff]) ")
_DISTRIBUTED = re.compile(r"^[A-Z] \\sim (?=[A-Z])")
"""The name of a variable before its distribution."""
_ONLY = re.compile(r"^((?:statements? )?[ivx]{1,4}(?:(?:, ?| and )[ivx]{1,4}){0,4}) only$")
_NAME_AND_SENTENCE = re.compile(
    r"([A-Z][a-z]{2,}) (?:is|was|has|had|will|won|got|did|does|should|needs|runs|ran) ([^,;\d]+)"
)
"""A person who is the answer, and a sentence that says why."""
_LOSES = re.compile(r"\b(?:lose|loses|lost|fails?|failed|last|wrong)\b")
_WINS = re.compile(r"(?<=\w) (?:can |will |always )*(?:wins?|has (?:a |the )?winning strategy)$")
"""A player who is named as an answer is the one who wins."""
_HEAD = re.compile(
    r"(?<=[^\W\d_])(?<!\bno)(?<!\bany) (?:function|triangle|series|sequence|quadrilateral|ball|one|marble|card|car|"
    r"number|integer|colou?r|team|player|angle|box|bag|group|house|hat|shirt|test|method|plan|company|store|class|error)$"
)
"""What an adjective such as "odd" or "isosceles" describes is in the question."""
_YES_OR_NO = re.compile(r"(yes|no|是|否|能|不能)\s*[,.;:，。；：]\s*([^\d\\=<>]+)", re.IGNORECASE)
"""The answer to a question, and a sentence that says it again."""
_PREDICATE = re.compile(
    r"^(?:(?:the|this|that|these|those|both|its?|all)(?: [\w'-]+){0,5}?"
    r"|(?:(?![^\W\d_]{2})\S+ ){0,12}?(?![^\W\d_]{2})\S+)"
    r" (?:is|are|was|were|has|have|will be|must be) (?:an? )?(?=[^\W_]|- ?\d)",
    re.IGNORECASE,
)
"""A subject that is in the question, in words or as a formula, and its verb: "the vectors are", "f is"."""
_OTHER_SUBJECT = re.compile(
    r"\b(?:not|no|never|none|one|some|only|most|half|neither|either|nor|converse|inverse|negation|opposite|complement|"
    r"contrapositive|reciprocal|derivative|if|unless|than)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?:the )?(point|team|player|person|student|box|bag|plan|method|figure|region|statement|line|angle|option|curve|"
    r"car|train|group|brand|store|machine|candidate|graph) ([A-Z])\.?",
    re.IGNORECASE,
)
"""A thing that a letter names."""
_EXTREME = re.compile(r"\b(max|min)\b")
_OF_EXTREME = re.compile(r"\b((?:max|min)imum)(?: value)?(?: is| of)?\b")
_ATTAINED = re.compile(r"\s*,?\s*\b(?:which )?(?:is )?(?:attained|reached|achieved|occurs|occurring) at\b")
_NUMBERED = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b")
ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()  # noqa: SIM905
)
_OTHERWISE = re.compile(
    r"\b(?:if|unless|except|but|or|only|when|maybe|perhaps|sometimes|whether)\b|若|如果|当|除|但|或|只"
)
"""Words with which a sentence may say something else than the word before it."""
_OPPOSITES = {
    "yes": re.compile(
        r"\b(?:no|not|never|none|neither|false|cannot|impossible|wrong)\b|\s['’]\s?t\b|n['’]t\b|不|否|没|非|错"
    ),
    "no": re.compile(r"\b(?:yes|true|right)\b|是的|对"),
}
_BETWEEN_CLAUSES = re.compile(r"\s*(?:[,;](?:\s*and\b)?(?![^()\[\]]*[)\]])|\band\b)\s*")
_MOST_CLAUSES = 6
_LONGEST_CLAUSES = 500
_LONGEST_ATTRIBUTES = 100
_BETWEEN_ATTRIBUTES = re.compile(r"\s*,?\s*\b(?:but|and|yet)\b\s*|\s*,\s*")
_ATTRIBUTE = re.compile(
    r"(?:not )?(?!(?:not|both|either|neither|nor|if|only|unless|all|each)\b)[^\W\d_]{3,}"
    r"(?: (?!or\b|nor\b|if\b|not\b)[^\W\d_]+){0,2}"
)
_CLAUSE = re.compile(r"[^\W\d_]{2}")
_SIGN = re.compile(r"[\d=<>≤≥(\\]")
_CONNECTIVE = re.compile(r"\s*\b(?:is|are|at|on|for|when|if|where|whenever|occurs?)\b\s*|\s+")
_WARDS = re.compile(r"\b(up|down|left|right)wards?\b")
_POINT = re.compile(r"\bpt(s?)\b\.?")
_DECISIONS = {"true": "yes", "false": "no", "是": "yes", "能": "yes", "否": "no", "不能": "no"}
_SPACES = re.compile(r"\s+")
_BESIDE_SIGNS = re.compile(r"(?<=[^\w\s]) | (?=[^\w\s])")
"""The reader puts a space between the signs of a formula, the writer may not."""


def same_words(reference: Node, answer: Node) -> Finding:
    """Compare two answers of which one at least is words."""
    left, right = (node.words if isinstance(node, Text) else letters(node) for node in (reference, answer))
    if left is None or right is None:
        return Finding(False, "text", "words are not a number")
    if (letters_match := _same_named_letter(left, right)) is not None:
        return Finding(letters_match, "text", "" if letters_match else "the words differ")
    if other_elements(left.removeprefix("compound "), right.removeprefix("compound ")):
        return Finding(False, "text", "other elements")
    left, right = _WINS.sub("", left), _WINS.sub("", right)
    left, right = _DISTRIBUTED.sub("", left), _DISTRIBUTED.sub("", right)
    left, right = _person(left, right), _person(right, left)
    left, right = _decision(left, right), _decision(right, left)
    left, right = _without_subject(left, right), _without_subject(right, left)
    left, right = _plain(left), _plain(right)
    if not (_HEAD.search(left) and _HEAD.search(right)):  # "a series" and "a sequence" differ
        left, right = _HEAD.sub("", left), _HEAD.sub("", right)
    if left and (left == right or _same_clauses(left, right) or _same_attributes(left, right)):
        return Finding(True, "text")
    return Finding(False, "text", "the words differ")


def _same_clauses(left: str, right: str) -> bool:
    """Return whether two lists of statements hold the same ones: "concave up for x>3, concave down for x<3"."""
    if max(len(left), len(right)) > _LONGEST_CLAUSES:
        return False
    sides = [_BETWEEN_CLAUSES.split(words) for words in (left, right)]
    if not 1 < len(sides[0]) == len(sides[1]) <= _MOST_CLAUSES:
        return False
    if not all(_CLAUSE.search(clause) and _SIGN.search(clause) for clauses in sides for clause in clauses):
        return False
    plain = [sorted(_CONNECTIVE.sub(" ", clause).strip() for clause in clauses) for clauses in sides]
    return plain[0] == plain[1]


def _same_attributes(left: str, right: str) -> bool:
    """Return whether two lists of attributes hold the same ones: "injective but not surjective", in any order.

    Names have an order that may count, so one attribute at least must be denied.
    """
    if max(len(left), len(right)) > _LONGEST_ATTRIBUTES:
        return False
    sides = [[part.strip() for part in _BETWEEN_ATTRIBUTES.split(words)] for words in (left, right)]
    if not 1 < len(sides[0]) == len(sides[1]) <= _MOST_CLAUSES:
        return False
    if not all(_ATTRIBUTE.fullmatch(part) for part in (*sides[0], *sides[1])):
        return False
    return any(part.startswith("not ") for part in sides[0]) and sorted(sides[0]) == sorted(sides[1])


def _same_named_letter(left: str, right: str) -> bool | None:
    """Compare "team A" with "A", and the option "(a)" with "A"; ``None`` where neither side is a letter."""
    found = [_NAMED.fullmatch(words.strip()) for words in (left, right)]
    alone = [_OPTION.fullmatch(words.strip()) for words in (left, right)]
    if None not in alone and any(words.lstrip().startswith("(") for words in (left, right)):
        return _letter(alone[0]).casefold() == _letter(alone[1]).casefold()
    for name, other in (found, alone), (found[::-1], alone[::-1]):
        if name[0] is not None and other[1] is not None:
            return name[0][2] == other[1][1]
    return None


def _letter(match: re.Match[str] | None) -> str:
    return "" if match is None else match[1]


def _person(words: str, other: str) -> str:
    """Return "Alice is the tallest" as "Alice" against that name."""
    found = _NAME_AND_SENTENCE.fullmatch(words.strip(" ."))
    if found is None or found[1] != other.strip(" .") or _OTHER_SUBJECT.search(found[2]):
        return words
    if _LOSES.search(words):
        return words
    return words if _OPPOSITES["yes"].search(found[2]) or _OTHERWISE.search(found[2]) else other


def _without_subject(words: str, other: str) -> str:
    """Return the predicate of a sentence against an answer without a subject: "the vectors are independent"."""
    subject = _PREDICATE.match(words)
    if subject is None or _PREDICATE.match(other) or _OTHER_SUBJECT.search(subject[0]):
        return words
    return words[subject.end() :]


def _decision(words: str, other: str) -> str:
    """Return "yes, it can be done" as "yes" against an answer that says no more than that."""
    found = _YES_OR_NO.fullmatch(words.strip())
    if found is None or other.strip() not in ("true", "false"):
        return words
    said = _DECISIONS.get(found[1].lower(), found[1].lower())
    sentence = found[2].casefold()
    if _OTHERWISE.search(sentence) or _OPPOSITES[said].search(sentence):
        return words
    return "true" if said == "yes" else "false"


def _plain(words: str) -> str:
    """Return words without case, quotes, articles and the marks after them; every sign of mathematics stays."""
    if option := _OPTION.fullmatch(words.strip()):
        return option[1]
    words = _STOP.sub(" ", _HYPHEN.sub(" ", _QUOTES.sub("", words)))
    words = _SPACES.sub(" ", _ARTICLE.sub("", words.casefold())).strip()
    words = words.replace("if and only if", "iff")
    if not words.isascii():
        words = _BESIDE_HAN.sub("", words).replace("了", "").replace("亏损", "亏")
    words, numbered = _ONLY.subn(r"\1", _NUMBERED_HEAD.sub("", words))
    if numbered and len(words) == 1:
        return words.upper()
    words = _WARDS.sub(r"\1", words)
    words = _POINT.sub(r"point\1", words)
    words = _EXTREME.sub(r"\1imum", words)
    if "imum" in words:
        words = _OF_EXTREME.sub(r"\1", _ATTAINED.sub(" at", words))
    words = _NUMBERED.sub(_in_words, words)
    words = _WINS.sub("", _SUBJECT.sub("", words))
    return _BESIDE_SIGNS.sub("", words).strip()


def _in_words(match: re.Match[str]) -> str:
    number = int(match[1])
    return ORDINALS[number] if number < len(ORDINALS) else match[0]
