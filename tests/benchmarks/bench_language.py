"""How well the language verifier tells languages and how fast, beside langdetect and lingua. Prints Markdown tables.

    python tests/benchmarks/bench_language.py [FOLDER ...]

FOLDERs hold message catalogues (.mo), as Debian's packages do: by default those of the installed programs. With
gsm8k_test.jsonl, math500.jsonl and qwen_math_completions.jsonl beside the checkout (or in $GUERDON_SHARED/data) it
measures English mathematics too.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import random
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import fmean

import click
import langdetect
import lingua
from catalogues import LANGUAGES, LEAST, SPACELESS, sentences

from guerdon.text import without_code, without_formulas, words
from guerdon_plugins.verifiers.language import Language
from guerdon_plugins.verifiers.language.scripts import SCRIPT_OF

INSTALLED = "/usr/share/locale"
ENGLISH = {"gsm8k_test": "answer", "math500": "solution", "qwen_math_completions": "completion"}
SENTENCES = 15
"""For each language and length."""
MIXTURES = 120
"""Of each kind."""

FORMULAS = [
    "$x = \\frac{-b \\pm \\sqrt{b^2 - 4ac}}{2a}$",
    "\\[\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}\\]",
    "\\(\\text{area} = \\pi r^2 \\approx 78.54\\)",
    "3 * 12 + 48/2 = <<3*12+48/2=60>>60",
    "$$\\begin{aligned} 2x + y &= 7 \\\\ x - y &= 2 \\end{aligned}$$",
    "`total = sum(prices) - discount`",
    "https://example.org/the/answer/is/here?question=what",
    "$\\boxed{\\text{even}}$",
    *(f"\n```python\n{inspect.getsource(code)}```\n" for code in (textwrap.shorten, textwrap.indent, fmean)),
]

System = Callable[[str, str], float | None]
"""The share of a text's words that it takes to be in a language."""


@dataclass(frozen=True)
class Case:
    text: str
    target: str
    share: float
    """Of the words, by how the text was made."""


def guerdon(text: str, target: str) -> float | None:
    return Language(target, part="whole")(text).value


def by_sentence(detect: Callable[[str], str | None]) -> System:
    """Detects each sentence's language; code and formulas are taken out for it as for guerdon."""

    def share(text: str, target: str) -> float | None:
        right = total = 0
        for sentence in re.split(r"(?<=[.!?。！？।؟])\s+|\n+", without_formulas(without_code(text))):
            size = sum(not word[0].isdigit() for word in words(sentence))
            if size:
                total += size
                right += size * (detect(sentence) == target)
        return right / total if total else None

    return share


def systems() -> dict[str, System]:
    langdetect.DetectorFactory.seed = 0  # or it says something else each time
    codes = {language: language.iso_code_639_1.name.lower() for language in lingua.Language.all()}
    codes = {language: {"nb": "no"}.get(code, code) for language, code in codes.items()}
    known = [language for language, code in codes.items() if code in LANGUAGES]
    detector = lingua.LanguageDetectorBuilder.from_languages(*known).build()
    by_code = {codes[language]: language for language in known}

    def langdetect_all(text: str) -> dict[str, float]:
        try:
            found = langdetect.detect_langs(text)
        except langdetect.LangDetectException:  # no letters
            return {}
        shares: dict[str, float] = {}
        for guess in found:
            code = guess.lang.partition("-")[0]
            shares[code] = shares.get(code, 0.0) + guess.prob
        return shares

    def langdetect_best(text: str) -> str | None:
        shares = langdetect_all(text)
        return max(shares, key=shares.__getitem__) if shares else None

    def lingua_best(text: str) -> str | None:
        found = detector.detect_language_of(text)
        return None if found is None else codes[found]

    def lingua_sections(text: str, target: str) -> float | None:
        sections = detector.detect_multiple_languages_of(text)
        total = sum(section.word_count for section in sections)
        right = sum(section.word_count for section in sections if codes[section.language] == target)
        return right / total if total else None

    return {
        "guerdon": guerdon,
        "langdetect, whole text": lambda text, target: langdetect_all(text).get(target, 0.0),
        "langdetect, by sentence": by_sentence(langdetect_best),
        "lingua, whole text": lambda text, target: detector.compute_language_confidence(
            text, by_code[target]
        ),
        "lingua, by sentence": by_sentence(lingua_best),
        "lingua, its own sections": lingua_sections,
    }


def another(language: str, rng: random.Random) -> str:
    """A language that it may be mixed up with: every second time one of the same script, where there is one."""
    others = [other for other in LANGUAGES if other != language]
    same = [other for other in others if SCRIPT_OF[other] == SCRIPT_OF[language]]
    return rng.choice(same if same and rng.random() < 0.5 else others)


def single(corpus: dict[str, list[str]], short: bool, rng: random.Random) -> Iterator[Case]:
    """Sentences as they are, half of them with the target that they have and half with another."""
    for language in LANGUAGES:
        limit = 10 * (2 if language in SPACELESS else 1)
        fitting = [text for text in corpus[language] if (len(words(text)) < limit) == short]
        for text in rng.sample(fitting, min(SENTENCES, len(fitting))):
            yield Case(text, language, 1.0)
            yield Case(text, another(language, rng), 0.0)


def mixture(corpus: dict[str, list[str]], kind: str, rng: random.Random) -> Case:
    """Twelve sentences of two languages at some ratio, in any order."""
    target = rng.choice(LANGUAGES)
    foreign = another(target, rng)
    ratio = rng.choice([0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
    count = {target: 0, foreign: 0}
    pieces = []
    for number in range(12):
        language = target if number < 12 * ratio else foreign
        text = rng.choice(corpus[language])
        if kind == "within" and 0 < ratio < 1 and rng.random() < 0.5:
            other = foreign if language == target else target
            first, second = halves(text, language)[0], halves(rng.choice(corpus[other]), other)[1]
            count[language] += len(words(first))
            count[other] += len(words(second))
            text = f"{first} {second}"
        else:
            count[language] += len(words(text))
        pieces.append(text.rstrip(".") + ".")
        if kind == "math":
            pieces[-1] += " " + rng.choice(FORMULAS)
    rng.shuffle(pieces)
    return Case(" ".join(pieces), target, count[target] / sum(count.values()))


def halves(text: str, language: str) -> tuple[str, str]:
    if language in SPACELESS:
        return text[: len(text) // 2], text[len(text) // 2 :]
    parts = text.split()
    return " ".join(parts[: len(parts) // 2]), " ".join(parts[len(parts) // 2 :])


def english(folder: Path) -> Iterator[Case]:
    """Real mathematics in English: what is ASCII and has words beside its formulas."""
    for name, column in ENGLISH.items():
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as lines:
            rows = [json.loads(line)[column] for line in lines]
        texts = [text for text in rows if text.isascii() and len(words(without_formulas(text))) > LEAST]
        yield from (Case(text, "en", 1.0) for text in texts[:: len(texts) // 40])


def measure(system: System, cases: list[Case]) -> tuple[float, float, float]:
    """Share of cases on the right side of a half, mean error of the share, thousand characters a CPU second."""
    for case in cases[:50]:
        system(case.text, case.target)  # models are loaded before the clock starts
    started = time.process_time()
    found = [system(case.text, case.target) or 0.0 for case in cases]
    seconds = time.process_time() - started
    right = fmean((share >= 0.5) == (case.share >= 0.5) for share, case in zip(found, cases, strict=True))
    error = fmean(abs(share - case.share) for share, case in zip(found, cases, strict=True))
    return right, error, sum(len(case.text) for case in cases) / seconds / 1000


def main() -> None:
    folders = [Path(folder) for folder in sys.argv[1:] or [INSTALLED]]
    corpus = sentences(file for folder in folders for file in folder.rglob("LC_MESSAGES/*.mo"))
    rng = random.Random(0)
    kinds = {
        "5-9 words": list(single(corpus, short=True, rng=rng)),
        "10 words and more": list(single(corpus, short=False, rng=rng)),
        "mixed sentence by sentence": [mixture(corpus, "between", rng) for _ in range(MIXTURES)],
        "mixed within sentences": [mixture(corpus, "within", rng) for _ in range(MIXTURES)],
        "mixed, with formulas and code": [mixture(corpus, "math", rng) for _ in range(MIXTURES)],
    }
    folder = Path(os.environ.get("GUERDON_SHARED", Path(__file__).parents[3] / "shared"), "data")
    if folder.is_dir():
        kinds["English mathematics"] = list(english(folder))
    click.echo(f"`python {' '.join(sys.argv)}`")
    click.echo(
        f"Python {platform.python_version()}, "
        + ", ".join(
            f"{name} {metadata.version(name)}"
            for name in ("guerdon", "langdetect", "lingua-language-detector")
        )
    )
    scripts = {SCRIPT_OF[language] for language in LANGUAGES}
    click.echo(
        f"{sum(map(len, corpus.values()))} sentences, {len(LANGUAGES)} languages, {len(scripts)} scripts\n"
    )
    click.echo("| | " + " | ".join(f"{kind} (n = {len(cases)})" for kind, cases in kinds.items()) + " |")
    click.echo("|---" * (len(kinds) + 1) + "|")
    for name, system in systems().items():
        cells = []
        for kind, cases in kinds.items():
            right, error, speed = measure(system, cases)
            shown = f"{right:.1%} right" if "words" in kind else f"error {error:.3f}"
            cells.append(f"{shown}, {speed:.0f}k/s")
        click.echo(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
