"""Checks before the application: the token and the limit on a body's size, before anything is parsed."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = ("/health/live", "/health/ready")
"""The paths for an orchestrator's probes, which need no token."""


class TokenGuard:
    """Answers 401 to requests without the token.

    The token is read from ``Authorization: Bearer TOKEN``, or from the password of ``Basic``. Clients that only have a
    URL,
    such as OpenRLHF, send the latter for ``http://user:TOKEN@host``.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._knows_token(scope):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"detail": "send the server's token as 'Authorization: Bearer TOKEN'"},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _knows_token(self, scope: Scope) -> bool:
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, credentials = header.partition(b" ")
        given = credentials.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(given, self._token)


class SizeGuard:
    """Answers 413 to requests whose body is too large, without reading more than the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced: Any = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if int(announced) > self._max_bytes:
            response = JSONResponse(
                {"detail": self._refusal}, status_code=413, headers={"Connection": "close"}
            )
            await response(scope, receive, send)
            return
        num_bytes = 0

        async def receive_within_limit() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise HTTPException(413, self._refusal, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_within_limit, send)

    @property
    def _refusal(self) -> str:
        return (
            f"the request's body is larger than {self._max_bytes} bytes: send fewer rollouts at once, or raise "
            "--max-body"
        )
