"""Constraints of IFBench (arXiv 2507.02833), from their public descriptions: those that need no model of language."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from itertools import pairwise

from guerdon_plugins.shared.visible import readable
from guerdon_plugins.verifiers.instructions.constraints import constraint
from guerdon_plugins.verifiers.instructions.units import (
    has_word,
    lines,
    sentences,
    spaced_words,
    words,
)

_BULLET = re.compile(r"^[^\S\n]*+\*(?!\*)", re.MULTILINE)
_EDGES = string.punctuation + " "


@constraint("count:word_count_range")
def _word_range(response: str, min_words: int, max_words: int) -> bool:
    return min_words <= len(words(response)) <= max_words


@constraint("count:unique_word_count")
def _unique(response: str, N: int) -> bool:  # noqa: N803 (the data sets' name)
    return len({word.strip(_EDGES) for word in response.lower().split()} - {""}) >= N


@constraint("count:numbers")
def _numbers(response: str, N: int) -> bool:  # noqa: N803
    return len(re.findall(r"\d+", response.translate(str.maketrans("", "", string.punctuation)))) == N


@constraint("count:conjunctions")
def _conjunctions(response: str, small_n: int) -> bool:
    return (
        len({"and", "but", "for", "nor", "or", "so", "yet"}.intersection(spaced_words(response))) >= small_n
    )


@constraint("count:punctuation")
def _punctuation(response: str) -> bool:
    rest = re.sub(r"\?!|!\?|‽", "", response, count=1)
    return rest != response and all(mark in rest for mark in ".,!?;:")


@constraint("count:words_japanese")
def _nth_japanese(response: str, N: int) -> bool:  # noqa: N803
    every = response.split()[N - 1 :: N]
    words_there = [word.strip(_EDGES) for word in every]
    checked = [word for word in words_there if word and not word.isdigit()]
    return bool(checked) and all(
        re.search("[\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u4e00-\u9fff]", word) for word in checked
    )


@constraint("count:keywords_multiple")
def _keyword_counts(
    response: str, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str
) -> bool:
    wanted = zip((keyword1, keyword2, keyword3, keyword4, keyword5), (1, 2, 3, 5, 7), strict=True)
    return all(response.lower().count(keyword.lower()) == count for keyword, count in wanted)


@constraint("ratio:sentence_type")
def _sentence_type(response: str) -> bool:
    ends = _ends(response)
    return ends["?"] > 0 and ends["."] == 2 * ends["?"]


@constraint("ratio:sentence_balance")
def _sentence_balance(response: str) -> bool:
    ends = _ends(response)
    return ends["."] == ends["?"] == ends["!"] > 0


def _ends(response: str) -> Counter[str]:
    marks = str.maketrans("。？！؟।", ".?!?.")
    return Counter(sentence[-1:].translate(marks) for sentence in sentences(response))


@constraint("ratio:overlap")
def _overlap(response: str, reference_text: str, percentage: float) -> bool:
    ours, theirs = (
        {text[place : place + 3] for place in range(len(text) - 2)} for text in (response, reference_text)
    )
    return bool(ours) and abs(100 * len(ours & theirs) / len(ours) - percentage) <= 2


@constraint("ratio:sentence_words")
def _same_length(response: str) -> bool:
    found = sentences(response)
    every = [word for sentence in found for word in spaced_words(sentence)]
    return (
        len(found) == 3 and len({len(sentence) for sentence in found}) == 1 and len(set(every)) == len(every)
    )


@constraint("words:alphabet")
def _alphabet(response: str) -> bool:
    firsts = [word[0] for word in spaced_words(response)]
    letters = string.ascii_lowercase
    return len(firsts) > 1 and all(
        one in letters and other == letters[(letters.index(one) + 1) % 26] for one, other in pairwise(firsts)
    )


@constraint("words:vowel")
def _vowels(response: str) -> bool:
    folded = response.lower()
    return len(lines(folded)) == 1 and len(set(folded) & set("aeiou")) <= 3 and bool(words(folded))


@constraint("words:consonants")
def _consonants(response: str) -> bool:
    return all(re.search("[bcdfghjklmnpqrstvwxyz]{2}", word) for word in response.lower().split())


@constraint("words:palindrome")
def _palindromes(response: str) -> bool:
    found = {
        word
        for word in spaced_words(response)
        if len(word) >= 5 and word == word[::-1] and len(set(word)) > 1
    }
    return len(found) >= 10


@constraint("words:prime_lengths")
def _prime_lengths(response: str) -> bool:
    lengths = {len(word) for word in spaced_words(response)}
    return bool(words(response)) and all(
        n > 1 and all(n % factor for factor in range(2, int(n**0.5) + 1)) for n in lengths
    )


@constraint("words:repeats")
def _repeats(response: str, small_n: int) -> bool:
    counts = Counter(spaced_words(response))
    return bool(counts) and bool(words(response)) and max(counts.values()) <= small_n


@constraint("words:no_consecutive")
def _no_consecutive(response: str) -> bool:
    found = spaced_words(response)
    return bool(words(response)) and all(one[0] != other[0] for one, other in pairwise(found))


@constraint("words:last_first")
def _last_first(response: str) -> bool:
    split = [spaced_words(sentence) for sentence in sentences(response)]
    return len(split) > 1 and all(one and other and one[-1] == other[0] for one, other in pairwise(split))


@constraint("words:paragraph_last_first")
def _paragraph_last_first(response: str) -> bool:
    split = [spaced_words(line) for line in lines(response)]
    return all(found and found[0] == found[-1] for found in split)


@constraint("words:keywords_specific_position")
def _keyword_position(response: str, keyword: str, n: int, m: int) -> bool:
    found = sentences(response)
    if not 1 <= n <= len(found):
        return False
    there = words(found[n - 1])
    return 1 <= m <= len(there) and there[m - 1].casefold() == keyword.casefold()


@constraint("words:words_position")
def _second_words(response: str, keyword: str) -> bool:
    found = words(response.casefold())
    return len(found) > 2 and found[1] == found[-2] == keyword.casefold()


@constraint("sentence:alliteration_increment")
def _alliteration(response: str) -> bool:
    counts = [_alliterative(sentence) for sentence in sentences(response)]
    return len(counts) > 1 and all(one < other for one, other in pairwise(counts))


def _alliterative(sentence: str) -> int:
    """Return the number of words that share their first letter with a neighbour."""
    firsts = [word[0] for word in spaced_words(sentence)]
    same = [one == other for one, other in pairwise(firsts)]
    return sum(before or after for before, after in zip([False, *same], [*same, False], strict=True))


@constraint("sentence:keyword")
def _sentence_keyword(response: str, word: str, N: int) -> bool:  # noqa: N803
    found = sentences(response)
    return 1 <= N <= len(found) and has_word(found[N - 1], word)


@constraint("sentence:increment")
def _increment(response: str, small_n: int) -> bool:
    counts = [len(spaced_words(sentence)) for sentence in sentences(response)]
    return len(counts) > 1 and all(other == one + small_n for one, other in pairwise(counts))


@constraint("format:parentheses")
def _parentheses(response: str) -> bool:
    opened: list[str] = []
    deepest = 0
    closing = {")": "(", "]": "[", "}": "{"}
    for char in response:
        if char in "([{":
            opened.append(char)
            deepest = max(deepest, len(opened))
        elif char in closing:
            if not opened or opened.pop() != closing[char]:
                opened, deepest = [], 0
            elif deepest >= 5 and not opened:
                return True
    return False


@constraint("format:quotes")
def _nested_quotes(response: str) -> bool:
    opened: list[str] = []
    deepest = 0
    for place, char in enumerate(response):
        apostrophe = (
            char == "'"
            and response[place - 1 : place].isalnum()
            and response[place + 1 : place + 2].isalnum()
        )
        if char not in "\"'" or apostrophe:
            continue
        if opened and opened[-1] == char:
            opened.pop()
            if deepest >= 3 and not opened:
                return True
        else:
            opened.append(char)
            deepest = max(deepest, len(opened))
    return False


@constraint("format:options")
def _options(response: str, options: str) -> bool:
    known = [option for option in re.split(r"/|\bor\b|,", options) if option.strip()]
    return response.strip(_EDGES + "\n").lower() in {option.strip(_EDGES).lower() for option in known}


@constraint("format:newline")
def _newline(response: str) -> bool:
    split = [line.split() for line in lines(response.translate(str.maketrans("", "", string.punctuation)))]
    return len(split) > 1 and all(len(found) == 1 for found in split)


@constraint("format:emoji")
def _emoji(response: str) -> bool:
    pieces = [piece for piece in re.split(r"(?<=[.!?。！？])\s*|\n+", response) if piece.strip()]
    merged: list[str] = []
    for piece in pieces:
        if merged and not any(char.isalnum() for char in piece):
            merged[-1] += piece
        elif merged and _is_emoji(piece[0]):
            head = len(piece) - len(piece.lstrip("".join(char for char in piece if _is_emoji(char))))
            merged[-1] += piece[:head]
            merged.append(piece[head:])
        else:
            merged.append(piece)
    return bool(merged) and all(_is_emoji(part.rstrip(_EDGES + "。！？\n")[-1:]) for part in merged)


def _is_emoji(char: str) -> bool:
    return bool(char) and (
        unicodedata.category(char) == "So" or char in "\ufe0f\u200d" or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


@constraint("format:line_indent")
def _indent(response: str) -> bool:
    depths = [len(line) - len(line.lstrip(" ")) for line in lines(response)]
    return len(depths) > 1 and all(one < other for one, other in pairwise(depths))


@constraint("format:quote_unquote")
def _quote_unquote(response: str) -> bool:
    parts = re.split('["“”]', response)
    return (
        len(parts) > 2
        and len(parts) % 2 == 1
        and all(map(readable, parts[1::2]))
        and all(any(char.isalpha() for char in after) for after in parts[2::2])
    )


@constraint("format:list")
def _list(response: str, sep: str) -> bool:
    found = re.findall(rf"^[^\S\n]*+{re.escape(sep)}(.*)$", response, re.MULTILINE)
    return sum(map(readable, found)) >= 2


@constraint("format:thesis")
def _thesis(response: str) -> bool:
    found = re.search(r"<(i|em)>([^<]*+)</\1>", response)
    return found is not None and readable(found[2]) and readable(response[found.end() :])


@constraint("format:sub-bullets")
def _sub_bullets(response: str) -> bool:
    bullets = _BULLET.split(response)[1:]
    return bool(bullets) and all(
        re.search(r"^[^\S\n]*+-[^\n]*\w", bullet, re.MULTILINE) for bullet in bullets
    )


@constraint("format:no_bullets_bullets")
def _prose_then_bullets(response: str) -> bool:
    before, *bullets = _BULLET.split(response)
    ended = [sentence for sentence in sentences(before) if sentence.endswith((".", "。"))]
    return len(ended) >= 2 and len(bullets) >= 2 and all(len(lines(bullet)) == 1 for bullet in bullets)


@constraint("format:title_case")
def _title_case(response: str) -> bool:
    found = re.findall(r"[^\W\d_][\w'’]*", response)
    minor = frozenset("a an and as at but by for in nor of on or so the to up yet".split())  # noqa: SIM905
    cased = [word for word in found if word[0].isupper() or word[0].islower()]
    return bool(cased) and all(
        word[0].isupper() or (place > 0 and word in minor) for place, word in enumerate(cased)
    )


@constraint("format:output_template")
def _template(response: str) -> bool:
    parts = re.split(r"My Answer:|My Conclusion:|Future Outlook:", response)
    names = re.findall(r"My Answer:|My Conclusion:|Future Outlook:", response)
    return names == ["My Answer:", "My Conclusion:", "Future Outlook:"] and all(map(readable, parts[1:]))


@constraint("format:no_whitespace")
def _no_whitespace(response: str) -> bool:
    return not any(char.isspace() for char in response)


@constraint("repeat:repeat_change")
def _repeat_change(response: str, prompt_to_repeat: str) -> bool:
    ours, theirs = response.split(), prompt_to_repeat.split()
    return len(ours) > 1 and ours[0] != theirs[0] and ours[1:] == theirs[1:]


@constraint("repeat:repeat_span")
def _repeat_span(response: str, prompt_to_repeat: str, n_start: int, n_end: int) -> bool:
    return response.strip().lower() == prompt_to_repeat[n_start : n_end + 1].strip().lower()
