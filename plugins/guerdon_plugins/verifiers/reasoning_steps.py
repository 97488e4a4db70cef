"""``reasoning_steps``: check whether the reasoning shows its steps."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guerdon import Score
from guerdon.text import Part, checked_tags, select_part, without_code, words
from guerdon_plugins.shared.visible import without_invisible

_STEP = re.compile(
    r"""^[ \t]*+ (?: [#]{1,6}[ ] )? [*]{0,2} (?:
          step [ ] \d{1,4} \b
        | \d{1,4} [.)] (?=[\s*])
        | [-*+•] [ \t]
        | (?: first | second | third | next | then | finally | lastly ) (?:ly)? \b ,?
        | 第[一二三四五六七八九十\d]{1,3}步? | 步骤[ ]?\d{1,4} | 首先 | 其次 | 接着 | 然后 | 最后
        ) [*:：,，、. \t]*+ (?P<text> .*+ ) $""",
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)


class ReasoningSteps:
    """Scores the number of steps in the reasoning, up to ``min_steps``.

    Open-R1's ``reasoning_steps``, but harder to exploit. A step is a line that starts with ``Step 1:``, ``1.``, a
    bullet, a word of order such as "First" or "Finally", or a Chinese equivalent, and has further words. A bare marker
    is not a step, and equal lines count once. Code is left out.

    Args:
        min_steps: How many steps score 1; fewer score their share.
        part: The part to count in: the reasoning, the final answer or the whole.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: ``min_steps`` is below 1.
    """

    def __init__(
        self, min_steps: int = 3, part: Part = "reasoning", reasoning_tags: Sequence[str] | None = None
    ) -> None:
        if min_steps < 1:
            raise ValueError(f"min_steps is {min_steps}; it must be at least 1")
        self._min_steps = min_steps
        self._part = part
        self._tags = checked_tags(reasoning_tags)

    def __call__(self, completion: str) -> Score:
        text = without_invisible(without_code(select_part(completion, self._part, self._tags)))
        steps = {tuple(words(step["text"].lower())) for step in _STEP.finditer(text)} - {()}
        return Score(min(1.0, len(steps) / self._min_steps), explanation=f"{len(steps)} steps")
