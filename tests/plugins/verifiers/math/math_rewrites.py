"""Rewrites of gold answers that keep their meaning, and edits that change it, for property tests and benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from guerdon_plugins.verifiers.math import parse
from guerdon_plugins.verifiers.math.comparing.trees import walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Listing,
    Number,
    PlusMinus,
    Quantity,
    Sequence,
    SetOf,
    Symbol,
)


def keeping(gold: str) -> Iterator[tuple[str, str]]:
    """Named rewrites of a gold answer that say the same."""
    node = parse(gold)
    # A comma in brackets separates a pair, and a sign's two choices multiply where the sign is written twice.
    bare = re.sub(r",(?:\\!)?\s*", "", gold) if isinstance(node, Number) else gold
    single = not any(isinstance(item, PlusMinus) for item in walk(node))
    yield "period", f"{gold}."
    yield "dollars", f"${gold}$"
    yield "spaces", f"\\, {gold} \\quad"
    yield "display", f"\\displaystyle {gold}"
    yield "bold", f"\\mathbf{{{gold}}}"
    yield "color", f"\\textcolor{{blue}}{{{gold}}}"
    yield "fractions", gold.replace("\\frac", "\\dfrac")
    yield "sized brackets", re.sub(r"(?<!left)(?<!\\)\((.*)(?<!right)(?<!\\)\)", r"\\left(\1\\right)", gold)
    yield "tfrac", gold.replace("\\frac", "\\tfrac")
    yield "inline brackets", f"\\({gold}\\)"
    yield "display brackets", f"\\[{gold}\\]"
    yield "in a box", f"\\boxed{{{gold}}}"
    yield "in braces", f"{{{gold}}}"
    yield "line breaks around", f"\n{gold}\n"
    yield "a space command after", f"{gold}\\;"
    yield "thin spaces", f"\\!{gold}\\;\\:"
    yield "large", f"\\large {gold}"
    yield "bold symbol", f"\\boldsymbol{{{gold}}}"
    yield "sign of minus", gold.replace("-", "−") if "text" not in gold else gold
    yield "no spaces", re.sub(r"(?<=[\d+\-=,(]) +| +(?=[\d+\-=,)])", "", gold) if "\\" not in gold else gold
    if isinstance(node, SCALARS):
        yield "label", f"x_0 = {gold}"
        yield "answer is", f"\\text{{The answer is }}{gold}"
        yield "half", f"\\frac{{2({bare})}}{{2}}"
        yield "half, slanted", f"2({bare})/2"
        yield "one times", f"1\\cdot({bare})"
        yield "in brackets", f"({bare})"
        yield "in sized brackets", f"\\left({bare}\\right)"
        yield "over one", f"\\frac{{{bare}}}{{1}}"
        yield "half of twice", f"\\frac12\\cdot 2({bare})"
        yield "minus one squared", f"(-1)^2({bare})"
        yield "root of four over two", f"\\frac{{\\sqrt4({bare})}}{{2}}"
        yield "times a power of e", f"e^0({bare})"
        yield "times the logarithm of e", f"({bare})\\ln e"
        yield "times sine squared plus cosine squared", f"({bare})(\\sin^2 1+\\cos^2 1)"
        yield "plus and minus a root", f"({bare})+\\sqrt7-\\sqrt7"
        yield "plus zero times a letter", f"({bare})+0q"
        yield "times two thirds and three halves", f"\\frac23\\cdot\\frac32\\cdot({bare})"
        yield "negated twice", f"-(-({bare}))"
        yield "to the power one", f"({bare})^{{1}}"
        yield "plus zero", f"0+{bare}"
        yield "under a common denominator", f"\\frac{{3({bare})+7}}{{3}}-\\frac73"
        if single:
            yield "sum of halves", f"\\frac{{1}}{{2}}({bare})+\\frac{{{bare}}}{{2}}"
    if isinstance(node, Number):
        yield from _numerals(node.value)
    if isinstance(node, Sequence | SetOf | Listing) and (pieces := _split(gold)):
        left, items, right = pieces
        yield "spaced items", f"{left} {' , '.join(items)} {right}"
        if isinstance(node, SetOf | Listing):
            yield "reversed", f"{left}{', '.join(items[::-1])}{right}"
    if isinstance(node, Quantity):
        yield "no unit", re.sub(r"\\(?:text|mbox)\{.*", "", gold).replace("\\$", "")


def _numerals(value: Fraction) -> Iterator[tuple[str, str]]:
    numerator, denominator = value.numerator, value.denominator
    yield (
        "percent",
        f"{_decimal(value * 100)}\\%" if 10**6 % denominator == 0 else f"({numerator}/{denominator})",
    )
    yield "negative over negative", f"\\frac{{{-numerator}}}{{{-denominator}}}"
    yield "divided", f"{numerator} \\div {denominator}"
    yield "full-width digits", str(value).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    yield "a small difference", f"\\frac{{{numerator + 7 * denominator}}}{{{denominator}}}-7"
    yield "root of the square", f"{'-' if value < 0 else ''}\\sqrt{{{value**2}}}"
    yield "as a fraction", f"\\frac{{{3 * numerator}}}{{{3 * denominator}}}"
    yield "with a slash", f"{numerator}/{denominator}"
    if denominator == 1:
        yield "decimal zeros", f"{numerator}.00"
        yield "thousands", f"{numerator:,}"
        yield "thousands in TeX", f"{numerator:,}".replace(",", "{,}")
        yield "leading zeros", f"{'-' if numerator < 0 else ''}00{abs(numerator)}"
    if 10**6 % denominator == 0:
        yield "decimal", f"{float(value):.6f}" if abs(value) < 10**9 else str(numerator)
        yield "scientific", f"{numerator * (10**6 // denominator)}\\times 10^{{-6}}"
    if denominator > 1 and abs(numerator) > denominator:
        whole, rest = divmod(abs(numerator), denominator)
        yield "mixed", f"{'-' if numerator < 0 else ''}{whole}\\frac{{{rest}}}{{{denominator}}}"


def _decimal(value: Fraction) -> str:
    """A number whose denominator divides a power of ten, written out."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    digits = f"{abs(int(value * 10**places)):0{places + 1}d}"
    text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{text}" if value < 0 else text


def changing(gold: str) -> Iterator[tuple[str, str]]:
    """Named edits of a gold answer that say something else."""
    node = parse(gold)
    if isinstance(node, SCALARS):
        yield "plus one", f"{gold}+1"
        yield "a little more", f"{gold}+0.0000001"
        yield "and another", f"{gold},\\ 77777"
        yield "or another", f"{gold}\\text{{ or }}77777"
        yield "or more", f"{gold}\\text{{ or more}}"
        yield "under a condition", f"{gold}\\text{{ if }}x>0"
        yield "chained to another", f"{gold}=77777"
        yield "chained from another", f"77777={gold}"
        yield "plus i", f"{gold}+i"
        yield "plus a letter", f"({gold})+q"
        yield "minus pi", f"({gold})-\\pi"
        yield "less than", f"q < {gold}"
        yield "not equal", f"q \\ne {gold}"
        yield "as a lower bound", f"({gold}, \\infty)"
        yield "at least", f"\\text{{at least }}{gold}"
        yield "with a kink", f"({gold})+|q-100|-|100-q|+|q-3|"
        yield "with a step far out", f"({gold})+\\lfloor q/1000\\rfloor"
        yield "with a larger maximum", f"\\max({gold}, q)"
        yield "with a remainder", f"({gold})+(q \\bmod 97)"
        yield "in a set with another", f"\\{{{gold}, 77777\\}}"
        yield "as a point", f"({gold}, 77777)"
        if node != Number(Fraction(0)):
            yield "divided by a letter", f"\\frac{{{gold}}}{{q}}"
            yield "one percent more", f"1.01({gold})"
            yield "times pi", f"\\pi({gold})"
            yield "either sign", f"\\pm({gold})"
            yield "tripled", f"3({gold})"
            yield "divided by seven", f"\\frac{{{gold}}}{{7}}"
            yield "times ten to the minus one", f"({gold})\\times 10^{{-1}}"
            yield "times i", f"i({gold})"
            yield "times a variable", f"({gold})q"
            yield "negated", f"-({gold})"
            yield "doubled", f"2({gold})"
            yield "in percent", f"({gold})\\%"
            yield "in thousands", f"{gold}\\text{{ thousand}}"
    if isinstance(node, Number):
        yield from _other_numerals(node.value)
    for name in sorted(
        {item.name for item in walk(node) if isinstance(item, Symbol) and len(item.name) == 1}
    ):
        if isinstance(node, SCALARS) and len(name) == 1:
            yield "another variable", re.sub(rf"(?<![a-zA-Z\\]){name}(?![a-zA-Z])", "w", gold)
    if isinstance(node, Sequence | SetOf | Listing) and (pieces := _split(gold)):
        left, items, right = pieces
        yield "one item more", f"{left}{', '.join([*items, '77777'])}{right}"
        yield "one item fewer", f"{left}{', '.join(items[:-1])}{right}"
        yield "another last item", f"{left}{', '.join([*items[:-1], '77777'])}{right}"
        yield "a negated item", f"{left}{', '.join([*items[:-1], f'-({items[-1]})-77777'])}{right}"
        yield "another first item", f"{left}{', '.join(['77777', *items[1:]])}{right}"
        if isinstance(node, Sequence) and parse(items[0]) != parse(items[-1]):
            yield "reversed", f"{left}{', '.join(items[::-1])}{right}"
        if isinstance(node, Sequence) and left in ("(", "\\left(") and len(items) == 2:
            yield "closed on the left", f"[{', '.join(items)}{right.replace('right', '').lstrip(chr(92))}"


def _other_numerals(value: Fraction) -> Iterator[tuple[str, str]]:
    numerator, denominator = value.numerator, value.denominator
    yield "next integer above", str(value.__ceil__() + 1)
    yield "next integer below", str(value.__floor__() - 1)
    yield "as a range", f"{abs(value) + 1}-{abs(value) + 4}"
    yield "as an inequality", f"x > {value}"
    yield "as a ratio", f"{value}:7"
    yield "a digit more", f"{numerator}7/{denominator}"
    if value not in (0, 1, -1):
        yield "squared", f"({value})^2"
        yield "upside down", f"\\frac{{{denominator}}}{{{numerator}}}"
    if denominator == 1 and value > 2:
        yield "its factorial", f"{numerator}!"
        yield (
            "in base seven",
            f"{numerator}_{{7}}" if set(str(numerator)) <= set("0123456") else f"{numerator}1",
        )
    if denominator > 1:
        yield "rounded down", str(value.__floor__())
        yield "rounded up", str(value.__ceil__())


def _split(gold: str) -> tuple[str, list[str], str] | None:
    """A flat list's brackets and items; ``None`` where brackets nest."""
    match = re.fullmatch(
        r"(\\left\s*[(\[]|[(\[]|\\\{|)([^()\[\]]*?)(\\right\s*[)\]]|[)\]]|\\\}|)", gold.strip()
    )
    if match is None or "\\cup" in gold or "=" in gold:
        return None
    items = [item.strip() for item in match[2].split(",")]
    return (match[1], items, match[3]) if len(items) > 1 and all(items) else None
