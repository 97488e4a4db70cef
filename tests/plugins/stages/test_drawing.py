"""The sampling of `sample` and `evaluate`: by their params, and else by the model's ``generation_config.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from guerdon import Judgement, Model, Rollout, Score, Verdict
from guerdon.errors import InfrastructureError, UsageError
from guerdon.sampling.own import FILE, own_options
from guerdon.sampling.sampling import Sampling
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.sampling.drawing import Drawing
from guerdon_plugins.stages.sampling.engines import TransformersEngine, VllmEngine
from guerdon_plugins.stages.sampling.evaluate import Evaluate
from guerdon_plugins.stages.sampling.generation import Answers, Draw
from guerdon_plugins.stages.sampling.sample import Sample

if TYPE_CHECKING:
    from tests.plugins.stages.conftest import Teacher

OWN = {"do_sample": False, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.1}


class Rubric:
    names = ("any",)
    entries = ()

    def score(self, rollouts: Sequence[Rollout], step: int = 0, **options: Any) -> list[Judgement]:
        return [Judgement(1.0, {"any": Verdict(Score(1.0), 1.0, 1.0)}) for _ in rollouts]


class EvaluatedRubric(Rubric):
    entries = (SimpleNamespace(name="any", within=None, component=SimpleNamespace(kind="reward")),)  # type: ignore[assignment]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return list(islice(Arithmetic(), 4))


@pytest.fixture
def with_own(small_model: Model, tmp_path: Path) -> Callable[..., Model]:
    """Copies a model and adds options to its ``generation_config.json``."""

    def make(model: Model = small_model, /, **options: Any) -> Model:
        folder = tmp_path / "model"
        shutil.copytree(model.path, folder, dirs_exist_ok=True)
        known = json.loads((folder / FILE).read_text(encoding="utf-8"))
        (folder / FILE).write_text(json.dumps({**known, **options}), encoding="utf-8")
        return Model("own", str(folder))

    return make


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Sampling]:
    """What the engine in this process is given."""
    found: list[Sampling] = []
    complete = TransformersEngine.complete

    def told(engine: TransformersEngine, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        found.append(sampling)
        return complete(engine, draws, sampling)

    monkeypatch.setattr(TransformersEngine, "complete", told)
    return found


def evaluate(**params: Any) -> Evaluate:
    return Evaluate(num_generations=3, max_completion_length=12, **params)


@pytest.mark.parametrize(
    ("params", "expected", "own"),
    [
        ({}, {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": None}, "temperature, top_p, top_k"),
        (
            {"temperature": 1.0, "top_k": 0, "min_p": 0.1},
            {"temperature": 1.0, "top_p": 0.95, "top_k": 0, "min_p": 0.1},
            "top_p",
        ),
    ],
)
def test_the_set_by_model_options_are_drawn_with_and_recorded_unless_params_set_others(
    make_context: Callable[..., Any],
    with_own: Callable[..., Model],
    rows: list[dict[str, Any]],
    given: list[Sampling],
    caplog: pytest.LogCaptureFixture,
    params: dict[str, Any],
    expected: dict[str, Any],
    own: str,
) -> None:
    model = with_own(**OWN)
    context, _ = make_context(rows, [model], EvaluatedRubric())
    result = evaluate(**params).run(context)
    greedy, sampled = given
    assert greedy == Sampling(12, temperature=0)
    assert sampled == Sampling(12, **expected)
    row = {"model": "own", **expected, "set_by_model": own}
    assert result.metrics["tables"]["sampling"] == [row]
    assert f"its own {own.split(',')[0]} 0." in caplog.text
    assert "sets without effect: repetition_penalty" in caplog.text

    for file in context.work.iterdir():
        file.unlink()
    context, _ = make_context(rows, [model], Rubric())
    result = Sample(keep={}, num_generations=8, max_completion_length=60, **params).run(context)
    assert given[-1] == Sampling(60, **expected)
    assert result.metrics["tables"]["sampling"] == [row]


def test_a_model_that_sets_nothing_has_the_plain_distribution(
    make_context: Callable[..., Any],
    small_model: Model,
    rows: list[dict[str, Any]],
    given: list[Sampling],
    caplog: pytest.LogCaptureFixture,
) -> None:
    context, _ = make_context(rows, [small_model], EvaluatedRubric())
    result = evaluate().run(context)
    assert given[-1] == Sampling(12)
    assert result.metrics["tables"]["sampling"] == [
        {"model": "small", "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "set_by_model": ""}
    ]
    assert not caplog.text


def texts(
    make_context: Callable[..., Any], model: Model, rows: list[dict[str, Any]], **params: Any
) -> list[set[str]]:
    """Return the different answers to each prompt, the greedy one among them."""
    context, log = make_context(rows, [model], EvaluatedRubric())
    for file in context.work.iterdir():
        file.unlink()
    evaluate(**params).run(context)
    ((_, records),) = log.records
    return [
        {str(record["completion"]) for record in records if record["group"] == group}
        for group in range(len(rows))
    ]


@pytest.mark.parametrize("fast", [True, False])
def test_with_a_top_k_of_1_the_samples_are_the_greedy_answer(
    make_context: Callable[..., Any],
    with_own: Callable[..., Model],
    rows: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    fast: bool,
) -> None:
    if not fast:
        monkeypatch.setattr("guerdon.sampling.cpu_sampler.obstacle", lambda model: "a test asks for generate")
    model = with_own(top_k=1)
    assert {len(answers) for answers in texts(make_context, model, rows)} == {1}
    assert max(len(answers) for answers in texts(make_context, model, rows, top_k=0)) > 1


@pytest.mark.vllm
@pytest.mark.slow
def test_with_a_top_k_of_1_the_samples_of_vllm_are_the_greedy_answer(
    make_context: Callable[..., Any],
    small_vllm_model: Model,
    with_own: Callable[..., Model],
    rows: list[dict[str, Any]],
) -> None:
    pytest.importorskip("vllm")
    model = with_own(small_vllm_model, top_k=1, temperature=0.9)
    options = {"max_model_len": 256, "enforce_eager": True, "dtype": "float32"}
    assert {len(answers) for answers in texts(make_context, model, rows, vllm=options)} == {1}
    sampled = texts(make_context, model, rows, vllm=options, top_k=0)
    assert max(map(len, sampled)) > 1


def test_models_with_other_options_have_a_row_each(
    make_context: Callable[..., Any],
    small_model: Model,
    with_own: Callable[..., Model],
    rows: list[dict[str, Any]],
    given: list[Sampling],
) -> None:
    context, _ = make_context(rows, [small_model, with_own(temperature=0.6)], EvaluatedRubric())
    table = (
        evaluate(thinking=[{"max_tokens": 3}, {"max_tokens": 6}]).run(context).metrics["tables"]["sampling"]
    )
    assert [(row["model"], row["temperature"]) for row in table] == [
        ("small, thinks 3", 1.0),
        ("small, thinks 6", 1.0),
        ("own, thinks 3", 0.6),
        ("own, thinks 6", 0.6),
    ]
    assert [one.temperature for one in given if one.temperature] == [1.0, 1.0, 0.6, 0.6]


def test_a_resumed_stage_keeps_the_options_that_it_began_with(
    make_context: Callable[..., Any], with_own: Callable[..., Model], rows: list[dict[str, Any]]
) -> None:
    model = with_own(temperature=0.6)
    context, _ = make_context(rows, [model], EvaluatedRubric())
    whole = evaluate().run(context)
    shutil.rmtree(model.path)
    context, _ = make_context(rows, [model], EvaluatedRubric())
    assert evaluate().run(context) == whole


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"temperature": 0}, "temperature is 0: samples need more than 0. Set the param of this name"),
        ({"temperature": "hot"}, "temperature is 'hot': give a number, 0 or more"),
        ({"top_p": 95}, "top_p is 95: give a number above 0, and at most 1"),
        ({"top_k": 2.5}, "top_k is 2.5: give a whole number"),
        ({"min_p": True}, "min_p is True: give a number from 0 to 1"),
    ],
)
def test_own_options_that_cannot_be_are_refused_before_a_model_is_loaded(
    make_context: Callable[..., Any],
    with_own: Callable[..., Model],
    rows: list[dict[str, Any]],
    own: dict[str, Any],
    message: str,
) -> None:
    model = with_own(**own)
    (name,) = own
    with pytest.raises(UsageError, match=rf"^generation_config.json of model 'own': {message}"):
        evaluate().preflight(rows, [model], ["any"])
    with pytest.raises(UsageError, match=message):
        Sample(keep={}).preflight(["any"], rows, [model])
    context, _ = make_context(rows, [model], EvaluatedRubric())
    with pytest.raises(UsageError, match=message):
        evaluate().run(context)
    Drawing(**{name: 1}).of_model(
        9, model, own_options(model), several=True
    )  # what a param sets does not count


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_file_that_is_no_object_is_refused(with_own: Callable[..., Model], content: str) -> None:
    model = with_own()
    (Path(model.path) / FILE).write_text(content)
    with pytest.raises(UsageError, match=r"generation_config\.json of model 'own'"):
        own_options(model)
    (Path(model.path) / FILE).unlink()
    assert own_options(model) == {}


@pytest.mark.parametrize("cached", [[], ["config.json"], ["config.json", FILE]])
def test_without_a_network_the_cached_files_of_a_hub_model_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cached: list[str]
) -> None:
    snapshot = tmp_path / "models--org--m" / "snapshots" / "abc"
    (tmp_path / "models--org--m" / "refs").mkdir(parents=True)
    (tmp_path / "models--org--m" / "refs" / "main").write_text("abc")
    snapshot.mkdir(parents=True)
    for name in cached:
        (snapshot / name).write_text('{"temperature": 0.6}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = Model("m", "org/m")
    if not cached:  # else the file of a model that cannot be loaded would count as empty
        with pytest.raises(
            InfrastructureError, match=r"generation_config\.json of model 'm' cannot be loaded"
        ):
            own_options(model)
    else:
        assert own_options(model) == ({"temperature": 0.6} if FILE in cached else {})


@pytest.mark.parametrize(
    "params", [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 2}, {"temperature": float("nan")}]
)
def test_params_out_of_range_are_refused(params: dict[str, Any]) -> None:
    (name,) = params
    with pytest.raises(ValueError, match=f"^{name} is "):
        evaluate(**params)
    with pytest.raises(ValueError, match=f"^{name} is "):
        Sample(keep={}, **params)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({}, {}),
        ({"temperature": 0.6}, {"temperature": 0.6}),
        ({"temperature": 1, "top_p": 1.0}, {"temperature": 1, "top_p": 1.0}),
    ],
)
def test_an_endpoint_gets_only_the_options_that_params_set(
    make_context: Callable[..., Any],
    rows: list[dict[str, Any]],
    teacher: Teacher,
    chat: bool,
    params: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    if not chat:
        rows = [{**row, "prompt": row["prompt"][0]["content"]} for row in rows]
    context, _ = make_context(rows, [], Rubric())
    endpoint = {"base_url": teacher.url, "model": "teacher"}
    result = Sample(keep={}, max_completion_length=9, endpoint=endpoint, **params).run(context)
    for request in teacher.requests:
        rest = {name: request[name] for name in request if name not in ("messages", "prompt", "seed")}
        assert rest == {"model": "teacher", "max_tokens": 9, **sent}
    (row,) = result.metrics["tables"]["sampling"]
    unset = {"temperature": None, "top_p": None, "top_k": None, "min_p": None}
    assert row == {"model": "teacher", **unset, **sent, "set_by_model": ""}


@pytest.mark.parametrize("params", [{"top_k": 20}, {"min_p": 0.1}, {"top_k": 0}])
def test_an_endpoint_has_no_top_k_and_no_min_p(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="OpenAI's protocol has neither"):
        Sample(keep={}, endpoint={"base_url": "http://localhost", "model": "m"}, **params)


def test_vllm_gets_the_same_values(with_own: Callable[..., Model]) -> None:
    model = with_own(**OWN)
    engine = object.__new__(VllmEngine)
    engine._vllm = SimpleNamespace(SamplingParams=lambda **options: options)
    drawn = Drawing(top_k=5).of_model(12, model, own_options(model), several=True)
    expected = {"temperature": 0.6, "top_p": 0.95, "top_k": 5, "min_p": 0.0, "max_tokens": 12, "seed": 3}
    assert engine._params(drawn.sampling, 3) == {**expected, "stop_token_ids": []}
