"""Lists that do not end: Relay connections over keyset cursors.

A :class:`Listing` says which table holds a kind of node and in which order it is read; pages of a brand, pages of
many users at once, single rows and counts all come from that declaration. A cursor holds the sort key of its row, so
that pages neither skip nor repeat where rows are added meanwhile, and deep pages cost what the first one does.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import strawberry
from siyu import InputError
from siyu.store.db import Connection as DatabaseConnection
from strawberry.relay import PageInfo

from siyu_graphql.context import Info
from siyu_graphql.fields import computed

__all__ = ["OWN", "After", "Connection", "Edge", "First", "Listing", "Order", "Where", "of_brand", "of_user", "one"]

T = TypeVar("T")

DEFAULT, MOST = 20, 100
OWN = """
own AS (
    SELECT id, id AS person FROM unnest({users}::bigint[]) AS w (id)
    UNION ALL SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY({users}::bigint[])
)"""
"""SQL of the users that each of ``{users}`` (``person``) stands for, that one included."""

First: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"How many at most, from the start: 0 to {MOST}.")
]
After: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what follows this cursor: the `endCursor` of the page before.")
]


@strawberry.type(description="One entry of a page.")
class Edge(Generic[T]):
    """A node and the cursor at which a page after it begins."""

    cursor: str = strawberry.field(description="Where this entry stands, for `after`.")
    node: T = strawberry.field(description="The entry itself.")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page as it was read."""

    edges: list[Edge[T]]
    info: PageInfo


@strawberry.type(description="A page of a list, and how to go on.")
class Connection(Generic[T]):
    """A page, read when something of it is asked for."""

    read: strawberry.Private[Callable[[], Awaitable[Page[Any]]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]
    _page: strawberry.Private[asyncio.Task[Page[Any]] | None] = None

    async def page(self) -> Page[T]:
        """The page; fields that are resolved side by side share one reading."""
        if self._page is None:
            self._page = asyncio.ensure_future(self.read())
        return await self._page

    @computed("The entries of this page with their cursors.")
    async def edges(self) -> list[Edge[T]]:
        return (await self.page()).edges

    @computed("The entries of this page.")
    async def nodes(self) -> list[T]:
        return [edge.node for edge in (await self.page()).edges]

    @computed("Whether there is more, and the cursor to go on from.")
    async def page_info(self) -> PageInfo:
        return (await self.page()).info

    @computed("How many there are on all pages together. Counted only when asked for.")
    async def total_count(self) -> int:
        return await self.count()


@dataclass(frozen=True)
class Order:
    """An order without ties: ``columns`` (name and type, ``int`` or ``datetime``) end with one that is unique."""

    columns: tuple[tuple[str, type], ...]
    descending: bool = False

    @property
    def sql(self) -> str:
        """What follows ORDER BY."""
        return ", ".join(f"t.{name} {'DESC' if self.descending else 'ASC'}" for name, _ in self.columns)

    @property
    def _name(self) -> str:
        return ("-" if self.descending else "+") + ",".join(name for name, _ in self.columns)

    def beyond(self, where: Where, key: Sequence[Any]) -> None:
        """Only rows after the one with that sort key."""
        columns = ", ".join(f"t.{name}" for name, _ in self.columns)
        places = ", ".join("{}" for _ in self.columns)
        where.add(f"({columns}) {'<' if self.descending else '>'} ({places})", *key)

    def sorted(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Rows in this order."""
        names = [name for name, _ in self.columns]
        return sorted(rows, key=lambda row: [row[name] for name in names], reverse=self.descending)

    def cursor(self, row: Mapping[str, Any]) -> str:
        """The cursor of a row."""
        values = [row[name].isoformat() if kind is datetime else row[name] for name, kind in self.columns]
        return base64.urlsafe_b64encode(json.dumps([self._name, *values]).encode()).decode().rstrip("=")

    def key(self, cursor: str) -> tuple[Any, ...]:
        """The sort key in a cursor; one of another list or order is an :class:`siyu.InputError`."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            name, *values = json.loads(text)
            if name == self._name:
                return tuple(_value(kind, value) for (_, kind), value in zip(self.columns, values, strict=True))
        except (ValueError, TypeError, RecursionError):
            pass
        raise InputError("not a cursor of this list", field="after", remedy="use an endCursor of the same list")


def _value(kind: type, value: Any) -> Any:
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise ValueError(value)


class Where:
    """Conditions and their parameters, the brand always first."""

    def __init__(self, brand_id: int) -> None:
        self.values: list[Any] = [brand_id]
        self._parts = ["t.brand_id = $1"]

    def add(self, sql: str, *values: Any) -> None:
        """And ``sql``, in which each ``{}`` stands for one of ``values``."""
        first = len(self.values) + 1
        self.values += values
        self._parts.append(sql.format(*(f"${first + n}" for n in range(len(values)))))

    def copy(self) -> Where:
        """One that can be narrowed further by itself."""
        other = copy(self)
        other.values, other._parts = list(self.values), list(self._parts)
        return other

    @property
    def sql(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self._parts)


@dataclass(frozen=True)
class Listing(Generic[T]):
    """Where nodes of a kind are kept and how they are read: rows of ``source`` (a table as ``t``) made to ``node``."""

    source: str
    columns: str
    node: Callable[[int, Mapping[str, Any]], T]
    order: Order = field(default=Order((("id", int),), descending=True))

    def ordered(self, order: Order) -> Listing[T]:
        """The same in another order."""
        return replace(self, order=order)

    async def page(self, connection: DatabaseConnection, where: Where, limit: int) -> list[Mapping[str, Any]]:
        """Rows of a brand."""
        sql = f"SELECT {self.columns} FROM {self.source} WHERE {where.sql} ORDER BY {self.order.sql} LIMIT {limit:d}"
        rows: list[Mapping[str, Any]] = await connection.fetch(sql, *where.values)
        return rows

    async def count(self, connection: DatabaseConnection, where: Where) -> int:
        """How many rows of a brand."""
        return int(await connection.fetchval(f"SELECT count(*) FROM {self.source} WHERE {where.sql}", *where.values))


async def rows_by_id(
    connection: DatabaseConnection, brand_id: int, ids: Sequence[int], listing: Listing[T]
) -> dict[int, T]:
    """Batch: nodes by their number."""
    where = Where(brand_id)
    where.add("t.id = ANY({}::bigint[])", ids)
    rows = await listing.page(connection, where, len(ids))
    return {row["id"]: listing.node(brand_id, row) for row in rows}


async def one(info: Info, listing: Listing[T], brand_id: int, number: int) -> T | None:
    """The node with that number, read together with others that are asked for beside it."""
    return await info.context.loaders.load(rows_by_id, brand_id, number, listing)


async def _pages_of_users(
    connection: DatabaseConnection,
    brand_id: int,
    users: Sequence[int],
    listing: Listing[T],
    limit: int,
    key: tuple[Any, ...] | None,
) -> dict[int, list[Mapping[str, Any]]]:
    """Batch: the first rows of each user."""
    where = Where(brand_id)
    where.add("t.user_id = u.id")
    if key is not None:
        listing.order.beyond(where, key)
    where.values.append(users)
    rows = await connection.fetch(
        f"WITH {OWN.format(users=f'${len(where.values)}')}"
        " SELECT u.person, u.id AS member, x.* FROM own u CROSS JOIN LATERAL ("
        f"SELECT {listing.columns} FROM {listing.source} WHERE {where.sql}"
        f" ORDER BY {listing.order.sql} LIMIT {limit:d}) x",
        *where.values,
    )
    found: dict[int, list[Mapping[str, Any]]] = {user: [] for user in users}
    for row in rows:
        found[row["person"]].append(row)
    for user, own in found.items():
        # Of several who count as one, each has given its first rows.
        if len({row["member"] for row in own}) > 1:
            found[user] = listing.order.sorted(own)[:limit]
    return found


async def _counts_of_users(
    connection: DatabaseConnection, brand_id: int, users: Sequence[int], listing: Listing[T]
) -> dict[int, int]:
    """Batch: how many rows each user has."""
    rows = await connection.fetch(
        f"WITH {OWN.format(users='$2')} SELECT own.person, count(*) AS n FROM own"
        f" JOIN {listing.source} ON t.brand_id = $1 AND t.user_id = own.id GROUP BY 1",
        brand_id,
        users,
    )
    return {row["person"]: row["n"] for row in rows}


def of_brand(
    info: Info, brand_id: int, listing: Listing[T], first: int | None, after: str | None, where: Where | None = None
) -> Connection[T]:
    """The connection of a brand's nodes; ``where`` narrows it."""
    limit, key = _limit(first), listing.order.key(after) if after is not None else None
    loaders, narrowed = info.context.loaders, where or Where(brand_id)

    async def read() -> Page[T]:
        page = narrowed.copy()
        if key is not None:
            listing.order.beyond(page, key)
        async with loaders.connection(brand_id) as connection:
            rows = await listing.page(connection, page, limit + 1)
        return _page(listing, brand_id, rows, limit, key)

    async def count() -> int:
        async with loaders.connection(brand_id) as connection:
            return await listing.count(connection, narrowed)

    return Connection(read=read, count=count)


def of_user(
    info: Info, brand_id: int, user_id: int, listing: Listing[T], first: int | None, after: str | None
) -> Connection[T]:
    """The connection of a user's nodes; those of many users are read together."""
    limit, key = _limit(first), listing.order.key(after) if after is not None else None
    loaders = info.context.loaders

    async def read() -> Page[T]:
        loaders.spend(limit)
        rows = await loaders.load(_pages_of_users, brand_id, user_id, listing, limit + 1, key)
        return _page(listing, brand_id, rows or [], limit, key)

    async def count() -> int:
        return await loaders.load(_counts_of_users, brand_id, user_id, listing) or 0

    return Connection(read=read, count=count)


def _limit(first: int | None) -> int:
    if first is None:
        return DEFAULT
    if not 0 <= first <= MOST:
        raise InputError(f"first: {first}", field="first", remedy=f"ask for 0 to {MOST}, then go on with after")
    return first


def _page(
    listing: Listing[T], brand_id: int, rows: Sequence[Mapping[str, Any]], limit: int, key: tuple[Any, ...] | None
) -> Page[T]:
    """A page of up to ``limit`` rows; ``rows`` has one more where there are more."""
    edges = [Edge(cursor=listing.order.cursor(row), node=listing.node(brand_id, row)) for row in rows[:limit]]
    return Page(
        edges,
        PageInfo(
            has_next_page=len(rows) > limit,
            has_previous_page=key is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
