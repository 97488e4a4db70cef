"""The vocabulary of the notation: Unicode as LaTeX, commands by what they mean, words that matter."""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


GREEK = _set(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma "
    "tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
SYMBOLS = GREEK | _set("ell hbar star dagger partial nabla aleph forall exists neg")
"""Commands that are names of variables."""
FUNCTIONS = _set(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth sech csch arcsinh arccosh arctanh "
    "sup inf ker log ln lg exp gcd lcm max min arg Re Im deg det dim rank tr cis sgn"
)
BIG_OPERATORS = _set("sum prod int iint iiint lim limsup liminf")
"""Commands that apply to the term after them, and bind a letter."""
ASCII = {
    **{name: name for name in FUNCTIONS - _set("sup inf ker Re Im arg deg dim rank tr")},
    **{name: name for name in GREEK if len(name) > 2},
    **{name: name for name in _set("pi infty times cdot floor ceil cbrt abs binom frac")},
    "sqrt": "surd",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "mod": "bmod",
    "infinity": "infty",
    "inf": "infty",
    "oo": "infty",
    "signum": "sgn",
}
"""Names that are read without a backslash, and their commands."""
SYNONYMS = {
    alias: name
    for name, aliases in {
        "frac": "dfrac tfrac cfrac sfrac nicefrac",
        "binom": "dbinom tbinom",
        "le": "leq leqslant leqq",
        "ge": "geq geqslant geqq",
        "ne": "neq",
        "<": "lt",
        ">": "gt",
        "=": "doteq",
        "approx": "simeq",
        "ldots": "dots cdots dotsc vdots",
        "emptyset": "varnothing oslash",
        "|": "mid vert lvert rvert",
        "\\|": "Vert lVert rVert |",
        ":": "colon",
        "{": "lbrace",
        "}": "rbrace",
        "[": "lbrack",
        "]": "rbrack",
        "(": "lparen lgroup",
        ")": "rparen rgroup",
        "lor": "vee",
        "land": "wedge",
        "to": "rightarrow longrightarrow mapsto",
        "setminus": "backslash",
        "subsetneq": "subsetneqq varsubsetneq varsubsetneqq",
        "subseteq": "subseteqq",
        "supseteq": "supseteqq",
        "supset": "supsetneq supsetneqq",
        "cdot": "cdotp ast bullet",
        "sinh": "sh",
        "cosh": "ch",
        "tan": "tg",
        "cot": "ctg cotg",
        "csc": "cosec",
        "log": "Log",
        "ln": "Ln",
        "arg": "Arg",
        "arctan": "arctg",
        "arcsinh": "arsinh asinh",
        "arccosh": "arcosh acosh",
        "arctanh": "artanh atanh",
        "circ": "degree textdegree",
        "\\$": "textdollar dollar",
        "%": "percent",
        "vec": "overrightarrow",
        "hat": "widehat wideparen overparen overarc",
        "int": "oint",
        "iint": "oiint",
        "bar": "overline",
        "e": "exponentialE",
        "i": "imaginaryI imath",
        "j": "jmath",
        "epsilon": "varepsilon",
        "theta": "vartheta",
        "phi": "varphi",
        "rho": "varrho",
        "sigma": "varsigma",
        "neg": "lnot",
        "limsup": "varlimsup",
        "liminf": "varliminf",
        "Rightarrow": "implies Longrightarrow",
        "Leftrightarrow": "iff Longleftrightarrow",
    }.items()
    for alias in aliases.split()
}
"""Commands that mean the same as another."""
IGNORED = _set(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm displaystyle textstyle "
    "scriptstyle scriptscriptstyle limits nolimits mathbf mathit mathsf mathcal mathscr mathfrak boldsymbol bm bf pmb "
    "rm it square blacksquare qed checkmark nonumber notag hfill quad qquad enspace enskip thinspace negthinspace "
    "hline mathstrut strut tiny small large Large boxed fbox underline ensuremath normalsize mathnormal "
    "Rt mathop mathrel mathbin mathopen mathclose mathord mathpunct mathinner medspace thickspace allowbreak noindent"
)
"""Commands that only change how the answer looks."""
IGNORED_WITH_ARGUMENT = _set("textcolor color hspace vspace label tag class cssId phantom hphantom vphantom")
TEXT_COMMANDS = _set(
    "text textbf textit textrm textsf texttt textsc textup textnormal textmd mbox hbox mathrm mathtt operatorname "
    "operatorname* emph"
)
SPACES = frozenset(",;:!> ~")
"""The one-character commands that are white space."""
COMMON_WORDS = _set(
    "the is are of if to no yes all not for but odd one two six ten per was has and or so its it be by on at as an in "
    "we sum pct red men pen egg cow dog cat hat pig hen car bus box bag boy toy pie"
)
"""Short words that are words, not products of variables, where they are separate."""
RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "<=": "≤",
    "\\le": "≤",
    ">=": "≥",
    "\\ge": "≥",
    "!=": "≠",
    "\\ne": "≠",
    "\\approx": "≈",
    "\\in": "∈",
    "\\notin": "∉",
    "\\equiv": "≡",
    "\\to": "→",
    "->": "→",
    "\\cong": "≅",
    "\\sim": "∼",
    "\\backsim": "∼",
    "\\subset": "⊂",
    "\\subseteq": "⊆",
    "\\subsetneq": "⊊",
    "\\supset": "⊃",
    "\\supseteq": "⊇",
    "\\nsubset": "⊄",
    "\\nsubseteq": "⊈",
    "\\mid": "∣",
    "\\nmid": "∤",
    "\\propto": "∝",
    "\\ll": "≪",
    "\\gg": "≫",
    "\\perp": "⊥",
    "\\parallel": "∥",
    "\\Rightarrow": "⇒",
    "\\Leftrightarrow": "⇔",
}
ORDER = frozenset("<>≤≥≠")
"""The relations that say where a number lies."""
SET_OPERATIONS = {"\\cup": "union", "\\cap": "intersection", "\\setminus": "difference"}
DECORATIONS = _set("dot ddot bar hat vec tilde overbrace underbrace widetilde overleftrightarrow")
CURRENCIES = {
    "\\$": "dollar",
    "€": "euro",
    "£": "sterling",
    "¥": "yuan",
    "₹": "rupee",
    "₽": "ruble",
    "₩": "won",
    "\\pounds": "sterling",
    "\\euro": "euro",
    "\\yen": "yen",
}
CURRENCY_WORDS = {
    **dict.fromkeys(("Rs", "Rs.", "INR"), "rupee"),
    **dict.fromkeys(("USD", "US"), "dollar"),
    "EUR": "euro",
    "GBP": "sterling",
    **dict.fromkeys(("RMB", "CNY"), "yuan"),
    "JPY": "yen",
}
"""Words for money before the number."""
CONDITION_WORDS = _set("if for when where with as provided 当 若 如果 其中") | {
    "for all",
    "and if",
    "for any",
    "for every",
    "provided that",
    "such that",
    "where we have",
}
HYPOTHESES = _set("if 当 若 如果") | {"and if"}
"""Conditions that say nothing without what holds under them."""
CONSEQUENCE_WORDS = _set("then 时 则 时有 那么")
"""Words between a condition and its consequence."""
OTHERWISE = _set("otherwise else 其他 否则 其它")
JOINING_WORDS = {
    **dict.fromkeys(("and", "和", "及", "与", "且", "以及", "并且"), "and"),
    **dict.fromkeys(("or", "或", "或者"), "or"),
}
MATRIX_GROUPS = _set("GL SL PGL PSL SO SU PSU SP")
"""Names before the size and the field of their matrices."""
MATRICES = _set("matrix pmatrix bmatrix vmatrix Bmatrix Vmatrix smallmatrix psmallmatrix array")
ROWS = _set("cases dcases rcases numcases aligned align alignedat alignat gathered gather split eqnarray")
"""Environments whose rows are clauses of their own."""

_GREEK_LETTERS = zip(
    "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΣΦΨΩ",
    (
        *(
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
        ),
        *("xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
        *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega"),
    ),
    strict=True,
)
UNICODE = str.maketrans(
    {
        **dict(zip("０１２３４５６７８９", "0123456789", strict=True)),
        **dict.fromkeys("−–—‐‑‒﹣－", "-"),
        **dict.fromkeys(
            "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "
        ),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\ufe0e\ufe0f\ufeff\u2060\u2061\u2062", ""),
        **dict.fromkeys("\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069", ""),  # marks of direction
        **dict.fromkeys("’′‘", "'"),
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
        "〔": "[",
        "〕": "]",
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
        "≦": "\\le ",
        "≧": "\\ge ",
        "⇒": "\\Rightarrow ",
        "⇔": "\\Leftrightarrow ",
        "∀": "\\forall ",
        "∃": "\\exists ",
        "¬": "\\neg ",
        "‰": "\\times 10^{-3}",
        "⩾": "\\ge ",
        "≠": "\\ne ",
        "≈": "\\approx ",
        "≡": "\\equiv ",
        **dict.fromkeys("～〜", "~"),
        "±": "\\pm ",
        "∓": "\\mp ",
        "∈": "\\in ",
        "∉": "\\notin ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∖": "\\setminus ",
        "∁": "\\complement ",
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
        "∶": ":",
        "⊥": "\\perp ",
        "⟂": "\\perp ",
        "∥": "\\parallel ",
        "‖": "\\parallel ",
        "∣": "|",
        "｜": "|",
        "≌": "\\cong ",
        "≅": "\\cong ",
        "∽": "\\sim ",
        "∼": "\\sim ",
        "⊙": "\\odot ",
        "⊂": "\\subset ",
        "⊆": "\\subseteq ",
        "⊄": "\\nsubset ",
        "⊈": "\\nsubseteq ",
        "⊊": "\\subsetneq ",
        "⊃": "\\supset ",
        "⊇": "\\supseteq ",
        "∤": "\\nmid ",
        "∝": "\\propto ",
        "∴": "",
        "✓": "",
        "ħ": "\\hbar ",
        "ℏ": "\\hbar ",
        "Ⅰ": "I",
        "Ⅱ": "II",
        "Ⅲ": "III",
        "Ⅳ": "IV",
        "Ⅴ": "V",
        "✔": "",
        "￥": "¥",
        "₨": "₹",
        "″": "''",
        "“": "",
        "”": "",
        "℃": "^\\circ\\text{C}",
        "℉": "^\\circ\\text{F}",
        "µ": "μ",
        "٫": ".",
        "٬": ",",
        "⅐": "\\frac{1}{7}",
        "⅑": "\\frac{1}{9}",
        "⅒": "\\frac{1}{10}",
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
        "π": "\\pi ",
        "∑": "\\sum ",
        "∏": "\\prod ",
        "∫": "\\int ",
        "∂": "\\partial ",
    }
)
"""How characters outside ASCII are read."""
UNICODE.update({ord(letter): f"\\{name} " for letter, name in _GREEK_LETTERS})
