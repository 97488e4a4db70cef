"""Run the application with uvicorn until a signal: active requests are answered, new ones are refused."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from guerdon.errors import InfrastructureError

KEEP_ALIVE_S = 75
"""Longer than the clients' own limits (httpx 5 s, aiohttp 15 s).

If the server closed a connection while a client sends on it, an answer would be lost.
"""


def run_server(
    app: FastAPI, host: str, port: int, grace_s: int, started: Callable[[str], None], access_log: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: The application.
        host: The address to listen on.
        port: The port; 0 for any that is free.
        grace_s: Seconds that active requests may take after the signal.
        started: Called with the server's URL when the port accepts connections.
        access_log: Whether to print a line for each request on standard output.

    Raises:
        InfrastructureError: The server cannot listen on the port.
    """
    config = uvicorn.Config(
        app,
        host,
        port,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    listening = _listening(host, port, config.backlog)
    shown = f"[{host}]" if ":" in host else host
    started(f"http://{shown}:{listening.getsockname()[1]}")
    # uvicorn raises the signal again at the end, but a server that a signal stopped has not failed.
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _listening(host: str, port: int, backlog: int) -> socket.socket:
    """Return a listening socket. A client may connect at once, and waits until the server is up."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise InfrastructureError(
            f"port {port} of {host} cannot be listened on: {reason}. Stop what listens there, or choose another with "
            "--port (0 for any that is free) or --host."
        ) from None
    return listening


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and no other can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
