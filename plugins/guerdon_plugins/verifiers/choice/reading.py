"""Read the options that an answer chooses. A hedge chooses none."""

from __future__ import annotations

import re

from guerdon_plugins.shared.final_answer import without_markup
from guerdon_plugins.verifiers.choice.options import Options, bare, normalized

MAX_ANSWER = 4000
"""The most characters of an answer; a longer one is not a choice."""

_LEAD = re.compile(
    r"(?:(?:it['’]s|i['’]d|i['’]ll|so|thus|therefore|hence|i|choose|select|pick|would|should|must|be|say|think|it|is|go"
    r"|with|the|my|best|final|correct|right|most"
    r"|answer|answers|option|options|choice|choices|are|to|this|question|letter"
    r"|die|der|das|richtige|antwort|lautet|ist|option|auswahl|la|le|bonne|réponse|est|respuesta|correcta|es|opción"
    r"|resposta|correta|é|alternativa|opção|risposta|corretta|è|opzione|het|juiste|antwoord|правильный|ответ|вариант"
    r"|الإجابة|الجواب|الصحيحة|الصحيح|هي|هو|الخيار|सही|उत्तर|विकल्प|है)\b[\s,:：\-]*+"
    r"|(?:因此|所以|我选择|我选|应选择|应选|故选|选择|选项|选|最终|正确|答案|应该|应|是|为|答え|正解|選択肢|回答|は|정답|답|선택지|은|는)[\s:：]*+"
    r"|[:：=]\s*+)++",
    re.IGNORECASE,
)
_TAIL = re.compile(r"(?:です|である|になります|입니다|이다|है|[\s.。!！।,，])++$")
_CONFIRMED = re.compile(
    r"\s++(?:is|would be|must be|should be)\s++(?:the\s++)?(?:most\s++)?"
    r"(?:(?:correct|right|best|true|appropriate)(?:\s++(?:answer|option|choice|one))?|answer|option|choice)$",
    re.IGNORECASE,
)
"""Words behind an option that only say that it is chosen."""
_DENIED = re.compile(
    r"(?:n['’]t|\b(?:not|no|never|neither|nor|wrong|incorrect|false|than|instead|unlike|eliminates?d?|excludes?d?)\b)",
    re.IGNORECASE,
)
_EXPLAINED = re.compile(r"(\w{1,4})\s*+[(\[（]([^()\[\]（）]*+)[)\]）]")
_CLAUSE = re.compile(r"[.!?;。！？；\n]++")
_ANNOUNCED = re.compile(
    r"(?:option|options|choice|answer|or|and|with|than|possibly|perhaps|maybe)[\s(]*$", re.IGNORECASE
)
_VERB = re.compile(r"(?:\W*$|\s*[,.;:)?!]|\s+(?:is|was|are|or|and|could|can|may|might|would|also|too|as)\b)")
_WRAPPERS = "*_`$\"'“”‘’ \t\n"
_PAIRS = {"(": ")", "[": "]", "{": "}", "（": "）", "【": "】", "「": "」", "<": ">"}
_SEPARATOR = re.compile(r"\s*+[.)\]）】:：、．,，\-–—]\s*+|[^\S\n]*+\n\s*+")
_BETWEEN = re.compile(
    r"\s*+(?:[,，、;；&+/]|\b(?:and|und|et|y|e|en|и|و)\b|和|与|及|と|및|,\s*and\b)\s*+|\s++", re.IGNORECASE
)
_LIST_WORDS = re.compile(
    r"\b(?:and|or|und|oder|et|ou|y|o|и|или|أو|या)\b|和|或|以及|と|または|및|또는", re.IGNORECASE
)


def cleaned(answer: str) -> str:
    """Return an answer in one form of each character, without TeX, Markdown and words around the choice."""
    text = normalized(without_markup(answer)).strip(_WRAPPERS)
    lead = _LEAD.match(text)
    if lead and lead.end() < len(text):
        text = text[lead.end() :]
    return _TAIL.sub("", text.strip(_WRAPPERS)).strip(_WRAPPERS)


def chosen(answer: str, options: Options) -> list[str]:
    """Return the labels of the options that an answer chooses, in order; empty for a hedge or an unknown option.

    Args:
        answer: The final answer: a label, an option's text, a label with its text, or a list of labels or texts.
        options: The question's options.
    """
    if len(answer) > MAX_ANSWER:
        return []
    whole = options.by_label(answer) or options.by_text(answer)
    if whole is not None:
        return [whole]
    text = cleaned(answer)
    single = _single(text, options) or _single(_CONFIRMED.sub("", text), options)
    if single is not None:
        return [single]
    return _several(text, options)


def _single(text: str, options: Options) -> str | None:
    inner = _unwrapped(text)
    label = options.by_label(inner) or options.by_text(inner) or options.by_text(text)
    if label is not None:
        return label
    head, rest = _head(text)
    label = options.by_label(head) if head else None
    if label is None or not rest:
        return label
    return label if _agrees(label, rest, options) else None


def _head(text: str) -> tuple[str, str]:
    """Split an answer such as ``(B) Paris`` into its label and the rest."""
    explained = _EXPLAINED.fullmatch(text)
    if explained is not None:
        return explained[1], explained[2]
    closing = _PAIRS.get(text[:1])
    if closing is not None and 0 < (end := text.find(closing)) <= 6:
        return text[1:end], text[end + 1 :].lstrip(" .:：、-–—\n\t")
    separator = _SEPARATOR.search(text, 0, 12)
    if separator is None:
        return "", ""
    return text[: separator.start()], text[separator.end() :]


def _agrees(label: str, rest: str, options: Options) -> bool:
    """Return whether the text after a label fits the option, and names no other one."""
    known = options.text_of(label)
    if known is None:
        return not _labels(rest, options) and not _hedges(rest, label, options)
    if bare(rest) == bare(known):
        return True
    if not bare(rest).startswith(bare(known)) or not bare(known):
        return False
    tail = bare(rest)[len(bare(known)) :]
    others = [text for text in (options.texts or ()) if bare(text) and bare(text) != bare(known)]
    named = any(re.search(rf"(?<!\w){re.escape(bare(other))}(?!\w)", tail) for other in others)
    return not named and not tail[:1].isalnum() and not _hedges(rest[len(known) :], label, options)


def _hedges(rest: str, label: str, options: Options) -> bool:
    """Return whether the words behind a choice name another option without a denial, or deny the choice."""
    first, *others = _CLAUSE.split(rest)
    if re.match(r"\W*(?:is|was|are|seems)?\s*(?:n['’]t|not|wrong|incorrect|false)\b", first, re.IGNORECASE):
        return True
    clauses = [clause for clause in (first, *others) if not _DENIED.search(clause)]
    return _names_another(rest, label, options) or any(_mentions(one, label, options) for one in clauses)


def _mentions(clause: str, label: str, options: Options) -> bool:
    """Return whether a word of a clause is another label. The words "A" and "I" are labels where a label can be."""
    clause = options.latin(clause)
    for word in re.finditer(r"(?<!\w)[A-Z]\w{0,3}(?!\w)", clause, re.ASCII):
        found = options.by_label(word[0])
        if found is None or found == label or word[0] != word[0].upper():
            continue
        before, after = clause[: word.start()], clause[word.end() :]
        if word[0] not in ("A", "I") or _ANNOUNCED.search(before[-12:]):
            return True
        if word[0] == "A" and _VERB.match(after):
            return True
    return False


def _names_another(rest: str, label: str, options: Options) -> bool:
    """Return whether a label other than the chosen one is a word of the text, where a list or a hedge has it."""
    for word in re.finditer(r"[^\W_]++", rest):
        found = options.by_label(word[0])
        if found is None or found == label or word[0] != word[0].upper():
            continue
        before, after = rest[: word.start()].rstrip(), rest[word.end() :].lstrip()
        bracketed = before[-1:] in ("(", "[") and after[:1] in (")", "]")
        if (
            not before
            or bracketed
            or before[-1:] in ",;/&"
            or _LIST_WORDS.search(before[-4:])
            or after[:1] in ").:"
        ):
            return True
    return False


def _several(text: str, options: Options) -> list[str]:
    """Return the labels in a list such as ``A, C`` or ``AC``, or those of a list of texts."""
    joined = re.fullmatch(r"[^\W\d_]{2,26}", text)
    if joined and all(len(label) == 1 for label in options.labels):
        found = [options.by_label(letter) for letter in text]
        distinct = len(set(found)) == len(found) and text == text.upper()
        return [label for label in found if label is not None] if distinct and None not in found else []
    labels = _labels(text, options)
    if len(labels) > 1:
        return list(dict.fromkeys(labels))
    lines = [
        line.strip(_WRAPPERS + "-•;") for line in re.split(r"[\n;；]", text) if line.strip(_WRAPPERS + "-•;")
    ]
    read = [_single(line, options) for line in lines]
    if len(lines) > 1 and None not in read:
        return list(dict.fromkeys(label for label in read if label is not None))
    return []


def _labels(text: str, options: Options) -> list[str]:
    """Return the labels of a list that has nothing else, or an empty list. The list or its labels may have brackets."""
    for listed in (text, _unwrapped(text)):
        parts = [part for part in _BETWEEN.split(listed) if part and part.strip()]
        labels = [options.by_label(_unwrapped(part)) for part in parts]
        if None not in labels:
            return [label for label in labels if label is not None]
    return []


def _unwrapped(text: str) -> str:
    inner = text.strip(_WRAPPERS + ".。")
    while len(inner) > 1 and inner.find(_PAIRS.get(inner[0], "\n"), 1) == len(inner) - 1:
        inner = inner[1:-1].strip(_WRAPPERS)
    return inner.strip(_WRAPPERS + ".)．）:：、。")
