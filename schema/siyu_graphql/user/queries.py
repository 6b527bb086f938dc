"""How users are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

import strawberry
from siyu import InputError, NotFound
from siyu.flow import filters
from siyu.flow.filters import among, users_where
from siyu.flow.selection import Selection, counted, select
from siyu.store import counts
from siyu.store.db import Connection as DatabaseConnection
from siyu.store.merges import persons
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.event.types import IdentityInput
from siyu_graphql.loading import once
from siyu_graphql.nodes import number_in, number_of
from siyu_graphql.paging import (
    After,
    Before,
    Edge,
    First,
    Last,
    Listing,
    Order,
    Page,
    Term,
    Where,
    Window,
    of_brand,
    rows_by_id,
)
from siyu_graphql.scalars import checked_text
from siyu_graphql.user.filters import Direction, UserFilter, UserOrder, UserOrderField
from siyu_graphql.user.loaders import users_by_identity
from siyu_graphql.user.personal import require_personal
from siyu_graphql.user.types import User, UserConnection

__all__ = ["USERS", "find_user", "order_of_users", "plain_users", "user_of_brand", "users_of_brand", "users_who"]


def _user(brand_id: int, row: Mapping[str, Any]) -> User:
    return User(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["id"],
        known=json.loads(row["attributes"]),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
    )


USERS = Listing("users t", "t.id, t.attributes, t.first_seen, t.last_seen", _user)

Filter = Annotated[UserFilter | None, strawberry.argument(description="Which of them; all if left out.")]
OrderBy = Annotated[UserOrder | None, strawberry.argument(description="In which order; by id if left out.")]
UserId = Annotated[
    GlobalID | None,
    strawberry.argument(description="The user's `id`. That of one who was merged gives whom they count as."),
]
Name = Annotated[IdentityInput | None, strawberry.argument(description="Or a name that the user goes by.")]


async def users_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
    order_by: OrderBy = None,
) -> UserConnection:
    checked = filter.checked() if filter else filters.UserFilter()
    await require_personal(info, brand.brand_id, checked, by=order_by.checked() if order_by else None)
    return users_who(info, brand.brand_id, checked, Window(first, after, last, before), order_by)


async def user_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, id: UserId = None, identity: Name = None
) -> User | None:
    if (id is None) == (identity is None):
        raise InputError("which user?", field="id", remedy="give either id or identity")
    number = number_in(id, "User", brand.brand_id) if id else None
    if identity is not None:
        name = (checked_text(identity.kind, "identity.kind"), checked_text(identity.value, "identity.value"))
        info.context.personal.asked(brand.brand_id, identity.kind, "identity")
        number = await info.context.loaders.load(users_by_identity, brand.brand_id, name)
    if number is not None and (user := await find_user(info, brand.brand_id, str(number))):
        return user
    if identity is not None:
        remedy = "`users { nodes { identities { kind value } } }` shows how users are called"
        raise NotFound(f"no user goes by {identity.kind} {identity.value!r}", field="identity", remedy=remedy)
    raise NotFound(
        f"no user with the id {str(id)!r}", field="id", remedy="ids of users come from `users { nodes { id } }`"
    )


async def find_user(info: Info, brand_id: int, name: str) -> User | None:
    """The user of that number, or whom they count as."""
    if (number := number_of(name)) is None:
        return None
    return await info.context.loaders.load(_persons, brand_id, number)


async def _persons(connection: DatabaseConnection, brand_id: int, users: Sequence[int]) -> dict[int, User]:
    """Batch: whom users count as."""
    whom = await persons(connection, brand_id, users)
    found = await rows_by_id(connection, brand_id, sorted(set(whom.values())), USERS)
    return {user: found[person] for user, person in whom.items() if person in found}


def users_who(
    info: Info, brand_id: int, filter: filters.UserFilter, window: Window, order: UserOrder | None = None
) -> UserConnection:
    """The users whom a filter finds."""
    plain = plain_users(filter, order)
    if plain is None:
        by = order.checked() if order else None
        return _by_facts(info, brand_id, filter, window, USERS.ordered(order_of_users(order)), by, order)
    found = of_brand(info, brand_id, plain[0], window, plain[1])
    return UserConnection(page=found.page, count=found.count, selected=_never)


def plain_users(filter: filters.UserFilter, order: UserOrder | None = None) -> tuple[Listing[User], Term] | None:
    """The users whom a filter finds, in their order; None where that takes facts."""
    if order is not None and order.checked() is not None:
        return None
    return _plain(filter, order_of_users(order))


@lru_cache(maxsize=1_000)
def _plain(filter: filters.UserFilter, order: Order) -> tuple[Listing[User], Term] | None:
    """Lists that come again ask for the same ones most of the time."""
    if filter.facts("filter"):
        return None
    return replace(USERS, order=order, counted=_counted(filter)), users_where(filter)


def _counted(filter: filters.UserFilter) -> tuple[str, tuple[str, ...]] | None:
    """How those who are meant are known to be so many, if they are."""
    match filter.model_dump(exclude_none=True):
        case {"tag": (key,), **others} if not others:
            return counts.WITH_TAG, (key,)
        case {"stage": {"track": track, "key": key}, **others} if not others:
            return counts.IN_STAGE, (track, key)
        case given if not given:
            return counts.USERS, ()
    return None


def _by_facts(
    info: Info,
    brand_id: int,
    filter: filters.UserFilter,
    window: Window,
    listing: Listing[User],
    by: filters.FactName | None,
    order: UserOrder | None,
) -> UserConnection:
    ctx, loaders, limit = info.context.ctx, info.context.loaders, window.limit
    descending = order is not None and order.direction is Direction.DESC

    @once
    async def selected() -> Selection:
        loaders.check(brand_id)
        return await select(ctx, brand_id, filter, by=by, descending=descending)

    async def read() -> Page[User]:
        selection = await selected()
        async with loaders.connection(brand_id) as connection:
            users = await selection.page(
                connection,
                listing.order,
                limit + 1,
                after=window.after,
                before=window.before,
                backward=window.backward,
            )
            where = Where(brand_id, among([number for _, number in users]))
            rows = {row["id"]: row for row in await listing.page(connection, where, len(users))}
        edges = [
            Edge(cursor=selection.cursor(listing.order, value, rows[number]), node=listing.node(brand_id, rows[number]))
            for value, number in users
            if number in rows
        ]
        return window.page(edges)

    async def count() -> int:
        loaders.check(brand_id)
        return (await counted(ctx, brand_id, filter)).users

    async def as_of() -> datetime | None:
        return (await selected()).as_of

    return UserConnection(page=read, count=count, selected=as_of)


async def _never() -> None:
    return None


def order_of_users(order: UserOrder | None) -> Order:
    """The order that is asked for, unless it is by a fact."""
    columns: tuple[tuple[str, type], ...] = (("id", int),)
    if order is not None and order.field not in (None, UserOrderField.ID):
        columns = ((order.field.value, datetime), *columns)
    return Order(columns, descending=order is not None and order.direction is Direction.DESC)
