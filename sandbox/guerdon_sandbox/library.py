"""Encode and rebuild objects of the standard library, numpy and pandas that tests compare or ask for their type.

It runs inside the box too, so it imports a library only if the box has it and a value needs it.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

_FACTORIES: dict[str, Callable[[], Any]] = {
    kind.__name__: kind for kind in (int, float, str, list, set, dict, tuple, bool)
}
_OF_TEXT = {
    "Path": "pathlib",
    "PurePath": "pathlib",
    "UUID": "uuid",
    **dict.fromkeys(("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"), "ipaddress"),
}
"""Classes that rebuild an object from its text, and their modules."""
_MAX_TEXT = 4096
_PLAIN_DTYPES = "biuf"
_NULLABLE = frozenset(("str", "string", "boolean", "Int8", "Int16", "Int32", "Int64", "Float32", "Float64"))
"""Types of pandas that have a mark for missing values; it crosses as None."""


def parts(value: Any) -> tuple[str, Any] | None:
    """Return an object's kind and what it consists of, or None for objects of other classes.

    Objects of a candidate's subclass count as the library's.
    """
    for kind in type(value).__mro__:
        package = kind.__module__.partition(".")[0]
        split = _PARTS.get((package, kind.__name__))
        if split is not None:
            return split(value)
    return None


def rebuild(kind: str, body: Any) -> Any:
    """Return the object of untrusted parts.

    Raises:
        Exception: The parts do not fit, or the box lacks the library.
    """
    return _REBUILD[kind](kind, body)


def _dict_parts(kind: str) -> Callable[[Any], tuple[str, Any]]:
    return lambda value: (kind, dict(dict.items(value)))


def _default_parts(value: Any) -> tuple[str, Any]:
    factory = value.default_factory
    name = next((name for name, one in _FACTORIES.items() if one is factory), None)
    return "defaultdict", [name, dict(dict.items(value))]


def _text_parts(kind: str) -> Callable[[Any], tuple[str, Any]]:
    return lambda value: (kind, str(value))


def _scalar_parts(value: Any) -> tuple[str, Any] | None:
    plain = value.item()
    is_plain = value.dtype.kind in "iuf" and type(plain) in (int, float)
    return ("scalar", [value.dtype.str, plain]) if is_plain else None


def _frame_parts(value: Any) -> tuple[str, Any] | None:
    columns = [_column(value.iloc[:, index]) for index in range(value.shape[1])]
    made = [_index(value.columns), _index(value.index), columns]
    return None if None in (*made[:2], *columns) else ("DataFrame", made)


def _series_parts(value: Any) -> tuple[str, Any] | None:
    made = [value.name, _index(value.index), _column(value)]
    return None if made[1] is None or made[2] is None else ("Series", made)


def _index_parts(value: Any) -> tuple[str, Any] | None:
    made = _index(value)
    return None if made is None else ("Index", made)


def _index(index: Any) -> list[Any] | None:
    """Return the names, the values and the frequency of an index."""
    pandas = sys.modules["pandas"]
    names = list(index.names)
    if isinstance(index, pandas.RangeIndex):
        return [names, ["range", [index.start, index.stop, index.step]], None]
    if isinstance(index, pandas.MultiIndex):
        return [names, ["tuples", index.tolist()], None]
    column = _column(index.to_series())
    return None if column is None else [names, column, getattr(index, "freqstr", None)]


def _column(series: Any) -> list[Any] | None:
    """Return the type and the values of a column, or None if they have another type than numpy's."""
    dtype = series.dtype
    if str(dtype) == "category":
        categories = _column(series.cat.categories.to_series())
        made = [series.cat.codes.tolist(), categories, bool(series.cat.ordered)]
        return None if categories is None else ["category", made]
    if dtype.kind in "mM":
        return [str(dtype), series.astype("int64").tolist()]
    if str(dtype) in _NULLABLE:
        missing = series.isna().tolist()
        return [str(dtype), [None if gone else one for one, gone in zip(series, missing, strict=True)]]
    is_numpy = type(dtype).__module__.startswith("numpy")
    return [str(dtype), series.tolist()] if is_numpy and dtype.kind in _PLAIN_DTYPES + "O" else None


def _moment_parts(value: Any) -> tuple[str, Any] | None:
    zone = getattr(value, "tzinfo", None)
    return (type(value).__name__, [value.as_unit("ns").value, None if zone is None else str(zone)])


def _rebuilt_dict(kind: str, body: Any) -> Any:
    import collections

    return getattr(collections, kind)(body)


def _rebuilt_default(_: str, body: Any) -> Any:
    import collections

    name, items = body
    return collections.defaultdict(_FACTORIES.get(name), items)


def _rebuilt_text(kind: str, body: Any) -> Any:
    if not isinstance(body, str) or len(body) > _MAX_TEXT:
        raise ValueError(f"a {kind} of another text")
    return getattr(importlib.import_module(_OF_TEXT[kind]), kind)(body)


def _rebuilt_scalar(_: str, body: Any) -> Any:
    numpy = importlib.import_module("numpy")
    dtype = numpy.dtype(body[0])
    if dtype.kind not in "iuf":
        raise ValueError("a number of another type")
    return dtype.type(body[1])


def _rebuilt_frame(_: str, body: Any) -> Any:
    pandas = importlib.import_module("pandas")
    columns, index, data = body
    rows = _made_index(pandas, index)
    made = [_made_column(pandas, column, rows) for column in data]
    frame = pandas.concat(made, axis=1) if made else pandas.DataFrame(index=rows)
    frame.columns = _made_index(pandas, columns)
    return frame


def _rebuilt_series(_: str, body: Any) -> Any:
    pandas = importlib.import_module("pandas")
    name, index, column = body
    return _made_column(pandas, column, _made_index(pandas, index)).rename(name)


def _rebuilt_moment(kind: str, body: Any) -> Any:
    pandas = importlib.import_module("pandas")
    value, zone = body
    _check_zone(zone)
    return pandas.Timedelta(value) if kind == "Timedelta" else pandas.Timestamp(value, tz=zone)


def _made_index(pandas: Any, body: Any) -> Any:
    names, (kind, values), frequency = body
    if kind == "range":
        return pandas.RangeIndex(*values, name=names[0])
    if kind == "tuples":
        return pandas.MultiIndex.from_tuples(values, names=names)
    made = pandas.Index(_made_column(pandas, [kind, values], None), name=names[0])
    if frequency is not None:
        made.freq = frequency
    return made


def _made_column(pandas: Any, body: Any, index: Any) -> Any:
    kind, values = body
    if kind == "category":
        codes, categories, ordered = values
        known = pandas.Index(_made_column(pandas, categories, None))
        return pandas.Series(pandas.Categorical.from_codes(codes, known, ordered=ordered), index=index)
    if kind.startswith(("datetime64", "timedelta64")):
        _check_zone(kind)
        return pandas.Series(values, dtype="int64", index=index).astype(kind)
    if kind not in _NULLABLE and importlib.import_module("numpy").dtype(kind).kind not in _PLAIN_DTYPES + "O":
        raise ValueError("a column of another type")
    return pandas.Series(list(values), dtype=kind, index=index)


def _check_zone(text: Any) -> None:
    """Refuse a time zone that names a file."""
    if text is not None and "dateutil" in text:
        raise ValueError("a time zone in a file")


_PARTS: dict[tuple[str, str], Callable[[Any], tuple[str, Any] | None]] = {
    ("collections", "Counter"): _dict_parts("Counter"),
    ("collections", "OrderedDict"): _dict_parts("OrderedDict"),
    ("collections", "defaultdict"): _default_parts,
    **{(module, kind): _text_parts(kind) for kind, module in _OF_TEXT.items()},
    ("builtins", "slice"): lambda value: ("slice", [value.start, value.stop, value.step]),
    ("types", "SimpleNamespace"): lambda value: ("SimpleNamespace", dict(vars(value))),
    ("array", "array"): lambda value: ("array", [value.typecode, value.tolist()]),
    **{("numpy", kind): _scalar_parts for kind in ("integer", "floating")},
    ("pandas", "DataFrame"): _frame_parts,
    ("pandas", "Series"): _series_parts,
    ("pandas", "Index"): _index_parts,
    ("pandas", "Timestamp"): _moment_parts,
    ("pandas", "Timedelta"): _moment_parts,
}
_REBUILD: dict[str, Callable[[str, Any], Any]] = {
    "Counter": _rebuilt_dict,
    "OrderedDict": _rebuilt_dict,
    "defaultdict": _rebuilt_default,
    **dict.fromkeys(_OF_TEXT, _rebuilt_text),
    "SimpleNamespace": lambda _, body: importlib.import_module("types").SimpleNamespace(**body),
    "slice": lambda _, body: slice(*body),
    "array": lambda _, body: importlib.import_module("array").array(*body),
    "scalar": _rebuilt_scalar,
    "DataFrame": _rebuilt_frame,
    "Series": _rebuilt_series,
    "Index": lambda _, body: _made_index(importlib.import_module("pandas"), body),
    "Timestamp": _rebuilt_moment,
    "Timedelta": _rebuilt_moment,
}
