"""Users of a brand whom a filter finds: a page of them in an order, or how many they are.

What tables say is asked of them in SQL. What facts say is computed for everybody (:mod:`siyu.flow.columns`) and put
together with it piece by piece: candidates in their order, of those the ones for whom everything holds, until there are
enough. So no statement is handed more than :data:`PIECE` ids, and a page of a large brand reads few of its users.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, reduce
from typing import Any

import polars as pl

from siyu.contract.errors import InputError
from siyu.flow.columns import Column, columns, literal
from siyu.flow.context import Context, brand_by_id, now
from siyu.flow.filters import FactFilter, FactName, UserFilter, among, relaxed, users_where
from siyu.store.db import Connection, copy_out
from siyu.store.keyset import Order, Term, Where, decoded, encoded

__all__ = ["Counted", "FactOrder", "Selection", "TooSparse", "counted", "select"]

FIRST_PIECE = 200
FIRST_IDS = 500
PIECE = 20_000
MOST_PIECES = 500
BY_ID = Order((("id", int),))


class TooSparse(InputError):
    """So few users pass that to fill a page takes too long."""

    code = "TOO_LARGE"


@dataclass(frozen=True)
class Counted:
    """How many users a filter finds, as they stood at a moment."""

    users: int
    as_of: datetime


_Key = tuple[Any, int]
"""A value, None where it is missing, and an id."""


@dataclass(frozen=True)
class FactOrder:
    """By a fact, then by id; who has no value comes last, whichever end is first."""

    fact: FactName
    column: Column
    descending: bool = False

    @property
    def _name(self) -> str:
        return f"{'-' if self.descending else '+'}{self.fact}"

    def cursor(self, value: Any, user_id: int) -> str:
        """The cursor of a user."""
        return encoded(self._name, value.isoformat() if isinstance(value, date) else value, user_id)

    def key(self, cursor: str, field: str) -> _Key:
        """What is in a cursor of this order; another one is an :class:`siyu.InputError`."""
        values = decoded(cursor, self._name, field)
        try:
            value, user_id = values
            number = BY_ID.key(encoded("+id", user_id))[0]
            return (None if value is None else literal(self.column.kind, value, field)), number
        except (ValueError, InputError):
            raise InputError("not a cursor of this list", field=field, remedy="use one of the same list") from None

    def users(self, after: _Key | None, before: _Key | None) -> list[pl.DataFrame]:
        """The users between two keys, as frames of ``value`` and ``user_id`` that follow each other."""
        have = self.column.ordered
        none = pl.DataFrame({"user_id": self.column.missing}).select(
            pl.lit(None, dtype=have.schema["value"]).alias("value"), "user_id"
        )
        for key, later in ((after, True), (before, False)):
            if key is None:
                continue
            (value, number), up = key, later != self.descending
            further = pl.col("user_id") > number if up else pl.col("user_id") < number
            if value is None:
                have, none = (have.clear() if later else have), none.filter(further)
            else:
                beyond = pl.col("value") > value if up else pl.col("value") < value
                have = have.filter(beyond | ((pl.col("value") == value) & further))
                none = none if later else none.clear()
        return [part.reverse() if self.descending else part for part in (have, none)]


@dataclass(frozen=True)
class Selection:
    """A filter of a brand, with who passes each of its tests of facts. ``as_of`` is when these were computed; None
    where no fact is named."""

    brand_id: int
    filter: UserFilter
    passed: Mapping[FactFilter, pl.Series]
    order: FactOrder | None
    as_of: datetime | None

    @cached_property
    def likely(self) -> pl.Series | None:
        """Those among whom are all who pass, sorted; None where facts do not say. It takes a while at first."""
        return self._sure(self.filter)

    def condition(self, candidates: pl.Series) -> Term:
        """The filter for some of those who may pass, as a condition on ``users t``."""
        certain = set(_certain(self.filter))

        def holds(test: FactFilter, _: bool) -> Term:
            return Term("TRUE") if test in certain else among(_both(candidates, self.passed[test]).to_list())

        return users_where(self.filter, holds)

    async def page(
        self,
        connection: Connection,
        order: Order,
        limit: int,
        *,
        after: str | None = None,
        before: str | None = None,
        backward: bool = False,
    ) -> list[_Key]:
        """Up to ``limit`` users between two cursors, the last first if ``backward``: the value that they are ordered by
        (where a fact is) and their id. ``order`` is the one where no fact is."""
        by = self.order or order
        keys = [cursor and by.key(cursor, field) for cursor, field in ((after, "after"), (before, "before"))]
        found: list[_Key] = []
        towards = order.reversed if backward else order
        async for values, users in self._candidates(connection, order, keys, backward):
            if self.order is None and len(order.columns) == 1:
                # By id, the index finds them in order, so that nobody is looked at once there are enough.
                first = f" ORDER BY {towards.sql} LIMIT {limit - len(found):d}"
                found += [(None, user) for user in await self._passing(connection, users, first)]
            else:
                passing = set(await self._passing(connection, users))
                found += [(value, user) for value, user in zip(values, users, strict=True) if user in passing]
            if len(found) >= limit:
                break
        return found[:limit]

    def cursor(self, order: Order, value: Any, row: Mapping[str, Any]) -> str:
        """The cursor of a user."""
        return self.order.cursor(value, row["id"]) if self.order else order.cursor(row)

    async def ids(self, connection: Connection) -> pl.Series:
        """The ids of all who pass, sorted; all are looked at, so that it takes longer than a page."""
        return await self._ids(connection, self.filter)

    async def _ids(self, connection: Connection, filter: UserFilter) -> pl.Series:
        """The ids of all for whom a filter holds, sorted: what tables say is asked of them, the rest is put together
        here."""
        if not filter.facts(""):
            return await self._asked(connection, filter)
        found = [self.passed[test] for test in filter.fact or ()]
        own = filter.model_copy(update=dict.fromkeys(("fact", "and_", "or_", "not_")))
        if own != UserFilter():
            found.append(await self._asked(connection, own))
        found += [await self._ids(connection, each) for each in filter.and_ or ()]
        if filter.or_ is not None:
            any_of = [await self._ids(connection, each) for each in filter.or_]
            found.append(await asyncio.to_thread(_together, any_of))
        if not found:
            found = [await self._asked(connection, UserFilter())]
        users = await asyncio.to_thread(reduce, _both, sorted(found, key=len))
        if filter.not_ is None:
            return users
        without = await self._ids(connection, filter.not_)
        return await asyncio.to_thread(lambda: users.filter(~_in(users, without)))

    async def _asked(self, connection: Connection, filter: UserFilter) -> pl.Series:
        where = Where(self.brand_id, users_where(filter))
        sql = f"SELECT t.id FROM users t WHERE {where.sql}"
        found = await copy_out(connection, sql, *where.values, schema={"id": pl.Int64()})
        return found.get_column("id").sort()

    def _sure(self, filter: UserFilter) -> pl.Series | None:
        found = [self.passed[test] for test in filter.fact or ()]
        found += [some for each in filter.and_ or () if (some := self._sure(each)) is not None]
        if filter.or_ is not None:
            parts = [some for each in filter.or_ if (some := self._sure(each)) is not None]
            if len(parts) == len(filter.or_):
                found.append(_together(parts))
        return reduce(_both, sorted(found, key=len)) if found else None

    async def _passing(self, connection: Connection, users: pl.Series, first: str = "") -> list[int]:
        where = Where(self.brand_id, among(users.to_list()), self.condition(users))
        sql = f"SELECT t.id FROM users t WHERE {where.sql}{first}"
        return [row["id"] for row in await connection.fetch(sql, *where.values)]

    async def _candidates(
        self, connection: Connection, order: Order, keys: Sequence[Any], backward: bool
    ) -> AsyncIterator[_Piece]:
        """All who may pass, in order: whoever fails a test that all must pass is not among them."""
        some = self.likely
        if (by := self.order) is not None:

            def frames() -> list[pl.DataFrame]:
                found = by.users(*keys)
                if some is not None:
                    found = [frame.filter(_in(frame.get_column("user_id"), some)) for frame in found]
                return [frame.reverse() for frame in reversed(found)] if backward else found

            for frame in await asyncio.to_thread(frames):
                for piece in _pieces(len(frame)):
                    part = frame.slice(*piece)
                    yield part.get_column("value").to_list(), part.get_column("user_id")
            return
        after, before = keys
        bounds = [order.beyond(after)] if after else []
        bounds += [order.reversed.beyond(before)] if before else []
        towards = order.reversed if backward else order
        if some is None or (len(some) > PIECE and len(order.columns) > 1):
            async for values, users in self._in_order(connection, towards, bounds, FIRST_PIECE):
                passing = users if some is None else _both(users, some)
                yield values[: len(passing)], passing
        elif len(order.columns) > 1:
            async for each in self._in_order(connection, towards, [among(some.to_list()), *bounds], PIECE):
                yield each
        else:
            for key, up in ((after, not order.descending), (before, order.descending)):
                if key:
                    some = some.filter(some > key[0] if up else some < key[0])
            some = some.reverse() if towards.descending else some
            for piece in _pieces(len(some), FIRST_IDS):
                users = some.slice(*piece)
                yield [None] * len(users), users

    async def _in_order(
        self, connection: Connection, order: Order, bounds: Sequence[Term], size: int
    ) -> AsyncIterator[_Piece]:
        """Who may pass, as the table has them in that order."""
        terms, beyond = [users_where(self.filter, relaxed), *bounds], list[Term]()
        names = ", ".join(f"t.{name}" for name, _ in order.columns)
        for _ in range(MOST_PIECES):
            where = Where(self.brand_id, *terms, *beyond)
            rows = await connection.fetch(
                f"SELECT {names} FROM users t WHERE {where.sql} ORDER BY {order.sql} LIMIT {size:d}", *where.values
            )
            if rows:
                yield [None] * len(rows), pl.Series([row["id"] for row in rows], dtype=pl.Int64)
            if len(rows) < size:
                return
            beyond, size = [order.beyond(order.key_of(rows[-1]))], min(size * 4, PIECE)
        raise TooSparse(
            f"none of {MOST_PIECES * PIECE:,} users passes",
            field="filter",
            remedy="order by id, or test a fact outside of OR and NOT",
        )


_Piece = tuple[Sequence[Any], pl.Series]
"""The values that some users are ordered by, and their ids."""


def _pieces(length: int, size: int = FIRST_PIECE) -> Iterator[tuple[int, int]]:
    start = 0
    while start < length:
        yield start, size
        start, size = start + size, min(size * 4, PIECE)


def _certain(filter: UserFilter) -> Iterator[FactFilter]:
    """The tests that all must pass who pass the filter."""
    yield from filter.fact or ()
    for each in filter.and_ or ():
        yield from _certain(each)


def _in(users: pl.Series, sorted_ids: pl.Series) -> pl.Series:
    """For each of ``users`` whether they are among others, who are sorted."""
    if not len(sorted_ids):
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(users))
    places = sorted_ids.search_sorted(users).clip(0, len(sorted_ids) - 1)
    return sorted_ids.gather(places) == users


def _together(parts: Sequence[pl.Series]) -> pl.Series:
    """Who is in any of them, sorted."""
    return pl.concat([pl.Series([], dtype=pl.Int64), *parts]).unique().sort()


def _both(some: pl.Series, others: pl.Series) -> pl.Series:
    """Who is among both, sorted as ``some``."""
    return some.filter(_in(some, others))


async def select(
    ctx: Context,
    brand_id: int,
    filter: UserFilter,
    *,
    by: FactName | None = None,
    descending: bool = False,
    field: str = "filter",
) -> Selection:
    """Look up what a filter and an order (``by`` a fact) ask of facts."""
    tests = filter.facts(field)
    named = [(place, test.named) for place, test in tests]
    if by is not None:
        named.append(("orderBy.fact", by))
    found = await columns(ctx, brand_id, named) if named else []

    def passed() -> dict[FactFilter, pl.Series]:
        return {test: column.holds(test, place) for (place, test), column in zip(tests, found, strict=False)}

    order = FactOrder(by, found[-1], descending) if by is not None else None
    if order is not None:
        await asyncio.to_thread(lambda: order.column.ordered)
    as_of = min((column.at for column in found), default=None)
    selection = Selection(brand_id, filter, await asyncio.to_thread(passed) if tests else {}, order, as_of)
    await asyncio.to_thread(lambda: selection.likely)
    return selection


async def counted(ctx: Context, brand_id: int, filter: UserFilter) -> Counted:
    """How many users a filter finds; counted anew when the last count is a minute old."""

    async def count(_: list[Any]) -> dict[Any, Counted]:
        at = now(await brand_by_id(brand_id)).astimezone(UTC)
        if not filter.facts(""):
            where = Where(brand_id, users_where(filter))
            async with ctx.db.connection() as connection:
                users = await connection.fetchval(f"SELECT count(*) FROM users t WHERE {where.sql}", *where.values)
            return {key: Counted(users, at)}
        selection = await select(ctx, brand_id, filter)
        async with ctx.db.connection() as connection:
            users = len(await selection.ids(connection))
        return {key: Counted(users, min(at, selection.as_of or at))}

    key = brand_id, filter
    return (await ctx.counts.get([key], count))[key]
