"""Read a manifest: YAML 1.2, overrides, and errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from guerdon.errors import ManifestError, one_line
from guerdon.manifest.overrides import apply_override, quoting_fix
from guerdon.manifest.problems import Location, Problem, explain, problem_at
from guerdon.manifest.schema import Manifest

__all__ = ["Location", "ManifestFile", "Problem", "load_manifest", "quoting_fix", "read_manifest"]


MAX_NODES = 100_000
"""The most keys and items that a manifest may have after alias expansion, because a few aliases can expand to
billions."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A parsed manifest with the line of each part."""

    path: Path
    manifest: Manifest
    """The manifest without its invalid parts."""
    lines: Mapping[Location, int] = field(repr=False)
    """The line, counted from 1, of every key and item in the file."""
    problems: Sequence[Problem] = ()
    """The mistakes in the parts that were left out."""
    left_out: Collection[tuple[str, str]] = ()
    """The keys that were left out, each with the id of its stage (``""`` outside stages).

    A stage that was left out as a whole has the key ``""``.
    """
    options: Mapping[Location, str] = field(default_factory=dict, repr=False)
    """The ``--set`` that gave each location that the file did not."""

    def problem(self, location: Location, message: str) -> Problem:
        """Return a mistake at a location."""
        return problem_at(self.lines, self.options, location, message)

    def place(self, location: Location) -> str:
        """Return where a location is: the file and the line, or the ``--set`` that gave it."""
        return self._place(self.problem(location, ""))

    def _place(self, problem: Problem) -> str:
        return problem.option or f"{self.path}:{problem.line}"

    def gives(self, location: Location) -> bool:
        """Return whether the file or a ``--set`` has a location."""
        return location in self.lines or location in self.options

    def error(self, problems: Iterable[Problem]) -> ManifestError:
        """Return one error for all problems, in the order of their lines."""
        in_order = sorted(problems, key=lambda problem: problem.line)
        return ManifestError("\n".join(f"{self._place(problem)}: {problem.message}" for problem in in_order))


def load_manifest(path: Path, overrides: Sequence[str] = ()) -> ManifestFile:
    """Read and validate a manifest.

    Args:
        path: The YAML file.
        overrides: Changes to it, each ``path=value``: ``seed=1``, ``stages.zero.params.max_steps=5``. A stage is named
            by its id or its index, the value is YAML.

    Raises:
        ManifestError: The file cannot be read, or does not fit the schema; all mistakes at once.
    """
    file = read_manifest(path, overrides)
    if file.problems:
        raise file.error(file.problems)
    return file


def read_manifest(path: Path, overrides: Sequence[str] = ()) -> ManifestFile:
    """Read a manifest and leave out its invalid parts, so that the rest can be checked too.

    Args:
        path: The YAML file.
        overrides: Changes to it, as for :func:`load_manifest`.

    Raises:
        ManifestError: The file cannot be read, or nothing remains to be checked without its invalid parts.
    """
    lines: dict[Location, int] = {}
    data = _plain(_read(path), (), lines, path)
    options: dict[Location, str] = {}
    for override in overrides:
        options[apply_override(data, override)] = f"--set {override}"
    problems: list[Problem] = []
    indices = {"stages": list(range(len(data["stages"])))} if isinstance(data.get("stages"), list) else {}
    left_out: list[tuple[str, str]] = []
    while True:
        try:
            manifest = Manifest.model_validate(data)
        except ValidationError as error:
            # A key that is missing only because its invalid value was left out is not another mistake.
            problems = problems or explain(lines, options, error)
            if not _leave_out(data, error, indices, left_out):
                raise ManifestFile(path, _EMPTY, lines).error(problems) from None
        else:
            kept = _moved(lines, indices)
            return ManifestFile(path, manifest, kept, problems, left_out, _moved(options, indices))


_EMPTY = Manifest.model_construct()


def _leave_out(
    data: Any, error: ValidationError, indices: dict[str, list[int]], left_out: list[tuple[str, str]]
) -> bool:
    """Delete the invalid parts from the data. Return whether anything was deleted."""
    places = {_place(data, detail) for detail in error.errors(include_url=False)}
    if () in places:
        return False
    # An outermost part contains the nested ones. List items are deleted from the end, so that indices stay valid.
    outermost = [place for place in places if not any(place[:n] in places for n in range(1, len(place)))]
    for place in sorted(outermost, key=_order, reverse=True):
        left_out.append(_name_of(data, place))
        holder: Any = data
        for part in place[:-1]:
            holder = holder[part]
        del holder[place[-1]]
        if place[:-1] == ("stages",):
            del indices["stages"][int(place[-1])]
    return True


def _order(place: Location) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in place]


def _name_of(data: Any, place: Location) -> tuple[str, str]:
    if place[0] != "stages" or len(place) == 1:
        return "", str(place[0])
    stage = data["stages"][place[1]]
    stage_id = str(stage.get("id", "")) if isinstance(stage, dict) else ""
    return stage_id, str(place[2]) if len(place) > 2 else ""


def _place(data: Any, detail: Any) -> Location:
    """Return the location of the invalid part: the deepest one that the error names, or the one that lacks a key."""
    place: list[str | int] = []
    node = data
    for part in detail["loc"]:
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]
        elif detail["type"] == "missing":
            break
        else:  # pydantic's name for a variant of a union
            continue
        place.append(part)
    return tuple(place)


def _moved(lines: Mapping[Location, T], indices: Mapping[str, Sequence[int]]) -> dict[Location, T]:
    """Return what is known of locations by the new locations of stages, after other stages were left out."""
    kept = indices.get("stages", ())
    new = {old: number for number, old in enumerate(kept)}
    moved = {}
    for place, line in lines.items():
        if len(place) > 1 and place[0] == "stages":
            if place[1] not in new:
                continue
            place = ("stages", new[place[1]], *place[2:])
        moved[place] = line
    return moved


def _read(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ManifestError(
            f"{path}:{line}: is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    try:
        data = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ManifestError(
            f"{where}: is not valid YAML: {one_line(error.problem or error.context)}."
        ) from None
    except (YAMLError, ValueError) as error:  # a number of thousands of digits is a ValueError
        raise ManifestError(f"{path}: is not valid YAML: {one_line(error)}.") from None
    except RecursionError:
        raise ManifestError(f"{path}: is nested too deeply to be a manifest.") from None
    if not isinstance(data, CommentedMap):
        raise ManifestError(f"{path}:1: a manifest is a mapping with at least 'name' and 'stages'.")
    return data


def _plain(node: Any, location: Location, lines: dict[Location, int], path: Path) -> Any:
    """Return the node as plain data, with aliases and merges expanded, so that an override changes one place only.

    Records each key's and item's line. A merged key has the line of the mapping that it was merged into.
    """
    if len(lines) > MAX_NODES:
        raise ManifestError(
            f"{path}: has more than {MAX_NODES} keys and items. Does an alias hold itself many times?"
        )
    if isinstance(node, CommentedMap):
        mapping = {}
        for key, value in node.items():
            own = key in node.lc.data
            lines[*location, key] = node.lc.key(key)[0] + 1 if own else node.lc.line + 1
            mapping[key] = _plain(value, (*location, key), lines, path)
        return mapping
    if isinstance(node, CommentedSeq):
        items = []
        for index, value in enumerate(node):
            lines[*location, index] = node.lc.item(index)[0] + 1
            items.append(_plain(value, (*location, index), lines, path))
        return items
    return node
