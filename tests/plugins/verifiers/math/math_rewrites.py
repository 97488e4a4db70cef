"""Rewrites of gold answers that keep their meaning, and edits that change it, for property tests and benchmarks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from guerdon_plugins.verifiers.math import parse
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
from guerdon_plugins.verifiers.math.trees import walk


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
    yield "no spaces", re.sub(r"(?<=[\d+\-=,(]) +| +(?=[\d+\-=,)])", "", gold) if "\\" not in gold else gold
    if isinstance(node, SCALARS):
        yield "label", f"x_0 = {gold}"
        yield "answer is", f"\\text{{The answer is }}{gold}"
        yield "half", f"\\frac{{2({bare})}}{{2}}"
        yield "half, slanted", f"2({bare})/2"
        yield "one times", f"1\\cdot({bare})"
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
        yield "in a set with another", f"\\{{{gold}, 77777\\}}"
        yield "as a point", f"({gold}, 77777)"
        if node != Number(Fraction(0)):
            yield "times a variable", f"({gold})q"
            yield "negated", f"-({gold})"
            yield "doubled", f"2({gold})"
            yield "in percent", f"({gold})\\%"
            yield "in thousands", f"{gold}\\text{{ thousand}}"
    for name in sorted(
        {item.name for item in walk(node) if isinstance(item, Symbol) and len(item.name) == 1}
    ):
        if isinstance(node, SCALARS) and len(name) == 1:
            yield "another variable", re.sub(rf"(?<![a-zA-Z\\]){name}(?![a-zA-Z])", "w", gold)
    if isinstance(node, Sequence | SetOf | Listing) and (pieces := _split(gold)):
        left, items, right = pieces
        yield "one item more", f"{left}{', '.join([*items, '77777'])}{right}"
        yield "another first item", f"{left}{', '.join(['77777', *items[1:]])}{right}"
        if isinstance(node, Sequence) and parse(items[0]) != parse(items[-1]):
            yield "reversed", f"{left}{', '.join(items[::-1])}{right}"
        if isinstance(node, Sequence) and left in ("(", "\\left(") and len(items) == 2:
            yield "closed on the left", f"[{', '.join(items)}{right.replace('right', '').lstrip(chr(92))}"


def _split(gold: str) -> tuple[str, list[str], str] | None:
    """A flat list's brackets and items; ``None`` where brackets nest."""
    match = re.fullmatch(
        r"(\\left\s*[(\[]|[(\[]|\\\{|)([^()\[\]]*?)(\\right\s*[)\]]|[)\]]|\\\}|)", gold.strip()
    )
    if match is None or "\\cup" in gold or "=" in gold:
        return None
    items = [item.strip() for item in match[2].split(",")]
    return (match[1], items, match[3]) if len(items) > 1 and all(items) else None
