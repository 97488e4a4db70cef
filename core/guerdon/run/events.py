"""Send a run's events to its own log and to its hook plugins."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import pluggy

from guerdon.errors import InfrastructureError, PluginContractError, one_line
from guerdon.hookspecs import RunSpecs, ScoringSpecs, StageSpecs
from guerdon.run.files import STORAGE_ERRORS
from guerdon.run.log import RunLog

logger = logging.getLogger(__name__)


class Events:
    """The listeners of one run. A hook that raises is reported and left out, and the run continues.

    Args:
        plugins: Objects with methods marked ``@hookimpl``.
        log: The run's own log, which gets every event first. An error of the log stops the run.

    Raises:
        PluginContractError: A hook does not fit its specification.
    """

    def __init__(self, plugins: Iterable[object], log: RunLog | None = None) -> None:
        self._log = log
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
        """Log an event and call every implementation of its hook, in the order of the plugins."""
        if self._log is not None:
            try:
                getattr(self._log, event)(**arguments)
            except OSError as error:
                raise InfrastructureError(f"the run's log cannot be written: {one_line(error)}.") from error
        for implementation in list(getattr(self._manager.hook, event).get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except OSError as error:
                if error.errno in STORAGE_ERRORS:  # continuing would lose the record of later events
                    raise InfrastructureError(
                        f"hook plugin {type(implementation.plugin).__name__} cannot write: {one_line(error)}."
                    ) from error
                self._drop(implementation.plugin, event, error)
            except Exception as error:  # a hook is a plugin, and must not stop the run
                self._drop(implementation.plugin, event, error)

    def _drop(self, plugin: object, event: str, error: Exception) -> None:
        logger.warning(
            "hook plugin %s failed at %s (%s: %s) and is left out of the rest of the run",
            *(type(plugin).__name__, event, type(error).__name__, error),
        )
        self._manager.unregister(plugin)
