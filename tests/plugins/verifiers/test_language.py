"""The share of words in a language: single languages, mixtures at known ratios, what is left out, hostile text."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import Failure, Outcome
from guerdon_plugins.verifiers.language import Language

TEXTS = {
    "en": "First we add the two numbers of the problem. Then the sum is divided by the number of people.",
    "de": "Zuerst addieren wir die beiden Zahlen der Aufgabe. Dann teilen wir die Summe durch die Anzahl der Leute.",
    "fr": "D'abord nous additionnons les deux nombres du problème. Ensuite on divise la somme par le nombre de gens.",
    "es": "Primero sumamos los dos números del problema. Luego dividimos la suma entre el número de personas.",
    "ru": "Сначала сложим оба числа из условия задачи. Потом разделим сумму на количество людей.",
    "uk": "Спочатку додамо обидва числа з умови задачі. Потім поділимо суму на кількість людей.",
    "zh": "首先我们把题目里的两个数加起来。然后用总和除以人数。",
    "ja": "まず問題の二つの数を足します。それから合計を人数で割ります。",
    "ko": "먼저 문제에 있는 두 수를 더합니다. 그런 다음 합계를 사람 수로 나눕니다.",
    "ar": "أولا نجمع العددين المذكورين في المسألة ثم نقسم المجموع على عدد الأشخاص.",
    "hi": "पहले हम प्रश्न की दोनों संख्याओं को जोड़ते हैं। फिर योग को लोगों की संख्या से भाग देते हैं।",
    "th": "ขั้นแรกเราบวกจำนวนทั้งสองในโจทย์ แล้วหารผลรวมด้วยจำนวนคน",
    "el": "Πρώτα προσθέτουμε τους δύο αριθμούς του προβλήματος.",
}


def share(text: str, target: str) -> float | None:
    return Language(target, part="whole")(text).value


@pytest.mark.parametrize("target", TEXTS)
def test_every_language_is_itself_and_no_other(target: str) -> None:
    assert share(TEXTS[target], target) == 1.0
    for other, text in TEXTS.items():
        if other != target:
            assert share(text, target) == 0.0


def test_codes_with_a_region_name_the_language() -> None:
    assert share(TEXTS["zh"], "zh-CN") == 1.0
    assert share(TEXTS["en"], "en_US") == 1.0


def test_mixtures_score_their_ratio() -> None:
    # 19 words in the English text and 24 characters in the Chinese one, 18 words in the German one.
    mixed = f"{TEXTS['en']} {TEXTS['zh']}"
    assert share(mixed, "en") == pytest.approx(19 / 43)
    assert share(mixed, "zh") == pytest.approx(24 / 43)
    assert share(f"{TEXTS['en']} {TEXTS['de']}", "en") == pytest.approx(19 / 37)
    assert share(f"{TEXTS['en']} {TEXTS['de']} {TEXTS['en']}", "de") == pytest.approx(18 / 56)


@pytest.mark.parametrize("foreign", ["de", "fr", "ru", "zh", "ja", "ko"])
def test_more_of_another_language_scores_less(foreign: str) -> None:
    shares = [share(TEXTS["en"] * (4 - n) + TEXTS[foreign] * n, "en") for n in range(5)]
    assert shares == sorted(shares, key=lambda value: value or 0.0, reverse=True)
    assert len(set(shares)) == 5
    assert (shares[0], shares[-1]) == (1.0, 0.0)


def test_words_of_one_script_within_a_sentence_of_another_count_by_themselves() -> None:
    assert share("我们用 Python 计算 the sum", "zh") == pytest.approx(5 / 8)
    assert share("이것은 答案 입니다", "ko") == pytest.approx(2 / 4)


def test_chinese_characters_in_japanese_sentences_are_japanese() -> None:
    assert share("東京都の人口を計算する。", "ja") == 1.0
    assert share("东京都的人口是多少？日本の人口はいくらですか？", "zh") == pytest.approx(9 / 21)


@pytest.mark.parametrize(
    "neutral",
    [
        "`for item in list`",
        "```python\nfor item in items: print(item)\n```",
        "$\\text{where}$",
        "\\(a+b\\)",
        "\\frac",
        "x + y",
        "https://example.com/some/english/path",
        "<answer>",
        "3.14",
        "𝑥 ≤ 𝑦",
        "dp[i] = dp[i-1] + dp[i-2]; dp[0] = 1; dp[1] = 1",
        "sin 30 = 1/2, cos 60 = 1/2, tan 45 = 1.",
        "f(x) = gcd(x, 12)",
        "AB^2 = AC^2 + BC^2",
    ],
)
def test_code_formulas_links_tags_and_names_of_quantities_are_left_out(neutral: str) -> None:
    assert share(f"{TEXTS['zh']}\n{neutral}\n{TEXTS['zh']}", "zh") == 1.0
    assert Language("en", part="whole")(neutral).outcome is Outcome.SKIPPED


def test_text_in_other_scripts_is_not_hidden_by_code_or_formulas() -> None:
    for hidden in (f"```\n{TEXTS['zh']}\n```", f"`{TEXTS['ru']}`", f"$\\text{{{TEXTS['ko']}}}$"):
        score = Language("en", part="whole")(f"{TEXTS['en']}\n{hidden}\n{TEXTS['en']}").value
        assert score is not None
        assert score < 0.8


def test_a_link_ends_where_chinese_goes_on() -> None:
    assert share(
        "Here is the link: https://example.org/a。首先我们把题目里的两个数加起来", "en"
    ) == pytest.approx(4 / 19)


def test_a_change_within_a_sentence_is_seen() -> None:
    mixed = (
        "First we add the two numbers of the problem und dann teilen wir die Summe durch die Anzahl der Leute"
    )
    assert share(mixed, "en") == pytest.approx(9 / 20)
    assert share(mixed, "de") == pytest.approx(11 / 20)


def test_names_and_loans_are_not_a_change() -> None:
    text = "Then Müller divides the Zwischensumme by Angela's share, and Schröder gets the other half of it."
    assert share(text, "en") == 1.0


def test_capitals_and_full_width_letters_are_read() -> None:
    assert share(TEXTS["en"].upper(), "en") == 1.0
    assert share(TEXTS["de"].upper(), "en") == 0.0
    assert share("ｔｈｅ ａｎｓｗｅｒ", "en") == 1.0


def test_few_words_are_not_evidence_against_the_target() -> None:
    assert share("Hmm, let me see.", "en") == 1.0
    assert share("Hola amigo, ¿cómo estás hoy?", "en") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Step 1: compute A = l*w. Step 2: P = 2(l+w).",
        "n=1: ok; n=2: ok",
        "AB = 3, AC = 4, BC = 5",
        "Pythagoras, Euler, Cauchy-Schwarz, AM-GM, Vieta. Triangle ABC, angle BAC.",
        "Let's denote José García's age as x. El Niño, café, naïve, São Paulo, Zürich.",
        "Drop = 2 - 8 = -6",
        "gcd(12, 18) = 6; lcm(12, 18) = 36. Ratio = 6.",
    ],
)
def test_terse_and_symbolic_english_is_english(text: str) -> None:
    assert share(text, "en") == 1.0


def test_short_sentences_are_judged_together() -> None:
    assert share("Also gut. Das ist falsch. Wir rechnen neu. Jetzt stimmt es.", "en") == 0.0


def test_the_reasoning_is_judged_unless_another_part_is_named() -> None:
    completion = f"<think>{TEXTS['zh']}</think><answer>{TEXTS['en']}</answer>"
    assert Language("zh")(completion).value == 1.0
    assert Language("en", part="answer")(completion).value == 1.0
    assert Language("en", part="whole")(completion).value == pytest.approx(19 / 43)
    assert Language("zh")(TEXTS["zh"]).value == 1.0


def test_the_row_names_the_language_where_the_params_do_not() -> None:
    assert Language()(TEXTS["zh"], language="zh").value == 1.0
    assert Language()(TEXTS["zh"], language="en").value == 0.0
    assert Language("en")(TEXTS["en"], language="zh").value == 1.0
    for language in (None, "klingon"):
        assert Language()(TEXTS["zh"], language=language).failure is Failure.REFERENCE


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'english' is unknown. Known: af, am, ar"):
        Language("english")


def test_the_score_says_which_words_it_counted() -> None:
    score = Language("en", part="whole")(f"{TEXTS['en']} {TEXTS['de']} {TEXTS['zh']}")
    assert score.explanation == "19 of 61 words are in 'en'"
    assert score.metadata == {"words": {"cjk": 24, "de": 18, "en": 19}}


def test_the_same_text_has_the_same_score_in_every_process_and_order() -> None:
    texts = [f"{a} {b}" for a in TEXTS.values() for b in TEXTS.values()]
    here = [share(text, "en") for text in texts]
    random.Random(1).shuffle(shuffled := list(zip(texts, here, strict=True)))
    assert all(share(text, "en") == value for text, value in shuffled)
    code = (
        "from guerdon_plugins.verifiers.language import Language\n"
        f"print([Language('en', part='whole')(text).value for text in {texts[::17]!r}])"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here[::17])


def test_the_same_text_has_the_same_score_in_every_thread() -> None:
    texts = [f"{a} {b}" for a in TEXTS.values() for b in TEXTS.values()] * 3
    random.Random(2).shuffle(texts)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(share, texts, ["de"] * len(texts))) == [share(text, "de") for text in texts]


@given(st.lists(st.sampled_from([*TEXTS.values(), "the", "und", "la"]), min_size=1, max_size=6).map(" ".join))
def test_no_word_is_lost_and_none_counts_twice(text: str) -> None:
    totals = {sum(Language(target, part="whole")(text).metadata["words"].values()) for target in TEXTS}
    assert len(totals) == 1


@settings(max_examples=200)
@given(
    st.text()
    | st.lists(st.sampled_from([*TEXTS.values(), "<think>", "</think>", "$", "`", "a", "の", "ㅤ"])).map(
        "".join
    )
)
def test_any_text_has_a_share_or_no_words(text: str) -> None:
    for target in ("en", "zh", "ja", "ru", "th"):
        score = Language(target)(text)
        assert score.outcome in (Outcome.SCORED, Outcome.SKIPPED)
        assert score.value is None or 0 <= score.value <= 1


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("zh", "设 Alice 有 5 个苹果，Bob 有 3 个苹果。"),
        ("zh", "在三角形ABC中，AB=3，AC=4，所以BC=5。"),
        ("zh", "根据 Cauchy-Schwarz 不等式，结论成立。"),
        ("ja", "Alice は りんご を 五つ 持っています。"),
        ("ko", "Alice 는 사과 다섯 개를 가지고 있습니다."),
        ("ru", "Alice дала Bob три яблока и две груши."),
        ("hi", "Alice के पास पाँच सेब हैं।"),
    ],
)
def test_language_with_names_in_latin_letters_is_the_target(target: str, text: str) -> None:
    assert share(text, target) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "我们先想一下。First We Add The Two Numbers.",
        "我们 First We Add The Two Numbers 来计算它们的和是多少。",
        "所以 Alice has 五个苹果。",
        "Alice Bob 好",
    ],
)
def test_language_with_more_than_names_in_latin_letters_is_mixed(text: str) -> None:
    found = share(text, "zh")
    assert found is not None
    assert found < 1.0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("nb", "Først legger vi sammen de to tallene i oppgaven."),
        ("ms", "Pertama, kita tambahkan kedua angka itu dan bagi hasilnya."),
        ("fil", "Una, pagsasamahin natin ang dalawang bilang ng problema."),
        ("eng", TEXTS["en"]),
        ("cmn-Hans", TEXTS["zh"]),
        ("ger", TEXTS["de"]),
        ("iw", "ראשית נחבר את שני המספרים."),
    ],
)
def test_language_by_another_code_is_known(code: str, text: str) -> None:
    assert share(text, code) == 1.0


@pytest.mark.parametrize("code", ["", "xx", "english", "n b", "-en"])
def test_language_by_an_unknown_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="is unknown"):
        Language(code)


@pytest.mark.parametrize(
    "text", ["小\u0319", "か\u0319の和", "小\ufe0f的", "\u0301", "x\u0304 = 3", "한\u0319국"]
)
def test_language_of_characters_with_combining_marks_does_not_raise(text: str) -> None:
    assert Language("zh", part="whole")(text).outcome in (Outcome.SCORED, Outcome.SKIPPED)


MARKS = st.sampled_from([chr(c) for c in range(0x300, 0x370)] + ["\ufe0f", "\u3099", "\u0e31", "\u064b"])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("小か나กaبи1 ,"), st.text(MARKS, max_size=3))),
    st.sampled_from(["zh", "ja", "en"]),
)
def test_language_of_any_letters_with_marks_is_a_share(pieces: list[tuple[str, str]], target: str) -> None:
    score = Language(target, part="whole")("".join(letter + marks for letter, marks in pieces))
    assert score.value is None or 0 <= score.value <= 1


def test_language_with_marks_on_its_letters_keeps_its_share() -> None:
    assert share("".join(f"{character}\u0319" for character in "首先我们把两个数加起来"), "zh") == 1.0


@pytest.mark.parametrize("tags", ["[THINK]{}[/THINK]", "<reasoning>{}</reasoning>", "<Think>{}</Think>"])
def test_language_of_reasoning_in_other_tags_is_of_the_reasoning(tags: str) -> None:
    assert Language("en")(tags.format(TEXTS["en"]) + TEXTS["zh"]).value == 1.0
    assert Language("en", part="answer")(tags.format(TEXTS["zh"]) + TEXTS["en"]).value == 1.0
    only_think = Language("en", reasoning_tags=["think"])
    assert (only_think(tags.format(TEXTS["en"]) + TEXTS["zh"]).value == 1.0) is ("Think" in tags)
