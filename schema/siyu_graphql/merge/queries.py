"""How merges are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import strawberry
from siyu.store import models
from siyu.store.db import Connection as DatabaseConnection
from strawberry.relay import to_base64

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.event.types import Identity
from siyu_graphql.merge.types import UserMerge
from siyu_graphql.paging import OWN, After, Before, Connection, First, Last, Listing, Window, of_brand

__all__ = ["MERGES", "merge_of", "merges_of_brand", "merges_of_user"]


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
            for kind, value in _names(row["names"])
        ],
        undone_at=row["undone_at"],
        undone_by=row["undone_by"],
    )


def _names(names: Any) -> Sequence[tuple[str, str]]:
    found: Sequence[tuple[str, str]] = json.loads(names) if isinstance(names, str) else names
    return found


MERGES = Listing(
    "user_merge t",
    "t.id, t.user_id, t.other_id, t.at, t.by, t.reason, t.names, t.undone_at, t.undone_by",
    _merge,
)


def merge_of(row: models.UserMerge) -> UserMerge:
    """A merge as it is shown."""
    return _merge(row.brand_id, {name: getattr(row, name) for name in row._meta.fields_map})


async def merges_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[UserMerge]:
    return of_brand(info, brand.brand_id, MERGES, Window(first, after, last, before))


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
    found: dict[int, list[UserMerge]] = {user: [] for user in users}
    for row in rows:
        found[row["person"]].append(_merge(brand_id, row))
    return found
