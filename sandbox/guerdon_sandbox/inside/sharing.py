"""Keep the pages of a zygote shared with the children that it forks, and few.

A child copies a page as soon as it counts one more reference to an object there, which costs a fault. Immortal objects
have no count (PEP 683). A fork copies, and an exit drops, each page's entry in the page table; for the parts of a large
page the kernel does that in batches. It needs only the standard library.
"""

import ctypes
import gc
import sys
import sysconfig
import types
from collections.abc import Iterable

_IMMORTAL = 0xFFFFFFFF
"""The reference count of immortal objects in CPython 3.12 and 3.13."""


_LARGE_PAGE = 1 << 21
_MADV_COLLAPSE = 25
"""Makes a large page of a range. Linux has it from 6.1 on, and elsewhere it is an error without effect."""


def use_large_pages() -> None:
    """Make large pages of this process's own memory, where the kernel can."""
    madvise = ctypes.CDLL(None).madvise
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        areas = [line.split() for line in maps]
    for area, rights, *_, name in (fields if len(fields) > 5 else [*fields, ""] for fields in areas):
        if rights == "rw-p" and name in ("", "[heap]"):
            low, high = (int(address, 16) for address in area.split("-"))
            start, end = -(-low // _LARGE_PAGE) * _LARGE_PAGE, high // _LARGE_PAGE * _LARGE_PAGE
            if start < end:
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_COLLAPSE)


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
