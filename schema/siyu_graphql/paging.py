"""Lists that do not end: Relay connections over keyset cursors.

A :class:`Listing` says which table holds a kind of node and in which order it is read; pages of a brand, pages of
many users at once, single rows and counts all come from that declaration. A cursor holds the sort key of its row, so
that pages neither skip nor repeat where rows are added meanwhile, and deep pages cost what the first one does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar

import strawberry
from siyu import InputError
from siyu.store.db import Connection as DatabaseConnection
from siyu.store.keyset import Order, Term, Where
from strawberry.relay import PageInfo

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.cost import DEFAULT, MOST
from siyu_graphql.fields import computed
from siyu_graphql.loading import grouped, once

__all__ = [
    "OWN",
    "After",
    "Before",
    "Connection",
    "Edge",
    "First",
    "Last",
    "Listing",
    "Order",
    "Page",
    "Term",
    "Where",
    "Window",
    "of_all",
    "of_brand",
    "of_user",
    "one",
    "pages_of_brand",
    "pages_of_user",
    "whole",
]

T = TypeVar("T")

OWN = """
own AS (
    SELECT id, id AS person FROM unnest({users}::bigint[]) AS w (id)
    UNION ALL SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY({users}::bigint[])
)"""
"""SQL of the users that each of ``{users}`` (``person``) stands for, that one included."""

First: TypeAlias = Annotated[
    int | None,
    strawberry.argument(
        description=f"How many at most, from the start: 0 to {MOST}. {DEFAULT} if neither it nor `last` is given."
    ),
]
After: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Only what follows this cursor: the `endCursor` of the page before.")
]
Last: TypeAlias = Annotated[
    int | None, strawberry.argument(description=f"How many at most, from the end: 0 to {MOST}. Not beside `first`.")
]
Before: TypeAlias = Annotated[
    str | None,
    strawberry.argument(description="Only what precedes this cursor: the `startCursor` of the page after."),
]


@strawberry.type(description="One entry of a page.")
class Edge(Generic[T]):
    """A node and the cursor at which a page after it begins."""

    cursor: str = strawberry.field(description="Where this entry stands, for `after` and `before`.")
    node: T = strawberry.field(description="The entry itself.")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page as it was read."""

    edges: list[Edge[T]]
    info: PageInfo


@strawberry.type(description="A page of a list, and how to go on.")
class Connection(Generic[T]):
    """A page, read when something of it is asked for; fields that are resolved side by side share one reading."""

    page: strawberry.Private[Callable[[], Awaitable[Page[Any]]]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    def __post_init__(self) -> None:
        self.page = once(self.page)

    @computed("The entries of this page with their cursors.")
    async def edges(self) -> list[Edge[T]]:
        return (await self.page()).edges

    @computed("The entries of this page.")
    async def nodes(self) -> list[T]:
        return [edge.node for edge in (await self.page()).edges]

    @computed("Whether there is more, and the cursors to go on from.")
    async def page_info(self) -> PageInfo:
        return (await self.page()).info

    @computed("How many there are on all pages together. Counted only when asked for.", cost=10)
    async def total_count(self) -> int:
        return await self.count()


class Window(NamedTuple):
    """Which part of a list is asked for, as Relay says it."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    @property
    def backward(self) -> bool:
        """Whether it is read from the end."""
        return self.last is not None

    @property
    def limit(self) -> int:
        """How many entries at most, or an :class:`siyu.InputError`."""
        if self.first is not None and self.last is not None:
            raise InputError("both first and last are given", field="last", remedy="give one of them")
        name, wanted, on = ("last", self.last, "before") if self.backward else ("first", self.first, "after")
        if wanted is None:
            return DEFAULT
        if not 0 <= wanted <= MOST:
            raise InputError(f"{name} is {wanted}", field=name, remedy=f"ask for 0 to {MOST}, then go on with {on}")
        return wanted

    def terms(self, order: Order) -> tuple[Term, ...]:
        """Only what lies between its cursors."""
        found = []
        if self.after is not None:
            found.append(order.beyond(order.key(self.after, "after")))
        if self.before is not None:
            found.append(order.reversed.beyond(order.key(self.before, "before")))
        return tuple(found)

    def page(self, found: Sequence[Edge[T]]) -> Page[T]:
        """The page of what was found beyond its cursor: one more than asked for, where there is more; from the end, if
        it is read so."""
        limit = self.limit
        edges = list(found[:limit])
        if self.backward:
            edges.reverse()
        more, passed = len(found) > limit, self.before if self.backward else self.after
        other = self.after if self.backward else self.before
        ahead = more or other is not None
        return Page(
            edges,
            PageInfo(
                has_next_page=passed is not None if self.backward else ahead,
                has_previous_page=ahead if self.backward else passed is not None,
                start_cursor=edges[0].cursor if edges else None,
                end_cursor=edges[-1].cursor if edges else None,
            ),
        )


NEWEST = Order((("id", int),), descending=True)


@dataclass(frozen=True)
class Listing(Generic[T]):
    """Where nodes of a kind are kept and how they are read: rows of ``source`` (a table as ``t``) made to ``node``."""

    source: str
    columns: str
    node: Callable[[int, Mapping[str, Any]], T]
    order: Order = NEWEST
    counted: tuple[str, tuple[Any, ...]] | None = None
    """A statement, and what follows the brand in it, that knows how many rows there are without counting them."""

    @classmethod
    def of(
        cls,
        table: str,
        kind: Callable[..., T],
        columns: Sequence[str],
        order: Order = NEWEST,
        **made: Callable[[Any], Any],
    ) -> Listing[T]:
        """Nodes whose fields are columns as they are, or are ``made`` of the column of their name."""

        def node(brand_id: int, row: Mapping[str, Any]) -> T:
            fields = {name: row[name] for name in columns} | {name: make(row[name]) for name, make in made.items()}
            return kind(brand_id=brand_id, number=row["id"], **fields)

        return cls(f"{table} t", ", ".join(f"t.{name}" for name in ("id", *columns, *made)), node, order)

    def ordered(self, order: Order) -> Listing[T]:
        """The same in another order."""
        return replace(self, order=order)

    def edge(self, brand_id: int, row: Mapping[str, Any]) -> Edge[T]:
        """The entry of a row."""
        return Edge(cursor=self.order.cursor(row), node=self.node(brand_id, row))

    async def page(
        self, connection: DatabaseConnection, where: Where, limit: int, *, backward: bool = False
    ) -> list[Mapping[str, Any]]:
        """Rows of a brand; the last first, if ``backward``."""
        order = self.order.reversed if backward else self.order
        sql = f"SELECT {self.columns} FROM {self.source} WHERE {where.sql} ORDER BY {order.sql} LIMIT {limit:d}"
        rows: list[Mapping[str, Any]] = await connection.fetch(sql, *where.values)
        return rows

    async def count(self, connection: DatabaseConnection, where: Where) -> int:
        """How many rows of a brand."""
        if self.counted is not None:
            sql, values = self.counted
            return int(await connection.fetchval(sql, where.values[0], *values))
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


async def whole(
    connection: DatabaseConnection, brand_id: int, keys: Sequence[None], listing: Listing[T]
) -> dict[None, list[T]]:
    """Batch: all nodes of a brand that are never many."""
    rows = await connection.fetch(
        f"SELECT {listing.columns} FROM {listing.source} WHERE t.brand_id = $1 ORDER BY {listing.order.sql}", brand_id
    )
    return {None: [listing.node(brand_id, row) for row in rows]}


async def _pages_of_users(
    connection: DatabaseConnection,
    brand_id: int,
    users: Sequence[int],
    listing: Listing[T],
    limit: int,
    terms: tuple[Term, ...],
    backward: bool,
) -> dict[int, list[Mapping[str, Any]]]:
    """Batch: the first (or last) rows of each user."""
    where = Where(brand_id, *terms)
    where.add("t.user_id = u.id")
    where.values.append(users)
    order = listing.order.reversed if backward else listing.order
    rows = await connection.fetch(
        f"WITH {OWN.format(users=f'${len(where.values)}')}"
        " SELECT u.person, u.id AS member, x.* FROM own u CROSS JOIN LATERAL ("
        f"SELECT {listing.columns} FROM {listing.source} WHERE {where.sql} ORDER BY {order.sql} LIMIT {limit:d}) x",
        *where.values,
    )
    found: dict[int, list[Mapping[str, Any]]] = grouped(users, ((row["person"], row) for row in rows))
    for user, own in found.items():
        # Of several who count as one, each has given its first rows.
        if len({row["member"] for row in own}) > 1:
            found[user] = order.sorted(own)[:limit]
    return found


async def _counts_of_users(
    connection: DatabaseConnection,
    brand_id: int,
    users: Sequence[int],
    listing: Listing[T],
    terms: tuple[Term, ...],
) -> dict[int, int]:
    """Batch: how many rows each user has."""
    where = Where(brand_id, *terms)
    where.values.append(users)
    rows = await connection.fetch(
        f"WITH {OWN.format(users=f'${len(where.values)}')} SELECT own.person, count(*) AS n FROM own"
        f" JOIN {listing.source} ON t.user_id = own.id WHERE {where.sql} GROUP BY 1",
        *where.values,
    )
    return {row["person"]: row["n"] for row in rows}


def of_brand(info: Info, brand_id: int, listing: Listing[T], window: Window, *terms: Term) -> Connection[T]:
    """The connection of a brand's nodes; ``terms`` narrow it."""
    limit, within = window.limit, window.terms(listing.order)
    loaders = info.context.loaders

    async def read() -> Page[T]:
        async with loaders.connection(brand_id) as connection:
            where = Where(brand_id, *terms, *within)
            rows = await listing.page(connection, where, limit + 1, backward=window.backward)
        return window.page([listing.edge(brand_id, row) for row in rows])

    async def count() -> int:
        async with loaders.connection(brand_id) as connection:
            return await listing.count(connection, Where(brand_id, *terms))

    return Connection(page=read, count=count)


def of_all(
    order: Order, window: Window, entries: Callable[[], Awaitable[Sequence[tuple[Mapping[str, Any], T]]]]
) -> Connection[T]:
    """The connection of what is read whole, whatever page is asked for: pairs of a sort key's row and a node."""
    limit = window.limit
    after = None if window.after is None else order.key(window.after, "after")
    before = None if window.before is None else order.key(window.before, "before")
    found = once(entries)

    async def read() -> Page[T]:
        keyed = sorted(((order.key_of(row), row, node) for row, node in await found()), key=lambda each: each[0])
        within = [
            Edge(cursor=order.cursor(row), node=node)
            for key, row, node in keyed
            if (after is None or key > after) and (before is None or key < before)
        ]
        return window.page(within[::-1][: limit + 1] if window.backward else within[: limit + 1])

    async def count() -> int:
        return len(await found())

    return Connection(page=read, count=count)


def of_user(
    info: Info, brand_id: int, user_id: int, listing: Listing[T], window: Window, *terms: Term
) -> Connection[T]:
    """The connection of a user's nodes, narrowed by ``terms``; those of many users are read together."""
    limit, within = window.limit, window.terms(listing.order)
    loaders = info.context.loaders

    async def read() -> Page[T]:
        rows = await loaders.load(
            _pages_of_users, brand_id, user_id, listing, limit + 1, (*terms, *within), window.backward
        )
        return window.page([listing.edge(brand_id, row) for row in rows or []])

    async def count() -> int:
        return await loaders.load(_counts_of_users, brand_id, user_id, listing, terms) or 0

    return Connection(page=read, count=count)


def pages_of_brand(listing: Listing[Any]) -> Callable[..., Any]:
    """The resolver of a connection of all of a brand's nodes."""

    async def pages(
        brand: strawberry.Parent[OfBrand],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Any:
        return of_brand(info, brand.brand_id, listing, Window(first, after, last, before))

    return pages


def pages_of_user(listing: Listing[Any]) -> Callable[..., Any]:
    """The resolver of a connection of all of a user's nodes."""

    async def pages(
        user: strawberry.Parent[OfUser],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Any:
        return of_user(info, user.brand_id, user.user_id, listing, Window(first, after, last, before))

    return pages
