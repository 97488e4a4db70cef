"""The contracts of plugins: the required and optional members of each kind, and the spellings that are mistakes.

``OPTIONAL`` is the only list of optional members. The engine reads a member only through ``optional``, so that every
member is listed. :mod:`guerdon.plugins.protocols` has the types.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from guerdon.hookspecs import HOOKS, SPECS
from guerdon.plugins.discovery import SCORERS, Kind
from guerdon.plugins.spelling import nearest
from guerdon.plugins.tool_shape import environment_stubs, tool_stub, undescribed

__all__ = [
    "NEEDS",
    "NOT_TOOLS",
    "OPTIONAL",
    "SETUP_TIMEOUT_S",
    "misspelt_members",
    "optional",
    "wrong_kind",
    "wrong_members",
    "wrong_shape",
]


NEEDS = frozenset({"model", "data", "rewards"})
"""The keys that a stage may require."""

_SIGNATURE = {
    "signature": "a class method that returns the params as an `inspect.Signature`, if another library defines them"
}

_SCORER = _SIGNATURE | {
    "preflight": "a method, sync or async, that raises if something that the plugin needs does not answer",
    "setup": "a method, sync or async, that loads a model or an index; each worker process calls it once",
    "setup_timeout_s": "the deadline of `setup()` in seconds; 600 by default",
    "timeout_s": "the deadline of a verdict (for a reward: of a call) in seconds, if the manifest sets none",
    "aclose": "an async method that closes what the plugin has opened, at the end",
    "audit_kind": "the corpus that `guerdon audit` attacks it with, such as `answer`, `format` or `code`",
}

_TOOL = _SIGNATURE | {
    "preflight": "a method, sync or async, that raises if something that the plugin needs does not answer",
    "setup": "a method, sync or async, that loads a model or an index; each process calls it once",
    "setup_timeout_s": "the deadline of `setup()` in seconds; 600 by default",
    "timeout_s": "the deadline of a call in seconds, if the manifest sets none",
    "aclose": "an async method that closes what the plugin has opened, at the end",
    "fingerprint": "a method that returns a digest of the content, so that a run notices when data changes",
}

OPTIONAL: Mapping[Kind, Mapping[str, str]] = {
    Kind.VERIFIER: _SCORER
    | {
        "max_workers": "the most worker processes that hold a copy of the verifier at the same time",
        "gold_completion": "a method that returns a right completion for a reference, or `None`; the preflight "
        "checks that it scores 1",
        "same_answer": "a method that returns whether two answers mean the same, such as `1/2` and `0.5`; "
        "`evaluate` needs it for majorities",
        "prompt_hint": "a method that takes a row and returns [what its prompt must mention](#a-hint-at-the-prompt); "
        "`check` compares",
        "first_of": "for a [preset](#write-a-preset), instead of `__call__`: a method that returns the members of the "
        "`first_of` that it is short for",
    },
    Kind.REWARD: _SCORER,
    Kind.GROUP_REWARD: _SCORER
    | {
        "max_workers": "the most worker processes that hold a copy of the group reward at the same time",
        "requires_needs": "`True` for a group reward that counts only where other entries scored 1; its entry then "
        "must have `needs`",
        "guerdon_kind": '`"group_reward"`, for a function or class without an entry point',
    },
    Kind.SOURCE: _SIGNATURE
    | {
        "endless": "`True` for a source that never ends; its entry needs a `limit`",
        "fingerprint": "a method that returns a digest of the content, so that a run notices when data changes",
    },
    Kind.STAGE: _SIGNATURE
    | {
        "needs": 'those of `"model"`, `"data"` and `"rewards"` that the manifest must give to the stage',
        "operational_params": "the params that do not change the result, such as those of logs and checkpoints",
        "extendable_params": "the params that make the stage longer; a finished stage resumes when they grow",
        "distributed": "`True` for a stage that runs in all processes of an `accelerate launch` or `torchrun`; "
        "other stages run in the first process",
        "any_process_count": "`True` for a distributed stage whose result does not depend on the number of processes; "
        "a killed run may resume with another number",
        "uses_tools": "`True` for a stage that may have `tools` and `environments`; `context.open_tools()` starts them",
        "evaluates": "`True` for a stage that may have an `evaluation`; `context.evaluation` is what it asks for",
        "plan_memory": "a method for `guerdon plan`: `plan_memory(models, *, prompt_tokens, device_bytes, processes)` "
        "returns the bytes that the stage takes on a GPU, as `{moment: {part: bytes}}`",
        "preflight": "a method, sync or async, that raises if the stage would fail; "
        "[its arguments](#the-preflight-of-a-stage) are optional",
    },
    Kind.HOOKS: {},
    Kind.TOOL: _TOOL | {"max_workers": "the most processes that hold a copy of the tool at the same time"},
    Kind.ENVIRONMENT: _TOOL
    | {
        "get_reward": "a method, sync or async, that returns the reward of the finished rollout",
        "state": "a method that returns the state after the rollout as JSON values; by default the public attributes",
    },
}
"""The optional members of a plugin of each kind, with a description of each."""

SETUP_TIMEOUT_S = 600.0
"""The deadline of a ``setup()`` whose plugin sets none."""

NOT_TOOLS = frozenset({"reset", *OPTIONAL[Kind.ENVIRONMENT]})
"""The public members of an environment that the model cannot call."""

_REQUIRED: Mapping[Kind, tuple[str, ...]] = {Kind.STAGE: ("run",), Kind.ENVIRONMENT: ("reset",)}

_METHODS = frozenset(
    {
        "signature",
        "preflight",
        "setup",
        "aclose",
        "gold_completion",
        "same_answer",
        "first_of",
        "prompt_hint",
        "fingerprint",
        "plan_memory",
        "run",
        "reset",
        "get_reward",
        "state",
    }
)
"""The members that are methods."""

_SECONDS = (lambda value: _is_number(value) and value > 0, "a number of seconds above 0")

_VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "timeout_s": _SECONDS,
    "setup_timeout_s": _SECONDS,
    "max_workers": (lambda value: isinstance(value, int) and value > 0, "a whole number above 0"),
    "audit_kind": (lambda value: isinstance(value, str), "text, such as 'answer'"),
    "guerdon_kind": (lambda value: value == "group_reward", "'group_reward'"),
    "requires_needs": (lambda value: isinstance(value, bool), "True or False"),
    "endless": (lambda value: isinstance(value, bool), "True or False"),
    "uses_tools": (lambda value: isinstance(value, bool), "True or False"),
    "evaluates": (lambda value: isinstance(value, bool), "True or False"),
    "distributed": (lambda value: isinstance(value, bool), "True or False"),
    "any_process_count": (lambda value: isinstance(value, bool), "True or False"),
    "operational_params": (lambda value: _are_names(value), "a tuple of names of params"),
    "extendable_params": (lambda value: _are_names(value), "a tuple of names of params"),
    "needs": (
        lambda value: isinstance(value, tuple | list | set | frozenset) and set(value) <= NEEDS,
        "a tuple of some of 'model', 'data' and 'rewards'",
    ),
}
"""The required types of the members that are not methods."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "timeout_s": ("timeout", "timeout_seconds", "deadline", "deadline_s"),
    "needs": ("need", "requires"),
    "gold_completion": ("gold", "gold_answer"),
    "setup_timeout_s": ("setup_timeout", "setup_deadline_s"),
    "max_workers": ("workers", "max_copies"),
    "get_reward": ("reward", "score", "compute_reward", "calculate_reward", "get_score"),
}
"""Common wrong names of a member that are too different in spelling for a fuzzy match."""

_FUZZY_FROM = 6
"""The shortest name that is matched fuzzily: ``step`` is a different word from ``setup``."""


def optional(kind: Kind, plugin: Any, member: str, default: Any = None) -> Any:
    """Return an optional member of a plugin, or the default where it has none.

    Args:
        kind: The plugin's kind.
        plugin: What was loaded or built.
        member: A name that ``OPTIONAL`` lists for the kind.
        default: What to return where the plugin has no such member.
    """
    assert member in OPTIONAL[kind], f"{member} is not an optional member of a {kind}"
    return getattr(plugin, member, default)


def wrong_members(kind: Kind, loaded: Any) -> list[str]:
    """Return the mistakes in a plugin's members: near misses of names that the engine reads, and wrong values.

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
    misspelt = _misspelt(kind, loaded)
    return [*misspelt.values(), *wrong, *_undescribed(kind, loaded, besides=misspelt)]


def wrong_kind(loaded: Any) -> str | None:
    """Return the mistake in how a plugin without an entry point names its kind, as a predicate, or ``None``.

    Any other spelling of the member or its value would make a group reward a reward, which sees mixed prompts.
    """
    of_class = () if inspect.isclass(loaded) or inspect.isroutine(loaded) else _own_names(type(loaded))
    for name in (*_own_names(loaded), *of_class):
        value = inspect.getattr_static(loaded, name)
        if name == "guerdon_kind":
            problems = _wrong_value(name, value)
            if problems:
                return f"{problems[0]} A verifier or a reward needs none: its first parameter's name decides."
            continue
        says_group = isinstance(value, str) and _bare(re.sub("[- ]", "", value)) == "groupreward"
        near = _near_miss(name.strip("_"), value, ["guerdon_kind"]) is not None
        if (near or says_group) and not hasattr(loaded, "guerdon_kind"):
            return (
                f"has a member '{name}', which nothing reads. Did you mean 'guerdon_kind'? "
                "Its only value is 'group_reward'."
            )
    if hasattr(loaded, "requires_needs") and not hasattr(loaded, "guerdon_kind"):
        return (
            "has the member 'requires_needs', which only a group reward may have. Set guerdon_kind = 'group_reward' "
            "on it, or remove the member."
        )
    return None


def _undescribed(kind: Kind, loaded: Any, besides: Container[str]) -> list[str]:
    if kind is Kind.TOOL:
        return list(undescribed(tool_stub("it", loaded)))
    if kind is not Kind.ENVIRONMENT:
        return []
    stubs = environment_stubs(loaded, NOT_TOOLS)
    return [
        f"has the method '{name}', which {problem}"
        for name, one in stubs.items()
        if name not in besides
        for problem in undescribed(one)
    ]


def misspelt_members(kind: Kind, loaded: Any) -> list[str]:
    """Return the members whose names are near misses of names that the engine reads, as ``wrong_members`` does."""
    return list(_misspelt(kind, loaded).values())


def _misspelt(kind: Kind, loaded: Any) -> dict[str, str]:
    known = _members(kind)
    problems = {}
    for name in _own_names(loaded):
        if name.startswith("_") or name in known:
            continue
        meant = _near_miss(name, getattr(loaded, name, None), known)
        if meant is not None and not hasattr(loaded, meant):
            use = "which the model may call as a tool" if meant == "get_reward" else "which nothing reads"
            problems[name] = f"has a member '{name}', {use}. Did you mean '{meant}'?"
    return problems


def _members(kind: Kind) -> list[str]:
    return [*OPTIONAL.get(kind, ()), *_REQUIRED.get(kind, ())]


def wrong_shape(kind: Kind, loaded: Any) -> str | None:
    """Return why a plugin does not fit its kind at all, as a predicate, or ``None``."""
    if not callable(loaded):
        return f"is {loaded!r:.60}, and a {kind.noun} is a class or a function."
    if kind is Kind.ENVIRONMENT:
        return _not_environment(loaded)
    if not inspect.isclass(loaded):
        return None
    if (
        kind is Kind.STAGE
        and not callable(getattr(loaded, "run", None))
        and "__call__" not in _own_names(loaded)
    ):
        return f"has no method 'run'.{_near_miss_of('run', loaded)} A stage does its work in run(context)."
    if kind is Kind.SOURCE and not hasattr(loaded, "__iter__") and not hasattr(loaded, "__getitem__"):
        return "cannot be iterated over for rows. Give the class a method __iter__ that yields them."
    if kind is Kind.VERIFIER and "first_of" in _own_names(loaded):
        return None
    if kind is Kind.TOOL and "reset" in _own_names(loaded):
        return "has a method 'reset', so it is an environment. List it under 'environments'."
    if kind in (*SCORERS, Kind.TOOL) and "__call__" not in _own_names(loaded):
        return f"cannot be called. Give the class a method __call__, which is the {kind.noun}."
    return None


def _not_environment(loaded: Any) -> str | None:
    if not inspect.isclass(loaded):
        return "is not a class. An environment is a class with a method 'reset'; its other public methods are tools."
    if not callable(getattr(loaded, "reset", None)):
        slip = _near_miss_of("reset", loaded)
        return f"has no method 'reset'.{slip} An environment begins each rollout in reset(**row)."
    if not environment_stubs(loaded, NOT_TOOLS):
        return "has no public method besides 'reset', so the model can do nothing in it. Add a method: it is a tool."
    return None


def _near_miss_of(required: str, loaded: Any) -> str:
    near = [
        name for name in _own_names(loaded) if not name.startswith("_") and nearest(name, [required], 0.5)
    ]
    return f" Did you mean '{near[0]}' to be '{required}'?" if near else ""


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
    """Return the member whose misspelling a name is. Methods match only methods, and values only values."""
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
