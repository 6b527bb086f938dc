"""Runs: long work with a row that shows how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from siyu.contract.errors import NotFound
from siyu.flow.context import Context
from siyu.store.db import Connection
from siyu.store.models import Run
from siyu.store.signals import Signals
from siyu.telemetry.metrics import DECIDED, RUNS

__all__ = ["Progress", "Running", "follow", "run"]

Progress = Callable[[str, float], None]
"""Told the phase and the share done, 0 to 1."""


class Running:
    """A run under way: :meth:`phase` says what it is at, and times it."""

    def __init__(self, row: Run, signals: Signals, progress: Progress | None = None) -> None:
        self.row = row
        self.seconds: dict[str, float] = {}
        self._signals = signals
        self._progress = progress
        self._started = time.perf_counter()

    async def phase(self, name: str, share: float) -> None:
        """Enter the next phase, with ``share`` of the whole behind."""
        self._close()
        self.row.phase, self.row.progress = name, share
        if self._progress:
            self._progress(name, share)
        await self.row.save(update_fields=["phase", "progress"])
        await self._signals.tell(self.row.brand_id, "run")

    async def count(self, connection: Connection, users: int, changes: int) -> None:
        """Note what the run came to, together with what it wrote."""
        self.row.users, self.row.changes = users, changes
        await connection.execute("UPDATE run SET users = $2, changes = $3 WHERE id = $1", self.row.id, users, changes)

    def _close(self) -> None:
        now = time.perf_counter()
        if self.row.phase:
            self.seconds[self.row.phase] = round(self.seconds.get(self.row.phase, 0) + now - self._started, 4)
        self._started = now

    async def finish(self, status: str, error: str | None = None) -> None:
        """Close the row."""
        self._close()
        self.row.status = status
        self.row.error = error  # type: ignore[assignment]
        self.row.finished_at, self.row.seconds = datetime.now(UTC), self.seconds
        if status == "done":
            self.row.phase, self.row.progress = "", 1.0
        await self.row.save()
        RUNS.labels(self.row.kind, status).inc()
        if self.row.kind == "refresh" and status == "done":
            DECIDED.labels("refresh").inc(self.row.users)
        await self._signals.tell(self.row.brand_id, "run")


@asynccontextmanager
async def run(
    ctx: Context, brand_id: int, kind: str, at: datetime, progress: Progress | None = None
) -> AsyncIterator[Running]:
    """A row for the work in the block: done at its end, failed with the error where it raises."""
    row = await Run.create(brand_id=brand_id, kind=kind, at=at)
    running = Running(row, ctx.db.signals, progress)
    await ctx.db.signals.tell(brand_id, "run")
    try:
        yield running
    except BaseException as error:
        stopped = isinstance(error, asyncio.CancelledError)
        await running.finish("failed", "interrupted" if stopped else str(error) or type(error).__name__)
        raise
    await running.finish("done")
    if progress:
        progress("done", 1.0)


async def follow(ctx: Context, brand_id: int, run_id: int | None = None) -> AsyncGenerator[Mapping[str, Any]]:
    """The row of a run as it stands, and again each time it has changed, until the run has ended.

    Without ``run_id`` it is the refresh under way or, where there is none, the next.
    """
    shown: Mapping[str, Any] | None = None
    with ctx.db.signals.of(brand_id, "run") as told:
        async with ctx.db.connection() as connection:
            past = await connection.fetchval("SELECT max(id) FROM run WHERE brand_id = $1", brand_id) or 0
        while True:
            told.clear()
            async with ctx.db.connection() as connection:
                found = await connection.fetchrow(_FOLLOWED, brand_id, run_id, past)
            if found is None and run_id is not None:
                raise NotFound("no such run", field="run", remedy="`brand.runs` lists them")
            if found is not None and found != shown:
                shown, run_id = found, found["id"]
                yield found
                if found["status"] != "running":
                    return
            await ctx.db.signals.wait(told)


_FOLLOWED = """
SELECT * FROM run WHERE brand_id = $1
    AND CASE WHEN $2::bigint IS NULL THEN kind = 'refresh' AND (status = 'running' OR id > $3) ELSE id = $2 END
ORDER BY id DESC LIMIT 1
"""
