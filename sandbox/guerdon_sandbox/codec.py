"""Transfer Python values between processes that do not trust each other: the candidate's, the checker's, the host's.

Whatever bytes arrive, only plain builtins and values of the standard library come out, so an object with its own
``__eq__``, a subclass of ``int`` or a pickle cannot reach a comparison. Encoding happens in the candidate's process,
which may manipulate it. That has no benefit, because a forged value still has to equal the expected one, which the
candidate never sees.

Values are JSON. A type that JSON lacks is an object with one key, the type's tag: ``{"t": [1, 2]}`` is a tuple. This
module also runs inside the box, so it needs the standard library only.
"""

import datetime
import json
import re
from collections import deque, namedtuple
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from os import PathLike
from typing import Any, ClassVar, NamedTuple

from guerdon_sandbox import library

MAX_COLLISIONS = 100
"""The most items of one set or dict with the same hash, because colliding items make building one quadratic."""
MAX_FIELDS = 64
"""The most fields of a named tuple."""

MAX_DIGITS = 1 << 16
"""The most digits of a number that the host reads. To reduce a fraction takes time by the square of its digits."""

_JSON_INT = 1 << 63
_NUMPY_TYPE = re.compile(r"[<>|=]?([biu][1248]|f[248]|c8|c16)")
"""The element types of numpy arrays that can be encoded: numbers of a fixed size."""


class CodecError(ValueError):
    """A value that cannot be encoded, or bytes that are not a value."""


class Opaque:
    """A value that was not encoded. It equals only itself."""

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name

    def __repr__(self) -> str:
        return f"<{self.type_name} object>"


class State(NamedTuple):
    """An object of a class that both sides have, as its attributes."""

    type_name: str
    attributes: dict[str, Any]


Handle = Callable[[object], Any]
Build = Callable[[str, dict[str, Any]], object]


def dumps(value: object, handle: Handle | None = None) -> bytes:
    """Return a value as bytes.

    Args:
        value: Any object. Subclasses of builtins are reduced to the builtin.
        handle: Returns a JSON body for an object without an encoding, or its `State`. For an object of a subclass of a
            builtin it may return None, and the builtin is encoded. Without it, an object becomes its type's name.

    Raises:
        CodecError: The value is nested too deeply or contains itself.
    """
    try:
        return json.dumps(_encode(value, handle), separators=(",", ":")).encode()
    except RecursionError:
        raise CodecError("the value is nested too deeply or contains itself") from None


def loads(
    data: bytes,
    handle: Callable[[Any], Any] | None = None,
    *,
    inside: bool = False,
    build: Build | None = None,
    parse: Callable[[bytes], Any] = json.loads,
) -> Any:
    """Return the value that :func:`dumps` encoded, for untrusted bytes.

    Args:
        data: The result of :func:`dumps`, or any other bytes.
        handle: Turns the body of a handle into an object; without it handles become :class:`Opaque`.
        inside: Whether to rebuild numpy's arrays, named tuples and numbers of any length, which takes time in the
            box. On the host they become lists, tuples and :class:`Opaque`.
        build: Builds an object from its class's name and its attributes; without it such objects become
            :class:`Opaque`.
        parse: Reads the JSON.

    Raises:
        CodecError: The bytes are not an encoded value.
    """
    try:
        return _Decoder(handle or _opaque, build or _no_class, inside).decode(parse(data))
    except RecursionError:
        raise CodecError("the value is nested too deeply") from None
    except MemoryError:  # of this process, not of the bytes
        raise
    except Exception as error:  # untrusted bytes may break any step
        raise CodecError(f"not an encoded value: {error}") from None


def _opaque(body: Any) -> Opaque:
    return Opaque(str(body[1]) if isinstance(body, list) and len(body) > 1 else str(body))


def _no_class(type_name: str, _: dict[str, Any]) -> Opaque:
    return Opaque(type_name)


# --- encoding --------------------------------------------------------------------------------------------------------


def _encode(value: Any, handle: Handle | None) -> Any:
    if value is None or value is True or value is False:
        return value
    if type(value) not in _EXACT:
        body = _encode_subclass(value, handle)
        if body is not None:
            return body
    return _encode_builtin(value, handle)


def _encode_builtin(value: Any, handle: Handle | None) -> Any:
    """Encode a value as the builtin that it is an instance of."""
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
        return _encode_tuple(value, handle)
    if isinstance(value, dict):
        return {"d": [[_encode(key, handle), _encode(item, handle)] for key, item in dict.items(value)]}
    if isinstance(value, set):
        return {"s": [_encode(item, handle) for item in set.__iter__(value)]}
    if isinstance(value, frozenset):
        return {"z": [_encode(item, handle) for item in frozenset.__iter__(value)]}
    if isinstance(value, bytes | bytearray):
        return {"b" if isinstance(value, bytes) else "B": bytes(value).hex()}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if isinstance(value, range):
        return {"r": [_encode(part, None) for part in (value.start, value.stop, value.step)]}
    return _encode_rare(value, handle)


_BUILTINS = (str, int, float, list, tuple, dict, set, frozenset, bytes, bytearray, complex, range)
_EXACT = frozenset(_BUILTINS)


def _encode_subclass(value: Any, handle: Handle | None) -> Any:
    """Encode an object of a library's class or of a subclass of a builtin, or return None."""
    parts = library.parts(value)
    body = None if parts is None else {"L": [parts[0], _encode(parts[1], handle)]}
    if handle is not None and isinstance(value, _BUILTINS if parts is None else (*_BUILTINS, PathLike)):
        shown = handle(value)
        if shown is not None:
            return {"e": [shown, body or _encode_builtin(value, handle)]}
    return body


def _encode_tuple(value: tuple[Any, ...], handle: Handle | None) -> Any:
    items = [_encode(item, handle) for item in tuple.__iter__(value)]
    fields = getattr(value, "_fields", None) if type(value) is not tuple else None
    if (
        isinstance(fields, tuple)
        and all(isinstance(name, str) for name in fields)
        and len(fields) == len(items)
    ):
        return {"N": [type(value).__name__, list(fields), items]}
    return {"t": items}


_EMPTY: dict[Any, Any] = {}
_KEYS, _VALUES, _ITEMS = type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items())


def _encode_rare(value: Any, handle: Handle | None) -> Any:
    """Encode the types that the standard library and numpy add to the builtins, or return a handle."""
    if isinstance(value, Fraction):
        return {"F": [format(value.numerator, "x"), format(value.denominator, "x")]}
    if isinstance(value, Decimal):
        return {"D": Decimal.__str__(value)}
    if isinstance(value, deque):
        return {"q": [[_encode(item, handle) for item in deque.__iter__(value)], value.maxlen]}
    if isinstance(value, _KEYS):
        return {"k": [_encode(item, handle) for item in value]}
    if isinstance(value, _VALUES):
        return {"v": [_encode(item, handle) for item in value]}
    if isinstance(value, _ITEMS):
        return {"m": [[_encode(key, handle), _encode(item, handle)] for key, item in value]}
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        encoded = _encode_time(value)
        if encoded is not None:
            return {"T": encoded}
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        plain = value.tolist()
        if plain is not value:  # longdouble returns itself
            is_array = isinstance(plain, list) and _NUMPY_TYPE.fullmatch(value.dtype.str)
            return {"a": [value.dtype.str, _encode(plain, handle)]} if is_array else _encode(plain, handle)
    body = handle(value) if handle else [0, type(value).__name__]
    if isinstance(body, State):
        return {"o": [body.type_name, _encode(body.attributes, handle)]}
    return {"h": body}


def _encode_time(value: Any) -> list[Any] | None:
    """Return the parts of a date, time or duration, or None if its time zone has no fixed offset."""
    if isinstance(value, datetime.timedelta):
        return ["timedelta", value.days, value.seconds, value.microseconds]
    day = [value.year, value.month, value.day] if isinstance(value, datetime.date) else []
    if day and not isinstance(value, datetime.datetime):
        return ["date", *day]
    zone = value.tzinfo
    if zone is not None and type(zone) is not datetime.timezone:
        return None
    offset = None if zone is None else zone.utcoffset(None).total_seconds()
    clock = [value.hour, value.minute, value.second, value.microsecond]
    return ["datetime" if day else "time", *day, *clock, offset]


# --- decoding --------------------------------------------------------------------------------------------------------


class _Decoder:
    def __init__(self, handle: Callable[[Any], Any], build: Build, inside: bool) -> None:
        self._handle = handle
        self._build = build
        self._inside = inside

    def decode(self, data: Any) -> Any:
        if data is None or isinstance(data, bool | int | float | str):
            return data
        if isinstance(data, list):
            return [self.decode(item) for item in data]
        ((tag, body),) = data.items()
        return self._TAGS[tag](self, body)

    def _number(self, kind: str, make: Callable[..., Any], *digits: str) -> Any:
        if not self._inside and sum(map(len, digits)) > MAX_DIGITS:
            return Opaque(kind)
        return make(*digits)

    def _int(self, body: Any) -> Any:
        return self._number("int", _from_hex, body)

    def _fraction(self, body: Any) -> Any:
        numerator, denominator = body
        return self._number(
            "Fraction", lambda *parts: Fraction(*map(_from_hex, parts)), numerator, denominator
        )

    def _decimal(self, body: Any) -> Any:
        return self._number("Decimal", _make_decimal, body)

    def _complex(self, body: Any) -> complex:
        real, imaginary = (float(self.decode(part)) for part in body if not isinstance(part, str))
        return complex(real, imaginary)

    def _set(self, body: Any) -> set[Any]:
        return set(_spread([self.decode(item) for item in body]))

    def _dict(self, body: Any) -> dict[Any, Any]:
        keys = _spread([self.decode(key) for key, _ in body])
        return dict(zip(keys, (self.decode(item) for _, item in body), strict=True))

    def _tuple(self, body: Any) -> tuple[Any, ...]:
        return tuple(self.decode(item) for item in body)

    def _views(self, body: Any) -> Any:
        return dict(enumerate(self.decode(item) for item in body)).values()

    def _keys(self, body: Any) -> Any:
        return dict.fromkeys(_spread([self.decode(item) for item in body])).keys()

    def _range(self, body: Any) -> range:
        start, stop, step = (self.decode(part) for part in body)
        return range(start, stop, step)

    def _deque(self, body: Any) -> deque[Any]:
        items, bound = body
        return deque([self.decode(item) for item in items], bound)

    def _named(self, body: Any) -> tuple[Any, ...]:
        type_name, fields, items = body
        values = self._tuple(items)
        if not self._inside or len(fields) > MAX_FIELDS:
            return values
        kind: Any = _make_named(str(type_name), tuple(str(field) for field in fields))
        return tuple.__new__(kind, values) if len(values) == len(fields) else values

    def _array(self, body: Any) -> Any:
        element, items = body
        values = self.decode(items)
        if not self._inside or not _NUMPY_TYPE.fullmatch(element):
            return values
        try:
            import numpy
        except ImportError:
            return values
        return numpy.array(values, dtype=element)

    def _time(self, body: Any) -> Any:
        kind, *parts = body
        if kind == "timedelta":
            return datetime.timedelta(*parts)
        if kind == "date":
            return datetime.date(*parts)
        *clock, offset = parts
        zone = None if offset is None else datetime.timezone(datetime.timedelta(seconds=offset))
        made = {"datetime": datetime.datetime, "time": datetime.time}[kind]
        return made(*clock, tzinfo=zone)

    def _library(self, body: Any) -> Any:
        """Rebuild an object of a library. On the host, dicts are plain and other objects are not rebuilt."""
        kind, encoded = body
        if self._inside:
            return library.rebuild(str(kind), self.decode(encoded))
        if kind in ("Counter", "OrderedDict"):
            return self.decode(encoded)
        return self.decode(encoded[1]) if kind in ("defaultdict", "scalar") else Opaque(str(kind))

    def _value(self, body: Any) -> Any:
        """Return the builtin, or inside the object that the handle names."""
        shown, encoded = body
        value = self.decode(encoded)
        return self._handle([*shown, value]) if self._inside else value

    def _state(self, body: Any) -> object:
        type_name, attributes = body
        return self._build(str(type_name), self.decode(attributes))

    _TAGS: ClassVar[dict[str, Callable[..., Any]]] = {
        "h": lambda self, body: self._handle(body),
        "o": _state,
        "i": _int,
        "b": lambda _, body: bytes.fromhex(body),
        "B": lambda _, body: bytearray.fromhex(body),
        "L": _library,
        "e": _value,
        "c": _complex,
        "r": _range,
        "d": _dict,
        "s": _set,
        "z": lambda self, body: frozenset(self._set(body)),
        "t": _tuple,
        "N": _named,
        "F": _fraction,
        "D": _decimal,
        "q": _deque,
        "k": _keys,
        "v": _views,
        "m": lambda self, body: self._dict(body).items(),
        "T": _time,
        "a": _array,
    }


@lru_cache(maxsize=64)
def _make_named(type_name: str, fields: tuple[str, ...]) -> Any:
    make: Any = namedtuple  # type checkers require literal names, but these are data
    return make(type_name, fields)


def _from_hex(digits: str) -> int:
    return int(digits, 16)


def _make_decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CodecError("not a decimal number") from None


def _spread(items: list[Any]) -> list[Any]:
    if len(items) - len(set(map(hash, items))) > MAX_COLLISIONS:
        raise CodecError("a set or dict whose items' hashes collide")
    return items
