"""Checks that several stages share."""

from __future__ import annotations

from typing import Any

import pytest

from guerdon.errors import DataError
from guerdon_plugins.shared.checks import check_tool_prompts


def test_check_tool_prompts_of_a_text_names_the_row_and_both_fixes() -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": [{"role": "user", "content": "Look it up."}]},
        {"prompt": "Look it up."},
    ]
    with pytest.raises(
        DataError, match=r"row 1 has a text .* 'chat: true' .* \[\{role: user, content: text\}\]"
    ):
        check_tool_prompts(rows, ["search"])


def test_check_tool_prompts_without_tools_takes_texts() -> None:
    check_tool_prompts([{"prompt": "Look it up."}], [])
