"""The contracts of plugins: what each kind must have, what it may offer beside, and which spellings are mistakes.

A plugin need not import this module: the protocols say what the engine calls. :data:`OPTIONAL` is the one list of
optional members. The engine reads a member by :func:`optional`, so that no other name can come into use.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from guerdon.hookspecs import HOOKS, SPECS
from guerdon.plugins.discovery import Kind, nearest
from guerdon.stage import Model, StageContext, StageResult
from guerdon.types import Row, Score

__all__ = [
    "NEEDS",
    "OPTIONAL",
    "SETUP_TIMEOUT_S",
    "HasAuditKind",
    "HasClose",
    "HasDeadline",
    "HasDistributed",
    "HasEndless",
    "HasFingerprint",
    "HasGoldCompletion",
    "HasMaxWorkers",
    "HasNeeds",
    "HasPreflight",
    "HasSameAnswer",
    "HasSetup",
    "HasSignature",
    "HasStagePreflight",
    "Reward",
    "Source",
    "Stage",
    "Verifier",
    "misspelt_members",
    "optional",
    "wrong_members",
    "wrong_shape",
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


class Source(Protocol):
    """Gives rows."""

    def __iter__(self) -> Iterator[Row]: ...


class Stage(Protocol):
    """Turns a checkpoint and data into a checkpoint, a data set or metrics."""

    def run(self, context: StageContext) -> StageResult: ...


class HasSignature(Protocol):
    """A class whose params are known elsewhere, such as the fields of another library's config."""

    @classmethod
    def signature(cls) -> inspect.Signature: ...


class HasPreflight(Protocol):
    """Raises where something that the plugin needs does not answer."""

    def preflight(self) -> Awaitable[None] | None: ...


class HasStagePreflight(Protocol):
    """A stage's preflight. It takes those of the arguments that it names."""

    def preflight(
        self, rewards: Sequence[str], rows: Sequence[Row], complete: bool, models: Sequence[Model]
    ) -> Awaitable[None] | None: ...


class HasSetup(Protocol):
    """Loads what is heavy, once in each worker process, before the first case and outside its deadline."""

    setup_timeout_s: ClassVar[float]

    def setup(self) -> Awaitable[None] | None: ...


class HasClose(Protocol):
    """Gives back what it holds."""

    async def aclose(self) -> None: ...


class HasDeadline(Protocol):
    """Says its own deadline."""

    timeout_s: ClassVar[float]


class HasMaxWorkers(Protocol):
    """Limits its copies."""

    max_workers: ClassVar[int]


class HasGoldCompletion(Protocol):
    """Knows what a right completion looks like."""

    def gold_completion(self, reference: Any) -> str | None: ...


class HasSameAnswer(Protocol):
    """Knows which answers say the same."""

    def same_answer(self, first: str, second: str) -> bool: ...


class HasAuditKind(Protocol):
    """Says by which corpus it is attacked."""

    audit_kind: ClassVar[str]


class HasNeeds(Protocol):
    """Says what a manifest must give it."""

    needs: ClassVar[tuple[str, ...]]


class HasDistributed(Protocol):
    """Trains with all processes of a launch."""

    distributed: ClassVar[bool]


class HasEndless(Protocol):
    """Never ends."""

    endless: ClassVar[bool]


class HasFingerprint(Protocol):
    """Says its content in short."""

    def fingerprint(self) -> Any: ...


NEEDS = frozenset({"model", "data", "rewards"})
"""What a stage may need."""

_SIGNATURE = {
    "signature": "a class method that returns the params as an `inspect.Signature`, where they are known elsewhere"
}

_SCORER = _SIGNATURE | {
    "preflight": "a method, sync or async, that raises if something that the plugin needs does not answer",
    "setup": "a method, sync or async, that loads what is heavy: called once per worker process, before its first case",
    "setup_timeout_s": "the deadline of `setup()` in seconds; 600 by default",
    "timeout_s": "the deadline of a verdict (for a reward: of a call) in seconds, where the manifest sets none",
    "aclose": "an async method that gives back what the plugin holds, at the end",
}

OPTIONAL: Mapping[Kind, Mapping[str, str]] = {
    Kind.VERIFIER: _SCORER
    | {
        "max_workers": "the most worker processes that hold a copy of the verifier at the same time",
        "gold_completion": "a method: a right completion for a reference, or `None`; the preflight holds the verifier "
        "to scoring it 1",
        "same_answer": "a method: whether two answers of its scores say the same, as `1/2` and `0.5`; `evaluate` takes "
        "majorities of such answers",
        "audit_kind": "the corpus that `guerdon audit` attacks it with: `answer`, `format` or `code`",
    },
    Kind.REWARD: _SCORER,
    Kind.SOURCE: _SIGNATURE
    | {
        "endless": "`True` for a source that never ends, so that its entry needs a `limit`",
        "fingerprint": "a method: its content in short (checksums of files), so that a run notices when data changes",
    },
    Kind.STAGE: _SIGNATURE
    | {
        "needs": 'of `"model"`, `"data"` and `"rewards"`, those without which the manifest is in error',
        "operational_params": "the params that say how the stage is watched and kept, and nothing of its result",
        "extendable_params": "the params that make the stage longer, so that a finished one resumes",
        "distributed": "`True` for a stage that trains with all processes of an `accelerate launch` or `torchrun`; "
        "other stages run in the first one alone",
        "preflight": "a method, sync or async, that raises if the run would fail; it is given what it names of "
        "`rewards` (the names of the rubric's entries), `rows` (the first 5,000 rows of each source), "
        "`complete` (whether these are all rows) and `models` (those of `init` that no stage makes)",
    },
    Kind.HOOKS: {},
}
"""What a plugin of each kind may offer beside its call, its rows or its ``run``, and what it is for."""

SETUP_TIMEOUT_S = 600.0
"""The deadline of a ``setup()`` whose plugin sets none."""

_REQUIRED: Mapping[Kind, tuple[str, ...]] = {Kind.STAGE: ("run",)}

_METHODS = frozenset(
    {"signature", "preflight", "setup", "aclose", "gold_completion", "same_answer", "fingerprint", "run"}
)

_SECONDS = (lambda value: _is_number(value) and value > 0, "a number of seconds above 0")

_VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "timeout_s": _SECONDS,
    "setup_timeout_s": _SECONDS,
    "max_workers": (lambda value: isinstance(value, int) and value > 0, "a whole number above 0"),
    "audit_kind": (lambda value: isinstance(value, str), "text, such as 'answer'"),
    "endless": (lambda value: isinstance(value, bool), "True or False"),
    "distributed": (lambda value: isinstance(value, bool), "True or False"),
    "operational_params": (lambda value: _are_names(value), "a tuple of names of params"),
    "extendable_params": (lambda value: _are_names(value), "a tuple of names of params"),
    "needs": (
        lambda value: isinstance(value, tuple | list | set | frozenset) and set(value) <= NEEDS,
        "a tuple of some of 'model', 'data' and 'rewards'",
    ),
}
"""What the members that are no methods must be."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "timeout_s": ("timeout", "timeout_seconds", "deadline", "deadline_s"),
    "needs": ("need", "requires"),
    "gold_completion": ("gold", "gold_answer"),
    "setup_timeout_s": ("setup_timeout", "setup_deadline_s"),
    "max_workers": ("workers", "max_copies"),
}
"""Names that authors give to a member, too far from it to be found by their letters."""

_FUZZY_FROM = 6
"""Letters from which a name may be a slip of another one: ``step`` is a word of its own beside ``setup``."""


def optional(kind: Kind, plugin: Any, member: str, default: Any = None) -> Any:
    """Return an optional member of a plugin, or the default where it has none.

    Args:
        kind: The plugin's kind.
        plugin: What was loaded or built.
        member: A name that :data:`OPTIONAL` lists for the kind.
        default: What to return where the plugin has no such member.
    """
    assert member in OPTIONAL[kind], f"{member} is not an optional member of a {kind}"
    return getattr(plugin, member, default)


def wrong_members(kind: Kind, loaded: Any) -> list[str]:
    """Return what is wrong with a plugin's members: near misses of names that the engine reads, and wrong values.

    Args:
        kind: The plugin's kind.
        loaded: The function, class or object that the plugin names.

    Returns:
        Predicates, such as ``"has a member 'need', which nothing reads. Did you mean 'needs'?"``.
    """
    if kind is Kind.HOOKS:
        return _wrong_hooks(loaded) if inspect.isclass(loaded) else []
    known = _members(kind)
    values = {name: getattr(loaded, name, None) for name in _own_names(loaded) if name in known}
    wrong = [problem for name, value in values.items() for problem in _wrong_value(name, value)]
    return [*misspelt_members(kind, loaded), *wrong]


def misspelt_members(kind: Kind, loaded: Any) -> list[str]:
    """Return the members whose names are near misses of names that the engine reads, as :func:`wrong_members` does."""
    known = _members(kind)
    problems = []
    for name in _own_names(loaded):
        if name.startswith("_") or name in known:
            continue
        meant = _near_miss(name, getattr(loaded, name, None), known)
        if meant is not None and not hasattr(loaded, meant):
            problems.append(f"has a member '{name}', which nothing reads. Did you mean '{meant}'?")
    return problems


def _members(kind: Kind) -> list[str]:
    return [*OPTIONAL.get(kind, ()), *_REQUIRED.get(kind, ())]


def wrong_shape(kind: Kind, loaded: Any) -> str | None:
    """Return why a plugin is not of its kind at all, or ``None``: a predicate, as of :func:`wrong_members`."""
    if not callable(loaded):
        return f"is {loaded!r:.60}, and a {kind.noun} is a class or a function."
    if not inspect.isclass(loaded):
        return None
    if (
        kind is Kind.STAGE
        and not callable(getattr(loaded, "run", None))
        and "__call__" not in _own_names(loaded)
    ):
        slip = _near_miss_of_run(loaded)
        return f"has no method 'run'.{slip} A stage does its work in run(context)."
    if kind is Kind.SOURCE and not hasattr(loaded, "__iter__") and not hasattr(loaded, "__getitem__"):
        return "cannot be iterated over for rows. Give the class a method __iter__ that yields them."
    if kind in (Kind.VERIFIER, Kind.REWARD) and "__call__" not in _own_names(loaded):
        return f"cannot be called. Give the class a method __call__, which is the {kind.noun}."
    return None


def _near_miss_of_run(loaded: Any) -> str:
    near = [name for name in _own_names(loaded) if not name.startswith("_") and nearest(name, ["run"], 0.5)]
    return f" Did you mean '{near[0]}' to be 'run'?" if near else ""


def _wrong_value(name: str, value: Any) -> list[str]:
    if name in _METHODS:
        return [] if callable(value) else [f"has the member '{name}' as {value!r:.60}. Make it a method."]
    if isinstance(value, property):
        return []
    fits, words = _VALUES[name]
    return [] if fits(value) else [f"has the member '{name}' as {value!r:.60}. Make it {words}."]


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple | list | set | frozenset) and all(isinstance(name, str) for name in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _own_names(loaded: Any) -> Iterable[str]:
    if inspect.isclass(loaded):
        return dict.fromkeys(name for base in loaded.__mro__[:-1] for name in vars(base))
    return list(getattr(loaded, "__dict__", ()))


def _near_miss(name: str, value: Any, known: Iterable[str]) -> str | None:
    """Return the member that a name is a slip of; a method is a slip of a method only, and a value of a value."""
    same_shape = [member for member in known if callable(value) == (member in _METHODS)]
    for member in same_shape:
        if _bare(name) == _bare(member) or name in _ALIASES.get(member, ()):
            return member
    return nearest(name, [m for m in same_shape if len(m) >= _FUZZY_FROM and m != "aclose"], cutoff=0.82)


def _bare(name: str) -> str:
    return name.replace("_", "").lower().removesuffix("s")


def _wrong_hooks(loaded: Any) -> list[str]:
    problems = []
    hooks = {name: getattr(loaded, name, None) for name in _own_names(loaded) if not name.startswith("_")}
    for name, member in hooks.items():
        options = getattr(member, "guerdon_impl", None)
        if options is None:
            if name in HOOKS:
                problems.append(f"has the method '{name}' without @hookimpl, so no run calls it.")
            continue
        hook = options.get("specname") or name
        if hook not in HOOKS and not options.get("optionalhook"):
            meant = nearest(hook, HOOKS)
            hint = f" Did you mean '{meant}'?" if meant else ""
            problems.append(
                f"implements the hook '{hook}', which no run calls.{hint} Hooks: {', '.join(HOOKS)}."
            )
        elif hook in HOOKS:
            problems += _wrong_arguments(name, hook, member)
    if not problems and not any(hasattr(member, "guerdon_impl") for member in hooks.values()):
        problems.append("has no method that is marked @hookimpl, so it hooks nothing.")
    return problems


def _wrong_arguments(name: str, hook: str, member: Any) -> list[str]:
    given = next(
        list(inspect.signature(getattr(spec, hook)).parameters)[1:] for spec in SPECS if hasattr(spec, hook)
    )
    asked = [argument for argument in inspect.signature(member).parameters if argument != "self"]
    problems = []
    for argument in asked:
        if argument not in given:
            meant = nearest(argument, given)
            hint = f" Did you mean '{meant}'?" if meant else ""
            problems.append(
                f"asks in the hook '{name}' for '{argument}', which the event does not have.{hint} "
                f"It has: {', '.join(given)}."
            )
    return problems
