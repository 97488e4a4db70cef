"""The 25 constraints of IFEval (arXiv 2311.07911), from their public descriptions, in any script.

They are stricter than the public checkers where a response without content would pass: headings, bullets and
postscripts need text, and an undetectable language is not the right one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import NoReturn

from langdetect import DetectorFactory, LangDetectException, detect

from guerdon_plugins.shared.visible import readable
from guerdon_plugins.verifiers.instructions.constraints import constraint, holds
from guerdon_plugins.verifiers.instructions.units import has_word, sentences, words

DetectorFactory.seed = 0  # langdetect draws at random by default


def _language(text: str) -> str:
    try:
        return str(detect(text[:20_000]))
    except LangDetectException:  # no letters
        return ""


@constraint("keywords:existence")
def _existence(response: str, keywords: list[str]) -> bool:
    return all(keyword.casefold() in response.casefold() for keyword in keywords)


@constraint("keywords:frequency")
def _frequency(response: str, keyword: str, frequency: int, relation: str = "at least") -> bool:
    return holds(response.casefold().count(keyword.strip().casefold()), relation, frequency)


@constraint("keywords:forbidden_words")
def _forbidden(response: str, forbidden_words: list[str]) -> bool:
    shown = unicodedata.normalize("NFKC", response)
    return not any(has_word(text, word) for word in forbidden_words for text in (response, shown))


@constraint("keywords:letter_frequency")
def _letter(response: str, letter: str, let_frequency: int, let_relation: str = "at least") -> bool:
    return holds(response.lower().count(letter.lower()), let_relation, let_frequency)


@constraint("language:response_language")
def _response_language(response: str, language: str) -> bool:
    found = _language(response)
    return found == language or (bool(found) and found.partition("-")[0] == language)


@constraint("length_constraints:number_sentences")
def _number_sentences(response: str, num_sentences: int, relation: str = "at least") -> bool:
    return holds(len(sentences(response)), relation, num_sentences)


@constraint("length_constraints:number_paragraphs")
def _number_paragraphs(response: str, num_paragraphs: int) -> bool:
    parts = re.split(r"\s?\*\*\*\s?", response)
    inner = parts[1:-1] if len(parts) > 2 else []
    return all(map(readable, inner)) and sum(map(readable, parts)) == num_paragraphs


@constraint("length_constraints:number_words")
def _number_words(response: str, num_words: int, relation: str = "at least") -> bool:
    return holds(len(words(response)), relation, num_words)


@constraint("length_constraints:nth_paragraph_first_word")
def _nth_paragraph(response: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    paragraphs = [part.strip() for part in re.split(r"\n\n", response) if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= len(paragraphs):
        return False
    paragraph = paragraphs[nth_paragraph - 1].lstrip("'\"“‘«*_").casefold()
    wanted = first_word.casefold()
    return paragraph.startswith(wanted) and has_word(paragraph[: len(wanted) + 1], wanted)


@constraint("detectable_content:number_placeholders")
def _placeholders(response: str, num_placeholders: int) -> bool:
    return sum(map(readable, re.findall(r"\[[^\[\]\n]*+\]", response))) >= num_placeholders


@constraint("detectable_content:postscript")
def _postscript(response: str, postscript_marker: str) -> bool:
    marker = r"\s?".join(re.escape(char) for char in postscript_marker.strip() if not char.isspace())
    found = re.search(rf"^[^\S\n]*+[*_#>]*+[^\S\n]*+{marker}", response, re.IGNORECASE | re.MULTILINE)
    return found is not None and readable(response[found.end() :])


@constraint("detectable_format:number_bullet_lists")
def _bullets(response: str, num_bullets: int) -> bool:
    found = re.findall(r"^[^\S\n]*+(?:\*(?!\*)|-(?!-))(.*+)$", response, re.MULTILINE)
    return sum(map(readable, found)) == num_bullets


@constraint("detectable_format:constrained_response")
def _constrained(response: str) -> bool:
    options = [f"My answer is {word}." for word in ("yes", "no", "maybe")]
    return sum(option in response for option in options) == 1


@constraint("detectable_format:number_highlighted_sections")
def _highlights(response: str, num_highlights: int) -> bool:
    found = re.findall(r"\*[^\n*]*+\*", response) + re.findall(r"\*\*[^\n*]*+\*\*", response)
    return sum(map(readable, found)) >= num_highlights


@constraint("detectable_format:multiple_sections")
def _sections(response: str, section_spliter: str, num_sections: int) -> bool:
    marks = list(re.finditer(rf"(?<!\w){re.escape(section_spliter.strip())}\s?\d+", response))
    ends = [*(mark.start() for mark in marks), len(response)][1:]
    numbered = {
        mark[0] for mark, end in zip(marks, ends, strict=True) if readable(response[mark.end() : end])
    }
    return len(numbered) >= num_sections


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


@constraint("detectable_format:json_format")
def _json(response: str) -> bool:
    bare = re.sub(r"\A```(?:json)?|```\Z", "", response.strip(), flags=re.IGNORECASE).strip()
    try:
        value = json.loads(bare, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return value not in ({}, [], "", None)


@constraint("detectable_format:title")
def _title(response: str) -> bool:
    return any(map(readable, re.findall(r"<<([^\n<>]++)>>", response)))


@constraint("combination:two_responses")
def _two_responses(response: str) -> bool:
    parts = [part.strip() for part in response.split("******")]
    return len(parts) == 2 and all(map(readable, parts)) and parts[0] != parts[1]


@constraint("combination:repeat_prompt")
def _repeat_prompt(response: str, prompt_to_repeat: str) -> bool:
    wanted = prompt_to_repeat.strip()
    text = response.strip()
    return text.lower().startswith(wanted.lower()) and readable(text[len(wanted) :])


@constraint("startend:end_checker")
def _end(response: str, end_phrase: str) -> bool:
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@constraint("change_case:capital_word_frequency")
def _capital_words(response: str, capital_frequency: int, capital_relation: str = "at least") -> bool:
    found = [word for word in re.findall(r"\w[\w'’.-]*", response) if word.isupper()]
    return holds(len(found), capital_relation, capital_frequency)


@constraint("change_case:english_capital")
def _capital(response: str) -> bool:
    return response.isupper() and _language(response.lower()) == "en"


@constraint("change_case:english_lowercase")
def _lowercase(response: str) -> bool:
    return response.islower() and _language(response) == "en"


@constraint("punctuation:no_comma")
def _no_comma(response: str) -> bool:
    japanese = re.search("[\u3041-\u30fa]", response) is not None
    return not re.search("[,，،﹐‚︐⸲⸴⹁]" + ("|、" if japanese else ""), response)


_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』", "”": "”"}


@constraint("startend:quotation")
def _quotation(response: str) -> bool:
    text = response.strip()
    return len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and readable(text[1:-1])
