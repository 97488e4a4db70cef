"""The verifier: a response and a row's constraints in, a score out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from guerdon import Failure, Score
from guerdon.text import Part, checked_tags, select_part
from guerdon_plugins.shared.visible import readable, without_invisible
from guerdon_plugins.verifiers.instructions import ifbench, ifeval  # noqa: F401 (they fill the table)
from guerdon_plugins.verifiers.instructions.constraints import bound
from guerdon_plugins.verifiers.instructions.references import read

MAX_CHARACTERS = 200_000
"""A longer response follows no constraint."""


class Instructions:
    """Scores whether a response follows verifiable constraints: those of IFEval, and most of IFBench.

    IFEval: arXiv 2311.07911; IFBench: arXiv 2507.02833. A row has IFEval's columns ``instruction_id_list`` and
    ``kwargs``, or the constraints in its reference. A response without a letter, a digit or a symbol follows none.
    Invisible characters, such as a zero-width space in a forbidden word, do not count.

    Args:
        scoring: ``all``: 1 if every constraint is followed; ``fraction``: the share that is.
        loose: Whether a constraint also counts as followed if it is without the response's first line, its last line,
            both, or the asterisks, as IFEval's loose accuracy does.
        part: The part that must follow the constraints: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.
    """

    audit_kind = "instructions"

    def __init__(
        self,
        scoring: Literal["all", "fraction"] = "all",
        loose: bool = False,
        part: Part = "answer",
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        self._all = scoring == "all"
        self._loose = loose
        self._part: Part = part
        self._tags = checked_tags(reasoning_tags)

    def __call__(
        self, completion: str, reference: Any = None, instruction_id_list: Any = None, kwargs: Any = None
    ) -> Score:
        try:
            named = read(reference, instruction_id_list, kwargs)
            checks = [(name, bound(name, arguments)) for name, arguments in named]
            for _, check in checks:
                check("A probe of the arguments.")
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        response = without_invisible(select_part(completion, self._part, self._tags))
        if not readable(response) or len(response) > MAX_CHARACTERS:
            return Score(0.0, explanation="the response is empty or too long")
        variants = list(dict.fromkeys(_variants(response))) if self._loose else [response]
        followed = [_follows(check, variants) for _, check in checks]
        broken = [name for (name, _), kept in zip(checks, followed, strict=True) if not kept]
        share = sum(followed) / len(followed)
        return Score(float(not broken) if self._all else share, explanation=", ".join(broken))


def _follows(check: Callable[[str], bool], variants: Sequence[str]) -> bool:
    return any(readable(variant) and check(variant) for variant in variants)


def _variants(response: str) -> Iterator[str]:
    """Yield the response as it is, without its first and last lines, and each without asterisks."""
    rows = response.split("\n")
    for part in (rows, rows[1:], rows[:-1], rows[1:-1]):
        text = "\n".join(part).strip() if part is not rows else response
        yield text
        yield text.replace("*", "")
