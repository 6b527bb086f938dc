"""The texts of brands: the newest version of each counts, and all are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from siyu.store.db import Connection

__all__ = ["add", "newest", "of_users", "staff_of"]

COLUMNS = ("kind", "purpose", "title", "text", "url", "because")


async def newest(connection: Connection, brand_id: int, keys: Sequence[str] | None = None) -> list[Any]:
    """The texts that count, of some ``keys`` or of all."""
    rows: list[Any] = await connection.fetch(
        "SELECT DISTINCT ON (key, channel, language) * FROM template"
        " WHERE brand_id = $1 AND ($2::text[] IS NULL OR key = ANY($2::text[]))"
        " ORDER BY key, channel, language, version DESC",
        brand_id,
        None if keys is None else list(keys),
    )
    return [row for row in rows if row["active"]]


async def add(
    connection: Connection, brand_id: int, place: tuple[str, str, str], texts: dict[str, str], by: str, most: int
) -> Any:
    """Keep a version of the text in ``place`` (key, channel, language), none of which it ends; its row, or None where
    the brand has ``most`` versions already."""
    await connection.execute("SELECT FROM brand WHERE id = $1 FOR UPDATE", brand_id)
    return await connection.fetchrow(
        f"INSERT INTO template (brand_id, key, channel, language, version, active, {', '.join(COLUMNS)}, by, at)"
        " SELECT $1, $2::varchar, $3::varchar, $4::varchar, 1 + (SELECT COALESCE(max(version), 0) FROM template"
        "   WHERE brand_id = $1 AND key = $2::varchar AND channel = $3::varchar AND language = $4::varchar), $5,"
        "   $6, $7, $8, $9, $10, $11, $12, now()"
        " WHERE (SELECT count(*) FROM template WHERE brand_id = $1) < $13 RETURNING *",
        brand_id,
        *place,
        bool(texts),
        *(texts.get(name, "") for name in COLUMNS),
        by,
        most,
    )


async def of_users(connection: Connection, brand_id: int, users: Sequence[int], attributes: Sequence[str]) -> list[Any]:
    """Users with the texts of some of their attributes; of one who counts as another, the other's."""
    texts = "".join(f", u.attributes->>${number}" for number, _ in enumerate(attributes, 3))
    rows: list[Any] = await connection.fetch(
        f"SELECT w.id{texts} FROM unnest($2::bigint[]) w (id)"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = w.id"
        " JOIN users u ON u.brand_id = $1 AND u.id = COALESCE(m.into_id, w.id)",
        brand_id,
        users,
        *attributes,
    )
    return rows


async def staff_of(connection: Connection, brand_id: int, users: Sequence[int]) -> dict[int, str]:
    """Who looks after each of ``users``: the staff that their newest contact came with."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (w.id) w.id, e.payload->>'staff' AS staff FROM unnest($2::bigint[]) w (id)"
        " JOIN LATERAL (SELECT w.id AS user_id UNION ALL SELECT m.user_id FROM merged_user m"
        "   WHERE m.brand_id = $1 AND m.into_id = w.id) s ON true"
        " JOIN event e ON e.brand_id = $1 AND e.user_id = s.user_id AND e.kind = 'contact.added'"
        " WHERE e.payload->>'staff' IS NOT NULL ORDER BY w.id, e.at DESC",
        brand_id,
        users,
    )
    return {row["id"]: row["staff"] for row in rows}
