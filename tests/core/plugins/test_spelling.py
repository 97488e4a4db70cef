from __future__ import annotations

import pytest

from guerdon.plugins.spelling import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("teacher", ["use_cache", "max_steps"], None),
        ("use_chace", ["use_cache", "max_steps"], "use_cache"),
        ("rnu", ["run", "runs"], "run"),
        ("steps", ["max_steps"], "max_steps"),
        ("matches", ["math", "match"], "match"),
        ("learning_rat", ["learning_rate", "warmup_ratio"], "learning_rate"),
        ("rr", ["r"], "r"),
        ("", ["run"], None),
        ("completly_other", ["run"], None),
    ],
)
def test_nearest_is_a_name_with_a_few_wrong_letters(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant
    assert did_you_mean(word, known) == (f" Did you mean '{meant}'?" if meant else "")
