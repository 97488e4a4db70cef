"""Carries Python values between processes that do not trust each other: the candidate's, the checker's, the host's.

Whatever bytes arrive, only plain builtins come out, so an object with its own ``__eq__``, a subclass of ``int`` or a
pickle cannot reach a comparison. Encoding happens in the candidate's process and may be tampered with there; that
gains nothing, because a forged value still has to equal the expected one, which the candidate never sees.

Values are JSON; what JSON lacks is an object with one key, the type's tag: ``{"t": [1, 2]}`` is a tuple.
This module also runs inside the box, so it needs the standard library only.
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

MAX_COLLISIONS = 100
"""Most items of one set or dict that share their hash: crafted collisions make building one cost its length squared."""
MAX_ITERATED = 100_000
"""Most items that are drawn from an iterator."""

_JSON_INT = 1 << 63


class CodecError(ValueError):
    """A value that cannot cross, or bytes that are no value."""


class Opaque:
    """A value that did not cross. Equal to nothing but itself."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __repr__(self) -> str:
        return f"<{self.type_name} object>"


def dumps(value: object, handle: Callable[[object], Any] | None = None) -> bytes:
    """A value as bytes.

    Args:
        value: Any object. Subclasses of builtins are reduced to the builtin.
        handle: Gives the JSON body that stands for an object which has no encoding; without it such an object crosses
            as its type's name.

    Raises:
        CodecError: The value is nested too deeply or contains itself.
    """
    try:
        return json.dumps(_encode(value, handle), separators=(",", ":")).encode()
    except RecursionError:
        raise CodecError("the value is nested too deeply or contains itself") from None


def loads(
    data: bytes, handle: Callable[[Any], Any] | None = None, parse: Callable[[bytes], Any] = json.loads
) -> Any:
    """The inverse of ``dumps``, for bytes from anyone.

    Args:
        data: What ``dumps`` made, or anything else.
        handle: Turns the body of a handle into an object; without it handles become ``Opaque``.
        parse: Reads the JSON.

    Raises:
        CodecError: The bytes are no encoded value.
    """
    try:
        return _decode(parse(data), handle or _opaque)
    except RecursionError:
        raise CodecError("the value is nested too deeply") from None
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        raise CodecError(f"not an encoded value: {error}") from None


def _opaque(body: Any) -> Opaque:
    return Opaque(str(body))


def _encode(value: Any, handle: Callable[[object], Any] | None) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if -_JSON_INT < number < _JSON_INT else {"i": format(number, "x")}
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, list):
        return [_encode(item, handle) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"t": [_encode(item, handle) for item in tuple.__iter__(value)]}
    if isinstance(value, dict):
        return {"d": [[_encode(key, handle), _encode(item, handle)] for key, item in dict.items(value)]}
    if isinstance(value, set):
        return {"s": [_encode(item, handle) for item in set.__iter__(value)]}
    if isinstance(value, frozenset):
        return {"z": [_encode(item, handle) for item in frozenset.__iter__(value)]}
    if isinstance(value, bytes | bytearray):
        return {"b": bytes(value).hex()}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if isinstance(value, range):
        return {"r": [value.start, value.stop, value.step]}
    if type(value).__module__ == "numpy":
        return _encode(value.tolist(), handle)
    if isinstance(value, Iterator | type({}.keys()) | type({}.values()) | type({}.items())):
        return {"n": [_encode(item, handle) for item in islice(value, MAX_ITERATED)]}
    return {"h": handle(value) if handle else type(value).__name__}


def _decode(data: Any, handle: Callable[[Any], Any]) -> Any:
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list):
        return [_decode(item, handle) for item in data]
    ((tag, body),) = data.items()
    if tag == "h":
        return handle(body)
    if tag == "i":
        return int(body, 16)
    if tag == "b":
        return bytes.fromhex(body)
    if tag == "c":
        return complex(*body)
    if tag == "r":
        return range(*body)
    if tag == "d":
        keys = _spread([_decode(key, handle) for key, _ in body])
        return dict(zip(keys, (_decode(item, handle) for _, item in body), strict=True))
    if tag == "s":
        return set(_spread([_decode(item, handle) for item in body]))
    if tag == "z":
        return frozenset(_spread([_decode(item, handle) for item in body]))
    if tag == "t":
        return tuple(_decode(item, handle) for item in body)
    if tag == "n":
        return iter([_decode(item, handle) for item in body])
    raise CodecError(f"unknown tag {tag!r}")


def _spread(items: list[Any]) -> list[Any]:
    if len(items) - len(set(map(hash, items))) > MAX_COLLISIONS:
        raise CodecError("a set or dict whose items' hashes collide")
    return items
