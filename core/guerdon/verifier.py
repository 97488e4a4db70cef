"""Calls one verifier in this process: for rewards that build on a verdict, for notebooks and for tests.

Nothing kills it when it hangs and nothing is cached; that is what a rubric does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from guerdon.component import CallColumns, is_async, load_component
from guerdon.errors import PluginContractError
from guerdon.plugins import Kind, find_plugin
from guerdon.scoring.convert import to_failure, to_score
from guerdon.types import Row, Score

Verifier: TypeAlias = Callable[[str, Row], Score]
"""Judges a completion, given its data row."""


def load_verifier(
    use: str, params: Mapping[str, Any] | None = None, base_dir: Path | None = None
) -> Verifier:
    """The verifier that a manifest would mean by ``use`` and ``params``.

    What it raises and returns becomes a score, as in a rubric.

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
    built = component.build()
    if is_async(built):
        raise PluginContractError(f"{component.plugin} is asynchronous; only a rubric can call it.")
    columns = CallColumns.of_built(component, built)

    def verify(completion: str, row: Row) -> Score:
        try:
            return to_score(built(completion, **columns.pick(row)))
        except Exception as error:  # a plugin may raise anything
            return to_failure(error)

    return verify
