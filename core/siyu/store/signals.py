"""Signals: who has written says so once it is committed, and whoever waits for it, in any process, looks again.

They go over Valkey. One connection a process listens for all, and only while somebody waits. A signal carries no data:
many are as good as one, so that a waiter who is slow holds nothing up, and those that are lost (a process that died
between commit and signal, a Valkey that is away) are made up for by looking from time to time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError

__all__ = ["Signals", "Topic"]

log = logging.getLogger("siyu.store")

Topic: TypeAlias = Literal["action", "decision", "plugin", "run", "task", "job"]
"""What has changed in a brand; or, of no brand, that a job waits."""

RETRY_SECONDS = 1.0
ANSWER_SECONDS = 1.0
"""How long Valkey may take to hear a signal; a writer waits no longer."""
PATIENCE = 10.0
"""Seconds after which a waiter looks even where nobody told it to: the connection may be dead unnoticed."""
POLL = 2.0
"""The same while nobody listens, as Valkey is away."""


class Signals:
    """The signals of one database."""

    def __init__(self) -> None:
        self._url: str | None = None
        self._prefix = ""
        self._publisher: Redis | None = None
        self._mute_until = 0.0
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._listening = False

    def open(self, redis_url: str, name: str) -> None:
        """Use the Valkey at ``redis_url``; ``name`` tells the database from others that use it too."""
        self._url, self._prefix = redis_url, f"siyu:{name}:"
        # A writer does not wait for a Valkey that is away: not to connect, not to answer, and not for a second try.
        self._publisher = Redis.from_url(
            redis_url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry_on_timeout=False
        )

    async def tell(self, brand_id: int, *topics: Topic) -> None:
        """Say that something of a brand has changed. Called after the commit; never an error."""
        now = asyncio.get_running_loop().time()
        if self._publisher is None or now < self._mute_until:
            return
        try:
            for topic in topics:
                await self._publisher.publish(f"{self._prefix}{topic}:{brand_id}", b"")
        except (RedisError, OSError) as error:
            # Whoever waits looks by itself meanwhile.
            self._mute_until = now + RETRY_SECONDS
            log.debug("could not tell of a change: %s", error)

    @contextmanager
    def of(self, brand_id: int, topic: Topic) -> Iterator[asyncio.Event]:
        """An event that is set when a change is told of, and whenever that may have been missed."""
        told, name = asyncio.Event(), f"{topic}:{brand_id}"
        self._waiting.setdefault(name, set()).add(told)
        if self._listener is None and self._url is not None:
            self._listener = asyncio.create_task(self._listen(self._url))
        try:
            yield told
        finally:
            self._waiting[name].discard(told)
            if not self._waiting[name]:
                del self._waiting[name]
            if not self._waiting:
                self._stop()

    async def wait(self, told: asyncio.Event) -> None:
        """Until the event of :meth:`of` is set, or it is time to look all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE if self._listening else POLL):
                await told.wait()

    async def close(self) -> None:
        """Disconnect."""
        listener = self._listener
        self._stop()
        if listener is not None:
            await asyncio.gather(listener, return_exceptions=True)
        if self._publisher is not None:
            await self._publisher.aclose()
            self._publisher = None

    def _stop(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            self._listener, self._listening = None, False

    async def _listen(self, url: str) -> None:
        while True:
            try:
                async with Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS) as redis:
                    await self._hear(redis)
            except (RedisError, OSError) as error:
                log.warning("cannot listen to Valkey (%s); trying again", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _hear(self, redis: Any) -> None:
        task = asyncio.current_task()
        async with redis.pubsub() as channel:
            await channel.psubscribe(f"{self._prefix}*")
            try:
                async for message in channel.listen():
                    if message["type"] == "psubscribe":
                        # Until now nobody heard what was said.
                        self._listening = True
                        self._set(*self._waiting)
                    elif message["type"] == "pmessage":
                        self._set(message["channel"].decode().removeprefix(self._prefix))
            finally:
                # Whoever waits is to look sooner now; unless another listener has taken over.
                if self._listener is task:
                    self._listening = False
                    self._set(*self._waiting)

    def _set(self, *names: str) -> None:
        for name in names:
            for told in self._waiting.get(name, ()):
                told.set()
