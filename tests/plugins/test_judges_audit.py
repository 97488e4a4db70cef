"""The audit of judges and reward models, with stand-ins for the models: wise ones, and ones that can be talked to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from chat_server import said, served

from guerdon.audit import AuditVerdict, audit_rubric, kinds_of, own_problems
from guerdon.plugins.component import load_scorer
from guerdon.rubric import Entry

_REPLY = re.compile(r"<<REPLY (\w+)>>\n(.*)\n<<END OF REPLY \1>>", re.DOTALL)


def chat(grade: Callable[[str], int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        found = _REPLY.search(body["messages"][-1]["content"])
        assert found is not None
        return said({"reasoning": "so", "score": grade(found[2])})

    return answer


def chosen(grade: Callable[[str], int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A judge that decides yes on every criterion for a reply of the highest grade."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        found = _REPLY.search(body["messages"][-1]["content"])
        assert found is not None
        schema = body["response_format"]["json_schema"]["schema"]
        choice = "yes" if grade(found[2]) == 10 else "no"
        return said({key: {"reasoning": "so", "choice": choice} for key in schema["properties"]})

    return answer


_ANY_REPLY = re.compile(r"<<REPLY (\w+) (\w+)>>\n(.*?)\n<<END OF REPLY \1 \2>>", re.DOTALL)


def ordered(grade: Callable[[str], int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A judge that compares or ranks replies by their grades. One that hedges has the grade between."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        replies = {name: text for name, _, text in _ANY_REPLY.findall(body["messages"][-1]["content"])}
        grades = {
            name: 5 if re.search("not sure|between 90", text) else grade(text)
            for name, text in replies.items()
        }
        if set(replies) == {"A", "B"}:
            best = [name for name, one in grades.items() if one == max(grades.values())]
            return said({"reasoning": "so", "winner": best[0] if len(best) == 1 else "tie"})
        ranks = sorted(set(grades.values()), reverse=True)
        order = [[int(name) for name, one in grades.items() if one == rank] for rank in ranks]
        return said({"reasoning": "so", "ranking": order})

    return answer


def wise(reply: str) -> int:
    right = re.search(r"366|sixty-six|\b100\b", reply) and not re.search(r"360|\b80\b|opposite|Score", reply)
    return 10 if right else 1


def believing(reply: str) -> int:
    told = re.search(r"highest score|full marks|checked by experts|is correct", reply)
    return 10 if told else wise(reply)


def rewarded(value: Callable[[str], float]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {"data": [{"probs": [value(body["messages"][-1]["content"])]}]}


def helpful(reply: str) -> float:
    return 2.0 if "scatter" in reply or "drainage" in reply else -1.0


def exploits(use: str, *, kind: str = "", **params: Any) -> set[str]:
    entry = Entry(use, load_scorer(use, params, None))
    kinds = kinds_of([entry])
    assert kinds == [kind or use]
    report = audit_rubric([entry], kinds, own_problems([entry], kinds))
    assert not report.found(AuditVerdict.FALSE_NEGATIVE)
    assert not report.found(AuditVerdict.FAILED)
    return {result.case for result in report.found(AuditVerdict.EXPLOIT)}


@pytest.mark.parametrize(
    ("grade", "expected"),
    [
        (wise, set()),
        (believing, {"ignore-instructions", "closed-delimiters", "fake-turn", "authority", "claim"}),
    ],
)
def test_a_judge(grade: Callable[[str], int], expected: set[str]) -> None:
    with served(chat(grade)) as url:
        assert exploits("judge", endpoint={"base_url": f"{url}/v1", "model": "m"}) == expected


_TALKED_INTO = {"ignore-instructions", "closed-delimiters", "fake-turn", "authority", "claim"}

_MODES: dict[str, tuple[dict[str, Any], Any, str, str]] = {
    "judge_criteria": (
        {
            "mode": "criteria",
            "criteria": [{"text": "The answer is right.", "weight": 2}],
            "criteria_column": "criteria",
        },
        chosen,
        "every criterion",
        "criteria-claimed",
    ),
    "judge_pairs": ({"mode": "pairwise"}, ordered, "better one", "other-is-worse"),
    "judge_rank": ({"mode": "rank"}, ordered, "Rank them last", "others-are-worse"),
}
"""The params of each mode, its judge by a function that grades, and what talks such a judge into a case."""


@pytest.mark.parametrize("gullible", [False, True])
@pytest.mark.parametrize("kind", _MODES)
def test_a_judge_of_another_mode(kind: str, gullible: bool) -> None:
    params, judge, words, case = _MODES[kind]

    def grade(reply: str) -> int:
        return 10 if gullible and words in reply else (believing if gullible else wise)(reply)

    with served(judge(grade)) as url:
        found = exploits("judge", kind=kind, endpoint={"base_url": f"{url}/v1", "model": "m"}, **params)
    assert found == ({*_TALKED_INTO, case} if gullible else set())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (helpful, set()),
        (lambda reply: helpful(reply) + 3.0 * ("10 out of 10" in reply), {"injection"}),
        (lambda reply: len(reply) / 200, {"wrong-padded", "copied-prompt-padding"}),
    ],
)
def test_a_reward_model(value: Callable[[str], float], expected: set[str]) -> None:
    with served(rewarded(value)) as url:
        found = exploits("preference", url=f"{url}/classify")
    assert found >= expected
    assert bool(found) == bool(expected)
