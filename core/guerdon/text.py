"""Split completions into their parts, code blocks and words. For plugin authors, without heavy imports.

Every function accepts any string and takes time linear in its length.
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
    "last_code_block",
    "last_tagged",
    "select_part",
    "self_corrections",
    "split_reasoning",
    "tag_marks",
    "tag_patterns",
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
    opening, closing, either = tag_patterns(tuple(tags))
    answer_start = max((mark.end() for mark in closing.finditer(completion)), default=0)
    if opening.search(completion, answer_start):  # the reasoning is still open at the end of the text
        answer_start = len(completion)
    reasoning = either.sub("", completion[:answer_start])
    answer = completion[answer_start:]
    if "<|channel|>" in completion:
        reasoning, answer = (_HARMONY_MARKS.sub("", part) for part in (reasoning, answer))
    return Parts(reasoning.strip(), answer.strip())


def checked_tags(tags: Sequence[str] | None) -> tuple[str, ...]:
    """Return the tags that a plugin's param ``reasoning_tags`` names, or ``REASONING_TAGS`` by default.

    Raises:
        ValueError: There are none, or one is neither a name nor two marks.
    """
    chosen = REASONING_TAGS if tags is None else tuple(tags)
    tag_patterns(chosen)
    return chosen


_TAG_NAME = re.compile(r"[A-Za-z][\w:.-]*+")

_SPELLINGS = {
    GPT_OSS: (
        r"<\|channel\|>analysis|(?-i:\Aanalysis(?=[A-Z]))",
        r"<\|channel\|>final[^<]*+(?:<\|constrain\|>[^<]*+)?+<\|message\|>|(?-i:assistantfinal)",
    )
}
"""Tags whose patterns are more than two fixed texts."""

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
def tag_patterns(tags: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return patterns of the opening marks, the closing marks and both, for tags as in ``REASONING_TAGS``."""
    if isinstance(tags, str) or not tags:
        raise ValueError(f"the tags are {tags!r}. Give a list of at least one, such as [think].")
    pairs = [_SPELLINGS.get(tag) or _tag_pattern(tag) for tag in tags]
    opening, closing = ("|".join(pair[side] for pair in pairs) for side in (0, 1))
    patterns = (opening, closing, f"{opening}|{closing}")
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)  # type: ignore[return-value]


def _tag_pattern(tag: str) -> tuple[str, str]:
    opening, closing = map(re.escape, tag_marks(tag))
    if _TAG_NAME.fullmatch(tag):
        name = re.escape(tag)
        return rf"<\s*+{name}\s*+>", rf"<\s*+/\s*+{name}\s*+>"
    return opening, closing


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
    return [piece for piece in _pieces(text) if isinstance(piece, CodeBlock)]


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
    return _word_pattern(symbols).findall(text)


def self_corrections(text: str) -> int:
    """Return the number of phrases that return to an earlier step, such as "wait", in English and Chinese."""
    return len(_SELF_CORRECTION.findall(text))


_SELF_CORRECTION = re.compile(
    r"\b(?:wait|hold on|on second thought|let me (?:see again|verify|reconsider|try again)"
    r"|(?:re-?|double-?)check(?:ing|ed)?|check again)\b"
    r"|等等|等一下|且慢|不对|重新|再(?:想|算|检查|看)|检查一下",
    re.IGNORECASE,
)

# A backtick fence has no other backtick on its line; otherwise it is inline code.
_FENCE = re.compile(r"([ \t]*+)(`{3,}+(?=[^`]*+$)|~{3,}+)(.*+)")

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
def _word_pattern(symbols: bool) -> re.Pattern[str]:
    # re has no Unicode categories, and \w omits marks that are part of words in Hindi, Arabic, Hebrew and Thai.
    code_points = map(chr, range(0x300, 0x10000))
    marks = "".join(character for character in code_points if unicodedata.category(character)[0] == "M")
    letter = rf"(?:(?![{_UNSPACED}])[^\W\d_]|[{marks}])"
    unspaced = rf"[{_UNSPACED}][{marks}]*+"
    word = rf"{letter}++(?:['’]{letter}++)*+"
    number = r"\d++(?:[.,]\d++)*+"
    visible = r"|[^\w\s]|_" if symbols else ""
    return re.compile(f"{unspaced}|{word}|{number}{visible}")


def _pieces(text: str) -> Iterator[str | CodeBlock]:
    """Yield the lines outside fenced blocks, and the blocks."""
    fence: re.Match[str] | None = None
    inside: list[str] = []
    for line in text.splitlines(keepends=True):
        if fence is None:
            fence, inside = _FENCE.match(line), []
            if fence is None:
                yield line
        elif _closes(line, fence):
            yield _block(fence, inside, closed=True)
            fence = None
        else:
            inside.append(line)
    if fence is not None:
        yield _block(fence, inside, closed=False)


def _closes(line: str, fence: re.Match[str]) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence[2]) and stripped == fence[2][0] * len(stripped)


def _block(fence: re.Match[str], lines: list[str], *, closed: bool) -> CodeBlock:
    info = fence[3].split()
    language = info[0].lower() if info else ""
    # Lines lose their fence's indentation, which a list item adds to a whole block.
    code = "".join(line[min(len(fence[1]), len(line) - len(line.lstrip(" \t"))) :] for line in lines)
    return CodeBlock(language, code, closed)
