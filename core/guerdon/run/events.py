"""Carries a run's events to its hook plugins."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pluggy

from guerdon.errors import InfrastructureError, PluginContractError, one_line
from guerdon.hookspecs import RunSpecs, ScoringSpecs, StageSpecs
from guerdon.run.files import STORAGE_ERRORS

logger = logging.getLogger(__name__)


class Events:
    """The hook plugins of one run. A hook that raises is reported and left out; the run goes on.

    Args:
        plugins: Objects with methods marked ``@hookimpl``.

    Raises:
        PluginContractError: A hook does not fit its specification.
    """

    def __init__(self, plugins: Iterable[object]) -> None:
        self._manager = pluggy.PluginManager("guerdon")
        for specs in (RunSpecs, StageSpecs, ScoringSpecs):
            self._manager.add_hookspecs(specs)
        try:
            for plugin in plugins:
                name = self._manager.register(plugin)
                if not self._manager.get_hookcallers(plugin):
                    raise PluginContractError(
                        f"{name} has no method that is marked @hookimpl, so it hooks nothing."
                    )
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginContractError(f"a hook plugin does not fit guerdon's hooks: {error}") from error

    def emit(self, event: str, **arguments: Any) -> None:
        """Call every implementation of a hook, in the order of the plugins."""
        for implementation in list(getattr(self._manager.hook, event).get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except OSError as error:
                if error.errno in STORAGE_ERRORS:  # going on would lose the record of what follows
                    raise InfrastructureError(
                        f"the run's log cannot be written: {one_line(error)}."
                    ) from error
                self._drop(implementation.plugin, event, error)
            except Exception as error:  # a hook is somebody's plugin, and an observer
                self._drop(implementation.plugin, event, error)

    def _drop(self, plugin: object, event: str, error: Exception) -> None:
        logger.warning(
            "hook plugin %s failed at %s (%s: %s) and is left out of the rest of the run",
            *(type(plugin).__name__, event, type(error).__name__, error),
        )
        self._manager.unregister(plugin)
