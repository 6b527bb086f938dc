"""Runs: long work with a row that shows how far it is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from siyu.flow.context import Context
from siyu.store.models import Run

__all__ = ["Progress", "Running", "run"]

Progress = Callable[[str, float], None]
"""Told the phase and the share done, 0 to 1."""


class Running:
    """A run under way: :meth:`phase` says what it is at, and times it."""

    def __init__(self, row: Run, progress: Progress | None) -> None:
        self.row = row
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._started = time.perf_counter()

    async def phase(self, name: str, share: float) -> None:
        """Enter the next phase, with ``share`` of the whole behind."""
        self._close()
        self.row.phase, self.row.progress = name, share
        if self._progress:
            self._progress(name, share)
        await self.row.save(update_fields=["phase", "progress"])

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


@asynccontextmanager
async def run(
    ctx: Context, brand_id: int, kind: str, at: datetime, progress: Progress | None = None
) -> AsyncIterator[Running]:
    """A row for the work in the block: done at its end, failed with the error where it raises."""
    row = await Run.create(brand_id=brand_id, kind=kind, at=at)
    running = Running(row, progress)
    try:
        yield running
    except BaseException as error:
        await running.finish("failed", str(error) or type(error).__name__)
        raise
    await running.finish("done")
    if progress:
        progress("done", 1.0)
