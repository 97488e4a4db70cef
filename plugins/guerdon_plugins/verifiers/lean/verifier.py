"""The verifier: a completion and a statement in, a score out, by a Lean server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon import Failure, Row, Score
from guerdon.data.references import placeholder_reason
from guerdon.errors import InfrastructureError
from guerdon.text import checked_tags, code_blocks, select_part
from guerdon_plugins.shared.hints import Hint
from guerdon_plugins.shared.reading import read
from guerdon_plugins.verifiers.lean.snippets import MAX_CHARACTERS, Snippet, forbidden, goal_of, snippet_of

AXIOMS = ("propext", "Classical.choice", "Quot.sound")
"""The axioms of Lean's own logic."""

_WAIT_S = 30.0
"""Seconds that a server may take beyond the limit of a proof, for its queue and the imports."""


class Lean:
    """Scores 1 for a proof of the reference's theorem, checked by a Lean 4 server.

    The server has Kimina's interface (arXiv 2504.21230): ``POST /api/check``. The completion's last fenced block proves
    the theorem under its name. The goal is elaborated before it, so that a changed statement proves nothing. ``sorry``,
    axioms beyond ``axioms``, ``native_decide``, and commands that extend Lean's syntax score 0. A server that does not
    answer is a failure of infrastructure.

    Args:
        server: The server's address: ``http://localhost:8000``.
        header: The imports and options before each goal.
        axioms: The axioms that a proof may use.
        limit_s: The seconds that Lean may take for a proof; a slower one scores 0.
        api_key_env: The environment variable that holds the server's key.
        concurrency: The most requests at the same time.
        reasoning_tags: The tags around reasoning; by default those of all known model families. A name is a tag,
            ``think``, and two marks with a space between them are an opening and a closing one, ``[THINK] [/THINK]``.

    Raises:
        ValueError: ``server`` is not an HTTP address, or a limit is below 1.
    """

    audit_kind = "lean"
    timeout_s = 600.0

    def __init__(
        self,
        server: str,
        header: str = "import Mathlib",
        axioms: Sequence[str] = AXIOMS,
        limit_s: int = 60,
        api_key_env: str | None = None,
        concurrency: int = 16,
        reasoning_tags: Sequence[str] | None = None,
    ) -> None:
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"server is {server!r}; give an address such as http://localhost:8000")
        if min(limit_s, concurrency) < 1:
            raise ValueError(
                f"limit_s is {limit_s} and concurrency {concurrency}; give numbers of at least 1"
            )
        if api_key_env is not None and not os.environ.get(api_key_env):
            raise ValueError(
                f"the environment variable {api_key_env}, which api_key_env names, is not set. Export it."
            )
        self._url = f"{server.rstrip('/')}/api/check"
        self._header = header
        self._axioms = frozenset(axioms)
        self._limit_s = limit_s
        self._key_env = api_key_env
        self._slots = asyncio.Semaphore(concurrency)
        self._tags = checked_tags(reasoning_tags)

    async def preflight(self) -> None:
        """Check that the server proves that 1 is 1.

        Raises:
            InfrastructureError: It does not.
        """
        goal = goal_of("theorem one_is_one : 1 = 1")
        score = await self._checked(snippet_of(goal, "theorem one_is_one : 1 = 1 := rfl", self._header))
        if score.value != 1.0:
            raise InfrastructureError(
                f"the Lean server {self._url} does not prove that 1 = 1: {score.explanation}. Check its Lean version "
                "and the param 'header'."
            )

    async def __call__(self, completion: str, reference: Any) -> Score:
        reason = placeholder_reason(reference)
        if reason is not None or not isinstance(reference, str):
            return Score.failed(Failure.REFERENCE, f"the reference {reason or 'is not text'}")
        try:
            goal = goal_of(reference)
        except ValueError as error:
            return Score.failed(Failure.REFERENCE, str(error))
        proof = await read(self._proof, completion)
        if not proof.strip() or len(proof) > MAX_CHARACTERS:
            return Score(0.0, explanation="the answer holds no proof in a fenced block, or a very long one")
        mark = forbidden(proof)
        if mark is not None:
            return Score(0.0, answer=proof[:1000], explanation=f"{mark} cannot be in a proof")
        return await self._checked(snippet_of(goal, proof, self._header))

    def prompt_hint(self, row: Row) -> Hint:
        """Return the language, which the prompt must name."""
        return {"Lean": ["lean"]}

    def _proof(self, completion: str) -> str:
        answer = select_part(completion, "answer", self._tags)
        blocks = [block for block in code_blocks(answer) if block.language in ("", "lean", "lean4")]
        return blocks[-1].code if blocks and blocks[-1].closed else ""

    async def _checked(self, snippet: Snippet) -> Score:
        async with self._slots:
            result = await asyncio.to_thread(self._post, snippet.code)
        error = result.get("error")
        response = result.get("response")
        if error and "timed out" in str(error).lower():
            return Score(0.0, explanation=f"Lean did not finish within {self._limit_s} s")
        if error or not isinstance(response, Mapping) or "message" in response:
            raise InfrastructureError(f"the Lean server {self._url} failed: {str(error or response)[:300]}")
        return self._score(snippet, response)

    def _score(self, snippet: Snippet, response: Mapping[str, Any]) -> Score:
        messages = response.get("messages") or []
        for message in messages:
            if message.get("severity") == "error":
                said = str(message.get("data"))[:300]
                if message["pos"]["line"] <= snippet.goal_end:
                    return Score.failed(Failure.REFERENCE, f"Lean cannot read the statement: {said}")
                return Score(0.0, explanation=said)
        if response.get("sorries") or any(
            "declaration uses" in str(message.get("data")) for message in messages
        ):
            return Score(0.0, explanation="the proof has a hole")
        printed = [
            str(message.get("data")) for message in messages if message["pos"]["line"] == snippet.axioms_line
        ]
        if len(printed) != 1 or snippet.check not in printed[0]:
            return Score(0.0, explanation="Lean did not reach the check of the axioms")
        used = _axioms(printed[0])
        beyond = sorted(used - self._axioms)
        if beyond:
            return Score(
                0.0, explanation=f"the proof uses the axiom {beyond[0]}", metadata={"axioms": sorted(used)}
            )
        return Score(1.0, metadata={"axioms": sorted(used)})

    def _post(self, code: str) -> Mapping[str, Any]:
        """Return the server's result for one snippet.

        Raises:
            InfrastructureError: It does not answer, or answers something else.
        """
        headers = {"Content-Type": "application/json"}
        if self._key_env is not None:
            headers["Authorization"] = f"Bearer {os.environ[self._key_env]}"
        body = json.dumps({"snippets": [{"id": "0", "code": code}], "timeout": self._limit_s}).encode()
        request = urllib.request.Request(self._url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._limit_s + _WAIT_S) as answer:
                result = json.load(answer)["results"][0]
        except (OSError, urllib.error.URLError) as error:
            raise InfrastructureError(
                f"the Lean server {self._url} does not answer: {error}. Start it, or correct 'server'."
            ) from None
        except (ValueError, LookupError, TypeError) as error:
            raise InfrastructureError(f"the Lean server {self._url} gives no results: {error}") from None
        if not isinstance(result, Mapping):
            raise InfrastructureError(f"the Lean server {self._url} gives {result!r:.80}, not a result")
        return result


def _axioms(printed: str) -> set[str]:
    """Return the axioms that ``#print axioms`` names."""
    found = re.search(r"depends on axioms:\s*\[([^\]]*)\]", printed)
    return {name.strip() for name in found[1].split(",")} if found else set()
