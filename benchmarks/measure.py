"""Timing, and servers of the benchmark's own."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from siyu.contract.manager import PluginManager
from siyu.flow.context import Context, open_context
from siyu.runtime import Servers, Settings

__all__ = ["Clock", "machine", "peak_memory", "scratch"]


class Clock:
    """Wall and CPU seconds by name, several rounds of each."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)

    def median(self, name: str) -> float:
        """The median of the wall seconds."""
        return statistics.median(self.wall[name])


@asynccontextmanager
async def scratch() -> AsyncIterator[Context]:
    """Everything opened in a directory that goes away; durable as in production."""
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        with Servers(Settings.from_env({"SIYU_HOME": str(home)})) as addresses:
            async with open_context(addresses.database_url, PluginManager.load(), home) as ctx:
                yield ctx


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def peak_memory() -> float:
    """The most memory this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
