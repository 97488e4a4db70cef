"""The address of a Ray cluster, without Ray."""

from __future__ import annotations

import re
import socket

from guerdon.errors import InfrastructureError, UsageError, one_line

__all__ = ["CONNECT_TIMEOUT_S", "check_address", "no_cluster"]

CONNECT_TIMEOUT_S = 10.0
"""Seconds for the cluster's address to accept a connection."""


def check_address(address: str) -> None:
    """Check that something accepts connections at a cluster's address; of ``auto``, Ray itself finds the cluster.

    Ray waits for minutes for an address where nothing listens.

    Raises:
        UsageError: The address has another form, such as that of Ray's client server, behind which nodes cannot be
            chosen.
        InfrastructureError: Nothing listens there.
    """
    if address == "auto":
        return
    parts = re.fullmatch(r"([^/]+):(\d{1,5})", address)
    if parts is None:
        raise UsageError(
            f"the Ray address is '{address}'. Write auto, or HOST:PORT as `ray start` prints it, without a scheme."
        )
    try:
        socket.create_connection((parts[1], int(parts[2])), CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, one_line(error)[:300]) from None


def no_cluster(address: str, reason: str) -> InfrastructureError:
    """Return the error for an address without a cluster."""
    return InfrastructureError(
        f"no Ray cluster answers at '{address}': {reason.rstrip('.')}. Start one with `ray start --head`, or name its "
        "address."
    )
