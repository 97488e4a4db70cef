"""Split completions into their parts, code blocks and words. For plugin authors, without heavy imports.

Every function accepts any string and takes time linear in its length. `split_reasoning` and `code_blocks`, which async
verifiers call, read a megabyte of prose in some milliseconds, and let other threads run while they read a hostile one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "GPT_OSS",
    "REASONING_TAGS",
    "CodeBlock",
    "Part",
    "Parts",
    "checked_tags",
    "code_blocks",
    "iter_code_blocks",
    "last_code_block",
    "last_tagged",
    "select_part",
    "self_corrections",
    "split_reasoning",
    "tag_marks",
    "without_code",
    "without_formulas",
    "words",
]


class Parts(NamedTuple):
    """A completion, split into reasoning and answer."""

    reasoning: str
    """The text before the final answer, without the tags; empty if no tag marks any."""
    answer: str
    """The text after the reasoning; empty if the reasoning never ends."""


GPT_OSS = "<|channel|>analysis <|channel|>final<|message|>"
"""The channels of gpt-oss (OpenAI's harmony format), also where a tokenizer left out the special tokens."""

REASONING_TAGS: tuple[str, ...] = (
    "think",  # DeepSeek-R1, Qwen3, GLM, MiniMax
    "thinking",
    "thought",  # EXAONE
    "reasoning",
    "seed:think",
    "longcat_think",
    "[THINK] [/THINK]",  # Magistral
    "◁think▷ ◁/think▷",  # Kimi
    "<|begin_of_thought|> <|end_of_thought|>",  # OpenThoughts, Sky-T1
    "<|START_THINKING|> <|END_THINKING|>",  # Command A
    "<|inner_prefix|> <|inner_suffix|>",  # Apertus
    "<|channel>thought <channel|>",  # Gemma
    "<unused94>thought <unused95>",  # MedGemma
    GPT_OSS,
)
"""The tags that mark reasoning, unless a plugin's param ``reasoning_tags`` names others.

A name, ``think``, means ``<think>`` and ``</think>``; two marks with a space between them are the opening and the
closing one. Case does not matter, nor does space inside of a named tag.
"""


def split_reasoning(completion: str, tags: Sequence[str] = REASONING_TAGS) -> Parts:
    """Split a completion where its reasoning ends.

    The last closing tag ends the reasoning, so text between two blocks of reasoning is not the answer. The opening tag
    may be missing, because a chat template may write it. Reasoning that is opened again, or never closed, leaves no
    answer.

    Args:
        completion: The model's text.
        tags: The tags around reasoning, spelt as in ``REASONING_TAGS``.

    Raises:
        ValueError: A tag is neither a name nor two marks.
    """
    tags = tuple(tags)
    bare = GPT_OSS in tags and (completion.startswith("analysis") or "assistantfinal" in completion)
    opening, closing, either = _tag_patterns(tags, bare)
    answer_start = max((mark.end() for mark in _matches(closing, completion)), default=0)
    if any(_matches(opening, completion, answer_start)):  # the reasoning is still open at the end of the text
        answer_start = len(completion)
    reasoning, answer = completion[:answer_start], completion[answer_start:]
    if reasoning:
        reasoning = _without(either, reasoning)
    if "<|channel|>" in completion:
        reasoning, answer = (_without(_HARMONY_MARKS, part) for part in (reasoning, answer))
    return Parts(reasoning.strip(), answer.strip())


def checked_tags(tags: Sequence[str] | None) -> tuple[str, ...]:
    """Return the tags that a plugin's param ``reasoning_tags`` names, or ``REASONING_TAGS`` by default.

    Raises:
        ValueError: There are none, or one is neither a name nor two marks.
    """
    chosen = REASONING_TAGS if tags is None else tuple(tags)
    _tag_patterns(chosen)
    return chosen


_TAG_NAME = re.compile(r"[A-Za-z][\w:.-]*+")
_MOST_SPACE = 99
"""The most characters in each gap of a mark."""

_HARMONY = (
    r"<\|channel\|>analysis",
    rf"<\|channel\|>final[^<]{{0,{_MOST_SPACE}}}+(?:<\|constrain\|>[^<]{{0,{_MOST_SPACE}}}+)?+<\|message\|>",
)
_BARE_HARMONY = (r"(?-i:\Aanalysis(?=[A-Z]))", r"(?-i:assistantfinal)")
"""The marks of ``GPT_OSS``, as written and without the special tokens."""

_HARMONY_MARKS = re.compile(r"<\|start\|>assistant|<\|(?:end|return|message)\|>")


def tag_marks(tag: str) -> tuple[str, str]:
    """Return the opening and the closing mark of a tag: a name, or two marks with a space between them.

    Raises:
        ValueError: The tag is something else.
    """
    if _TAG_NAME.fullmatch(tag):
        return f"<{tag}>", f"</{tag}>"
    marks = tag.split()
    if len(marks) != 2 or marks[0] == marks[1]:
        raise ValueError(
            f"{tag!r} is not a tag. Give a name such as think, or an opening and a closing mark such as "
            "'[THINK] [/THINK]'."
        )
    return marks[0], marks[1]


@cache
def _tag_patterns(
    tags: tuple[str, ...], bare: bool = False
) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return patterns of the opening marks, the closing marks and both, for tags as in ``REASONING_TAGS``.

    Args:
        tags: The tags.
        bare: Whether to find the marks of ``GPT_OSS`` also without the special tokens. They are left out where the
            text has none, because a search is ten times as fast if each mark begins with a symbol.
    """
    if isinstance(tags, str) or not tags:
        raise ValueError(f"the tags are {tags!r}. Give a list of at least one, such as [think].")
    pairs = [_HARMONY if tag == GPT_OSS else _tag_pattern(tag) for tag in tags]
    if bare:
        pairs.append(_BARE_HARMONY)
    opening, closing = ("|".join(pair[side] for pair in pairs) for side in (0, 1))
    patterns = (opening, closing, f"{opening}|{closing}")
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)  # type: ignore[return-value]


def _tag_pattern(tag: str) -> tuple[str, str]:
    opening, closing = map(re.escape, tag_marks(tag))
    if _TAG_NAME.fullmatch(tag):
        name, space = re.escape(tag), rf"\s{{0,{_MOST_SPACE}}}+"
        return rf"<{space}{name}{space}>", rf"<{space}/{space}{name}{space}>"
    return opening, closing


_WINDOW = 1 << 13
"""Characters that one call of a regular expression searches. Other threads wait for its end."""
_OVERLAP = 1 << 10
"""More characters than a pattern needs to see of a match."""


def _matches(pattern: re.Pattern[str], text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """Yield the matches of a pattern of short marks, in order. Other threads can run meanwhile."""
    while start < len(text):
        end = start + _WINDOW
        for match in pattern.finditer(text, start, end + _OVERLAP):
            if match.start() >= end:
                break
            if match.end() > end:  # it may be longer
                match = pattern.match(text, match.start()) or match
            start = match.end()
            yield match
        start = max(start, end)


def _without(pattern: re.Pattern[str], text: str) -> str:
    """Return the text without a pattern's matches."""
    ends = [0]
    for match in _matches(pattern, text):
        ends += match.span()
    ends.append(len(text))
    return "".join(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))


def last_tagged(text: str, tag: str) -> str | None:
    """Return the content of the last ``<tag>...</tag>``, without surrounding space, or ``None`` if there is none."""
    opening = f"<{tag}>"
    end = text.rfind(f"</{tag}>")
    start = text.rfind(opening, 0, max(end, 0))
    return None if start < 0 else text[start + len(opening) : end].strip()


Part: TypeAlias = Literal["reasoning", "answer", "whole"]
"""The part of a completion that a verifier reads, by its name in manifests."""


def select_part(completion: str, part: Part, tags: Sequence[str] = REASONING_TAGS) -> str:
    """Return the reasoning, the final answer or the whole of a completion.

    A completion that marks no reasoning is all reasoning. The final answer is the content of the last ``<answer>``
    tags, or, without them, the text after the reasoning.

    Args:
        completion: The model's text.
        part: The part to return.
        tags: The tags around reasoning, spelt as in ``REASONING_TAGS``.
    """
    if part == "whole":
        return completion
    reasoning, answer = split_reasoning(completion, tags)
    if part == "reasoning":
        return reasoning or completion
    tagged = last_tagged(answer, "answer")
    return answer if tagged is None else tagged


class CodeBlock(NamedTuple):
    """A fenced block of Markdown."""

    language: str
    """The fence's first word in lower case (``python``); empty if there is none."""
    code: str
    closed: bool
    """Whether a closing fence ends it. The last block of a truncated completion is open."""


def code_blocks(text: str) -> list[CodeBlock]:
    """Return the fenced code blocks, in order, by CommonMark's rules except that fences may have any indentation."""
    return list(iter_code_blocks(text))


def iter_code_blocks(text: str) -> Iterator[CodeBlock]:
    """Yield the blocks of `code_blocks` one by one, for texts with very many."""
    return (piece for piece in _pieces(text) if isinstance(piece, CodeBlock))


def last_code_block(text: str, *languages: str) -> CodeBlock | None:
    """Return the last fenced block in one of the languages (any if none is given), or ``None``."""
    fitting = [block for block in code_blocks(text) if not languages or block.language in languages]
    return fitting[-1] if fitting else None


def without_code(text: str) -> str:
    """Return the text with a space for all code: fenced blocks, ``inline`` code, drawings in ``[asy]`` tags."""
    return _CODE_IN_LINE.sub(
        " ", "".join(piece if isinstance(piece, str) else "\n" for piece in _pieces(text))
    )


def without_formulas(text: str) -> str:
    r"""Return the text with a space for each TeX formula: ``$x$``, ``$$x$$``, ``\(x\)``, ``\[x\]``, commands.

    A lone dollar sign before a number is money, and stays. What a command like ``\text{...}`` outside of a formula
    holds stays too; its name goes.
    """
    return _FORMULA.sub(" ", text)


def words(text: str, *, symbols: bool = False) -> list[str]:
    """Return the words and numbers of a text in any script, in order.

    Chinese, Japanese, Thai and the other scripts without spaces between words give one word per character.

    Args:
        text: Any text.
        symbols: Whether punctuation and other visible symbols also count, each as a word.
    """
    return _word_pattern(symbols, text.isascii()).findall(text)


def self_corrections(text: str) -> int:
    """Return the number of phrases that return to an earlier step, such as "wait", in English and Chinese."""
    return len(_SELF_CORRECTION.findall(text))


_SELF_CORRECTION = re.compile(
    r"\b(?:wait|hold on|on second thought|let me (?:see again|verify|reconsider|try again)"
    r"|(?:re-?|double-?)check(?:ing|ed)?|check again)\b"
    r"|等等|等一下|且慢|不对|重新|再(?:想|算|检查|看)|检查一下",
    re.IGNORECASE,
)

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""The line ends of `str.splitlines`."""
_MARKED = re.compile(rf"(```++|~~~++)([^{_LINE_ENDS}]*+)(?:\r\n|[{_LINE_ENDS}]|\Z)")
"""A run of fence characters, to the end of its line."""
_SPACES = "".join(char for char in map(chr, range(0x3001)) if char.isspace() and char not in _LINE_ENDS)

# Possessive repetition scans text without a closing mark only once.
_CODE_IN_LINE = re.compile(r"(?<!`)`++[^`\n]++`++|\[asy\](?:[^\[]|\[(?!/?asy\]))*+\[/asy\]")
_FORMULA = re.compile(
    r"""
      \$\$ [^$]++ \$\$
    | (?<![\\$\w]) \$ (?=\S) [^$\n]++ (?<=\S) \$ (?!\d)
    | \\\( (?: [^\\] | \\[^()] )*+ \\\)
    | \\\[ (?: [^\\] | \\[^\[\]] )*+ \\\]
    | \\begin\{ [^{}\s]++ \} (?: [^\\] | \\(?!begin\{|end\{) )*+ \\end\{ [^{}\s]++ \}
    | \\[A-Za-z]++
    """,
    re.VERBOSE,
)

# Han, Hiragana, Katakana, Bopomofo; Thai, Lao, Myanmar, Khmer letters.
_UNSPACED = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
    "\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2-\u0eb3\u0ebd-\u0ec6\u1000-\u102a\u1780-\u17b3"
)


@cache
def _word_pattern(symbols: bool, is_ascii: bool) -> re.Pattern[str]:
    number = r"\d++(?:[.,]\d++)*+"
    visible = r"|[^\w\s]|_" if symbols else ""
    if is_ascii:  # the same words in a third of the time
        return re.compile(rf"[A-Za-z]++(?:'[A-Za-z]++)*+|{number}{visible}")
    # re has no Unicode categories, and \w omits marks that are part of words in Hindi, Arabic, Hebrew and Thai.
    code_points = map(chr, range(0x300, 0x10000))
    marks = "".join(character for character in code_points if unicodedata.category(character)[0] == "M")
    letter = rf"(?:(?![{_UNSPACED}])[^\W\d_]|[{marks}])"
    unspaced = rf"[{_UNSPACED}][{marks}]*+"
    word = rf"{letter}++(?:['’]{letter}++)*+"
    return re.compile(f"{unspaced}|{word}|{number}{visible}")


def _pieces(text: str) -> Iterator[str | CodeBlock]:
    """Yield the text outside fenced blocks, and the blocks."""
    fence: _Fence | None = None
    outside = 0
    for start, line in _marked_lines(text):
        if fence is None:
            fence = _opened(line, text[start : line.start()])
            if fence is not None:
                yield text[outside:start]
        elif line[1][0] == fence.mark[0] and len(line[1]) >= len(fence.mark) and not line[2].strip():
            yield _block(fence, text[fence.inside : start], closed=True)
            fence, outside = None, line.end()
    yield text[outside:] if fence is None else _block(fence, text[fence.inside :], closed=False)


class _Fence(NamedTuple):
    """The line that opens a block."""

    mark: str
    indentation: int
    language: str
    inside: int
    """Where the next line starts."""


def _marked_lines(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the lines that begin with a run of fence characters, after space: their starts and `_MARKED` there."""
    before = 0
    for line in _matches(_MARKED, text):
        gap = text[before : line.start()]
        rest = gap.rstrip(_SPACES)
        if not rest or rest[-1] in _LINE_ENDS:
            yield before + len(rest), line
        before = line.end()


def _opened(line: re.Match[str], space: str) -> _Fence | None:
    """Return the fence that a line opens. A backtick fence has no other backtick on its line: that is inline code."""
    mark, rest = line.groups()
    if space.strip(" \t") or (mark[0] == "`" and "`" in rest):
        return None
    info = rest.split(None, 1)
    return _Fence(mark, len(space), info[0].lower() if info else "", line.end())


def _block(fence: _Fence, code: str, *, closed: bool) -> CodeBlock:
    if fence.indentation:  # which a list item adds to a whole block
        lines = code.splitlines(keepends=True)
        code = "".join(line[min(fence.indentation, len(line) - len(line.lstrip(" \t"))) :] for line in lines)
    return CodeBlock(fence.language, code, closed)
