"""The log of completions, from which a killed stage resumes."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from guerdon import Messages
from guerdon.data.json_values import parse_object
from guerdon.errors import InfrastructureError
from guerdon.files import replaced
from guerdon.stage import Launch


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion."""

    text: str
    ids: Sequence[int]
    """The token ids, with the end token if there is one; empty if an endpoint returned only the text."""
    tokens: int
    """Its length in tokens."""
    finished: bool
    """Whether it ended within its length limit."""
    refused: str | None = None
    """Why there is no completion: the endpoint's message, or that the prompt is too long."""
    messages: Messages | None = None
    """All turns, the tools' among them, of a completion with tools."""
    calls: Sequence[Mapping[str, Any]] = ()
    """The calls of tools, as ``ToolCall.to_dict`` writes them."""
    environment: Mapping[str, Any] | None = None
    environment_reward: float | None = None
    broken: str | None = None
    """Why the rollout's environment was lost."""


Place: TypeAlias = tuple[int, int]
"""The number of a prompt, and that of a sample of it."""

Placed: TypeAlias = tuple[Place, Completion]


class CompletionLog:
    """A JSONL file for each process of a launch, one completion a line, in one folder that all of them see."""

    def __init__(self, path: Path, launch: Launch) -> None:
        """Read what all processes of an earlier attempt wrote, whatever their number.

        Args:
            path: The file of the first process. The others add their rank to its name.
            launch: The processes. All of them make a log of this path at the same time.
        """
        self._path, self._launch = path, launch
        own = path if launch.rank == 0 else path.with_name(f"{path.name}.rank{launch.rank}")
        _repair(own)
        launch.exchange("")  # from here on, no process writes until each has read
        self._known = self._read()
        launch.exchange("")
        self._file = own.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, place: Place) -> bool:
        return place in self._known

    def __getitem__(self, place: Place) -> Completion:
        return self._known[place]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._known)

    def add(self, place: Place, completion: Completion) -> None:
        """Write a completion at once."""
        self._known[place] = completion
        line = {"prompt": place[0], "sample": place[1], "completion": asdict(completion)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def answered(self) -> bool:
        """Return whether any completion is not a refusal."""
        return any(one.refused is None for one in self._known.values())

    def gather(self, places: Sequence[Place]) -> None:
        """Wait for all processes, and read the completions of all.

        Raises:
            InfrastructureError: Some are in no log.
        """
        if self._launch.count == 1:
            return
        self._launch.exchange("")
        self._known = self._read()
        if lost := [place for place in places if place not in self]:
            raise InfrastructureError(
                f"{len(lost)} of {len(places)} completions are in no log that process {self._launch.rank} sees in "
                f"{self._path.parent}. Put the run folder, by -o, on storage that all machines share."
            )

    def _read(self) -> dict[Place, Completion]:
        others = sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}.rank*"))
        paths: Iterable[Path] = (path for path in (self._path, *others) if path.exists())
        return dict(entry for path in paths for line in _lines(path) if (entry := _entry(line)) is not None)


def _repair(log: Path) -> None:
    """Remove incomplete lines after a kill or a power cut. Their completions are made again."""
    if not log.exists():
        return
    lines = _lines(log)
    whole = [line for line in lines if _entry(line) is not None]
    if lines != [*whole, ""]:
        with replaced(log) as partial:
            partial.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")


def _lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").split("\n")


def _entry(line: str) -> Placed | None:
    try:
        entry = parse_object(line) or {}
        said = entry["completion"]
        completion = Completion(**{**said, "calls": tuple(said.get("calls", ()))})
        return (entry["prompt"], entry["sample"]), completion
    except (TypeError, KeyError):
        return None
