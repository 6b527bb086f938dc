"""How merges are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import strawberry
from siyu.store.db import Connection as DatabaseConnection
from strawberry.relay import to_base64

from siyu_graphql.context import Info, OfUser
from siyu_graphql.event.types import Identity
from siyu_graphql.loading import grouped
from siyu_graphql.merge.types import UserMerge
from siyu_graphql.paging import OWN, Listing, pages_of_brand

__all__ = ["MERGES", "merges_of_brand", "merges_of_user"]


def _merge(brand_id: int, row: Mapping[str, Any]) -> UserMerge:
    return UserMerge(
        brand_id=brand_id,
        number=row["id"],
        user_ids=[strawberry.ID(to_base64("User", f"{brand_id}:{row[name]}")) for name in ("user_id", "other_id")],
        at=row["at"],
        by=row["by"],
        reason=row["reason"],
        identities=[
            Identity(kind=kind, name=value, brand_id=brand_id, user_id=row["user_id"])
            for kind, value in json.loads(row["names"])
        ],
        undone_at=row["undone_at"],
        undone_by=row["undone_by"],
    )


MERGES = Listing(
    "user_merge t",
    "t.id, t.user_id, t.other_id, t.at, t.by, t.reason, t.names, t.undone_at, t.undone_by",
    _merge,
)


merges_of_brand = pages_of_brand(MERGES)


async def merges_of_user(user: strawberry.Parent[OfUser], info: Info) -> list[UserMerge]:
    return await info.context.loaders.load(_merges_of_users, user.brand_id, user.user_id) or []


async def _merges_of_users(
    connection: DatabaseConnection, brand_id: int, users: Sequence[int]
) -> dict[int, list[UserMerge]]:
    """Batch: the merges that stand of each user."""
    rows = await connection.fetch(
        f"WITH {OWN.format(users='$2')} SELECT own.person, {MERGES.columns} FROM own"
        " JOIN user_merge t ON t.brand_id = $1 AND t.user_id = own.id AND t.undone_at IS NULL ORDER BY t.id",
        brand_id,
        users,
    )
    return grouped(users, ((row["person"], _merge(brand_id, row)) for row in rows))
