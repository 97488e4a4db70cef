"""The type of a plugin param that is a chat template."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

__all__ = [
    "ChatTemplate",
]


def _template(text: str) -> str:
    if "{" not in text:
        raise ValueError(
            "this is not a Jinja template; write the template itself, such as a block after '|-'"
        )
    try:
        import jinja2
        from jinja2.ext import Extension
    except ImportError:  # the extra 'train', which renders the template, brings it
        return text

    class Generation(Extension):
        """Parses the block ``{% generation %}``, with which transformers marks the model's own words."""

        tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as an instance variable

        def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    try:
        jinja2.Environment(extensions=[Generation, "jinja2.ext.loopcontrols"], autoescape=False).compile(text)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the template is not valid Jinja: {error.message}") from None
    return text


ChatTemplate = Annotated[str, AfterValidator(_template)]
"""A Jinja template. The manifest holds its text, so that the stage runs again after a change."""
