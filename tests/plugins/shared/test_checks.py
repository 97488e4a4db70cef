"""Checks that several stages share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon import Model
from guerdon.errors import DataError, UsageError
from guerdon.options.trl import tool_templates
from guerdon_plugins.shared.checks import check_tool_prompts, check_tool_template


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


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return Model("tiny", str(tmp_path))


def test_check_tool_template_that_trl_does_not_know_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match=r"the tools search, .*'tiny', so it cannot read calls"):
        check_tool_template([model], None, ["search"])
    with pytest.raises(UsageError, match="cannot read calls"):
        check_tool_template([model], "{{ other }}", ["search"])
    check_tool_template([model], None, [])


def test_check_tool_template_that_trl_knows_passes(model: Model) -> None:
    for template in tool_templates():
        check_tool_template([model], f"{template}\n", ["search"])
    Path(model.path, "chat_template.jinja").write_text(next(iter(tool_templates())))
    check_tool_template([model], None, ["search"])


def test_check_tool_template_of_a_tokenizer_that_reads_calls_passes(model: Model) -> None:
    Path(model.path, "tokenizer_config.json").write_text(json.dumps({"response_template": {}}))
    check_tool_template([model], None, ["search"])
