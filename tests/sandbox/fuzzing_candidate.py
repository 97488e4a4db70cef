"""Speaks the wire protocol from the candidate's side, wrongly: one frame in two is random, the others nearly right.

Runs in a box, so it needs the standard library only. SEED, in the environment, makes each run another one.
"""

import json
import os
import random
import struct
import sys
from typing import Any

rng = random.Random(int(os.environ["SEED"]))
TAGS = [*"htdszbcinrxoNFDqkvmTa", ""]
WORDS = [
    "began",
    "ready",
    "value",
    "raised",
    "broken",
    "if none",
    "call",
    "getattr",
    "StopIteration",
    "AssertionError",
]


def value(depth: int = 0) -> Any:
    kind = rng.randrange(10 if depth < 4 else 5)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return rng.choice([0, 1, -1, 2**63, 10**30, 0.5, float("nan"), float("inf"), True, None])
    if kind == 2:
        return "\\ud800\n" * rng.randrange(3)
    if kind < 7:
        return [value(depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TAGS): value(depth + 1) for _ in range(rng.randrange(3))}


def frame() -> bytes:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(64))
    if kind == 1:
        return struct.pack(">I", rng.choice([0, 1, 2**16, 2**24, 2**31, 2**32 - 1])) + rng.randbytes(16)
    if kind == 2:
        body = b"[" * rng.choice([10, 10**5])
    elif kind == 3:
        body = b"[" + b",".join([rng.choice([b"[]", b"{}", b"0", b'""'])] * rng.choice([10, 10**6])) + b"]"
    elif kind == 4:
        body = json.dumps([rng.choice(WORDS), value(), value(), value()]).encode()
    else:
        body = json.dumps(["value", value(), [value()], {"d": []}][: rng.choice([3, 4])]).encode()
    return struct.pack(">I", len(body) + rng.choice([0, 0, 0, 1, -1])) + body


def flood() -> None:
    for fd in range(3, 32):
        for _ in range(rng.randrange(6)):
            try:
                os.write(fd, frame())
            except OSError:
                break


if rng.random() < 0.3:
    flood()
if rng.random() < 0.1:
    os.kill(os.getpid(), rng.randrange(1, 65))


def f(*args: Any) -> Any:
    flood()
    if rng.random() < 0.2:
        os._exit(rng.randrange(256))
    if rng.random() < 0.1:
        sys.exit(value())
    return value()
