"""Batched loading of what users have."""

from __future__ import annotations

from collections.abc import Sequence

from siyu.store.db import Connection

from siyu_graphql.loading import grouped
from siyu_graphql.paging import OWN

__all__ = ["identities_of_users", "users_by_identity"]

Name = tuple[str, str]


async def identities_of_users(connection: Connection, brand_id: int, users: Sequence[int]) -> dict[int, list[Name]]:
    """Batch: the names of each user."""
    rows = await connection.fetch(
        f"WITH {OWN.format(users='$2')} SELECT own.person, i.kind, i.value FROM own"
        " JOIN identity i ON i.brand_id = $1 AND i.user_id = own.id ORDER BY i.kind, i.value",
        brand_id,
        users,
    )
    return grouped(users, ((row["person"], (row["kind"], row["value"])) for row in rows))


async def users_by_identity(connection: Connection, brand_id: int, names: Sequence[Name]) -> dict[Name, int]:
    """Batch: the users that go by names (kind, value)."""
    rows = await connection.fetch(
        "SELECT i.kind, i.value, COALESCE(m.into_id, i.user_id) AS user_id"
        " FROM identity i JOIN unnest($2::text[], $3::text[]) AS w (kind, value)"
        " ON i.kind = w.kind AND i.value = w.value"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = i.user_id WHERE i.brand_id = $1",
        brand_id,
        *(list(column) for column in zip(*names, strict=True)),
    )
    return {(row["kind"], row["value"]): row["user_id"] for row in rows}
