"""Keep the pages of a zygote shared with the children that it forks, because each copy of a page costs a child a fault.

A child copies a page as soon as it counts one more reference to an object there. Immortal objects have no count (PEP
683). It needs only the standard library.
"""

import ctypes
import gc
import sys
import sysconfig
import types
from collections.abc import Iterable

_IMMORTAL = 0xFFFFFFFF
"""The reference count of immortal objects in CPython 3.12 and 3.13."""


def share_objects() -> None:
    """Make all objects of this interpreter immortal, if its version is known."""
    if sys.version_info[:2] not in ((3, 12), (3, 13)) or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return
    if sys.byteorder != "little" or sys.maxsize != 2**63 - 1:
        return
    for address in _reachable(gc.get_objects()):
        count = ctypes.c_uint64.from_address(address)
        if count.value < _IMMORTAL >> 1:
            count.value = _IMMORTAL


def _reachable(objects: list[object]) -> Iterable[int]:
    """Return the addresses of objects and of all that they refer to."""
    seen: dict[int, object] = {}
    while objects:
        one = objects.pop()
        if id(one) in seen or isinstance(one, types.FrameType):
            continue
        seen[id(one)] = one
        objects += gc.get_referents(one)
        if isinstance(one, types.CodeType):  # not the collector's, so it has no referents
            objects += [one.co_consts, one.co_names, one.co_qualname, one.co_linetable, one.co_exceptiontable]
    return seen
