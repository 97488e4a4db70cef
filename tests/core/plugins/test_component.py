import functools
from pathlib import Path
from typing import Any, Literal

import pytest

from guerdon.errors import ParamsError, PluginContractError, PluginLoadError
from guerdon.plugins.columns import CallColumns
from guerdon.plugins.component import Component, load_component
from guerdon.plugins.discovery import SCORERS, Kind, Plugin, find_plugin, load_plugin
from guerdon.plugins.params import check_params, find_problems
from guerdon.plugins.signatures import is_async, signature_of

MODULE = """
from typing import Literal

def verifier(completion, reference, *, strict: bool = False, **columns): ...
async def later(completion, level): ...
def trl(completions, solution, target: int = 3, **kwargs): return [0.0 for _ in completions]
def factory(limit: int, mode: Literal["a", "b"] = "a"):
    def inner(completion): return limit
    return inner
class Checker:
    def __init__(self, tags: tuple[str, ...] = ("think",), rate: float = 0.5, *, name: str):
        if not tags: raise ValueError("tags is empty")
        self.tags = tags
    def __call__(self, text, reference, language=None): return self.tags
class Placed:
    def __init__(self, base_dir, x: int = 1): self.base_dir = base_dir
    def __call__(self, completion): return 1
class Open:
    def __init__(self, **params): self.params = params
    def __call__(self, completion): return 1
def neither(text): ...
class Lazy:
    @classmethod
    def signature(cls): import nowhere_to_be_found
    def __call__(self, completion): return 1
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "m.py").write_text(MODULE)
    return tmp_path


def component(module: Path, name: str, kind: Kind | None = None, /, **params: Any) -> Component:
    plugin = find_plugin(f"m.py:{name}", [kind] if kind else SCORERS, module)
    return load_component(plugin, params, module)


def messages(made: Component) -> list[str]:
    return [problem.message for problem in find_problems(made, load_plugin(made.plugin))[1]]


def test_a_judges_kind_shows_in_its_signature(module: Path) -> None:
    assert component(module, "verifier").kind is Kind.VERIFIER
    assert component(module, "trl").kind is Kind.REWARD
    with pytest.raises(PluginContractError, match="neither a verifier"):
        component(module, "neither")


def test_params_are_checked_against_the_signature(module: Path) -> None:
    checker = component(module, "Checker", Kind.VERIFIER, tag=["think"], rate="high")
    unknown, ill_typed, missing = messages(checker)
    assert "unknown param 'tag'" in unknown
    assert "Valid: tags, rate, name." in unknown
    assert "Did you mean 'tags'?" in unknown
    assert "'rate'" in ill_typed
    assert "'high'" in ill_typed
    assert "needs the param 'name'" in missing
    with pytest.raises(ParamsError, match="unknown param 'tag'"):
        checker.build()


def test_a_param_that_is_not_a_number_is_refused(module: Path) -> None:
    (told,) = messages(component(module, "Checker", Kind.VERIFIER, name="n", rate=float("nan")))
    assert told.endswith(" is nan: give a number, not nan.")
    assert messages(component(module, "Checker", Kind.VERIFIER, name="n", rate=float("inf"))) == []


def test_params_are_read_as_their_annotations_say(module: Path) -> None:
    built = component(module, "Checker", Kind.VERIFIER, tags=["a", "b"], name="n", rate=1).build()
    assert built.tags == ("a", "b")
    assert messages(component(module, "Checker", Kind.VERIFIER, name="n", rate=True))
    assert messages(component(module, "factory", Kind.VERIFIER, limit="3"))
    assert messages(component(module, "factory", Kind.VERIFIER, limit=3, mode="c"))
    assert component(module, "factory", Kind.VERIFIER, limit=3, mode="b").build()("x") == 3


def test_what_a_constructor_refuses_is_a_params_error(module: Path) -> None:
    with pytest.raises(ParamsError, match="tags is empty"):
        component(module, "Checker", Kind.VERIFIER, tags=[], name="n").build()


def test_a_functions_params_are_bound_and_the_rest_are_columns(module: Path) -> None:
    bound = component(module, "trl", target=7)
    built = bound.build()
    assert isinstance(built, functools.partial)
    assert CallColumns.of_built(bound, built) == CallColumns(
        frozenset({"solution"}), frozenset({"solution"}), True
    )
    assert CallColumns.of_loaded(bound, load_plugin(bound.plugin)) == CallColumns.of_built(bound, built)
    assert messages(component(module, "trl", nonsense=1))


def test_columns_of_classes_and_functions(module: Path) -> None:
    checker = component(module, "Checker", Kind.VERIFIER, name="n")
    expected = CallColumns(frozenset({"reference", "language"}), frozenset({"reference"}), False)
    assert CallColumns.of_loaded(checker, load_plugin(checker.plugin)) == expected
    assert CallColumns.of_built(checker, checker.build()) == expected
    assert expected.pick({"reference": 1, "other": 2}) == {"reference": 1}
    every = CallColumns(frozenset(), frozenset(), True, frozenset({"completion"}))
    assert every.pick({"reference": 1, "completion": 2}) == {"reference": 1}
    later = component(module, "later")
    assert CallColumns.of_built(later, later.build()).required == {"level"}


def test_a_component_gets_the_manifests_folder_if_it_asks(module: Path) -> None:
    placed = component(module, "Placed", Kind.VERIFIER, x=2)
    assert placed.build().base_dir == module
    assert "base_dir" in messages(component(module, "Placed", Kind.VERIFIER, base_dir="x"))[0]


def test_open_ended_constructors_take_any_param(module: Path) -> None:
    assert component(module, "Open", Kind.VERIFIER, a=1, b=[2]).build().params == {"a": 1, "b": [2]}


def test_async_is_seen_through_partials_and_instances(module: Path) -> None:
    assert is_async(component(module, "later").build())
    assert not is_async(component(module, "verifier").build())

    class Caller:
        async def __call__(self, completion: str) -> float:
            return 1.0

    assert is_async(Caller())
    assert is_async(functools.partial(Caller()))


def test_a_class_may_say_its_own_signature() -> None:
    class Many:
        @classmethod
        def signature(cls) -> Any:
            return signature_of(lambda *, lr: lr)

    made = Component(Plugin(Kind.STAGE, "many", "d", "1", "m:Many"), Kind.STAGE, {"lr": 1})
    assert check_params(made, Many) == {"lr": 1}


def test_literal_annotations_resolve() -> None:
    def f(completion: str, mode: "Literal['x']" = "x") -> None: ...

    assert signature_of(f).parameters["mode"].annotation == Literal["x"]


def test_what_a_class_imports_to_say_its_params_is_its_own_fault(module: Path) -> None:
    with pytest.raises(PluginLoadError, match="nowhere_to_be_found"):
        component(module, "Lazy", Kind.VERIFIER)


def test_find_problems_of_a_text_where_a_list_belongs_shows_the_list() -> None:
    def verifier(
        completion: str, urls: list[str], tags: tuple[str, ...] = (), of: dict[str, int] | None = None
    ) -> bool:
        return bool(completion)

    given = {"urls": "http://a", "tags": 3, "of": "x"}
    component = Component(Plugin(Kind.VERIFIER, "v", "file", "1", "v.py:v"), Kind.VERIFIER, given)
    _, problems = find_problems(component, verifier)
    messages = " ".join(problem.message for problem in problems)
    assert "is 'http://a': give a list, such as [http://a]." in messages
    assert "is 3: give a list, such as [3]." in messages
    assert "is 'x': give a mapping, such as {key: value}." in messages
