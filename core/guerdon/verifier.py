"""Call one verifier in this process: for rewards that use a verifier, for notebooks and for tests.

There is no deadline and no cache; a rubric has both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from guerdon.data.references import plain_columns
from guerdon.errors import PluginContractError
from guerdon.plugins.columns import CallColumns
from guerdon.plugins.component import Component, load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.plugins.signatures import is_async
from guerdon.scoring.convert import to_failure, to_score
from guerdon.types import Row, Score

__all__ = [
    "Verifier",
    "load_verifier",
]

Verifier: TypeAlias = Callable[[str, Row], Score]
"""Judges a completion with its data row."""


def load_verifier(
    use: str, params: Mapping[str, Any] | None = None, base_dir: Path | None = None
) -> Verifier:
    """Return the verifier that a manifest's ``use`` and ``params`` select.

    Its exceptions and return values become scores, as in a rubric.

    Args:
        use: A name, ``distribution/name``, an import string, or a file.
        params: Its params.
        base_dir: The folder that a file's relative path starts from; the current one by default.

    Raises:
        PluginNotFoundError: Nothing has that name.
        DuplicatePluginError: Several plugins have it.
        PluginLoadError: It does not import.
        PluginContractError: It is asynchronous.
        ParamsError: The params do not fit.
    """
    component = load_component(find_plugin(use, (Kind.VERIFIER,), base_dir), params or {}, base_dir)
    return _InProcess(component)


class _InProcess:
    """A verifier that was built in this process. A process that unpickles it builds it again."""

    def __init__(self, component: Component) -> None:
        self._component = component
        self._built = component.build()
        if is_async(self._built):
            raise PluginContractError(f"{component.plugin} is asynchronous; only a rubric can call it.")
        component.set_up(self._built)
        self._columns = CallColumns.of_built(component, self._built)

    def __call__(self, completion: str, row: Row) -> Score:
        try:
            return to_score(self._built(completion, **self._columns.pick(plain_columns(row))))
        except Exception as error:  # a plugin may raise anything
            return to_failure(error)

    def __reduce__(self) -> tuple[type[_InProcess], tuple[Component]]:
        return type(self), (self._component,)
