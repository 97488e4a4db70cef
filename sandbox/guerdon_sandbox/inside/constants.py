"""The names of the candidate's module as tests read them: constants, and the module itself.

It needs the standard library only.
"""

import contextlib
import types
from collections.abc import Callable
from typing import Any

from guerdon_sandbox.inside.blame import blame

_MUTABLE = (list, dict, set, bytearray)


class Constants:
    """The candidate's plain values that tests read by a global name, kept as they are in the candidate's process."""

    def __init__(
        self,
        ask: Callable[[str], list[Any]],
        encode: Callable[[object], bytes],
        refuse: Callable[[str], Exception],
    ) -> None:
        """Take the operations.

        Args:
            ask: Returns the value of a global in a list, or an empty list if it is a function or class.
            encode: Returns a value's bytes.
            refuse: Records that the test cannot run here.
        """
        self._ask = ask
        self._encode = encode
        self._refuse = refuse
        self._known: dict[str, tuple[Any, bytes]] = {}

    def read(self, name: str) -> list[Any]:
        """Return the value of a global in a list, or an empty list if it is a function or class."""
        found = self._ask(name)
        if not found or not isinstance(found[0], _MUTABLE):
            self._known.pop(name, None)
            return found
        known = self._known.get(name)
        if known is not None and type(known[0]) is type(found[0]):
            replace_content(known[0], found[0])
            found = [known[0]]
        self._known[name] = (found[0], self._encode(found[0]))
        return found

    def check(self) -> None:
        """Check that the test has changed none of them, because the candidate would not see it."""
        for name, (value, encoded) in self._known.items():
            if self._encode(value) != encoded:
                raise self._refuse(f"the test changes '{name}' of the program, which is in another process")

    def refresh(self) -> None:
        """Read them again after the candidate has run."""
        for name in list(self._known):
            with contextlib.suppress(NameError):
                self.read(name)


def replace_content(mine: Any, theirs: Any) -> None:
    """Give a list, dict, set or bytearray the content of another one."""
    if isinstance(mine, list | bytearray):
        mine[:] = theirs
    else:
        mine.clear()
        mine.update(theirs)


class Solution(types.ModuleType):
    """The candidate's module as tests see it that import it whole."""

    def __init__(
        self, name: str, member: Callable[[str], object], refuse: Callable[[str], Exception]
    ) -> None:
        super().__init__(name)
        super().__setattr__("_member", member)
        super().__setattr__("_refuse", refuse)

    def __getattribute__(self, name: str) -> Any:
        if name == "__doc__":
            return self._member(name)
        if name == "__dict__":
            raise self._refuse("the test lists the names of the program's module")
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name in ("__file__", "__path__", "__annotations__"):
            raise self._refuse(f"the test reads '{name}' of the program's module")
        return self._member(name)

    def __setattr__(self, name: str, value: object) -> None:
        raise self._refuse(f"the test replaces '{name}' of the program's module")

    def __delattr__(self, name: str) -> None:
        raise self._refuse(f"the test deletes '{name}' of the program's module")

    def __dir__(self) -> list[str]:
        raise self._refuse("the test lists the names of the program's module")


def no_attribute(name: str) -> Exception:
    """Return the candidate's error for a name that its module lacks."""
    error: Exception = blame(AttributeError(f"the program has no '{name}'"))
    return error
