"""Completions for many prompts: how many are under way, what the log keeps, and what an endpoint can do wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guerdon.errors import GuerdonError, InfrastructureError, UsageError
from guerdon.sampling.sampling import Sampling
from guerdon.stage import Launch
from guerdon.text import split_reasoning
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.stages.sampling.completions import Completion
from guerdon_plugins.stages.sampling.engines import EndpointEngine
from guerdon_plugins.stages.sampling.generation import (
    Answers,
    Draw,
    Engine,
    Prompt,
    complete_all,
)

if TYPE_CHECKING:
    from tests.plugins.stages.conftest import Teacher

SAMPLING = Sampling(max_completion_length=9, temperature=1.0)


class Counting:
    """Completes with the seed, and counts how much it is given at once."""

    def __init__(self, joint: bool) -> None:
        self.joint = joint
        self.given: list[int] = []

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        self.given.append(len(draws))
        for position, draw in enumerate(draws):
            yield position, Completion(f"{draw.prompt} {draw.seed}", [], 1, finished=True)

    def close(self) -> None: ...


def asking(teacher: Teacher, **options: Any) -> EndpointEngine:
    return EndpointEngine(Endpoint.from_params({"base_url": teacher.url, "model": "teacher", **options}))


def chat(*texts: str) -> list[Prompt]:
    return [[{"role": "user", "content": text}] for text in texts]


def complete(
    engine: Engine, prompts: Sequence[Prompt], count: int, log: Path, **options: Any
) -> list[list[Completion]]:
    told: list[int] = []
    done = complete_all(
        lambda: engine,
        prompts,
        SAMPLING,
        count,
        **{"batch_size": 5, "seed": 3, "log": log, "progress": told.append, **options},
    )
    assert told == sorted(told)
    assert told[-1] == len(prompts)
    return done


def logged(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_joint_engine_is_given_batches_and_any_other_one_everything(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(12)]
    joint, other = Counting(joint=True), Counting(joint=False)
    expected = complete(joint, prompts, 3, tmp_path / "joint")
    assert complete(other, prompts, 3, tmp_path / "other") == expected
    assert (joint.given, other.given) == ([15, 15, 6], [36])
    assert len({done.text for group in expected for done in group}) == 36


@pytest.mark.parametrize(("joint", "again"), [(True, [15, 6]), (False, [18])])
def test_what_is_in_the_log_is_not_done_again(tmp_path: Path, joint: bool, again: list[int]) -> None:
    prompts = [f"prompt {number}" for number in range(12)]
    engine = Counting(joint)
    whole = complete(engine, prompts, 3, tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    (tmp_path / "log").write_text("".join(lines[:18]) + lines[18][:20])
    engine.given.clear()
    assert complete(engine, prompts, 3, tmp_path / "log") == whole
    assert engine.given == again
    assert complete(engine, prompts, 3, tmp_path / "log") == whole
    assert engine.given == again


@pytest.mark.parametrize(("prompts", "count", "concurrency"), [(96, 1, 96), (3, 8, 24), (12, 2, 4)])
def test_as_many_requests_are_under_way_as_concurrency_says(
    tmp_path: Path, teacher: Teacher, prompts: int, count: int, concurrency: int
) -> None:
    teacher.gathers = concurrency
    asked = chat(*(f"prompt {number}" for number in range(prompts)))
    done = complete(asking(teacher, concurrency=concurrency), asked, count, tmp_path / "log")
    assert teacher.most_under_way == concurrency
    assert teacher.asked == len(logged(tmp_path / "log")) == prompts * count
    for number, group in enumerate(done):
        assert all(completion.text.startswith(f"prompt {number} ") for completion in group)
        assert len({completion.text for completion in group}) == count


def test_one_refused_prompt_stops_nothing(tmp_path: Path, teacher: Teacher) -> None:
    texts = [*(f"p{number}" for number in range(10)), "bad", *(f"q{number}" for number in range(50))]
    teacher.status_of = lambda prompt: 400 if prompt == "bad" else 200
    teacher.error = "Content Exists Risk"
    done = complete(asking(teacher, concurrency=8), chat(*texts), 4, tmp_path / "log")
    assert {completion.refused for completion in done[10]} == {"Content Exists Risk"}
    assert {completion.refused for group in (*done[:10], *done[11:]) for completion in group} == {None}
    assert (teacher.asked, len(teacher.requests)) == (244, 240)
    assert complete(asking(teacher), chat(*texts), 4, tmp_path / "log") == done
    assert teacher.asked == 244


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (
            402,
            InfrastructureError,
            r"has no credit left for a request without a key: 402 busy\. Pay for more",
        ),
        (403, UsageError, r"refuses a request without a key: 403 busy\..* api_key_env"),
        (404, UsageError, r"does not know the model or the path: 404 busy\. Correct its name"),
        (429, InfrastructureError, r"limits requests: 429 busy\. Lower concurrency \(8\)"),
    ],
)
def test_an_endpoint_that_stops_is_told_and_what_is_under_way_is_kept(
    tmp_path: Path, teacher: Teacher, status: int, kind: type[GuerdonError], words: str
) -> None:
    asked = chat(*(f"prompt {number}" for number in range(30)))
    whole = complete(asking(teacher), asked, 2, tmp_path / "whole")
    teacher.requests.clear()
    teacher.status_of = lambda _: status if teacher.asked % 20 == 0 else 200
    engine = asking(teacher, concurrency=8, max_retries=0)
    for _ in range(2):
        with pytest.raises(kind, match=words):
            complete(engine, asked, 2, tmp_path / "log")
        assert len(logged(tmp_path / "log")) == len(teacher.requests) < 60
    teacher.status_of = lambda _: 200
    assert complete(engine, asked, 2, tmp_path / "log") == whole
    assert len(teacher.requests) == 60, "no answer is paid for twice"


def test_refusals_stand_in_no_log_before_the_first_answer(tmp_path: Path, teacher: Teacher) -> None:
    teacher.status_of = lambda _: 422
    engine = asking(teacher)
    with pytest.raises(
        UsageError, match=r"\(model 'teacher'\) refuses each of 4 requests, .*busy\. Correct the model's"
    ):
        complete(engine, chat("a", "b"), 2, tmp_path / "log")
    assert logged(tmp_path / "log") == []
    teacher.status_of = lambda prompt: 422 if prompt == "a" else 200
    first, second = complete(engine, chat("a", "b"), 2, tmp_path / "log")
    assert [done.refused for done in (*first, *second)] == ["busy", "busy", None, None]
    answer = next(line for line in (tmp_path / "log").read_text().splitlines(keepends=True) if '"b ' in line)
    (tmp_path / "log").write_text(answer)
    assert complete(engine, chat("a", "b"), 2, tmp_path / "log") == [first, second]
    (only,) = complete(engine, chat("a"), 1, tmp_path / "last", answered=True)
    assert only[0].refused == "busy"


def test_an_answer_without_choices_is_a_refusal(tmp_path: Path, teacher: Teacher) -> None:
    teacher.choices = False
    with pytest.raises(UsageError, match=r"refuses each of 1 requests, .*an answer without choices: "):
        complete(asking(teacher), chat("a"), 1, tmp_path / "log")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_a_server_parts_from_the_answer_is_put_back(
    tmp_path: Path, teacher: Teacher, name: str
) -> None:
    teacher.message = {name: "\nTwo and two.\n", "content": "\n\nIt is {4}."}
    ((done,),) = complete(asking(teacher), chat("2 + 2?"), 1, tmp_path / "log")
    assert done.text == "<think>\nTwo and two.\n</think>\n\nIt is {4}."
    assert split_reasoning(done.text) == ("Two and two.", "It is {4}.")
    teacher.message = {name: "And then", "content": None}
    ((done,),) = complete(asking(teacher), chat("2 + 2?"), 1, tmp_path / "without an answer")
    assert split_reasoning(done.text) == ("And then", "")
    teacher.message = {name: None}
    ((done,),) = complete(asking(teacher), chat("2 + 2?"), 1, tmp_path / "without reasoning")
    assert done.text.startswith("2 + 2? ")


def test_plain_texts_are_completed_as_such(tmp_path: Path, teacher: Teacher) -> None:
    ((done,),) = complete(asking(teacher), ["One, two,"], 1, tmp_path / "log")
    assert done.text.startswith("One, two, ")
    assert teacher.requests[0]["prompt"] == "One, two,"


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_log_with_a_torn_line_is_completed_to_what_it_was(tmp_path: Path, joint: bool, place: int) -> None:
    log = tmp_path / "log.jsonl"
    whole = complete(Counting(joint), ["a", "b", "c"], 2, log)
    lines = log.read_text().splitlines()
    lines[place] = lines[place][:9] + "\0\0"
    log.write_text("\n".join(lines))
    assert complete(Counting(joint), ["a", "b", "c"], 2, log) == whole
    assert complete(Counting(joint), ["a", "b", "c"], 2, log) == whole


Outcome = list[list[Completion]] | GuerdonError


def launched(engines: Sequence[Engine], prompts: Sequence[Prompt], count: int, log: Path) -> list[Outcome]:
    """Complete prompts in as many threads as there are engines, which exchange texts as processes of a launch do."""
    barrier = threading.Barrier(len(engines), timeout=20)
    sent = [""] * len(engines)
    outcomes: list[Outcome] = [[] for _ in engines]

    def run(rank: int) -> None:
        def exchange(value: str) -> list[str]:
            sent[rank] = value
            barrier.wait()
            values = list(sent)
            barrier.wait()
            return values

        try:
            outcomes[rank] = complete(
                engines[rank], prompts, count, log, launch=Launch(rank, len(engines), exchange)
            )
        except GuerdonError as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_share_the_prompts_and_complete_them_as_one_does(
    tmp_path: Path, joint: bool, processes: int
) -> None:
    prompts = [f"prompt {number}" for number in range(23)]
    alone = complete(Counting(joint), prompts, 3, tmp_path / "alone")
    engines = [Counting(joint) for _ in range(processes)]
    assert launched(engines, prompts, 3, tmp_path / "log") == [alone] * processes
    assert all(engine.given for engine in engines)
    assert sum(sum(engine.given) for engine in engines) == 69
    lines = [line for path in tmp_path.glob("log*") for line in logged(path)]
    assert len({(line["prompt"], line["sample"]) for line in lines}) == len(lines) == 69


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 3), (1, 2), (2, 1), (2, 2)])
def test_killed_launch_resumes_with_any_number_of_processes(
    tmp_path: Path, joint: bool, before: int, after: int
) -> None:
    prompts = [f"prompt {number}" for number in range(23)]
    (whole, *_) = launched([Counting(joint) for _ in range(before)], prompts, 3, tmp_path / "log")
    kept = 0
    for path in tmp_path.glob("log*"):
        lines = path.read_text().splitlines(keepends=True)
        half = len(lines) // 2
        path.write_text("".join(lines[:half]) + lines[half][:20])
        kept += half
    engines = [Counting(joint) for _ in range(after)]
    assert launched(engines, prompts, 3, tmp_path / "log") == [whole] * after
    made = sum(sum(engine.given) for engine in engines)
    assert made == 69 - kept if not joint else 69 - kept <= made < 69
    assert complete(Counting(joint), prompts, 3, tmp_path / "log") == whole


class Refusing(Counting):
    """Refuses the prompts that it is given."""

    def __init__(self, joint: bool, bad: Sequence[str]) -> None:
        super().__init__(joint)
        self.bad = bad

    def complete(self, draws: Sequence[Draw], sampling: Sampling) -> Answers:
        for position, draw in enumerate(draws):
            refused = "too long" if draw.prompt in self.bad else None
            yield position, Completion(str(draw.prompt), [], 1, finished=True, refused=refused)


def test_process_whose_share_is_refused_trusts_the_answers_of_the_others(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(8)]
    odd = prompts[1::2]
    first, second = launched([Refusing(False, odd), Refusing(False, odd)], prompts, 2, tmp_path / "log")
    assert first == second
    assert not isinstance(first, GuerdonError)
    assert [group[0].refused is not None for group in first] == [False, True] * 4


def test_launch_that_is_refused_everything_fails_in_each_process_and_logs_nothing(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(8)]
    outcomes = launched([Refusing(True, prompts), Refusing(True, prompts)], prompts, 2, tmp_path / "log")
    assert [type(outcome) for outcome in outcomes] == [UsageError, UsageError]
    assert [line for path in tmp_path.glob("log*") for line in logged(path)] == []


def test_launch_without_shared_storage_is_an_error_that_names_it(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(8)]
    with pytest.raises(
        InfrastructureError, match=r"8 of 16 completions are in no log .* storage that all machines"
    ):
        complete(
            Counting(False), prompts, 2, tmp_path / "log", launch=Launch(0, 2, lambda value: [value, value])
        )
