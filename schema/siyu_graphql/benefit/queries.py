"""How benefits are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.benefit.types import Benefit, Grant
from siyu_graphql.context import Info
from siyu_graphql.paging import Listing, Order, Where, pages_of_brand, pages_of_user

__all__ = ["BENEFITS", "GRANTS", "benefit_named", "benefits_of_brand", "grants_of_user"]

BENEFITS = Listing(
    "benefit t",
    "t.id, t.key, t.title, t.stock, t.given, t.expires_days",
    lambda brand_id, row: Benefit(
        brand_id=brand_id,
        number=row["id"],
        key=row["key"],
        title=row["title"],
        stock=row["stock"],
        given=row["given"],
        days=row["expires_days"],
    ),
    Order((("key", str), ("id", int))),
)


def _grant(brand_id: int, row: Mapping[str, Any]) -> Grant:
    return Grant(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["user_id"],
        action_id=row["action_id"],
        of=row["benefit"],
        code=row["code"],
        at=row["at"],
        expires_at=row["expires_at"],
    )


GRANTS = Listing("granted t", "t.id, t.user_id, t.action_id, t.benefit, t.code, t.at, t.expires_at", _grant)

benefits_of_brand = pages_of_brand(BENEFITS)
grants_of_user = pages_of_user(GRANTS)


async def benefit_named(info: Info, brand_id: int, key: str) -> Benefit | None:
    """The benefit of that key."""
    return await info.context.loaders.load(_by_key, brand_id, key)


async def _by_key(connection: DatabaseConnection, brand_id: int, keys: Sequence[str]) -> dict[str, Benefit]:
    """Batch: benefits by their key."""
    where = Where(brand_id)
    where.add("t.key = ANY({}::text[])", keys)
    rows = await BENEFITS.page(connection, where, len(keys))
    return {row["key"]: BENEFITS.node(brand_id, row) for row in rows}
