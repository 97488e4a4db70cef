"""The processes of one machine score with one rubric."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from guerdon import Rollout
from guerdon.errors import DataError, InfrastructureError
from guerdon.manifest.rubrics import plugin_entries
from guerdon.rubric import Entry, Rubric
from guerdon.rubric.node import Address, MemberRubric, hosted
from guerdon.rubric.shared import SharedRubric

VERIFIER = """
import os
def judge(completion, reference):
    with open("judged", "a") as file:
        file.write(f"{completion} by {os.getpid()}\\n")
    return completion == reference
"""


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    (tmp_path / "v.py").write_text(VERIFIER)
    monkeypatch.chdir(tmp_path)
    return plugin_entries("./v.py:judge", {})


@pytest.fixture
def address(entries: list[Entry]) -> Iterator[Address]:
    with SharedRubric(Rubric(entries, workers=1)) as shared, hosted(shared) as address:
        yield address


def rollouts(*completions: str) -> list[Rollout]:
    return [Rollout("q", completion, {"reference": "right"}) for completion in completions]


def test_members_score_with_one_worker_and_one_cache(entries: list[Entry], address: Address) -> None:
    rewards: dict[int, list[float | None]] = {}

    def score(number: int) -> None:
        with MemberRubric(entries, address) as member:
            own = rollouts("right", f"wrong {number}", "right")
            rewards[number] = [judgement.reward for judgement in member.score(own)]

    threads = [Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rewards == {number: [1.0, 0.0, 1.0] for number in range(4)}
    judged = Path("judged").read_text().splitlines()
    assert len(judged) == 5  # "right" once, and each wrong one
    assert len({line.rpartition(" ")[2] for line in judged}) == 1


def test_member_in_another_process_gets_its_scores(address: Address) -> None:
    script = textwrap.dedent("""
        import sys
        from guerdon import Rollout
        from guerdon.manifest.rubrics import plugin_entries
        from guerdon.rubric.node import MemberRubric
        with MemberRubric(plugin_entries("./v.py:judge", {}), sys.argv[1:]) as rubric:
            given = [Rollout("q", text, {"reference": "right"}) for text in ("right", "wrong")]
            print([judgement.reward for judgement in rubric.score(given, names=["judge"])])
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, *address], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[1.0, 0.0]\n", done.stderr


def test_member_gets_the_error_of_its_own_call(entries: list[Entry], address: Address) -> None:
    with MemberRubric(entries, address) as member, MemberRubric(entries, address) as other:
        with pytest.raises(DataError, match="'reference'"):
            member.score([Rollout("q", "a", {})])
        assert [judgement.reward for judgement in other.score(rollouts("right"))] == [1.0]
        assert [judgement.reward for judgement in member.score(rollouts("wrong"))] == [0.0]


def test_member_whose_host_has_ended_raises_infrastructure(entries: list[Entry]) -> None:
    with SharedRubric(Rubric(entries, workers=1)) as shared, hosted(shared) as address:
        pass
    with pytest.raises(InfrastructureError, match="has ended"):
        MemberRubric(entries, address)


def test_host_refuses_a_connection_without_the_key(entries: list[Entry], address: Address) -> None:
    path, _ = address
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(path)
        stranger.sendall(b"\x00\x00\x00\x04junk")
    with pytest.raises(InfrastructureError):
        MemberRubric(entries, (path, "00" * 32))
    assert Path(path).parent.stat().st_mode & 0o077 == 0
    with MemberRubric(entries, address) as member:
        assert [judgement.reward for judgement in member.score(rollouts("right"))] == [1.0]
