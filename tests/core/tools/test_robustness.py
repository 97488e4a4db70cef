"""Many calls of which some hang and some crash: nothing is lost, doubled or mixed up."""

from __future__ import annotations

from collections import Counter

import pytest
from tool_entries import call, entry_of

from guerdon.plugins.discovery import Kind
from guerdon.tools import Toolbox

CALLS = 10_000
SESSIONS = 500


def kind_of(number: int) -> str:
    return {7: "sleep", 13: "die"}.get(number % 100, f"answer {number}")


@pytest.mark.slow
@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_of_ten_thousand_calls_none_is_lost_or_doubled() -> None:
    with Toolbox([entry_of("misbehave", timeout_s=1.0)], workers=16) as toolbox:
        sessions = toolbox.open([{}] * SESSIONS, range(SESSIONS))
        each = CALLS // SESSIONS
        for turn in range(2):
            asked = [
                (
                    session,
                    [
                        call("misbehave", how=kind_of(place * each + turn * each // 2 + number))
                        for number in range(each // 2)
                    ],
                )
                for place, session in enumerate(sessions)
            ]
            toolbox.call(asked)
    seen: Counter[str | None] = Counter()
    for place, session in enumerate(sessions):
        assert len(session.calls) == each
        for number, one in enumerate(session.calls, start=place * each):
            expected = {"sleep": "timeout", "die": "crash"}.get(kind_of(number))
            assert one.failure == expected
            if expected is None:
                assert one.result == f"answer {number}"
            seen[one.failure] += 1
    assert seen == {None: CALLS - 2 * CALLS // 100, "timeout": CALLS // 100, "crash": CALLS // 100}


@pytest.mark.timeout(900)  # of wall time, on a machine that may be busy
def test_lost_environments_harm_no_other_rollout() -> None:
    steps = {3: 14, 5: 13, 8: 15}
    with Toolbox([entry_of("Counter", Kind.ENVIRONMENT, timeout_s=1.0)]) as toolbox:
        for _ in range(5):
            sessions = toolbox.open([{"start": number} for number in range(40)], range(40))
            for turn in range(3):
                toolbox.call(
                    [
                        (session, [call("increment", step=steps.get(place % 10, 1) if turn == 1 else 1)])
                        for place, session in enumerate(sessions)
                    ]
                )
            toolbox.finish(sessions)
            for place, session in enumerate(sessions):
                lost = place % 10 in steps
                assert (session.broken is not None) == lost
                assert session.reward == (None if lost else place + 3)
