"""Benefits: no more are given than there are, and an action gives one once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from siyu.store.db import Connection

__all__ = ["codes", "give", "put"]


async def put(connection: Connection, brand_id: int, key: str, title: str, stock: int, expires_days: int | None) -> Any:
    """Set what there is of a benefit; its row, or None where more than that are given already."""
    return await connection.fetchrow(
        "INSERT INTO benefit AS b (brand_id, key, title, stock, given, expires_days) VALUES ($1, $2, $3, $4, 0, $5)"
        " ON CONFLICT (brand_id, key) DO UPDATE SET title = excluded.title, stock = excluded.stock,"
        "   expires_days = excluded.expires_days WHERE b.given <= excluded.stock RETURNING *",
        *(brand_id, key, title, stock, expires_days),
    )


async def give(
    connection: Connection, brand_id: int, key: str, wanted: Sequence[tuple[int, int, str, datetime]]
) -> dict[int, str] | None:
    """Give the benefit for each of ``wanted`` (action, user, code, moment) while there are any; the codes given by
    action, also those given before, or None where there is no such benefit."""
    benefit = await connection.fetchrow(
        "SELECT * FROM benefit WHERE brand_id = $1 AND key = $2 FOR NO KEY UPDATE", brand_id, key
    )
    if benefit is None:
        return None
    actions = [action for action, *_ in wanted]
    rows = await connection.fetch(
        "SELECT action_id, code FROM granted WHERE brand_id = $1 AND action_id = ANY($2::bigint[])", brand_id, actions
    )
    found = {row["action_id"]: row["code"] for row in rows}
    left = benefit["stock"] - benefit["given"]
    new = [each for each in wanted if each[0] not in found][: max(left, 0)]
    if new:
        days = benefit["expires_days"]
        await connection.executemany(
            "INSERT INTO granted (brand_id, benefit, action_id, user_id, code, at, expires_at)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [(brand_id, key, *each, each[3] + timedelta(days=days) if days else None) for each in new],
        )
        await connection.execute(
            "UPDATE benefit SET given = given + $3 WHERE brand_id = $1 AND key = $2", brand_id, key, len(new)
        )
    return {**found, **{action: code for action, _, code, _ in new}}


async def codes(
    connection: Connection, brand_id: int, users: Sequence[int], keys: Sequence[str], at: datetime
) -> Mapping[tuple[int, str], str]:
    """The code of the benefit that each of ``users`` was given last and that is still good, by user and key."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (user_id, benefit) user_id, benefit, code FROM granted WHERE brand_id = $1"
        " AND user_id = ANY($2::bigint[]) AND benefit = ANY($3::text[]) AND COALESCE(expires_at > $4, true)"
        " ORDER BY user_id, benefit, id DESC",
        brand_id,
        users,
        keys,
        at,
    )
    return {(row["user_id"], row["benefit"]): row["code"] for row in rows}
