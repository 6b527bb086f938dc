"""Decide anew once something has been changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from siyu.flow.context import Context
from siyu.flow.decide import Decided
from siyu.flow.refresh import AlreadyRunning, refresh

__all__ = ["decide_anew"]

WAIT_SECONDS = 600.0
PAUSE = 0.25


async def decide_anew(ctx: Context, brand_id: int, progress: Callable[[str, float], None]) -> Decided:
    """Refresh a brand, where it is being refreshed after that run: what has just been changed may not be in it."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await refresh(ctx, brand_id, progress=progress)
        except AlreadyRunning:
            if time.monotonic() > until:
                raise AlreadyRunning(
                    f"the change is made, and the brand is still being refreshed after {WAIT_SECONDS:g} s",
                    field="brand",
                    remedy="siyu refresh, once that run has ended, decides anew",
                ) from None
            progress("waiting", 0.0)
            await asyncio.sleep(PAUSE)
