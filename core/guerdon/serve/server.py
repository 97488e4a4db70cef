"""Runs the application with uvicorn until a signal ends it: requests under way are answered, new ones refused."""

from __future__ import annotations

import signal
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

KEEP_ALIVE_S = 75
"""Longer than the clients' own limits (httpx 5 s, aiohttp 15 s): where the server closes a connection while a client
sends on it, an answer is lost."""


def run_server(app: FastAPI, host: str, port: int, grace_s: int, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: What answers.
        host: The address to listen on.
        port: The port; 0 for any that is free.
        grace_s: How many seconds requests that are under way may take after the signal.
        started: Called with the server's URL once the port takes connections.
    """
    config = uvicorn.Config(
        app,
        host,
        port,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    socket = config.bind_socket()
    # Whoever reads the URL may connect at once, and waits until the server is up.
    socket.listen(config.backlog)
    started(f"http://{host}:{socket.getsockname()[1]}")
    # uvicorn hands the signal on when it is done; a server that was told to stop has not failed.
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run(sockets=[socket])
    finally:
        socket.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
