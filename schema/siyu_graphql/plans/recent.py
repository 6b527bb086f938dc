"""What was read a moment ago and is taken to be true still."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Bounded", "Recent"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A mapping that lets go of what was not asked for the longest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What is kept under the key."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: K, value: V) -> None:
        """Keep it."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()


class Recent(Generic[K, V]):
    """Values read at most ``seconds`` ago. Of several who want one that is not, one reads and the others wait."""

    def __init__(self, read: Callable[[K], Awaitable[V]], seconds: float, most: int = 1000) -> None:
        self._read = read
        self._seconds = seconds
        self._kept: Bounded[K, tuple[float, asyncio.Future[V]]] = Bounded(most)

    async def get(self, key: K) -> V:
        """The value, read anew unless that was done just now."""
        found = self._kept.get(key)
        now = time.monotonic()
        # Its age is that of its beginning, so that it is never taken for newer than it is.
        if found is None or now - found[0] >= self._seconds or _failed(found[1]):
            found = (now, asyncio.ensure_future(self._read(key)))
            self._kept.put(key, found)
            # Whoever goes away must not take the reading from the others; all may be gone by the time that it fails.
            found[1].add_done_callback(lambda done: done.cancelled() or done.exception())
        return found[1].result() if found[1].done() else await asyncio.shield(found[1])

    def forget(self) -> None:
        """Read everything anew."""
        self._kept.clear()


def _failed(reading: asyncio.Future[V]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)
