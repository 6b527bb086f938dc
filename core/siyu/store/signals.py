"""Signals: the database says what has changed, and whoever waits for it in this process looks again.

One connection listens for all, and only while somebody waits. A signal carries no data: many are as good as one, so
that a waiter who is slow holds nothing up, and those that were missed are made up for by looking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import asyncpg

__all__ = ["Signals"]

log = logging.getLogger("siyu.store")

CHANNEL = "siyu"
"""What triggers notify on; the payload is the topic."""
RETRY_SECONDS = 1.0


class Signals:
    """What the triggers of one database tell; ``connect`` gives a connection to listen on."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._connect = connect
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    @contextmanager
    def of(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set when ``topic`` is told of, and whenever that may have been missed."""
        told = asyncio.Event()
        self._waiting.setdefault(topic, set()).add(told)
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        try:
            yield told
        finally:
            self._waiting[topic].discard(told)
            if not self._waiting[topic]:
                del self._waiting[topic]
            if not self._waiting:
                self.close()

    def close(self) -> None:
        """Listen no longer."""
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connect() as connection:
                    await self._hear(connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("cannot listen to the database (%s); trying again", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _hear(self, connection: Any) -> None:
        gone = asyncio.Event()

        def heard(_: object, __: int, ___: str, topic: str) -> None:
            self._tell(topic)

        def ended(_: object) -> None:
            gone.set()

        connection.add_termination_listener(ended)
        await connection.add_listener(CHANNEL, heard)
        try:
            # Until now nobody heard what was said.
            self._tell(*self._waiting)
            await gone.wait()
        finally:
            if not gone.is_set():
                connection.remove_termination_listener(ended)
                await connection.remove_listener(CHANNEL, heard)

    def _tell(self, *topics: str) -> None:
        for topic in topics:
            for told in self._waiting.get(topic, ()):
                told.set()
