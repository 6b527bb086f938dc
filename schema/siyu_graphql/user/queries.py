"""How users are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import strawberry
from siyu import InputError, NotFound
from siyu.store.db import Connection as DatabaseConnection
from siyu.store.merges import persons
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.event.types import IdentityInput
from siyu_graphql.nodes import number_in, number_of
from siyu_graphql.paging import After, Connection, First, Listing, Order, Where, of_brand, rows_by_id
from siyu_graphql.scalars import checked_text
from siyu_graphql.user.loaders import users_by_identity
from siyu_graphql.user.types import Direction, User, UserFilter, UserOrder, UserOrderField

__all__ = ["USERS", "find_user", "user_of_brand", "users_of_brand"]

MOST_TAGS = 20


def _user(brand_id: int, row: Mapping[str, Any]) -> User:
    return User(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["id"],
        attributes=json.loads(row["attributes"]),
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
    first: First = 20,
    after: After = None,
    filter: Filter = None,
    order_by: OrderBy = None,
) -> Connection[User]:
    listing, where = USERS.ordered(_order(order_by)), _where(brand.brand_id, filter)
    return of_brand(info, brand.brand_id, listing, first, after, where)


async def user_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, id: UserId = None, identity: Name = None
) -> User | None:
    if (id is None) == (identity is None):
        raise InputError("which user?", field="id", remedy="give either id or identity")
    number = number_in(id, "User", brand.brand_id) if id else None
    if identity is not None:
        name = (checked_text(identity.kind, "identity.kind"), checked_text(identity.value, "identity.value"))
        number = await info.context.loaders.load(users_by_identity, brand.brand_id, name)
    if number is not None and (user := await find_user(info, brand.brand_id, str(number))):
        return user
    raise NotFound("the brand has no such user", field="id" if id else "identity")


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


def _order(order: UserOrder | None) -> Order:
    field = order.field if order else UserOrderField.ID
    columns: tuple[tuple[str, type], ...] = (("id", int),)
    if field is not UserOrderField.ID:
        columns = ((field.value, datetime), *columns)
    return Order(columns, descending=order is not None and order.direction is Direction.DESC)


def _where(brand_id: int, wanted: UserFilter | None) -> Where:
    where = Where(brand_id)
    where.add("NOT EXISTS (SELECT FROM merged_user m WHERE m.brand_id = t.brand_id AND m.user_id = t.id)")
    if wanted is None:
        return where
    has_tag = "EXISTS (SELECT FROM tag_assignment a WHERE a.brand_id = t.brand_id AND a.user_id = t.id AND a.tag_id {})"
    for key in _tags(wanted.tag, "filter.tag"):
        where.add(has_tag.replace("{}", "= (SELECT id FROM tag WHERE brand_id = $1 AND key = {})"), key)
    if wanted.any_tag is not None:
        keys = _tags(wanted.any_tag, "filter.anyTag")
        where.add(has_tag.replace("{}", "IN (SELECT id FROM tag WHERE brand_id = $1 AND key = ANY({}::text[]))"), keys)
    if wanted.stage is not None:
        where.add(
            "EXISTS (SELECT FROM user_stage s WHERE s.brand_id = t.brand_id AND s.user_id = t.id"
            " AND s.track = {} AND s.stage = {})",
            checked_text(wanted.stage.track, "filter.stage.track"),
            checked_text(wanted.stage.key, "filter.stage.key"),
        )
    return where


def _tags(keys: list[str] | None, field: str) -> list[str]:
    if keys is not None and len(keys) > MOST_TAGS:
        raise InputError(f"{len(keys)} tags", field=field, remedy=f"give at most {MOST_TAGS}")
    return [checked_text(key, field) for key in keys or ()]
