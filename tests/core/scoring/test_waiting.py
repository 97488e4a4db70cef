"""What a verifier waits for does not count for its deadline; what it does itself counts."""

from __future__ import annotations

from pathlib import Path

from guerdon import Failure, Outcome, Score
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import Kind, find_plugin
from guerdon.scoring.pool import VerifyJob, WorkerPool
from guerdon.scoring.protocol import Item

VERIFIER = str(Path(__file__).parent / "waiting_verifier.py") + ":verify"


def test_worker_case_that_waits_is_scored_and_case_that_works_is_late() -> None:
    component = load_component(find_plugin(VERIFIER, (Kind.VERIFIER,)), {}, None)
    cases = [Item(text, {"reference": None}) for text in ("wait 9", "work 9", "wait 0", "work 0")]
    job = VerifyJob(0, cases, timeout_s=1.0, dedicated=True)
    pool = WorkerPool([component])
    try:
        pool.run([job])
    finally:
        pool.close()
    scores = [result[0] for result in job.results if result is not None and isinstance(result[0], Score)]
    assert [score.outcome for score in scores] == [
        Outcome.SCORED,
        Outcome.FAILED,
        Outcome.SCORED,
        Outcome.SCORED,
    ]
    assert scores[1].failure is Failure.TIMEOUT
