"""The protocols of plugins: a class for each kind, and one for each optional member.

A plugin need not import this module, because the protocols describe what the engine calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from guerdon.stage import Model, StageContext, StageResult
from guerdon.types import Row, Score

__all__ = [
    "Environment",
    "GroupReward",
    "HasAnyProcessCount",
    "HasAuditKind",
    "HasClose",
    "HasDeadline",
    "HasDistributed",
    "HasEndless",
    "HasEvaluates",
    "HasExtendableParams",
    "HasFingerprint",
    "HasFirstOf",
    "HasGoldCompletion",
    "HasGuerdonKind",
    "HasMaxWorkers",
    "HasNeeds",
    "HasOperationalParams",
    "HasPlanMemory",
    "HasPreflight",
    "HasPromptHint",
    "HasRequiresNeeds",
    "HasReward",
    "HasSameAnswer",
    "HasSetup",
    "HasSignature",
    "HasStagePreflight",
    "HasState",
    "HasUsesTools",
    "Reward",
    "Source",
    "Stage",
    "Verifier",
]


class Verifier(Protocol):
    """Checks one completion."""

    def __call__(
        self, completion: str, **columns: Any
    ) -> bool | float | Score | Awaitable[bool | float | Score | None] | None: ...


class Reward(Protocol):
    """Rewards a batch of completions; TRL's reward function."""

    def __call__(
        self, **arguments: Any
    ) -> Sequence[float | Score | None] | Awaitable[Sequence[float | Score | None]]: ...


class GroupReward(Protocol):
    """Compares the completions of one prompt."""

    def __call__(
        self, completions: list[str], **columns: Any
    ) -> Sequence[float | Score | None] | Awaitable[Sequence[float | Score | None]]: ...


class Source(Protocol):
    """Yields data rows."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows from the start."""
        ...


class Environment(Protocol):
    """Has a state that the model changes; TRL's environment class. Its other public methods are tools."""

    def reset(self, **row: Any) -> str | None:
        """Begin a rollout, and return text to append to its prompt, or ``None``."""
        ...


class HasReward(Protocol):
    """An environment that rewards the rollout."""

    def get_reward(self) -> float | Awaitable[float]:
        """Return the reward of the finished rollout."""
        ...


class HasState(Protocol):
    """An environment that decides what scorers and records see of it."""

    def state(self) -> Mapping[str, Any]:
        """Return the state after the rollout, as JSON values."""
        ...


class HasUsesTools(Protocol):
    """A stage that lets the model call tools."""

    uses_tools: ClassVar[bool]
    """``True`` if the manifest may give the stage ``tools`` and ``environments``."""


class HasEvaluates(Protocol):
    """A stage that can evaluate its model while it trains."""

    evaluates: ClassVar[bool]
    """``True`` if the manifest may give the stage an ``evaluation``."""


class Stage(Protocol):
    """Turns a checkpoint and data into a checkpoint, a data set or metrics."""

    def run(self, context: StageContext) -> StageResult:
        """Do the work and return what other stages may use."""
        ...


class HasSignature(Protocol):
    """A class whose params are defined elsewhere, such as the fields of another library's config."""

    @classmethod
    def signature(cls) -> inspect.Signature:
        """Return the params as a signature."""
        ...


class HasPreflight(Protocol):
    """Checks, before a run, that the services the plugin needs respond."""

    def preflight(self) -> Awaitable[None] | None:
        """Raise if a service that the plugin needs does not respond."""
        ...


class HasStagePreflight(Protocol):
    """A stage's preflight. It gets the arguments that its signature names."""

    def preflight(
        self, rewards: Sequence[str], rows: Sequence[Row], count: int | None, models: Sequence[Model]
    ) -> Awaitable[None] | None:
        """Raise if the stage would fail."""
        ...


class HasPlanMemory(Protocol):
    """A stage that computes the memory that it takes on each device."""

    def plan_memory(
        self, models: Sequence[Model], *, prompt_tokens: int, device_bytes: int, processes: int
    ) -> Mapping[str, Mapping[str, int]]:
        """Return, for each moment, such as ``update``, the bytes of each part, such as ``weights``.

        Args:
            models: The models of ``init``, in its order.
            prompt_tokens: The length of each prompt.
            device_bytes: The memory of the device.
            processes: The processes of the launch, with one device each.
        """
        ...


class HasSetup(Protocol):
    """Loads large resources once in each worker process, before the first case and outside its deadline."""

    setup_timeout_s: ClassVar[float]
    """The deadline of ``setup()`` in seconds."""

    def setup(self) -> Awaitable[None] | None:
        """Load a model, an index or a large table."""
        ...


class HasClose(Protocol):
    """Closes the resources that the plugin has opened, at the end."""

    async def aclose(self) -> None:
        """Close the resources that the plugin has opened."""
        ...


class HasDeadline(Protocol):
    """Has its own deadline, for manifests that set none."""

    timeout_s: ClassVar[float]
    """The deadline of one call in seconds."""


class HasMaxWorkers(Protocol):
    """Limits the number of worker processes that hold a copy of it."""

    max_workers: ClassVar[int]
    """The largest number of worker processes with a copy of the plugin."""


class HasGoldCompletion(Protocol):
    """Can write a right completion for a reference."""

    def gold_completion(self, reference: Any) -> str | None:
        """Return a right completion for a reference, or ``None`` if there is none."""
        ...


class HasSameAnswer(Protocol):
    """Decides whether two answers mean the same."""

    def same_answer(self, first: str, second: str) -> bool:
        """Return whether two answers mean the same."""
        ...


class HasFirstOf(Protocol):
    """Is short for a ``first_of``, so it is never called itself."""

    def first_of(self) -> Sequence[Mapping[str, Any]]:
        """Return the members, each as a manifest has it: ``{"use": "math", "params": {}}``."""
        ...


class HasPromptHint(Protocol):
    """Says what prompts must mention, so that ``guerdon check`` finds prompts that do not."""

    def prompt_hint(self, row: Row) -> Mapping[str, Sequence[str]] | None:
        """Return what the row's prompt must mention, with the texts of which it must have one, in any case."""
        ...


class HasAuditKind(Protocol):
    """Names the corpus of attacks that ``guerdon audit`` uses for it."""

    audit_kind: ClassVar[str]
    """The name of a corpus of ``guerdon audit``."""


class HasNeeds(Protocol):
    """Names the manifest keys that the stage requires."""

    needs: ClassVar[tuple[str, ...]]
    """Some of ``"model"``, ``"data"`` and ``"rewards"``."""


class HasDistributed(Protocol):
    """A stage that runs in all processes of a launch."""

    distributed: ClassVar[bool]
    """``True`` if every process of a launch runs the stage."""


class HasAnyProcessCount(Protocol):
    """A distributed stage whose result does not depend on the number of processes."""

    any_process_count: ClassVar[bool]
    """``True`` if a killed run may resume with another number of processes."""


class HasOperationalParams(Protocol):
    """A stage with params that do not change its result."""

    operational_params: ClassVar[Sequence[str]]
    """Their names, such as those of logs and checkpoints."""


class HasExtendableParams(Protocol):
    """A stage with params that make it longer; a finished stage resumes when they grow."""

    extendable_params: ClassVar[Sequence[str]]
    """Their names."""


class HasGuerdonKind(Protocol):
    """A group reward without an entry point, which has the same shape as a reward."""

    guerdon_kind: ClassVar[str]
    """``group_reward``."""


class HasRequiresNeeds(Protocol):
    """A group reward that counts only where other entries scored 1."""

    requires_needs: ClassVar[bool]
    """``True`` if its entry must have ``needs``."""


class HasEndless(Protocol):
    """A source whose rows may never end; its entry then needs a ``limit``."""

    endless: ClassVar[bool]
    """``True`` if the source never ends."""


class HasFingerprint(Protocol):
    """Has a fingerprint of its content, so that a run detects changed data."""

    def fingerprint(self) -> Any:
        """Return a short JSON value that changes when the content changes."""
        ...
