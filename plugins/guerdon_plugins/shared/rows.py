"""Convert a stored record to a row: columns by the names that verifiers use, and a prompt in TRL's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from guerdon import Messages, message_text
from guerdon.data.columns import column
from guerdon.errors import DataError


@dataclass(frozen=True, slots=True)
class RowShape:
    """The conversion that sources of stored or generated records apply to each record."""

    columns: Mapping[str, str]
    """For each column of a row, the record's column or a path inside one."""
    template: str | None
    system: str | None
    chat: bool

    def __call__(self, record: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the row.

        Args:
            record: The record.
            where: The record's place for errors: ``data.jsonl:7``.

        Raises:
            DataError: It lacks a column, or its prompt does not fit the template.
        """
        renamed = set(self.columns.values())
        row = {name: value for name, value in record.items() if name not in renamed}
        row |= {new: _get(record, old, where) for new, old in self.columns.items()}
        if self.template is not None:
            row["prompt"] = self._fill_in(self.template, row, where)
        if self.system is not None or self.chat:
            row["prompt"] = self._messages(_get(row, "prompt", where))
        return row

    def _fill_in(self, template: str, row: Mapping[str, Any], where: str) -> str | Messages:
        """Return the prompt. Of a conversation, the last message is filled in and the others do not change."""
        prompt: Any = row.get("prompt")
        if not _is_conversation(prompt):
            return _filled(template, row, where)
        *before, last = prompt
        if last.get("role") != "user":
            raise DataError(
                f"{where}: the template is for what the user asks last, and the prompt's last message has the role "
                f"{last.get('role')!r}. Drop the template, or end the conversation with the user's message."
            )
        text = _filled(template, {**row, "prompt": message_text([last])}, where)
        return [*before, {**last, "content": text}]

    def _messages(self, prompt: Any) -> list[Mapping[str, Any]]:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return (
            [{"role": "system", "content": self.system}, *messages] if self.system is not None else messages
        )


def _get(record: Mapping[str, Any], path: str, where: str) -> Any:
    try:
        return column(record, path)
    except LookupError as error:
        raise DataError(f"{where}: {error}. Name one of these in the source's 'columns'.") from None


def _is_conversation(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(isinstance(turn, Mapping) for turn in prompt)


class _Template(Formatter):
    """Text with columns in braces, by name or path. Only texts, numbers and bools can be filled in."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if "[" in field_name:
            return super().get_field(field_name, args, kwargs)
        return column(kwargs, field_name), field_name

    def format_field(self, value: Any, format_spec: str) -> Any:
        if not isinstance(value, str | int | float):
            raise ValueError(f"a column that it names holds a {type(value).__name__}, which is not text")
        return super().format_field(value, format_spec)


def _filled(template: str, row: Mapping[str, Any], where: str) -> str:
    try:
        return _Template().vformat(template, (), row)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{where}: the template {template[:60]!r} cannot be filled in: {error}. "
            f"Columns: {', '.join(map(str, row))}; write {{{{ and }}}} for braces that are text."
        ) from error
