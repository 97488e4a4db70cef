"""A verifier that waits for something that others use, or works, for as long as its completion says."""

from __future__ import annotations

import asyncio

from guerdon import Score, current_deadline


async def verify(completion: str, reference: object) -> Score:
    what, seconds = completion.split()
    if what == "wait":
        current_deadline().pause()
    await asyncio.sleep(float(seconds))
    if what == "wait":
        current_deadline().resume()
    return Score(1.0)
