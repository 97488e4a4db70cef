"""From LaTeX, ASCII math or prose to tokens: markup goes, Unicode becomes LaTeX, numerals get their exact values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from guerdon_plugins.verifiers.math import units

MAX_CHARACTERS = 10_000
"""Longer answers are refused unread."""
MAX_TOKENS = 6_000


class UnreadableError(ValueError):
    """Something that is no mathematical answer in a form that this library reads."""


class TooLargeError(UnreadableError):
    """Something too long, too deep or too costly to read or evaluate: a guard held."""


@dataclass(slots=True)
class Token:
    """One token; ``kind`` is ``num``, ``let``, ``name``, ``cmd``, ``text`` or ``op``."""

    kind: str
    text: str
    spaced: bool = False
    """Whether white space stands before it."""
    value: Fraction | None = None
    """The value of a numeral."""


_UNICODE = str.maketrans(
    {
        **dict(zip("０１２３４５６７８９", "0123456789", strict=True)),
        **{c: f"^{{{d}}}" for c, d in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)},
        **{c: f"_{{{d}}}" for c, d in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)},
        **dict.fromkeys("−–—‐‑‒﹣－", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060\u2061\u2062", ""),
        **dict.fromkeys("’′‘", "'"),
        "⁻": "^-",
        "ⁿ": "^{n}",
        "，": ",",
        "、": ",",
        "。": ".",
        "．": ".",
        "；": ";",
        "：": ":",
        "（": "(",
        "）": ")",
        "［": "[",
        "］": "]",
        "【": "[",
        "】": "]",
        "｛": "\\{",
        "｝": "\\}",
        "＝": "=",
        "＋": "+",
        "＜": "<",
        "＞": ">",
        "％": "%",
        "＄": "\\$",
        "×": "\\times ",
        "✕": "\\times ",
        "⋅": "\\cdot ",
        "·": "\\cdot ",
        "∙": "\\cdot ",
        "÷": "\\div ",
        "∕": "/",
        "⁄": "/",
        "√": "\\surd ",
        "∛": "\\sqrt[3] ",
        "∞": "\\infty ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "⩽": "\\le ",
        "⩾": "\\ge ",
        "≠": "\\ne ",
        "≈": "\\approx ",
        "≡": "\\equiv ",
        "±": "\\pm ",
        "∓": "\\mp ",
        "∈": "\\in ",
        "∉": "\\notin ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∖": "\\setminus ",
        "∅": "\\emptyset ",
        "ℝ": "\\mathbb{R}",
        "ℤ": "\\mathbb{Z}",
        "ℚ": "\\mathbb{Q}",
        "ℕ": "\\mathbb{N}",
        "ℂ": "\\mathbb{C}",
        "°": "^\\circ ",
        "º": "^\\circ ",
        "∠": "\\angle ",
        "△": "\\triangle ",
        "⟨": "\\langle ",
        "⟩": "\\rangle ",
        "〈": "\\langle ",
        "〉": "\\rangle ",
        "⌊": "\\lfloor ",
        "⌋": "\\rfloor ",
        "⌈": "\\lceil ",
        "⌉": "\\rceil ",
        "…": "\\ldots ",
        "⋯": "\\ldots ",
        "→": "\\to ",
        "∨": "\\lor ",
        "∧": "\\land ",
        "½": "\\frac{1}{2}",
        "⅓": "\\frac{1}{3}",
        "⅔": "\\frac{2}{3}",
        "¼": "\\frac{1}{4}",
        "¾": "\\frac{3}{4}",
        "⅕": "\\frac{1}{5}",
        "⅖": "\\frac{2}{5}",
        "⅗": "\\frac{3}{5}",
        "⅘": "\\frac{4}{5}",
        "⅙": "\\frac{1}{6}",
        "⅚": "\\frac{5}{6}",
        "⅛": "\\frac{1}{8}",
        "⅜": "\\frac{3}{8}",
        "⅝": "\\frac{5}{8}",
        "⅞": "\\frac{7}{8}",
        "ϕ": "\\phi ",
        "∑": "\\sum ",
        "∏": "\\prod ",
        "∫": "\\int ",
        "∂": "\\partial ",
    }
)
_GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "varrho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Upsilon",
    "Phi",
    "Psi",
    "Omega",
]
_GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΣΦΨΩ", ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega"], strict=True))  # fmt: skip
_UNICODE.update({ord(letter): f"\\{name} " for letter, name in _GREEK_LETTERS.items()})
_UNICODE[ord("π")] = "\\pi "

SYMBOL_COMMANDS = frozenset((*_GREEK, "ell", "hbar", "square", "star", "ast", "dagger", "partial", "nabla"))

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "arcsinh",
        "arccosh",
        "arctanh",
        "log",
        "ln",
        "lg",
        "exp",
        "gcd",
        "lcm",
        "max",
        "min",
        "arg",
        "Re",
        "Im",
        "deg",
        "det",
    ]
)
_ASCII = {
    **{name: name for name in FUNCTIONS - {"Re", "Im", "arg", "deg"}},
    **{name: name for name in ("pi", "infty", "times", "cdot")},
    **{name: name for name in _GREEK if len(name) > 2},
    "sqrt": "surd",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "floor": "floor",
    "ceil": "ceil",
    "cbrt": "cbrt",
    "abs": "abs",
    "binom": "binom",
    "infinity": "infty",
    "inf": "infty",
    "oo": "infty",
    "frac": "frac",
    "mod": "bmod",
}
_SYNONYMS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"), "frac"),
    **dict.fromkeys(("dbinom", "tbinom"), "binom"),
    "leq": "le",
    "leqslant": "le",
    "geq": "ge",
    "geqslant": "ge",
    "neq": "ne",
    "lt": "<",
    "gt": ">",
    "leqq": "le",
    "geqq": "ge",
    "dots": "ldots",
    "cdots": "ldots",
    "dotsc": "ldots",
    "vdots": "ldots",
    "varnothing": "emptyset",
    "mid": "|",
    "vert": "|",
    "lvert": "|",
    "rvert": "|",
    "colon": ":",
    "Vert": "\\|",
    "lVert": "\\|",
    "rVert": "\\|",
    "|": "\\|",
    "lbrace": "{",
    "rbrace": "}",
    "lbrack": "[",
    "rbrack": "]",
    "lparen": "(",
    "rparen": ")",
    "vee": "lor",
    "wedge": "land",
    "rightarrow": "to",
    "longrightarrow": "to",
    "mapsto": "to",
    "backslash": "setminus",
    "cdotp": "cdot",
    "sh": "sinh",
    "ch": "cosh",
    "tg": "tan",
    "ctg": "cot",
    "cotg": "cot",
    "cosec": "csc",
    "arctg": "arctan",
    "degree": "circ",
    "ast": "cdot",
    "bullet": "cdot",
    "iff": "iff",
    "doteq": "=",
    "simeq": "approx",
    "gets": "to",
    "owns": "ni",
    "lgroup": "(",
    "rgroup": ")",
    "thinspace": " ",
    "overrightarrow": "vec",
    "widehat": "hat",
    "overline": "bar",
    "exponentialE": "e",
    "imaginaryI": "i",
    "lnot": "neg",
}
_IGNORED = frozenset(
    [
        "left",
        "right",
        "middle",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "Biggl",
        "Biggr",
        "bigm",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "scriptscriptstyle",
        "limits",
        "nolimits",
        "mathbf",
        "mathit",
        "mathsf",
        "mathcal",
        "mathscr",
        "mathfrak",
        "boldsymbol",
        "bm",
        "bf",
        "pmb",
        "rm",
        "it",
        "blacksquare",
        "qed",
        "checkmark",
        "nonumber",
        "notag",
        "hfill",
        "quad",
        "qquad",
        "enspace",
        "enskip",
        "thinspace",
        "negthinspace",
        "hline",
        "mathstrut",
        "strut",
        "tiny",
        "small",
        "large",
        "Large",
        "boxed",
        "fbox",
        "underline",
        "phantom",
        "ensuremath",
        "normalsize",
        "mathnormal",
        "mathop",
        "mathrel",
        "mathbin",
        "operatornamewithlimits",
        "medspace",
        "thickspace",
        "allowbreak",
        "noindent",
    ]
)
_WITH_ARGUMENT = frozenset(["textcolor", "color", "hspace", "vspace", "label", "tag", "class", "cssId"])
_TEXT = frozenset(
    [
        "text",
        "textbf",
        "textit",
        "textrm",
        "textsf",
        "texttt",
        "textsc",
        "textup",
        "textnormal",
        "mbox",
        "hbox",
        "mathrm",
        "mathtt",
        "operatorname",
        "emph",
        "operatorname*",
        "textmd",
    ]
)
_SPACE_COMMANDS = frozenset(",;:!> ~")
_COMMON_WORDS = frozenset(
    [
        "the",
        "is",
        "are",
        "of",
        "if",
        "to",
        "no",
        "yes",
        "all",
        "not",
        "for",
        "but",
        "odd",
        "one",
        "two",
        "six",
        "ten",
        "per",
        "was",
        "has",
        "and",
        "or",
        "so",
        "its",
        "it",
        "be",
        "by",
        "on",
        "at",
        "as",
        "an",
        "in",
        "we",
        "sum",
    ]
)

_TOKEN = re.compile(r"\s+|\\(?:[a-zA-Z]+\*?|.)|[A-Za-z]+|\*\*|<=|>=|!=|==|:=|->|=>|\.\.\.|.", re.DOTALL)
_NUMERAL = re.compile(r"([0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?\d{1,9})(?![\d.]))?")
_FRACTION_PART = re.compile(r"\.(?:\d|\s*\\(?:overline|bar|dot)\b)", re.ASCII)
_OVERLINED = re.compile(r"(\d*)\.(\d*)\s*\\(?:overline|bar)\s*(?:\{\s*(\d+)\s*\}|(\d))")
_DOTTED = re.compile(r"(\d*)\.(\d*)\s*\\dot\s*\{?(\d)\}?(?:(\d*)\s*\\dot\s*\{?(\d)\}?)?")
_PARENTHESISED = re.compile(r"(\d+)\.()\((\d+)\)(?!\s*[\dA-Za-z(\\^])")
_CONTINUED = re.compile(r"(\d*)\.(\d*?)(\d+?)\3{2,}\s*(?:\\[lc]?dots|\.\.\.)")
_GROUPED = re.compile(r"(\d)\s*(?:\{,\}|,\s*\\!)\s*(?=\d{3}(?!\d))")
_FLAT_GROUP = re.compile(r"\s*\{([^{}]*)\}")
_NOT_WORDS = re.compile(r"[\\^_$]")
_EDGE = re.compile(r"^(?:\s|\\[,;!: ]|~)+|(?:\s|\\[,;!: ]|~|\\\\)+$")
_COMMA_NUMERAL = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SPACED_NUMERAL = re.compile(r"(?:[-+]|\\\$|\$)*\s*\d{1,3}(?:(?:\\[,:; ]|~|\s)\s*\d{3})+(?:\.\d+)?(?!\d)\D*")
_SPACE_IN_NUMERAL = re.compile(r"(?<=\d)(?:\\[,:; ]|~|\s)\s*(?=\d{3}(?!\d))")
_DELIMITERS = (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"))


def clean(text: str) -> str:
    """The answer without math delimiters and final punctuation, with Unicode as LaTeX and thousands joined.

    Raises:
        TooLargeError: It is longer than :data:`MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooLargeError(f"{len(text):,} characters are more than the limit of {MAX_CHARACTERS:,}")
    if not text.isascii():
        text = text.translate(_UNICODE)
    text = _strip(text)
    if "\\!" in text or "{,}" in text:
        text = _GROUPED.sub(r"\1", text)
    if _SPACED_NUMERAL.fullmatch(text):
        return _SPACE_IN_NUMERAL.sub("", text)
    return _join_thousands(text) if "," in text else text


def _strip(text: str) -> str:
    r"""Take off white space, ``$…$``, ``\\(…\\)``, ``\\[…\\]`` and punctuation at the end, until none is left."""
    while True:
        before = text
        text = text.strip()
        if text.endswith((".", ",", ";", ":", "!.")) and not text.endswith(
            ("..", "\\,", "\\;", "\\:", "\\.")
        ):
            text = text[:-1]
        for left, right in _DELIMITERS:
            inner = text[len(left) : -len(right)]
            if (
                len(text) >= len(left) + len(right)
                and text.startswith(left)
                and text.endswith(right)
                and not inner.endswith("\\")
                and (left != "$" or "$" not in inner.replace("\\$", ""))
            ):
                text = inner
                break
        if "\\" in text or "~" in text:
            text = _EDGE.sub("", text) if not text.endswith("\\\\ ") else text
        if text == before:
            return text


def _join_thousands(text: str) -> str:
    """Read ``1,234`` as one number where it stands outside brackets and no other comma makes it a list."""
    numerals = _COMMA_NUMERAL.findall(text)
    if len(numerals) != 1 or text.count(",") != numerals[0].count(","):
        return text
    before = text[: text.index(numerals[0])]
    if any(before.count(left) > before.count(right) for left, right in ("()", "[]", "{}")):
        return text
    return text.replace(numerals[0], numerals[0].replace(",", ""))


def tokenize(text: str) -> list[Token]:
    """The tokens of a cleaned answer.

    Raises:
        UnreadableError: Braces of a text command do not close.
        TooLargeError: There are more than :data:`MAX_TOKENS`.
    """
    tokens: list[Token] = []
    position, end, spaced = 0, len(text), False
    while position < end:
        character = text[position]
        if "0" <= character <= "9" or (character == "." and _FRACTION_PART.match(text, position)):
            token, position = _numeral(text, position)
            token.spaced = spaced
            tokens.append(token)
            spaced = False
            continue
        match = _TOKEN.match(text, position)
        assert match is not None
        lexeme, position = match[0], match.end()
        if lexeme.isspace() or lexeme in "~$":
            spaced = True
        elif lexeme[0] == "\\" and len(lexeme) > 1:
            name = lexeme[1:]
            if name in _SPACE_COMMANDS or name.isspace():
                spaced = True
                continue
            position = _command(text, position, name, spaced, tokens)
            spaced = name in _IGNORED
        elif lexeme.isascii() and lexeme.isalpha():
            _letters(text, lexeme, match.start(), spaced, tokens)
            spaced = False
        elif lexeme.isalpha() or lexeme in "€£¢":
            _append_text(tokens, lexeme, spaced)
            spaced = False
        else:
            tokens.append(
                Token("op", {"**": "^", "==": "=", ":=": "=", "*": "\\cdot"}.get(lexeme, lexeme), spaced)
            )
            spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooLargeError(f"more than {MAX_TOKENS:,} tokens")
    return tokens


def _command(text: str, position: int, name: str, spaced: bool, tokens: list[Token]) -> int:
    """Add what a command stands for; return where reading goes on."""
    if name in _IGNORED:
        invisible = name in ("left", "right", "middle") and text.startswith(".", position)
        return position + invisible
    group = _FLAT_GROUP.match(text, position)
    if name in _WITH_ARGUMENT:
        return group.end() if group else position
    if name in _TEXT:
        # Words stand in a group without markup; any other group is read as math, the command says nothing.
        if group is None or _NOT_WORDS.search(group[1]) or not any(map(str.isalpha, group[1])):
            return position
        _add_words(group[1], name, spaced, tokens)
        return group.end()
    if name == "mathbb":
        tokens.append(Token("cmd", f"\\mathbb{group[1] if group else text[position : position + 1]}", spaced))
        return group.end() if group else position + 1
    if name in ("begin", "end"):
        environment = group[1].rstrip("*") if group else ""
        position = group.end() if group else position
        if environment == "array" and (columns := _FLAT_GROUP.match(text, position)):
            position = columns.end()
        tokens.append(Token("cmd", f"\\{name}{{{environment}}}", spaced))
        return position
    name = _SYNONYMS.get(name, name)
    if name in ("e", "i"):
        tokens.append(Token("let", name, spaced))
    elif len(name) == 1 and name not in "{}$%&\\":
        tokens.append(Token("op", name, spaced))
    else:
        tokens.append(Token("cmd", name if name[0] == "\\" and len(name) > 1 else f"\\{name}", spaced))
    return position


def _add_words(content: str, command: str, spaced: bool, tokens: list[Token]) -> None:
    words = " ".join(content.replace("~", " ").split())
    if not words:
        return
    if command in ("operatorname", "operatorname*", "mathrm", "text") and words in FUNCTIONS:
        tokens.append(Token("cmd", f"\\{words}", spaced))
    elif len(words) == 1 and words.isalpha() and words.isascii() and command != "text":
        tokens.append(Token("let", words, spaced))
    else:
        _append_text(tokens, words, spaced)


def _append_text(tokens: list[Token], words: str, spaced: bool) -> None:
    if tokens and tokens[-1].kind == "text":
        gap = "" if not words.isascii() and not spaced else " "
        tokens[-1].text += gap + words
    else:
        tokens.append(Token("text", words, spaced))


def _letters(text: str, run: str, start: int, spaced: bool, tokens: list[Token]) -> None:
    """Tell a function's name, a word, a unit and a name like ``AB`` from a product of variables."""
    previous = tokens[-1] if tokens else None
    free = previous is None or spaced or previous.kind == "text"
    after_value = previous is not None and (previous.kind == "num" or previous.text in (")", "}", "\\frac"))
    ends = not text[start + len(run) : start + len(run) + 1].isalnum()
    if run in _ASCII and not (run in _GREEK and previous is not None and previous.kind == "text"):
        tokens.append(Token("cmd", f"\\{_ASCII[run]}", spaced))
    elif run in ("and", "or", "AND", "OR"):
        tokens.append(Token("text", run.lower(), spaced))
    elif (
        (after_value and run in units.BARE and ends)
        or (
            previous is not None and previous.kind == "text" and spaced and len(run) > 1 and not run.isupper()
        )
        or (free and ((len(run) >= 4 and not run.isupper()) or run.lower() in _COMMON_WORDS) and ends)
    ):
        _append_text(tokens, run, spaced)
    elif len(run) > 1 and run.isupper():
        tokens.append(Token("name", run, spaced))
    else:
        for index, letter in enumerate(run):
            tokens.append(Token("let", letter, spaced and index == 0))


def _numeral(text: str, position: int) -> tuple[Token, int]:
    """The numeral at a position, repeating decimals included, and where it ends."""
    if "\\" in text or "(" in text or "..." in text:
        for pattern in (_OVERLINED, _DOTTED, _PARENTHESISED, _CONTINUED):
            if match := pattern.match(text, position):
                return _repeating(pattern, match), match.end()
    match = _NUMERAL.match(text, position)
    assert match is not None
    whole, decimals, exponent = match.groups()
    value = Fraction(_to_int(whole + (decimals or "")))
    if decimals:
        value /= 10 ** len(decimals)
    if exponent:
        if abs(int(exponent)) > MAX_CHARACTERS:
            raise TooLargeError(f"the exponent of {match[0][:40]} is too large")
        value *= Fraction(10) ** int(exponent)
    return Token("num", match[0], value=value), match.end()


def _repeating(pattern: re.Pattern[str], match: re.Match[str]) -> Token:
    groups = match.groups()
    whole, fixed = groups[0] or "0", groups[1]
    if pattern is _OVERLINED:
        period = groups[2] or groups[3]
    elif pattern is _DOTTED:
        period = groups[2] + (groups[3] or "") + (groups[4] or "")
    else:
        period = groups[2]
    scale = 10 ** len(fixed)
    value = Fraction(_to_int(whole + fixed), scale)
    value += Fraction(_to_int(period), scale * (10 ** len(period) - 1))
    return Token("num", match[0], value=value)


def _to_int(digits: str) -> int:
    """``int`` without Python's limit of 4,300 digits; the length of an answer is bounded."""
    if len(digits) <= 4000:
        return int(digits or "0")
    rest = digits[4000:]
    scale: int = 10 ** len(rest)
    return int(digits[:4000]) * scale + _to_int(rest)
