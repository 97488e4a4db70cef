"""The server's metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guerdon.types import Judgement

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60)


class Metrics:
    """The server's counters.

    Args:
        pending: Returns the number of rollouts that wait or are being judged.
    """

    def __init__(self, pending: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "guerdon_requests", "Requests, by path and status.", ["path", "status"], registry=self._registry
        )
        self._request_seconds = Histogram(
            "guerdon_request_seconds",
            "Time to answer a request.",
            ["path"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._scores = Counter(
            "guerdon_scores",
            "Verdicts, by entry, outcome and failure.",
            ["name", "outcome", "failure"],
            registry=self._registry,
        )
        self._score_seconds = Histogram(
            "guerdon_score_seconds",
            "Time to judge one rollout with one entry; known scores are left out.",
            ["name"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rewards = Summary("guerdon_reward", "Rewards.", registry=self._registry)
        self._unscored = Counter("guerdon_unscored", "Rollouts that have no reward.", registry=self._registry)
        Gauge(
            "guerdon_pending_rollouts", "Rollouts that wait or are being judged.", registry=self._registry
        ).set_function(pending)

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Count verdicts and rewards."""
        for judgement in judgements:
            if judgement.reward is None:
                self._unscored.inc()
            else:
                self._rewards.observe(judgement.reward)
            for name, verdict in judgement.verdicts.items():
                score = verdict.score
                self._scores.labels(
                    name, score.outcome.value, score.failure.value if score.failure else ""
                ).inc()
                if verdict.latency_ms:
                    self._score_seconds.labels(name).observe(verdict.latency_ms / 1000)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, status).inc()
        self._request_seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsGuard:
    """Counts every request to a known path with the status of its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Sequence[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note_status)
        finally:  # unknown paths would create labels without limit
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, status, time.perf_counter() - started)
