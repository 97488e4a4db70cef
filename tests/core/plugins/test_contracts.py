"""The list of optional members, and the misspellings that it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guerdon.errors import PluginContractError
from guerdon.hookspecs import hookimpl
from guerdon.plugins import contracts, protocols
from guerdon.plugins.component import kind_of
from guerdon.plugins.contracts import OPTIONAL, optional, wrong_members, wrong_shape
from guerdon.plugins.discovery import Kind, installed_plugins, load_plugin

CORE = Path(contracts.__file__).parents[1]


def with_member(name: str, value: Any) -> type:
    return type("Plugin", (), {name: value, "__call__": lambda self, completion: 1.0})


@pytest.mark.parametrize(
    ("kind", "name", "value", "meant"),
    [
        (Kind.VERIFIER, "gold_completions", lambda self, reference: "", "gold_completion"),
        (Kind.VERIFIER, "goldCompletion", lambda self, reference: "", "gold_completion"),
        (Kind.VERIFIER, "pre_flight", lambda self: None, "preflight"),
        (Kind.VERIFIER, "timeout", 3, "timeout_s"),
        (Kind.VERIFIER, "same_answers", lambda self, a, b: True, "same_answer"),
        (Kind.VERIFIER, "audit_kinds", "answer", "audit_kind"),
        (Kind.VERIFIER, "set_up", lambda self: None, "setup"),
        (Kind.REWARD, "setUp", lambda self: None, "setup"),
        (Kind.SOURCE, "finger_print", lambda self: 1, "fingerprint"),
        (Kind.SOURCE, "endles", True, "endless"),
        (Kind.STAGE, "need", ("model",), "needs"),
        (Kind.STAGE, "distribute", True, "distributed"),
    ],
)
def test_wrong_members_near_miss_names_the_member(kind: Kind, name: str, value: Any, meant: str) -> None:
    (problem,) = wrong_members(kind, with_member(name, value))
    assert problem == f"has a member '{name}', which nothing reads. Did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Kind.VERIFIER, "close", lambda self: None),
        (Kind.VERIFIER, "step", lambda self: None),
        (Kind.VERIFIER, "tokenize", lambda self: None),
        (Kind.VERIFIER, "timeout_error", lambda self: None),
        (Kind.STAGE, "distribute", lambda self: None),
        (Kind.REWARD, "gold_completions", lambda self: None),
        (Kind.VERIFIER, "_preflights", lambda self: None),
    ],
)
def test_wrong_members_own_member_is_left_alone(kind: Kind, name: str, value: Any) -> None:
    assert wrong_members(kind, with_member(name, value)) == []


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Kind.STAGE, "needs", "model"),
        (Kind.STAGE, "needs", ("modl",)),
        (Kind.VERIFIER, "timeout_s", "3"),
        (Kind.VERIFIER, "timeout_s", 0),
        (Kind.VERIFIER, "max_workers", 0),
        (Kind.VERIFIER, "gold_completion", "x"),
        (Kind.SOURCE, "endless", "yes"),
    ],
)
def test_wrong_members_wrong_value_is_told(kind: Kind, name: str, value: Any) -> None:
    (problem,) = wrong_members(kind, with_member(name, value))
    assert problem.startswith(f"has the member '{name}' as {value!r}. Make it ")


def test_wrong_members_a_misspelt_method_of_an_environment_is_one_mistake() -> None:
    class Paid:
        def reset(self, **row: Any) -> None: ...

        def get_rewards(self):  # type: ignore[no-untyped-def]
            return 1

    (problem,) = wrong_members(Kind.ENVIRONMENT, Paid)
    assert problem.endswith("which the model may call as a tool. Did you mean 'get_reward'?")


def test_wrong_members_hooks_tell_names_arguments_and_marks() -> None:
    class Misspelt:
        @hookimpl
        def run_finishd(self) -> None: ...

    class Asks:
        @hookimpl
        def run_finished(self, eror: Any) -> None: ...

    class Unmarked:
        def run_finished(self) -> None: ...

    class Idle: ...

    class Good:
        @hookimpl
        def run_finished(self, error: Any) -> None: ...

    assert "Did you mean 'run_finished'?" in wrong_members(Kind.HOOKS, Misspelt)[0]
    assert "Did you mean 'error'?" in wrong_members(Kind.HOOKS, Asks)[0]
    assert "without @hookimpl" in wrong_members(Kind.HOOKS, Unmarked)[0]
    assert "has no method that is marked @hookimpl" in wrong_members(Kind.HOOKS, Idle)[0]
    assert wrong_members(Kind.HOOKS, Good) == []


def test_wrong_shape_a_class_that_is_not_of_its_kind_is_told() -> None:
    stage = type("Stage", (), {"runn": lambda self, context: None})
    assert "Did you mean 'runn' to be 'run'?" in (wrong_shape(Kind.STAGE, stage) or "")
    environment = type("Maze", (), {"rest": lambda self, **row: None})
    assert "Did you mean 'rest' to be 'reset'?" in (wrong_shape(Kind.ENVIRONMENT, environment) or "")
    assert "cannot be iterated" in (wrong_shape(Kind.SOURCE, type("Rows", (), {})) or "")
    assert "cannot be called" in (wrong_shape(Kind.VERIFIER, type("V", (), {})) or "")
    assert "is 3, and a verifier is" in (wrong_shape(Kind.VERIFIER, 3) or "")


@pytest.mark.parametrize(
    "plugin", installed_plugins(*OPTIONAL), ids=lambda plugin: f"{plugin.kind.value}-{plugin.name}"
)
def test_built_ins_have_no_wrong_member(plugin: Any) -> None:
    loaded = load_plugin(plugin)
    assert wrong_shape(plugin.kind, loaded) is None
    assert wrong_members(plugin.kind, loaded) == []


def test_optional_an_unlisted_member_is_refused() -> None:
    with pytest.raises(AssertionError, match="not an optional member"):
        optional(Kind.REWARD, object(), "gold_completion")


def test_protocols_have_every_optional_member() -> None:
    typed = {name for protocol in protocols.__all__ for name in dir(getattr(protocols, protocol))}
    typed |= {name for protocol in protocols.__all__ for name in getattr(protocols, protocol).__annotations__}
    assert {name for members in OPTIONAL.values() for name in members} - typed == set()


def test_reference_page_lists_every_member_with_its_meaning() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/plugins.md").read_text()
    for kind, members in OPTIONAL.items():
        if not members:
            continue
        article = "an" if kind.noun[0] in "aeiou" else "a"
        section = page.partition(f"## What {article} {kind.noun} may offer")[2].partition("\n## ")[0]
        for member, meaning in members.items():
            assert f"| `{member}` | {meaning} |" in section, (kind, member)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guerdon_kind", "group-reward"),
        ("guerdon_kind", "verfier"),
        ("guerdon_kind", None),
        ("requires_needs", True),
        ("guerdon_kinds", "group_reward"),
        ("guerdon_knd", "reward"),
        ("guerdonKind", "group_reward"),
        ("kind", "Group Reward"),
        ("__guerdon_kind__", "group_reward"),
    ],
)
def test_kind_of_a_misspelt_kind_is_refused_with_the_right_one(name: str, value: Any) -> None:
    def function(completions: list[str]) -> list[float]:
        return [1.0 for _ in completions]

    setattr(function, name, value)
    of_class = type("Plugin", (), {name: value, "__call__": lambda self, completions: []})
    for plugin in (function, of_class, of_class()):
        with pytest.raises(PluginContractError, match=r"guerdon_kind.*'group_reward'"):
            kind_of(plugin)


def test_kind_of_a_group_reward_and_of_a_plugin_with_members_of_its_own_is_read() -> None:
    def function(completions: list[str], kind: str = "a") -> list[float]:
        return [1.0 for _ in completions]

    function.kind = "answer"  # type: ignore[attr-defined]
    assert kind_of(function) is Kind.REWARD
    function.guerdon_kind = "group_reward"  # type: ignore[attr-defined]
    assert kind_of(function) is Kind.GROUP_REWARD
