"""Pairs of answers with a structure, equal or nearly equal by construction: each maker knows the truth of its pair."""

from __future__ import annotations

import random
from fractions import Fraction

Pair = tuple[str, str, bool]


def fraction(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value)
    return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def near(source: random.Random, value: Fraction) -> tuple[Fraction, bool]:
    """The value itself, or one that is nearly it."""
    if source.random() < 0.5:
        return value, True
    other = source.choice(
        (value + 1, value - 1, -value, value * 10, value / 10, value + Fraction(1, 10**6), 2 * value)
    )
    return other, other == value


def written(source: random.Random, value: Fraction) -> str:
    """A number in one of its forms."""
    forms = [fraction(value), fraction(value)]
    if value.denominator != 1:
        factor = source.randint(2, 5)
        forms.append(
            f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator) * factor}}}{{{value.denominator * factor}}}"
        )
        whole, rest = divmod(abs(value.numerator), value.denominator)
        if whole:
            forms.append(f"{'-' if value < 0 else ''}{whole}\\frac{{{rest}}}{{{value.denominator}}}")
    if 10**6 % value.denominator == 0 and abs(value) < 10**6:
        digits = f"{abs(value.numerator) * (10**6 // value.denominator):07d}"
        decimal = f"{digits[:-6]}.{digits[-6:]}".rstrip("0").rstrip(".")
        forms.append(f"{'-' if value < 0 else ''}{decimal}")
        forms.append(f"{fraction(value * 100)}\\%")
    return source.choice(forms)


def value_of(source: random.Random) -> Fraction:
    return Fraction(source.randint(-60, 60), source.choice((1, 1, 2, 3, 4, 5, 8, 10, 100)))


def scalars(source: random.Random) -> Pair:
    value = value_of(source)
    other, equal = near(source, value)
    return fraction(value), written(source, other), equal


def surds(source: random.Random) -> Pair:
    a, b = source.randint(2, 9), source.choice((2, 3, 5, 6, 7))
    c, equal = near(source, Fraction(a))
    if c.denominator != 1 or c == 0:
        return f"{a}\\sqrt{{{b}}}", f"{a + 1}\\sqrt{{{b}}}", False
    sign = "-" if c < 0 else ""
    forms = (f"{sign}\\sqrt{{{c * c * b}}}", f"{c}\\sqrt{{{b}}}", f"\\frac{{{c * b}}}{{\\sqrt{{{b}}}}}")
    return f"{a}\\sqrt{{{b}}}", source.choice(forms), equal


def powers_of_ten(source: random.Random) -> Pair:
    digits, exponent = source.randint(11, 99), source.randint(-12, 12)
    shift = source.choice((0, 0, 1, -1))
    left = f"{digits / 10}\\times 10^{{{exponent}}}"
    right = source.choice(
        (f"{digits}\\times 10^{{{exponent - 1 + shift}}}", f"{digits / 10}\\cdot 10^{{{exponent + shift}}}")
    )
    return left, right, shift == 0


def intervals(source: random.Random) -> Pair:
    low = value_of(source)
    high = low + Fraction(source.randint(1, 30), 2)
    opened = [source.choice("(["), source.choice(")]")]
    reference = f"{opened[0]}{fraction(low)}, {fraction(high)}{opened[1]}"
    ends, brackets, equal = [low, high], list(opened), True
    if source.random() < 0.5:
        equal = False
        if source.random() < 0.5:
            side = source.randrange(2)
            brackets[side] = {"(": "[", "[": "(", ")": "]", "]": ")"}[brackets[side]]
        else:
            ends[source.randrange(2)] += source.choice((Fraction(-1, 4), Fraction(1, 4)))
    left = "<" if brackets[0] == "(" else "\\le"
    right = "<" if brackets[1] == ")" else "\\le"
    middle, radius = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    forms = [
        f"{fraction(ends[0])} {left} x {right} {fraction(ends[1])}",
        f"x\\in {brackets[0]}{written(source, ends[0])}, {written(source, ends[1])}{brackets[1]}",
        f"{brackets[0]}{fraction(ends[0])}, {fraction(middle)}] \\cup "
        f"[{fraction(middle)}, {fraction(ends[1])}{brackets[1]}",
    ]
    if left == right:
        forms.append(f"|x-\\left({fraction(middle)}\\right)| {left} {fraction(radius)}")
    return f"x\\in {reference}", source.choice(forms), equal


def equations(source: random.Random) -> Pair:
    a, b, c = (source.choice((1, 2, 3, -1, -2, 5)) for _ in range(3))
    sign = source.choice(("=", "<", "\\ge"))
    factor = source.choice((1, 2, 3, -1, -2))
    equal = True
    other = [a, b, c]
    if source.random() < 0.5:
        other[source.randrange(3)] *= -1
        equal = False
    flipped = {"=": "=", "<": ">", "\\ge": "\\le"}[sign] if factor < 0 else sign
    if sign != "=" and equal and source.random() < 0.3:
        flipped, equal = {"<": ">", ">": "<", "\\ge": "\\le", "\\le": "\\ge"}[flipped], False
    left = f"{a}x+{b}y{sign}{c}".replace("+-", "-")
    right = f"{factor * other[0]}x+{factor * other[1]}y-{factor * other[2]}{flipped}0".replace(
        "+-", "-"
    ).replace("--", "+")
    return left, right, equal


def collections(source: random.Random) -> Pair:
    values = list(dict.fromkeys(value_of(source) for _ in range(source.randint(2, 5))))
    if len(values) < 2:
        values.append(values[0] + 1)
    others, equal = list(values), True
    source.shuffle(others)
    if source.random() < 0.5:
        index = source.randrange(len(others))
        others[index], equal = near(source, others[index])
        if not equal and sorted(set(others)) == sorted(set(values)):
            others, equal = [*values, max(values) + 7], False
        equal = sorted(set(others)) == sorted(set(values))
    left = "\\{" + ", ".join(map(fraction, values)) + "\\}"
    right = ", ".join(written(source, value) for value in others)
    return left, source.choice((f"\\{{{right}\\}}", f"\\left\\{{{right}\\right\\}}")), equal


def tuples(source: random.Random) -> Pair:
    values = [value_of(source) for _ in range(source.randint(2, 4))]
    others = list(values)
    if source.random() < 0.5:
        if source.random() < 0.5:
            others.reverse()
        else:
            index = source.randrange(len(others))
            others[index] = near(source, others[index])[0]
    left = ", ".join(map(fraction, values))
    right = ", ".join(written(source, value) for value in others)
    equal = values == others
    if source.random() < 0.4:
        rows = "\\\\".join(map(fraction, values)), "\\\\".join(map(fraction, others))
        matrix = "\\begin{{pmatrix}}{}\\end{{pmatrix}}"
        return matrix.format(rows[0]), matrix.format(rows[1]).replace("pmatrix", "bmatrix"), equal
    return f"({left})", f"\\left({right}\\right)", equal


def families(source: random.Random) -> Pair:
    top, below = source.randint(-5, 5), source.choice((2, 3, 4, 6))
    step = source.choice((1, 2, 3))
    start = Fraction(top, below)
    shifted, equal = start + step * source.randint(-3, 3), True
    other_step = step * source.choice((1, -1))
    if source.random() < 0.5:
        if source.random() < 0.5:
            other_step = step + 1
        else:
            shifted += Fraction(1, 12)
        equal = False
    name = source.choice("kn")

    def text(begin: Fraction, by: int, letter: str) -> str:
        return f"x={fraction(begin)}\\pi{by:+d}{letter}\\pi, {letter}\\in\\mathbb{{Z}}"

    return text(start, step, "k"), text(shifted, other_step, name), equal


def domains(source: random.Random) -> Pair:
    sets = ("\\mathbb{Z}", "\\mathbb{N}", "\\mathbb{R}", "\\mathbb{N}^*")
    first, second = source.choice(sets), source.choice(sets)
    a, b = source.randint(2, 7), source.randint(1, 9)
    body = source.choice((f"{a}n^2+{b}", f"a_n={a}n+{b}", f"{a}^n"))
    return f"{body}, n\\in {first}", f"{body}, n\\in {second}", first == second


def integers(source: random.Random) -> Pair:
    low = source.randint(-6, 6)
    high = low + source.randint(1, 6)
    values = list(range(low, high + 1))
    others = list(values)
    if source.random() < 0.5:
        others = source.choice(([*values, high + 1], values[1:], [low - 1, *values]))
    left = source.choice(
        (
            f"{low} \\le x \\le {high}, x\\in\\mathbb{{Z}}",
            f"{low - 1} < x < {high + 1}, x\\in\\mathbb{{Z}}",
            f"\\{{x\\in\\mathbb{{Z}} \\mid {low - 1}<x\\le {high}\\}}",
        )
    )
    return left, "\\{" + ",".join(map(str, others)) + "\\}", values == others


def words(source: random.Random) -> Pair:
    phrase = source.choice(
        ("maximum at", "increasing on", "converges for", "the point", "no solution for", "the line")
    )
    formulas = (
        "x=2",
        "x=-2",
        "x<1",
        "x>1",
        "|x|<1",
        "|x|>1",
        "(1,3)",
        "(1,-3)",
        "[1,3)",
        "y=x-1",
        "y=x+1",
        "x=0.5",
        "x=0,5",
        "x=5",
    )
    first = source.choice(formulas)
    second = first if source.random() < 0.5 else source.choice(formulas)
    return f"\\text{{{phrase} }} {first}", f"\\text{{{phrase.capitalize()} }} {second}", first == second


def cases(source: random.Random) -> Pair:
    a, b = source.randint(-9, 9), source.randint(1, 9)
    left = f"\\begin{{cases}} x-{b}, & x \\ge {a} \\\\ -x, & x < {a} \\end{{cases}}"
    border, second, equal = a, b, True
    if source.random() < 0.5:
        border, second = source.choice(((a + 1, b), (a, b + 1)))
        equal = False
    right = f"\\begin{{cases}} -x, & x < {border} \\\\ x-{second}, & \\text{{otherwise}} \\end{{cases}}"
    return left, right, equal


def complexes(source: random.Random) -> Pair:
    a, b, c, d = (source.randint(1, 7) for _ in range(4))
    real, imaginary = a * c - b * d, a * d + b * c
    if source.random() < 0.5:
        return f"({a}+{b}i)({c}+{d}i)", f"{real}{imaginary:+d}i", True
    real, imaginary = source.choice(((imaginary, real), (real, -imaginary), (real + 1, imaginary)))
    return (
        f"({a}+{b}i)({c}+{d}i)",
        f"{real}{imaginary:+d}i",
        (real, imaginary) == (a * c - b * d, a * d + b * c),
    )


def units(source: random.Random) -> Pair:
    names = ("cm", "m", "km", "kg", "hours", "meters per second")
    value = value_of(source)
    other, equal = near(source, value)
    first, second = source.choice(names), source.choice(names)
    return (
        f"{fraction(value)}\\text{{ {first}}}",
        f"{fraction(other)}\\text{{ {second}}}",
        (equal and first == second) or (value == other == 0 and {first, second} <= {"cm", "m", "km"}),
    )


FAMILIES = (
    scalars,
    surds,
    powers_of_ten,
    intervals,
    equations,
    collections,
    tuples,
    families,
    domains,
    integers,
    words,
    cases,
    complexes,
    units,
)
