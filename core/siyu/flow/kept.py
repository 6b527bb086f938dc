"""Values that take long to make: made once for all who ask at the same time, and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Kept"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    size: int
    made: float


class Kept(Generic[K, V]):
    """Values by key, none older than ``seconds``, of at most ``most`` together (bytes, or what ``size`` counts).

    ``at_once`` are made at the same time; who asks for what is being made waits for that.
    """

    def __init__(self, seconds: float, most: int, *, size: Callable[[V], int] = lambda _: 1, at_once: int = 2) -> None:
        self.seconds = seconds
        self._most = most
        self._size = size
        self._turn = asyncio.Semaphore(at_once)
        self._entries: dict[K, _Entry[V]] = {}
        self._making: dict[K, asyncio.Task[Mapping[K, V]]] = {}

    async def get(self, keys: Sequence[K], make: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> dict[K, V]:
        """The values of ``keys``; those that are neither kept nor being made are made together by ``make``."""
        now = time.monotonic()
        found: dict[K, V] = {}
        for key in dict.fromkeys(keys):
            entry = self._entries.pop(key, None)
            if entry is not None and now - entry.made <= self.seconds:
                self._entries[key] = entry  # the newest used is last
                found[key] = entry.value
        missing = [key for key in dict.fromkeys(keys) if key not in found and key not in self._making]
        if missing:
            task = asyncio.ensure_future(self._make(missing, make))
            self._making |= dict.fromkeys(missing, task)
            # Whoever asked may be gone by the time that it fails.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        for task in {self._making[key] for key in keys if key not in found}:
            # It goes on for the others when one who waits for it goes away.
            found |= await asyncio.shield(task)
        return {key: found[key] for key in keys}

    def forget(self) -> None:
        """Make all anew when it is next asked for."""
        self._entries.clear()

    async def _make(self, keys: list[K], make: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> Mapping[K, V]:
        try:
            async with self._turn:
                began = time.monotonic()
                made = await make(keys)
            for key in keys:
                self._keep(key, _Entry(made[key], self._size(made[key]), began))
            return made
        finally:
            for key in keys:
                del self._making[key]

    def _keep(self, key: K, entry: _Entry[V]) -> None:
        if entry.size > self._most:
            return
        self._entries[key] = entry
        held = sum(each.size for each in self._entries.values())
        while held > self._most:
            held -= self._entries.pop(next(iter(self._entries))).size
