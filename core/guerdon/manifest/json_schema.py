"""Build the manifest's JSON Schema: its own keys, and the name and params of each installed plugin."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from guerdon import __version__
from guerdon.errors import GuerdonError
from guerdon.manifest.plan import STAGE_SOURCE
from guerdon.manifest.schema import Manifest
from guerdon.options.trl import OWNED
from guerdon.plugins.discovery import SCORERS, Kind, Plugin, installed_plugins, load_plugin
from guerdon.plugins.signatures import is_open_ended, valid_params

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PARTS: dict[str, Sequence[Kind]] = {
    "StageRef": (Kind.STAGE,),
    "SourceRef": (Kind.SOURCE,),
    "RewardRef": SCORERS,
    "MemberRef": SCORERS,
    "ToolRef": (Kind.TOOL, Kind.ENVIRONMENT),
    "ComponentRef": (Kind.HOOKS,),
}
"""The parts of a manifest that name a plugin, with the kinds that fit."""

_OTHER_FORMS = {"pattern": "[:/]", "description": "distribution/name, package.module:name, or ./file.py:name"}


def manifest_schema() -> dict[str, Any]:
    """Return the schema of manifests for the installed plugins. Imports every plugin except commands and recipes."""
    schema = Manifest.model_json_schema()
    definitions = schema["$defs"]
    for part, kinds in _PARTS.items():
        plugins = installed_plugins(*kinds)
        names = sorted(
            {plugin.name for plugin in plugins} | ({STAGE_SOURCE} if part == "SourceRef" else set())
        )
        use = definitions[part]["properties"]["use"]
        use["anyOf"] = [{"enum": names}, _OTHER_FORMS]
        use.pop("type", None)
        definitions[part]["allOf"] = list(_conditions(plugins, definitions))
    return {
        "$schema": DIALECT,
        "$id": f"urn:guerdon:manifest:{__version__}",
        **schema,
        "title": "A guerdon manifest",
    }


def _conditions(plugins: Sequence[Plugin], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a condition for each plugin: if ``use`` names it, ``params`` must fit it."""
    owners: dict[str, set[str]] = {}
    by_name: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        owners.setdefault(plugin.name, set()).add(plugin.distribution)
        by_name.setdefault(plugin.qualified_name, []).append(plugin)
    for qualified, same in by_name.items():
        names = [qualified] if len(owners[same[0].name]) > 1 else [same[0].name, qualified]
        try:  # where several kinds have one name, the params choose
            every = [_params(plugin, definitions) for plugin in same]
        except GuerdonError:  # the params of a broken plugin are unknown
            continue
        required = set.intersection(*(set(params["required"]) for params in every))
        params = every[0] if len(every) == 1 else {"anyOf": every, "required": sorted(required)}
        named = {"properties": {"use": {"enum": names}}, "required": ["use"]}
        then: dict[str, Any] = {"properties": {"params": params}}
        if params.get("required"):
            then["required"] = ["params"]
        yield {"if": named, "then": then}


def _params(plugin: Plugin, definitions: dict[str, Any]) -> dict[str, Any]:
    assert plugin.kind is not None
    loaded = load_plugin(plugin)
    parameters = valid_params(plugin.kind, loaded)
    takes_columns = not inspect.isclass(loaded)
    return {
        "type": "object",
        "properties": {name: _param(parameter, definitions) for name, parameter in parameters.items()},
        "required": []
        if takes_columns
        else [name for name, parameter in parameters.items() if parameter.default is parameter.empty],
        "additionalProperties": is_open_ended(plugin.kind, loaded),
    }


def _param(parameter: inspect.Parameter, definitions: dict[str, Any]) -> dict[str, Any]:
    if parameter.name in OWNED and _is_refused(parameter.annotation):
        return {"not": {}, "description": f"Not a stage's to set: {OWNED[parameter.name]}"}
    if parameter.annotation in (parameter.empty, Any):
        schema: dict[str, Any] = {}
    else:
        try:
            schema = TypeAdapter(parameter.annotation).json_schema(ref_template="#/$defs/{model}")
        except Exception:  # a type that pydantic or JSON Schema does not support adds no constraint
            schema = {}
    definitions.update(schema.pop("$defs", {}))
    try:
        if parameter.default is not parameter.empty:
            schema["default"] = json.loads(json.dumps(parameter.default, allow_nan=False))
    except (TypeError, ValueError):
        pass
    return schema


def _is_refused(annotation: Any) -> bool:
    extras = getattr(annotation, "__metadata__", ())
    return typing.get_origin(annotation) is typing.Annotated and not any(
        isinstance(e, FieldInfo) for e in extras
    )
