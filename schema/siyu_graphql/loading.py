"""Batched loading: what many objects of one request need is fetched in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

from siyu import NotFound
from siyu.flow.tokens import Access
from siyu.store.db import Connection, Database
from strawberry.dataloader import DataLoader

__all__ = ["Batch", "Loaders", "grouped", "once"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Batch: TypeAlias = Callable[..., Awaitable[Mapping[Any, V]]]
"""``await batch(connection, brand_id, keys, *args)`` finds values by key; keys without one may be left out."""


class Loaders:
    """The loaders of one request, made as they are needed: one a batch function, brand and arguments.

    A batch holds one connection and awaits no other loader, so requests cannot wait for each other's connections.
    """

    def __init__(self, db: Database, access: Access, deadline: float | None = None) -> None:
        self._db = db
        self._access = access
        self._deadline = deadline
        self._loaders: dict[Hashable, DataLoader[Any, Any]] = {}

    async def load(self, batch: Batch[V], brand_id: int, key: Hashable, *args: Hashable) -> V | None:
        """The value of ``key`` in the brand, None if there is none."""
        found: V | None = await self._one((batch, brand_id, args), partial(self._run, batch, brand_id, args), key)
        return found

    async def ask(self, batch: Batch[V], brand_id: int, key: Hashable, *args: Hashable) -> V | None:
        """As :meth:`load`, for a batch that is given no connection because it opens what it needs."""
        self.check(brand_id)

        async def run(keys: list[Any]) -> list[Any]:
            found = await batch(brand_id, keys, *args)
            return [found.get(key) for key in keys]

        found: V | None = await self._one((batch, brand_id, args), run, key)
        return found

    async def _one(self, name: Hashable, run: Callable[[list[Any]], Awaitable[list[Any]]], key: Hashable) -> Any:
        if name not in self._loaders:
            self._loaders[name] = DataLoader(load_fn=run)
        return await _shared(self._loaders[name].load(key))

    @asynccontextmanager
    async def connection(self, brand_id: int) -> AsyncIterator[Connection]:
        """A connection to read that brand with, until the deadline: what runs on it then is cancelled."""
        self.check(brand_id)
        # A batch is a task of its own, which the end of the operation does not reach.
        async with asyncio.timeout_at(self._deadline), self._db.connection() as connection:
            yield connection

    def check(self, brand_id: int) -> None:
        """Raise where the brand is not to be seen."""
        # Whoever comes here came through a visible brand; this holds should a resolver forget.
        if not self._access.sees(brand_id):
            raise NotFound("no such brand", field="brand")

    async def _run(
        self, batch: Batch[Any], brand_id: int, args: tuple[Hashable, ...], keys: Sequence[Hashable]
    ) -> list[Any]:
        async with self.connection(brand_id) as connection:
            found = await batch(connection, brand_id, list(keys), *args)
        return [found.get(key) for key in keys]


def grouped(keys: Iterable[K], found: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """What was found for each key, in its order."""
    lists: dict[K, list[V]] = {key: [] for key in keys}
    for key, value in found:
        lists[key].append(value)
    return lists


def once(make: Callable[[], Awaitable[V]]) -> Callable[[], Awaitable[V]]:
    """What ``make`` gives, made once for all who await it."""
    tasks: list[asyncio.Future[V]] = []

    async def get() -> V:
        if not tasks:
            tasks.append(asyncio.ensure_future(make()))
        return await _shared(tasks[0])

    return get


async def _shared(future: Awaitable[V]) -> V:
    """What others may wait for, too: whoever is cancelled, by an error beside it, must not cancel it."""
    shared = asyncio.ensure_future(future)
    # Whoever awaits it may be gone by the time that it fails.
    shared.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(shared)
