"""``concise``: pays right completions for being shorter than the other right ones, by the group's pass rate."""

from __future__ import annotations

from collections.abc import Sequence

from guerdon_plugins.shared.token_lengths import token_lengths


class Concise:
    """Pays each right completion by its length among the right ones of its group, times the group's pass rate.

    The shortest right completion earns the pass rate, the longest 0, others in proportion to their length in tokens
    (the length reward of Kimi k1.5, arXiv 2501.12599, section 2.3.3, for right completions only). So a prompt that the
    policy mostly fails exerts little pressure on length, and a wrong completion earns nothing by being short. Right
    completions of one length all earn the pass rate.

    The entry's ``needs`` say what is right: ``{use: concise, weight: 0.2, needs: [math]}``. A completion for which that
    is unknown, because the needed entry failed, does not count for the pass rate.
    """

    requires_needs = True

    def __call__(
        self, completions: list[str], completion_ids: Sequence[Sequence[int]], met: Sequence[bool | None]
    ) -> list[float | None]:
        lengths = token_lengths(completions, completion_ids)
        right = [length for length, fits in zip(lengths, met, strict=True) if fits]
        if not right:
            return [0.0] * len(completions)
        pass_rate = len(right) / sum(fits is not None for fits in met)
        shortest, longest = min(right), max(right)
        spread = max(longest - shortest, 1)
        return [
            pass_rate * (1 - (length - shortest) / spread) if fits else 0.0
            for length, fits in zip(lengths, met, strict=True)
        ]
