"""Many clients at once: no answer is lost, doubled, shifted or another's."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

NUM_CLIENTS = 24
NUM_REQUESTS = 30
"""Of each client."""


def test_every_client_gets_its_own_answers(echo: Any) -> None:
    answered = asyncio.run(_load(echo.url))
    assert answered == NUM_CLIENTS * NUM_REQUESTS
    assert echo.client.get("/health/ready").json()["pending"] == 0


async def _load(url: str) -> int:
    limits = httpx.Limits(max_connections=NUM_CLIENTS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        return sum(await asyncio.gather(*(_client(client, number) for number in range(NUM_CLIENTS))))


async def _client(client: httpx.AsyncClient, number: int) -> int:
    chance = random.Random(number)
    for turn in range(NUM_REQUESTS):
        values = [1000 * number + turn + i / 100 for i in range(chance.randint(1, 12))]
        kinds = [chance.choice(["echo", "echo", "echo", "skip", "bug"]) for _ in values]
        rollouts = [
            {"id": f"{number}/{turn}/{i}", "completion": f"{kind} {value}"}
            for i, (kind, value) in enumerate(zip(kinds, values, strict=True))
        ]
        answer = await client.post("/score", json={"rollouts": rollouts})
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [result["id"] for result in results] == [rollout["id"] for rollout in rollouts]
        for kind, value, result in zip(kinds, values, results, strict=True):
            score = result["scores"]["echo"]
            assert result["reward"] == (value if kind == "echo" else None)
            assert score["outcome"] == {"echo": "scored", "skip": "skipped", "bug": "failed"}[kind]
            assert score["answer"] == (f"echo {value}" if kind == "echo" else None)
            assert kind != "bug" or f"bug {value}" in score["explanation"]
    return NUM_REQUESTS
