"""Who changes something while the brand is being refreshed is not told that it was refused."""

from __future__ import annotations

import asyncio

import pytest
from siyu.cli import deciding
from siyu.cli.deciding import decide_anew
from siyu.flow.context import Context
from siyu.flow.refresh import AlreadyRunning
from siyu.store.db import Lock
from siyu.store.models import Brand


async def test_the_brand_is_refreshed_after_the_run_under_way(
    ctx: Context, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, last = asyncio.Event(), ""

    def tell(phase: str, _: float) -> None:
        nonlocal last
        last = phase
        if phase == "waiting":
            waits.set()

    async with ctx.db.connection() as other:
        await other.execute("SELECT pg_advisory_lock($1, $2)", Lock.REFRESH, brand.id)
        waiting = asyncio.create_task(decide_anew(ctx, brand.id, tell))
        await asyncio.wait_for(waits.wait(), 20)
        assert not waiting.done()
        await other.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, brand.id)
        assert (await waiting).users == 0
        assert last == "done"

        await other.execute("SELECT pg_advisory_lock($1, $2)", Lock.REFRESH, brand.id)
        monkeypatch.setattr(deciding, "WAIT_SECONDS", 0.0)
        with pytest.raises(AlreadyRunning, match=r"the change is made.*siyu refresh"):
            await decide_anew(ctx, brand.id, lambda *_: None)
        await other.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, brand.id)
