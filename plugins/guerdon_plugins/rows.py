"""From a stored record to a row: columns under the names that verifiers ask for, and a prompt in TRL's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.errors import DataError


@dataclass(frozen=True, slots=True)
class RowShape:
    """What the sources that read stored or generated records do to each of them."""

    columns: Mapping[str, str]
    """A row's column by the name of the record's column that it comes from."""
    template: str | None
    system: str | None
    chat: bool

    def __call__(self, record: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The row.

        Args:
            record: The record.
            where: What an error says of its place: ``data.jsonl:7``.

        Raises:
            DataError: It lacks a column.
        """
        renamed = set(self.columns.values())
        row = {name: value for name, value in record.items() if name not in renamed}
        row |= {new: self._get(record, old, where) for new, old in self.columns.items()}
        if self.template is not None:
            row["prompt"] = self._fill_in(self.template, row, where)
        if self.system is not None or self.chat:
            row["prompt"] = self._messages(self._get(row, "prompt", where))
        return row

    def _get(self, record: Mapping[str, Any], column: str, where: str) -> Any:
        try:
            return record[column]
        except KeyError:
            raise DataError(
                f"{where}: there is no column '{column}', only {', '.join(map(str, record)) or 'none at all'}. "
                "Name one of these in the source's 'columns'."
            ) from None

    def _fill_in(self, template: str, row: Mapping[str, Any], where: str) -> str:
        try:
            return template.format_map(row)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise DataError(
                f"{where}: the template {template[:60]!r} cannot be filled in: {type(error).__name__}: {error}. "
                f"Columns: {', '.join(row)}; write {{{{ and }}}} for braces that are text."
            ) from error

    def _messages(self, prompt: Any) -> list[Mapping[str, Any]]:
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return (
            [{"role": "system", "content": self.system}, *messages] if self.system is not None else messages
        )
