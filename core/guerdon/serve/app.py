"""The application: convert requests to rollouts, and judgements to answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from guerdon import __version__
from guerdon.adapters import nemo_gym
from guerdon.adapters.named_rubric import NO_GROUPS, reward_of
from guerdon.adapters.openrlhf import rollouts as openrlhf_rollouts
from guerdon.errors import DataError, GuerdonError, InfrastructureError
from guerdon.rubric.shared import SharedRubric
from guerdon.serve.guards import SizeGuard, TokenGuard
from guerdon.serve.metrics import Metrics, MetricsGuard
from guerdon.serve.schema import (
    AggregateOut,
    AggregateRequest,
    ErrorOut,
    FingerprintOut,
    HealthOut,
    Message,
    RewardRequest,
    RewardResponse,
    RolloutIn,
    ScoreRequest,
    ScoreResponse,
    VerifyRequest,
    VerifyResponse,
)
from guerdon.types import Judgement, Messages, Rollout, ToolCall

Item = TypeVar("Item")

FINGERPRINT_HEADER = "x-guerdon-fingerprint"

_LATER = {"Retry-After": "1"}
"""Seconds after which a refused client may retry."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "The body is not valid JSON."},
    401: {"model": ErrorOut, "description": "The token is missing or wrong."},
    413: {"model": ErrorOut, "description": "The body is too large."},
    415: {"model": ErrorOut, "description": "The body is not sent as JSON."},
    422: {"model": ErrorOut, "description": "The request cannot be judged; `detail` says where and why."},
    500: {"model": ErrorOut, "description": "The rubric broke down, or a completion has no reward."},
    503: {"model": ErrorOut, "description": "Too much is waiting, or something outside is down; try again."},
}


class _MissingGroupError(DataError):
    """A rollout names no group, and the rubric compares the completions of a group."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The server's limits."""

    max_body_bytes: int = 32 * 2**20
    """The largest body of one request."""
    max_batch: int = 1024
    """The most rollouts in one request."""
    max_pending: int = 8192
    """The most rollouts that wait or are being judged; further requests are refused with 503."""


def create_app(
    rubric: SharedRubric,
    limits: Limits,
    token: str | None = None,
    unscored: float | None = None,
    columns: Mapping[str, str] | None = None,
) -> FastAPI:
    """Return the reward server.

    Args:
        rubric: The rubric that scores.
        limits: The server's limits.
        token: The token that clients must send; without it, any client may send requests.
        unscored: For OpenRLHF and NeMo Gym, the reward of a completion that has none; without it, such a request is an
            error.
        columns: For NeMo Gym, the data's names of columns: ``{"reference": "expected_answer"}``.
    """
    metrics = Metrics(lambda: rubric.pending)
    paths = (
        "/score",
        "/get_reward",
        "/seed_session",
        "/verify",
        "/aggregate_metrics",
        "/reverify_mode",
        "/fingerprint",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
    )
    guards = [Middleware(MetricsGuard, metrics=metrics, paths=paths)]
    if token is not None:
        guards.append(Middleware(TokenGuard, token=token))
    guards.append(Middleware(SizeGuard, max_bytes=limits.max_body_bytes))
    # The pages that show the schema load scripts from external sites.
    app = FastAPI(title="guerdon", version=__version__, docs_url=None, redoc_url=None, middleware=guards)
    app.add_exception_handler(GuerdonError, _explain)
    app.add_exception_handler(RequestValidationError, _explain_request)

    scoring = _Scoring(rubric, limits, metrics)
    _add_scoring(app, scoring, unscored)
    _add_nemo_gym(app, scoring, unscored, columns or {})
    _add_status(app, rubric, limits, metrics)
    return app


class _Scoring:
    """Scores the rollouts of requests, within the server's limits."""

    def __init__(self, rubric: SharedRubric, limits: Limits, metrics: Metrics) -> None:
        self.rubric = rubric
        self._limits = limits
        self._metrics = metrics

    async def __call__(
        self, rollouts: Sequence[Rollout], step: int, groups: Sequence[str | int] | None = None
    ) -> list[Judgement]:
        pending = self.rubric.pending
        if len(rollouts) > self._limits.max_batch:
            raise DataError(f"{len(rollouts)} rollouts in one request; the limit is {self._limits.max_batch}")
        if pending and pending + len(rollouts) > self._limits.max_pending:
            raise HTTPException(503, f"{pending} rollouts are waiting; try again", _LATER)
        try:
            judgements = await asyncio.wrap_future(self.rubric.submit(rollouts, step, groups))
        except RecursionError:
            raise DataError("the columns are nested too deeply") from None
        self._metrics.judged(judgements)
        return judgements


def _add_scoring(app: FastAPI, scoring: _Scoring, unscored: float | None) -> None:
    """Add the addresses that score."""
    rubric = scoring.rubric

    @app.post("/score", response_model=ScoreResponse, responses=_ERRORS)
    async def score(request: ScoreRequest) -> Response:
        """Judge rollouts. The answer has one result for each, in order."""
        rollouts = [_rollout(place, rollout) for place, rollout in _placed("rollouts", request.rollouts)]
        groups = _groups(rubric, request.rollouts)
        judgements = await scoring(_checked(rubric, "rollouts", rollouts), request.step, groups)
        results = [
            {"id": rollout.id, **judgement.to_dict()}
            for rollout, judgement in zip(request.rollouts, judgements, strict=True)
        ]
        # ASCII-escaped, because a completion may hold a lone surrogate, which UTF-8 cannot encode.
        headers = {FINGERPRINT_HEADER: rubric.fingerprint}
        return Response(json.dumps({"results": results}), media_type="application/json", headers=headers)

    @app.post("/get_reward", response_model=RewardResponse, responses=_ERRORS)
    async def get_reward(request: RewardRequest) -> Response:
        """Judge completions in OpenRLHF's format."""
        if rubric.compares_groups:
            raise DataError(f"the rubric has a group reward, and OpenRLHF does not name groups. {NO_GROUPS}")
        rollouts = openrlhf_rollouts(request.query, request.prompts, request.labels)
        judgements = await scoring(_checked(rubric, "query", rollouts), 0)
        rewards = [reward_of(judgement, unscored) for judgement in judgements]
        values = [judgement.values(rubric.names) for judgement in judgements]
        extra_logs = {name: [by_name[name] for by_name in values] for name in rubric.names}
        # NaN as Python writes it, because OpenRLHF reads it and requires every key every time.
        content = json.dumps({"rewards": rewards, "scores": rewards, "extra_logs": extra_logs})
        return Response(content, media_type="application/json")


def _add_nemo_gym(
    app: FastAPI, scoring: _Scoring, unscored: float | None, columns: Mapping[str, str]
) -> None:
    """Add the addresses of a resources server of NeMo Gym."""
    rubric = scoring.rubric

    def refuse_groups() -> None:
        if rubric.compares_groups:
            raise DataError(
                f"the rubric has a group reward, and NeMo Gym verifies single rollouts. {NO_GROUPS}"
            )

    # From 0.5, NeMo Gym's client adds the prefix while it records the calls of models.
    @app.post("/ng-rollout/{rollout}/seed_session", include_in_schema=False)
    @app.post("/seed_session", responses=_ERRORS)
    async def seed_session() -> dict[str, Any]:
        """Accept a rollout of NeMo Gym before it is sampled. The server keeps no sessions."""
        refuse_groups()
        return {}

    @app.post("/ng-rollout/{rollout}/verify", include_in_schema=False)
    @app.post("/verify", response_model=VerifyResponse, responses=_ERRORS)
    async def verify(request: VerifyRequest) -> Response:
        """Judge one rollout of NeMo Gym. The answer repeats the request and adds the reward and the entries' values."""
        refuse_groups()
        body = dict(request)  # without a deep copy, because the ids of tokens may be many
        rollouts = [nemo_gym.rollout(body, columns)]
        (judgement,) = await scoring(_checked(rubric, "body", rollouts), 0)
        try:
            content = json.dumps(nemo_gym.answer(body, judgement, rubric.names, unscored), allow_nan=False)
        except ValueError:
            raise DataError("the body has NaN or an infinity, which JSON does not have. Send null.") from None
        return Response(
            content, media_type="application/json", headers={FINGERPRINT_HEADER: rubric.fingerprint}
        )

    @app.post("/aggregate_metrics", response_model=AggregateOut, responses=_ERRORS)
    def aggregate_metrics(request: AggregateRequest) -> dict[str, Any]:
        """Return statistics of the results of a collection."""
        return nemo_gym.aggregate([result.model_dump(by_alias=True) for result in request.verify_responses])

    @app.get("/reverify_mode")
    async def reverify_mode() -> str:
        """Return that a rollout may be verified again, because its request holds everything that is judged."""
        return "stateless"


def _add_status(app: FastAPI, rubric: SharedRubric, limits: Limits, metrics: Metrics) -> None:
    """Add the addresses that say how the server is."""

    @app.get("/health/live", response_model=HealthOut)
    async def live() -> HealthOut:
        """Return that the server runs."""
        return HealthOut(status="ok", rubric=rubric.names, pending=rubric.pending)

    @app.get("/health/ready", response_model=HealthOut, responses={503: {"model": HealthOut}})
    async def ready(response: Response) -> HealthOut:
        """Return whether the server has capacity; 503 if not."""
        full = rubric.pending >= limits.max_pending
        response.status_code = 503 if full else 200
        return HealthOut(status="full" if full else "ok", rubric=rubric.names, pending=rubric.pending)

    @app.get("/fingerprint", response_model=FingerprintOut)
    async def fingerprint() -> FingerprintOut:
        """Return the digest of the rubric, so that clients of several servers can compare them."""
        return FingerprintOut(
            fingerprint=rubric.fingerprint,
            rubric=rubric.names,
            compares_completions=rubric.compares_completions,
        )

    @app.get("/metrics", response_class=Response)
    async def metrics_text() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _explain(_: Request, error: Exception) -> JSONResponse:
    """Attribute an error: to the request (422), to an external service (503), or to the rubric (500)."""
    if isinstance(error, DataError):
        kind = "missing_group" if isinstance(error, _MissingGroupError) else "value_error"
        problem = {"loc": ["body"], "msg": str(error), "type": kind}
        return JSONResponse({"detail": [problem]}, 422)
    if isinstance(error, InfrastructureError):
        return JSONResponse({"detail": str(error)}, 503, _LATER)
    return JSONResponse({"detail": str(error)}, 500)


async def _explain_request(request: Request, error: Exception) -> JSONResponse:
    """Return where a request is malformed, without repeating it, because it may be large."""
    assert isinstance(error, RequestValidationError)
    keys = ("loc", "msg", "type")
    problems = [{key: problem[key] for key in keys} for problem in error.errors()]
    for problem in problems:
        match problem["loc"]:
            case ("body", "rollouts", _, name) if problem["type"] == "extra_forbidden":
                problem["msg"] = (
                    f"a rollout has no field '{name}'. If it is a column of the data, put it under 'columns'"
                )
    if any(problem["type"] == "json_invalid" for problem in problems):
        return JSONResponse({"detail": problems}, 400)
    kind = request.headers.get("content-type", "")
    if "json" not in kind.lower():
        sent = f"'{kind}'" if kind else "no Content-Type"
        detail = f"the request has {sent}; send JSON with 'Content-Type: application/json'"
        return JSONResponse({"detail": detail}, 415)
    return JSONResponse({"detail": problems}, 422)


def _placed(name: str, items: Sequence[Item]) -> Iterator[tuple[str, Item]]:
    return ((f"{name}[{number}]", item) for number, item in enumerate(items))


def _rollout(place: str, rollout: RolloutIn) -> Rollout:
    completion = _text(rollout.completion)
    if not isinstance(completion, str) and not any(turn["role"] == "assistant" for turn in completion):
        raise DataError(
            f"{place}: the completion has no turn of the role 'assistant', and only those are the model's own words"
        )
    calls = rollout.tool_calls
    return Rollout(
        _text(rollout.prompt),
        completion,
        rollout.columns,
        calls=None if calls is None else [ToolCall(**call.model_dump()) for call in calls],
        environment=rollout.environment,
        environment_reward=rollout.environment_reward,
        broken=rollout.broken,
    )


def _groups(rubric: SharedRubric, rollouts: Sequence[RolloutIn]) -> list[str | int] | None:
    """Return each rollout's group, if the rubric compares groups.

    Raises:
        DataError: A rollout names no group, or one group has several prompts.
    """
    if not rubric.compares_groups:
        return None
    groups: list[str | int] = []
    prompts: dict[str | int, Any] = {}
    for place, rollout in _placed("rollouts", rollouts):
        if rollout.group is None:
            raise _MissingGroupError(
                f"{place}: has no 'group', and the rubric has a group reward. Give the completions of one prompt one "
                "'group', all in one request."
            )
        if prompts.setdefault(rollout.group, rollout.prompt) != rollout.prompt:
            raise DataError(f"{place}: the group {rollout.group!r} has another prompt already.")
        groups.append(rollout.group)
    return groups


def _checked(rubric: SharedRubric, name: str, rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
    """Return the rollouts after checking the columns that their entries need."""
    for place, rollout in _placed(name, rollouts):
        try:
            rubric.check(rollout)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
    return rollouts


def _text(content: str | list[Message]) -> str | Messages:
    return content if isinstance(content, str) else [message.model_dump() for message in content]
