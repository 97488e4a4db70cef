"""Verifiable instructions: IFEval's and IFBench's constraints, in any script, beside the public checkers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import Failure
from guerdon_plugins.verifiers.instructions import Instructions
from guerdon_plugins.verifiers.instructions.constraints import CONSTRAINTS, bound
from guerdon_plugins.verifiers.instructions.units import sentences, words

Arguments = Mapping[str, Any]

IFEVAL: dict[str, tuple[Arguments, str, str]] = {
    "keywords:existence": ({"keywords": ["cat", "猫"]}, "A Cat is 猫.", "A cat."),
    "keywords:frequency": (
        {"keyword": "the", "frequency": 2, "relation": "at least"},
        "The a the.",
        "The a.",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["no", "坏"]}, "I know 好.", "很坏。"),
    "keywords:letter_frequency": ({"letter": "é", "let_frequency": 2, "let_relation": "at least"}, "Éé", "é"),
    "language:response_language": (
        {"language": "de"},
        "Das ist ein schöner Tag im Wald.",
        "It is a nice day.",
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 2, "relation": "at least"},
        "你好。再见！",
        "Dr. A came.",
    ),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a\n***\n"),
    "length_constraints:number_words": (
        {"num_words": 4, "relation": "at least"},
        "我爱北京",
        "one two three",
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "a\n\n'Then, b",
        "a\n\nThenceforth b",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name] at [place]", "[name]"),
    "detectable_content:postscript": ({"postscript_marker": "P.P.S"}, "Hi\n**P.P.S** more", "Hi P.P.S"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "* a\n*\n---"),
    "detectable_format:constrained_response": ({}, "My answer is yes.", "My answer is yes. My answer is no."),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b**", "*a* ** **"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\na\nSection 2\nb",
        "Section 1 Section 2",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    "detectable_format:title": ({}, "<<A title>>\ntext", "<< >>\ntext"),
    "combination:two_responses": ({}, "a\n******\nb", "a\n******\na"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Say hi."),
    "startend:end_checker": ({"end_phrase": "Any more?"}, 'So. "Any more?"', "Any more? No."),
    "startend:quotation": ({}, "「好」", '"a'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        "WELL-DONE, SIR",
        "WELL-DONE",
    ),
    "change_case:english_capital": (
        {},
        "THIS IS A LONG ENGLISH SENTENCE.",
        "DAS IST EIN LANGER DEUTSCHER SATZ.",
    ),
    "change_case:english_lowercase": ({}, "this is a long english sentence.", "This is a sentence."),
    "punctuation:no_comma": ({}, "a b", "你好，世界"),
}

IFBENCH: dict[str, tuple[Arguments, str, str]] = {
    "count:word_count_range": ({"min_words": 2, "max_words": 3}, "a b c", "a b c d"),
    "count:unique_word_count": ({"N": 3}, "a b c a", "a a, A. b"),
    "count:numbers": ({"N": 2}, "1,000 and 2", "1"),
    "count:conjunctions": ({"small_n": 2}, "a and b, but c", "and and"),
    "count:punctuation": ({}, "a. b, c! d? e; f: g?!", "a. b, c; f: g?!"),
    "count:words_japanese": ({"N": 2}, "one 二 three 四", "one two"),
    "count:keywords_multiple": (
        {"keyword1": "v", "keyword2": "w", "keyword3": "x", "keyword4": "y", "keyword5": "z"},
        "v ww xxx yyyyy zzzzzzz",
        "v w x y z",
    ),
    "ratio:sentence_type": ({}, "It is. It was. Is it?", "Is it?"),
    "ratio:sentence_balance": ({}, "It is. Is it? It is!", "no mark"),
    "ratio:overlap": ({"reference_text": "abcdef", "percentage": 50}, "abcdxy", "abcdef"),
    "ratio:sentence_words": ({}, "Abc. Def. Ghi.", "Abc. Abc. Ghi."),
    "words:alphabet": ({}, "yes zebra apple", "apple cat"),
    "words:vowel": ({}, "a cat in it", "a cat in our menu"),
    "words:consonants": ({}, "strong trees", "a tree"),
    "words:palindrome": (
        {},
        "level radar civic rotor kayak madam refer tenet stats solos",
        "level " * 10,
    ),
    "words:prime_lengths": ({}, "it was super", "it wasn"),
    "words:repeats": ({"small_n": 1}, "a b c", "a b a"),
    "words:no_consecutive": ({}, "big cats", "big bats"),
    "words:last_first": ({}, "I see you. You see me.", "I see you. We see me."),
    "words:paragraph_last_first": ({}, "me and me\nyou, you", "me and you"),
    "words:keywords_specific_position": (
        {"keyword": "cat", "n": 2, "m": 1},
        "A dog. Cat it is.",
        "Cat. A dog.",
    ),
    "words:words_position": ({"keyword": "cat"}, "A cat saw a cat here.", "A cat."),
    "sentence:alliteration_increment": ({}, "One two. Big bad wolf.", "Big bad. One two."),
    "sentence:keyword": ({"word": "cat", "N": 2}, "A dog. A cat.", "A cat. A dog."),
    "sentence:increment": ({"small_n": 1}, "I am. I am here.", "I am."),
    "format:parentheses": ({}, "([{([a])}])", "((((a))))"),
    "format:quotes": ({}, '"a \'b "c" d\' e"', '"a" \'b\' "c"'),
    "format:options": ({"options": "yes/no/maybe"}, "Yes.", "yes or no"),
    "format:newline": ({}, "one\ntwo", "one two"),
    "format:emoji": ({}, "Hi! 😀 Bye. 🎉", "Hi! 😀 Bye."),
    "format:line_indent": ({}, "a\n b\n  c", "a\nb"),
    "format:quote_unquote": ({}, '"a" means b', '"a"'),
    "format:list": ({"sep": "~"}, "~ a\n~ b", "~\n~"),
    "format:thesis": ({}, "<i>So.</i> Because.", "<i></i> Because."),
    "format:sub-bullets": ({}, "* a\n  - b\n* c\n  - d", "* a - b\n* c"),
    "format:no_bullets_bullets": ({}, "It is. It was.\n* a\n* b", "* a\n* b"),
    "format:title_case": ({}, "The Cat of Rome", "The cat"),
    "format:output_template": (
        {},
        "My Answer: a My Conclusion: b Future Outlook: c",
        "My Answer: My Conclusion: Future Outlook:",
    ),
    "format:no_whitespace": ({}, "abc", "a c"),
    "repeat:repeat_change": ({"prompt_to_repeat": "Say it now"}, "Tell it now", "Say it now"),
    "repeat:repeat_span": ({"prompt_to_repeat": "Say it now", "n_start": 4, "n_end": 5}, "it", "say it"),
}


@pytest.mark.parametrize("name", [*IFEVAL, *IFBENCH])
def test_instructions_constraint_holds_and_breaks(name: str) -> None:
    arguments, right, wrong = {**IFEVAL, **IFBENCH}[name]
    verifier = Instructions(part="whole")
    reference = [{"id": name, **arguments}]
    assert verifier(right, reference).value == 1.0
    assert verifier(wrong, reference).value == 0.0
    assert verifier("", reference).value == 0.0
    assert verifier("\u200b ", reference).value == 0.0


def test_instructions_table_has_a_test_of_each_constraint() -> None:
    assert set(CONSTRAINTS) == {*IFEVAL, *IFBENCH}
    assert len(IFEVAL) == 25


PAIR = {
    "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
    "kwargs": [{}, {"keywords": ["cat"]}],
}
NULLS = {**PAIR, "kwargs": [{"num_words": None}, {"keywords": ["cat"], "relation": None}]}
TULU = [{"instruction_id": PAIR["instruction_id_list"], "kwargs": [None, {"keywords": ["cat"]}]}]


@pytest.mark.parametrize("reference", [PAIR, NULLS, TULU, json.dumps(PAIR), repr(TULU), json.dumps(TULU)])
def test_instructions_references_of_data_sets_are_read(reference: Any) -> None:
    assert Instructions()("a cat", reference).value == 1.0
    assert Instructions()("a cat, yes", reference).value == 0.0
    score = Instructions("fraction")("a cat, yes", reference)
    assert (score.value, score.explanation) == (0.5, "punctuation:no_comma")


def test_instructions_columns_of_ifeval_are_read() -> None:
    assert Instructions()("a cat", None, **PAIR).value == 1.0
    assert (
        Instructions()("a cat", None, json.dumps(PAIR["instruction_id_list"]), None).failure
        is Failure.REFERENCE
    )


@pytest.mark.parametrize(
    "reference",
    [
        None,
        "",
        "   ",
        [],
        {},
        "[" * 50_000,
        7,
        ["no:such"],
        [{"id": "keywords:existence"}],
        [{"id": "keywords:existence", "keywords": "cat"}],
        [{"id": "keywords:existence", "keywords": []}],
        [{"id": "punctuation:no_comma", "num": 3}],
        [{"id": "length_constraints:number_words", "num_words": "many"}],
        [{"id": "length_constraints:number_words", "num_words": 3, "relation": "around"}],
        [{"id": "count:words_japanese", "N": 0}],
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]},
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": ["x"]},
        ["punctuation:no_comma"] * 1000,
    ],
)
def test_instructions_unreadable_reference_fails(reference: Any) -> None:
    assert Instructions()("a cat", reference).failure is Failure.REFERENCE


def test_instructions_loose_ignores_first_and_last_lines() -> None:
    reference = [{"id": "detectable_format:json_format"}]
    assert Instructions()('Sure:\n{"a": 1}\nDone.', reference).value == 0.0
    assert Instructions(loose=True)('Sure:\n{"a": 1}\nDone.', reference).value == 1.0


def test_instructions_only_the_answer_must_follow() -> None:
    reference = ["punctuation:no_comma"]
    assert Instructions()("<think>a, b</think>c", reference).value == 1.0
    assert Instructions(part="whole")("<think>a, b</think>c", reference).value == 0.0
    assert Instructions()("<think>never ends", reference).value == 0.0


def test_units_sentences_keep_abbreviations() -> None:
    assert len(sentences("Dr. Smith left at 3.14 p.m. yesterday. J. K. Rowling did not.")) == 2
    assert sentences("我去了。你呢？") == ["我去了。", "你呢？"]


def test_units_words_count_marks_of_indic_scripts_once() -> None:
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("don't 3.14") == ["don", "t", "3", "14"]


_PIECES = (
    "Hello|world,|\n|\n\n|***|* point|- item|\n* a|\n- b|P.S.|\nP.S. more|P.P.S|<<Title>>|*bold*|**strong**|[name]"
    '|Section 1|\nSection 2 text|MY|My answer is yes.|My answer is no.|"|the|cat|AI|Any more?|******|{"a": 1}|```'
)
PIECES = st.lists(st.sampled_from(_PIECES.split("|")), max_size=12)
SAME = {
    "keywords:existence",
    "keywords:frequency",
    "keywords:forbidden_words",
    "length_constraints:number_words",
    "length_constraints:nth_paragraph_first_word",
    "detectable_content:number_placeholders",
    "detectable_format:json_format",
    "startend:end_checker",
    "punctuation:no_comma",
}
"""Constraints on which guerdon and the public checker agree; of the others, guerdon's is stricter."""

NEEDS_A_MODEL = {
    "language:response_language",
    "length_constraints:number_sentences",
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
}
"""Their public checkers need langdetect's random draws, or a file that nltk downloads."""

OWN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "keywords:existence": {"keywords": ["cat", "AI"]},
    "keywords:forbidden_words": {"forbidden_words": ["cat"]},
    "keywords:letter_frequency": {"letter": "e", "let_frequency": 3, "let_relation": "at least"},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
}


@settings(max_examples=40, deadline=None)
@given(PIECES)
@pytest.mark.parametrize("name", sorted(set(IFEVAL) - NEEDS_A_MODEL))
def test_instructions_followed_here_are_followed_in_the_public_checker(name: str, pieces: list[str]) -> None:
    registry = pytest.importorskip("lm_eval.tasks.ifeval.instructions_registry")
    response = " ".join(pieces)
    if not response.strip():
        return
    arguments = OWN_ARGUMENTS.get(name, IFEVAL[name][0])
    public = registry.INSTRUCTION_DICT[name](name)
    public.build_description(**arguments)
    ours, theirs = bound(name, arguments)(response), bool(public.check_following(response))
    assert theirs if ours else (not theirs or name not in SAME)


@given(st.text(max_size=200), st.sampled_from([*IFEVAL, *IFBENCH]))
@settings(deadline=None)
def test_instructions_any_response_gets_a_score(response: str, name: str) -> None:
    arguments = {**IFEVAL, **IFBENCH}[name][0]
    assert Instructions(part="whole", loose=True)(response, [{"id": name, **arguments}]).value in (0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("punctuation:no_comma", "\u3164"),
        ("punctuation:no_comma", "one‚ two"),
        ("length_constraints:number_words", "a" + "\u200ba" * 400),
        ("keywords:forbidden_words", "a c\u200bat"),
        ("keywords:forbidden_words", "a ｃａｔ"),
        ("detectable_content:number_placeholders", "Hi [] [ ] [.] [\u3164]"),
        ("detectable_format:json_format", "NaN"),
        ("detectable_format:json_format", "```json\n{}\n```"),
        ("words:no_consecutive", "="),
        ("words:repeats", "😀"),
        ("words:vowel", "😀"),
    ],
)
def test_instructions_response_without_visible_content_scores_0(name: str, response: str) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "keywords:forbidden_words": {"forbidden_words": ["cat"]},
        "length_constraints:number_words": {"num_words": 300},
        "detectable_content:number_placeholders": {"num_placeholders": 2},
        "words:repeats": {"small_n": 2},
    }
    assert Instructions()(response, [{"id": name, **arguments.get(name, {})}]).value == 0.0


def test_instructions_sentences_are_found_in_linear_time() -> None:
    reference = [{"id": "length_constraints:number_sentences", "num_sentences": 2, "relation": "at least"}]
    started = time.thread_time()
    assert Instructions()("." * 50_000 + "x. Y.", reference=reference).value == 1.0
    assert time.thread_time() - started < 1.0


@pytest.mark.parametrize("name", ["format:list", "format:sub-bullets", "format:no_bullets_bullets"])
@pytest.mark.parametrize("unit", ["\n", "\r\n", " ", "* \n", "- "])
def test_instructions_lists_are_found_in_linear_time(name: str, unit: str) -> None:
    check = bound(name, {"sep": "-"} if name == "format:list" else {})
    started = time.thread_time()
    check(unit * (100_000 // len(unit)))
    assert time.thread_time() - started < 1.0


def test_instructions_marks_without_words_follow_no_constraint_on_words() -> None:
    assert not bound("words:repeats", {"small_n": 1})("_ _")
    assert not bound("count:words_japanese", {"N": 1})("・ ゠")
