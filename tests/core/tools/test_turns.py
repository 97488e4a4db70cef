"""What an environment shows is a part of the prompt that can be told from the rest."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon.tools import with_observation


@pytest.mark.parametrize(
    ("content", "observation", "expected"),
    [
        ("Open the door.", "It is locked.", "Open the door.\n\nIt is locked."),
        ("Open the door.\n", "It is locked.", "Open the door.\nIt is locked."),
        ("Open the door.", " It is locked.", "Open the door. It is locked."),
        ("", "It is locked.", "It is locked."),
        ("Open the door.", None, "Open the door."),
        ("Open the door.", "", "Open the door."),
        (
            [{"type": "text", "text": "Open."}],
            "Locked.",
            [{"type": "text", "text": "Open."}, {"type": "text", "text": "Locked."}],
        ),
    ],
)
def test_with_observation_keeps_the_texts_apart(content: Any, observation: str | None, expected: Any) -> None:
    before = {"role": "system", "content": "Be brief."}
    shown = with_observation([before, {"role": "user", "content": content}], observation)
    assert list(shown) == [before, {"role": "user", "content": expected}]
