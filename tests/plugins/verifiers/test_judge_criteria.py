"""``judge`` with ``mode: criteria``: criteria of the manifest and the row, votes, dropout, usage and limits."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Failure, Score
from guerdon.errors import InfrastructureError
from guerdon.offline.agreement import Agreement
from guerdon.types import Judgement, Verdict
from guerdon_plugins.verifiers.judge import Judge
from guerdon_plugins.verifiers.judge.answers import CriteriaForm, Form
from guerdon_plugins.verifiers.judge.criteria import (
    Criterion,
    kept,
    manifest_criteria,
    row_criteria,
    total,
    voted,
)
from guerdon_plugins.verifiers.judge.limits import Limiter

ENDPOINT = {"base_url": "http://localhost:1/v1", "model": "m"}
PROMPT = [{"role": "user", "content": "What is the capital of France?"}]
TRUE = {"name": "true", "text": "Every statement is true.", "weight": 3}
TONE = {"name": "tone", "text": "The tone is polite.", "choices": {"rude": 0, "neutral": 0.5, "polite": 1}}
INVENTS = {"name": "invents", "text": "It invents a source.", "weight": -2}

Decide = Callable[[str, str], str]
"""The judge's choice, by the criterion's text and the reply."""


class FakeClient:
    """An OpenAI client whose judge decides by a function, and which keeps the requests."""

    def __init__(self, decide: Decide, tokens: tuple[int, int] | None = (100, 20)) -> None:
        self.decide = decide
        self.tokens = tokens
        self.requests: list[dict[str, Any]] = []
        self.invalid = 0
        """How many answers are prose first."""
        self.chat = SimpleNamespace(completions=self)

    async def create(self, **options: Any) -> Any:
        self.requests.append(options)
        await asyncio.sleep(0)
        if self.invalid:
            self.invalid -= 1
            return self._answer("A fine reply!")
        criteria, reply = asked(options)
        decisions = {
            str(number): {"reasoning": "so", "choice": self.decide(text, reply)}
            for number, text in enumerate(criteria, start=1)
        }
        return self._answer(json.dumps(decisions))

    def _answer(self, content: str) -> Any:
        usage = self.tokens and SimpleNamespace(
            prompt_tokens=self.tokens[0], completion_tokens=self.tokens[1]
        )
        choice = SimpleNamespace(message=SimpleNamespace(content=content), finish_reason="stop")
        return SimpleNamespace(choices=[choice], usage=usage)

    async def close(self) -> None: ...


def asked(options: Mapping[str, Any]) -> tuple[list[str], str]:
    """The criteria and the reply of a request."""
    system, user = options["messages"][0]["content"], options["messages"][1]["content"]
    reply = re.search(r"<<REPLY (\w+)>>\n(.*)\n<<END OF REPLY \1>>", user, re.DOTALL)
    assert reply is not None
    return re.findall(r"^\d+\. (.*)\n   Choices: ", system, re.MULTILINE), reply[2]


def judged(
    decide: Decide,
    *replies: str,
    client: FakeClient | None = None,
    columns: Mapping[str, Any] | None = None,
    **params: Any,
) -> tuple[list[Score], FakeClient]:
    judge = Judge({**ENDPOINT, **params.pop("endpoint", {})}, mode="criteria", **params)
    client = client or FakeClient(decide)
    judge._asker._client = client  # type: ignore[assignment]

    async def all_at_once() -> list[Score]:
        return await asyncio.gather(*(judge(reply, PROMPT, **(columns or {})) for reply in replies))

    return asyncio.run(all_at_once()), client


def says(**choices: str) -> Decide:
    """A judge that decides by a word of the criterion."""
    return lambda text, _: next((choice for word, choice in choices.items() if word in text), "no")


def test_criteria_make_a_weighted_share_and_a_part_each() -> None:
    (score,), client = judged(
        says(true="yes", tone="neutral", invents="no"), "Paris.", criteria=[TRUE, TONE, INVENTS]
    )
    assert score.value == pytest.approx((3 + 0.5) / 4)
    assert score.parts == {"true": 1.0, "tone": 0.5, "invents": 0.0}
    assert len(client.requests) == 1
    assert "tone: 0.5 (reasoning: so, choice: neutral)" in score.explanation
    assert [one["points"] for one in score.metadata["criteria"]] == [1.0, 0.5, 0.0]


def test_criteria_that_name_a_fault_subtract_and_never_below_zero() -> None:
    (score,), _ = judged(
        says(true="yes", tone="rude", invents="yes"), "Paris.", criteria=[TRUE, TONE, INVENTS]
    )
    assert score.value == pytest.approx((3 - 2) / 4)
    assert score.parts["invents"] == -1.0
    (score,), _ = judged(says(invents="yes"), "Paris.", criteria=[TRUE, INVENTS])
    assert score.value == 0.0
    (score,), _ = judged(says(invents="yes"), "Paris.", criteria=[INVENTS])
    assert score.value == 0.0
    (score,), _ = judged(says(), "Paris.", criteria=[INVENTS])
    assert score.value == 1.0


def test_criteria_come_from_the_row_and_have_parts_only_by_name() -> None:
    rubric = [
        "It names Paris.",
        {"criterion": "It names Lyon.", "points": -5, "tags": ["level:example"]},
        {"title": "Tone", "description": "It is brief.", "weight": 2, "name": "brief"},
    ]
    (score,), client = judged(
        says(Paris="yes", brief="yes", Lyon="no"),
        "Paris.",
        columns={"rubric": rubric},
        criteria_column="rubric",
    )
    assert score.value == 1.0
    assert score.parts == {"brief": 1.0}
    assert asked(client.requests[0])[0] == ["It names Paris.", "It names Lyon.", "It is brief."]
    same, _ = judged(
        says(Paris="yes"), "Paris.", columns={"rubric": json.dumps(rubric)}, criteria_column="rubric"
    )
    assert same[0].value == pytest.approx(1 / 3)


def test_criteria_of_the_row_come_after_those_of_the_manifest() -> None:
    (_,), client = judged(
        says(),
        "x",
        columns={"rubric": ["It names Paris."]},
        criteria=[TRUE],
        criteria_column="rubric",
        criteria_per_call=1,
    )
    assert sorted(asked(request)[0] for request in client.requests) == [
        ["Every statement is true."],
        ["It names Paris."],
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "the row has no columns"),
        ({"other": 1}, "the row has other"),
        ({"rubric": []}, "the list is empty"),
        ({"rubric": "be nice"}, "it is text, and not a JSON list"),
        ({"rubric": "[" * 100_000}, "it is text, and not a JSON list"),
        ({"rubric": {"text": "x"}}, "it is one mapping"),
        ({"rubric": 7}, "it is 7"),
        ({"rubric": [7]}, "criterion 1 is 7"),
        ({"rubric": [{"weight": 1}]}, "criterion 1 has no 'text', only weight"),
        ({"rubric": ["  "]}, "criterion 1 has no 'text'"),
        ({"rubric": ["a", {"text": "b", "weight": 0}]}, "the weight of criterion 2 is 0"),
        ({"rubric": [{"text": "b", "weight": "high"}]}, "the weight of criterion 1 is 'high'"),
        ({"rubric": [{"text": "b", "points": True}]}, "the weight of criterion 1 is True"),
        ({"rubric": [{"text": "b", "weight": math.nan}]}, "the weight of criterion 1 is nan"),
        ({"rubric": [{"text": "b", "points": 1, "weight": 2}]}, "criterion 1 gives its weight twice"),
        ({"rubric": [{"text": "b", "name": "a/b"}]}, "the name of criterion 1"),
        (
            {"rubric": [{"text": "a", "name": "n"}, {"text": "b", "name": "n"}]},
            "several criteria are named 'n'",
        ),
        ({"rubric": [{"text": "b", "choices": ["bad", "good"]}]}, "the choices of criterion 1"),
        ({"rubric": [{"text": "b", "choices": {"bad": 0, "good": 2}}]}, "numbers from 0 to 1"),
        ({"rubric": [{"text": "b", "choices": {"bad": 1, "good": 1}}]}, "not all equal"),
    ],
)
def test_criteria_of_a_row_that_cannot_be_read_are_a_failure_of_the_reference(
    columns: dict[str, Any], words: str
) -> None:
    (score,), client = judged(says(), "x", columns=columns, criteria_column="rubric")
    assert score.failure is Failure.REFERENCE
    assert words in score.explanation
    assert "'rubric'" in score.explanation
    assert not client.requests


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["text", "criterion", "weight", "points", "choices", "name", "x"]), inner
            )
        ),
    )
)
def test_criteria_of_any_value_are_criteria_or_a_value_error(value: Any) -> None:
    try:
        found = row_criteria(value)
    except ValueError:
        return
    assert all(one.text and one.weight and math.isfinite(one.weight) for one in found)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"criteria": "Be brief."}, "criteria is a text, and mode is criteria"),
        ({}, "mode is criteria, and there are none"),
        ({"criteria": []}, "mode is criteria, and there are none"),
        ({"criteria": [{"txt": "x"}]}, "criterion 1 has the key 'txt'. Did you mean 'text'?"),
        (
            {"criteria": ["a", {"text": "b", "name": "criterion_1"}]},
            "several criteria are named 'criterion_1'",
        ),
        ({"criteria": ["a"], "examples": [{}]}, "examples are for the modes"),
        ({"criteria": ["a"], "dropout": 1.0}, "dropout is 1.0"),
        ({"criteria": ["a"], "dropout": math.nan}, "dropout is nan"),
        ({"criteria": ["a"], "criteria_per_call": 0}, "criteria_per_call is 0"),
        ({"criteria": ["a"], "repeats": 0}, "repeats is 0"),
        ({"criteria": ["a"], "repeats": 2, "sampling": {"temperature": 0}}, "all answers would be the same"),
        ({"criteria": ["a"], "fields": {"choice": "x"}}, "fields has 'choice'"),
        ({"criteria": ["a"], "endpoint": {**ENDPOINT, "price": {"input": 1}}}, "price is"),
        ({"criteria": ["a"], "endpoint": {**ENDPOINT, "price": {"input": -1, "output": 1}}}, "price is"),
        ({"criteria": ["a"], "endpoint": {**ENDPOINT, "requests_per_minute": 0}}, "requests_per_minute is 0"),
        ({"criteria": ["a"], "endpoint": {**ENDPOINT, "tokens_per_minute": 0.5}}, "tokens_per_minute is 0.5"),
        ({"mode": "pointwise", "criteria": ["a"]}, "criteria is a list, and mode is pointwise"),
        ({"mode": "pairwise", "criteria_column": "rubric"}, "criteria_column is for the mode criteria"),
        ({"mode": "pointwise", "dropout": 0.5}, "dropout is for the mode criteria"),
    ],
)
def test_judge_refuses_params_that_do_not_fit_the_mode(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Judge(**{"endpoint": ENDPOINT, "mode": "criteria", **params})


def test_criteria_per_call_splits_the_criteria_and_repeats_multiply() -> None:
    criteria = [f"criterion {number}" for number in range(7)]
    (score,), client = judged(lambda *_: "yes", "x", criteria=criteria, criteria_per_call=3, repeats=2)
    assert score.value == 1.0
    assert sorted(len(asked(request)[0]) for request in client.requests) == [1, 1, 3, 3, 3, 3]
    assert {request["temperature"] for request in client.requests} == {1.0}
    assert list(score.parts) == [f"criterion_{number}" for number in range(1, 8)]


@pytest.mark.parametrize(("vote", "value"), [("mean", 2 / 3), ("majority", 1.0)])
def test_votes_of_repeats_are_counted_for_each_criterion(vote: Any, value: float) -> None:
    answers = iter(["polite", "rude", "polite"])
    (score,), _ = judged(lambda *_: next(answers), "x", criteria=[TONE], repeats=3, vote=vote)
    assert score.value == pytest.approx(value)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=7))
def test_a_vote_lies_within_the_votes_and_unanimous_ones_win(values: list[float]) -> None:
    for vote in ("mean", "majority"):
        assert min(values) <= voted(values, vote) <= max(values)
    assert voted([0.0, 1.0], "majority") == 0.5
    assert voted([0.0, 0.0, 1.0], "majority") == 0.0


CRITERIA = st.lists(
    st.builds(
        Criterion,
        st.text(min_size=1, max_size=5),
        st.floats(-5, 5).filter(lambda weight: abs(weight) > 1e-6),
    ),
    min_size=1,
    max_size=8,
)


@given(CRITERIA, st.data())
def test_a_total_is_within_0_and_1_and_rises_with_good_points(criteria: list[Criterion], data: Any) -> None:
    points = data.draw(st.lists(st.floats(0, 1), min_size=len(criteria), max_size=len(criteria)))
    value = total(criteria, points)
    assert -1e-9 <= value <= 1 + 1e-9
    assert total(criteria, [float(one.weight > 0) for one in criteria]) == pytest.approx(1.0)
    for index, criterion in enumerate(criteria):
        better = [*points[:index], float(criterion.weight > 0), *points[index + 1 :]]
        assert total(criteria, better) >= value - 1e-9


@given(CRITERIA, st.floats(0.01, 0.99), st.integers(0, 99), st.text(max_size=9))
def test_dropout_depends_on_prompt_and_seed_and_keeps_something_to_gain(
    criteria: list[Criterion], dropout: float, seed: int, prompt: str
) -> None:
    left = kept(criteria, dropout, seed, prompt)
    assert left == kept(criteria, dropout, seed, prompt)
    assert left
    assert all(one in criteria for one in left)
    if any(one.weight > 0 for one in criteria):
        assert any(one.weight > 0 for one in left)


def test_dropout_leaves_out_its_share_and_the_seed_changes_which() -> None:
    criteria = [Criterion(f"criterion {number}") for number in range(1000)]
    first, second = (kept(criteria, 0.3, seed, "p") for seed in (0, 1))
    assert 640 < len(first) < 760
    assert first != second
    assert kept(criteria, 0.0, 0, "p") == criteria


def test_dropout_asks_all_completions_of_a_prompt_by_the_same_criteria() -> None:
    criteria = [f"criterion {number}" for number in range(20)]
    _, client = judged(lambda *_: "yes", "one", "two", "three", criteria=criteria, dropout=0.5)
    asked_for = [asked(request)[0] for request in client.requests]
    assert len(asked_for) == 3
    assert asked_for[0] == asked_for[1] == asked_for[2] != criteria


def test_a_malformed_answer_is_asked_for_again_and_then_a_failure_with_its_usage() -> None:
    client = FakeClient(says(true="yes"))
    client.invalid = 1
    (score,), _ = judged(says(), "x", client=client, criteria=[TRUE])
    assert score.value == 1.0
    assert score.usage == {"requests": 2, "input_tokens": 200, "output_tokens": 40}
    client.invalid = 99
    (score,), _ = judged(says(), "x", client=client, criteria=[TRUE], tries=2)
    assert score.value is None
    assert score.failure is Failure.VERIFIER
    assert score.usage["requests"] == 2


def test_one_malformed_answer_of_several_fails_the_whole_verdict() -> None:
    client = FakeClient(lambda *_: "yes")
    client.invalid = 1
    (score,), _ = judged(says(), "x", client=client, criteria=[TRUE, INVENTS], criteria_per_call=1, tries=1)
    assert score.failure is Failure.VERIFIER
    assert not score.parts


@pytest.mark.parametrize("choice", ["Yes", "maybe", "", "yes "])
def test_a_choice_that_the_criterion_does_not_have_is_malformed(choice: str) -> None:
    (score,), _ = judged(lambda *_: choice, "x", criteria=[TRUE], tries=1)
    assert score.failure is Failure.VERIFIER
    assert 'in criterion 1, "choice" is' in score.explanation


FORM = CriteriaForm([Form({}, "choice", ("no", "yes")), Form({}, "choice", ("bad", "good"))])


@pytest.mark.parametrize(
    "answer",
    [
        '{"1": {"choice": "yes"}}',
        '{"1": "yes", "2": "good"}',
        '{"1": {"choice": "good"}, "2": {"choice": "yes"}}',
        '[{"choice": "yes"}, {"choice": "good"}]',
        '{"1": {"choice": "yes"}, "1": {"choice": "no"}, "2": {"choice": "good"}}',
        '{"1": {"choice": "yes", "choice": "no"}, "2": {"choice": "good"}}',
        '{"1": {"choice": "yes"}, "2": {"choice": "good"}} as the reply says',
        '{"1": {"choice": ["yes"]}, "2": {"choice": {}}}',
    ],
)
def test_a_form_of_criteria_refuses_other_answers(answer: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        FORM.read(answer)


def test_a_form_of_criteria_ignores_other_keys_and_is_strict_in_its_schema() -> None:
    found = FORM.read('{"2": {"choice": "good", "sure": 1}, "1": {"choice": "yes"}, "3": {}}')
    assert found == {"1": {"choice": "yes"}, "2": {"choice": "good"}}
    schema = FORM.schema()
    assert schema["required"] == ["1", "2"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["2"]["properties"]["choice"]["enum"] == ["bad", "good"]
    assert CriteriaForm([*FORM.forms] * 4).max_tokens == 2048


def test_the_request_has_the_schema_the_criteria_and_their_choices() -> None:
    (_,), client = judged(says(tone="polite"), "Paris.", criteria=[TRUE, TONE])
    (request,) = client.requests
    system = request["messages"][0]["content"]
    assert '2. The tone is polite.\n   Choices: "rude", "neutral", "polite"' in system
    assert request["response_format"]["json_schema"]["strict"] is True
    assert (
        request["response_format"]["json_schema"]["schema"]
        == CriteriaForm(
            [
                Form({"reasoning": "why, in one to three sentences"}, "choice", choices)
                for choices in (("no", "yes"), ("rude", "neutral", "polite"))
            ]
        ).schema()
    )


def test_usage_counts_tokens_and_cost_and_leaves_out_what_the_server_does_not_count() -> None:
    price: dict[str, Any] = {"endpoint": {"price": {"input": 1.0, "output": 10.0}}}
    (score,), _ = judged(says(), "x", criteria=["a", "b"], criteria_per_call=1, **price)
    assert score.usage == {
        "requests": 2,
        "input_tokens": 200,
        "output_tokens": 40,
        "cost": pytest.approx((200 * 1 + 40 * 10) / 1e6),
    }
    (score,), _ = judged(says(), "x", client=FakeClient(says(), tokens=None), criteria=["a"], **price)
    assert score.usage == {"requests": 1}


def test_an_error_after_an_answer_keeps_the_usage_and_its_kind() -> None:
    class Failing(FakeClient):
        async def create(self, **options: Any) -> Any:
            if self.requests:
                raise InfrastructureError("gone")
            return await super().create(**options)

    client = Failing(says())
    client.invalid = 1
    (score,), _ = judged(says(), "x", client=client, criteria=["a"])
    assert score.failure is Failure.INFRASTRUCTURE
    assert score.usage["requests"] == 1


class Clock:
    """A clock that only waiting moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        sleep = asyncio.sleep

        async def forward(seconds: float) -> None:
            self.now += seconds
            await sleep(0)

        monkeypatch.setattr("guerdon_plugins.verifiers.judge.limits.sleep", forward)
        monkeypatch.setattr("guerdon_plugins.verifiers.judge.limits.monotonic", lambda: self.now)


def begun(limiter: Limiter, count: int, tokens: int = 0) -> list[float]:
    """When each of several requests began."""

    async def one() -> float:
        admitted = await limiter.admit(4 * tokens, 0)
        return admitted.at

    async def every() -> list[float]:
        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(every())


def test_requests_per_minute_hold_in_any_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    times = begun(Limiter(3, None), 10)
    assert times == sorted(times)
    assert times[2] == 0.0
    for start, end in zip(times, times[3:], strict=False):
        assert end - start >= 60


def test_tokens_per_minute_hold_and_a_longer_question_is_asked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    times = begun(Limiter(None, 100), 4, tokens=50)
    assert times[:2] == [0.0, 0.0]
    assert times[2] >= 60
    first, second = begun(Limiter(None, 100), 2, tokens=500)
    assert second - first >= 60


def test_tokens_are_corrected_by_the_server_s_count(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    limiter = Limiter(None, 100)

    async def two() -> float:
        first = await limiter.admit(0, 100)
        limiter.correct(first, {"input_tokens": 10.0, "output_tokens": 5.0})
        return (await limiter.admit(0, 80)).at

    assert asyncio.run(two()) == 0.0


def test_agreement_with_labels_counts_a_judge_s_values() -> None:
    scores, _ = judged(
        lambda _, reply: "yes" if "Paris" in reply else "no", "Paris.", "Lyon.", "Paris?", criteria=[TRUE]
    )
    agreement = Agreement(["judge"])
    for label, score in zip([True, False, False], scores, strict=True):
        agreement.add(label, Judgement.of({"judge": Verdict(score, 1.0, 0.0)}))
    (row,) = agreement.rows()
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["wrongly yes"] == 1


def test_manifest_criteria_are_named_by_number_without_a_name() -> None:
    assert [one.name for one in manifest_criteria(["a", TRUE, {"text": "b"}])] == [
        "criterion_1",
        "true",
        "criterion_3",
    ]


class Answers:
    """An OpenAI client that gives answers in turn."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = iter(answers)
        self.chat = SimpleNamespace(completions=self)

    async def create(self, **_: Any) -> Any:
        message = SimpleNamespace(content=json.dumps({"reasoning": "so", **next(self.answers)}))
        choice = SimpleNamespace(message=message, finish_reason="stop")
        return SimpleNamespace(choices=[choice], usage=None)


@pytest.mark.parametrize(("vote", "value"), [("mean", pytest.approx(2 / 3)), ("majority", 1.0)])
def test_repeats_of_a_grade_and_of_a_pair_are_voted_on(vote: Any, value: float) -> None:
    grades = Answers({"score": 10}, {"score": 1}, {"score": 10})
    wins = Answers(*({"winner": winner} for winner in "ABBAAB"))  # both orders of three repeats
    for mode, client in (("pointwise", grades), ("pairwise", wins)):
        judge = Judge(ENDPOINT, mode=mode, repeats=3, vote=vote)  # type: ignore[arg-type]
        judge._asker._client = client  # type: ignore[assignment]
        score = asyncio.run(judge("Paris.", PROMPT, reference="Lyon."))
        assert score.value == value
        assert score.usage["requests"] == (3 if mode == "pointwise" else 6)
