"""The param that is a chat template."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from guerdon.chat_template import ChatTemplate

READ = TypeAdapter(ChatTemplate)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m.role == 'x' %}{% continue %}{% endif %}{{ m.content }}{% endfor %}",
        "{%- generation -%}{{ messages[0]['content'] }}{%- endgeneration -%}",
    ],
)
def test_what_transformers_renders_is_accepted(template: str) -> None:
    assert READ.validate_python(template) == template


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages", "line 1 of the template is not valid Jinja: unexpected end of template"),
        ("{% for m in messages %}\n{{ m.content }}\n{% endfor", "line 3 of the template is not valid Jinja"),
        ("{{ x | nosuchfilter }}", "No filter named 'nosuchfilter'"),
        ("chat.jinja", "this is not a Jinja template"),
    ],
)
def test_what_is_no_template_is_refused_before_anything_runs(template: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        READ.validate_python(template)
