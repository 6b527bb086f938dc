"""How fresh tags and stages are: the last whole run that looked at them, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from siyu.store.db import Connection

__all__ = ["Freshness", "of_stages", "of_tags"]


@dataclass(frozen=True)
class Freshness:
    """Of one tag or stage. Where its rule fails, ``error`` says why, and the rest is the last run in which it did not.

    ``lag`` is in seconds. ``seconds`` are the whole run's: its passes serve all rules at once.
    """

    as_of: datetime | None
    lag: float | None
    run_id: int | None
    seconds: float | None
    users: int
    gained: int
    lost: int
    error: str | None
    error_since: datetime | None


async def of_tags(connection: Connection, brand_id: int) -> dict[int, Freshness]:
    """The freshness of a brand's tags, by their ids."""
    return await _of(connection, brand_id, "tag", "tags", "key")


async def of_stages(connection: Connection, brand_id: int) -> dict[int, Freshness]:
    """The freshness of a brand's stages, by their ids."""
    return await _of(connection, brand_id, "stage", "tracks", "track")


async def _of(connection: Connection, brand_id: int, table: str, content: str, key: str) -> dict[int, Freshness]:
    rows = await connection.fetch(_FRESHNESS.format(table=table, content=content, key=key), brand_id)
    return {row["id"]: Freshness(**{name: row[name] for name in Freshness.__dataclass_fields__}) for row in rows}


# Which rule gives a tag is in the rulebook, also where the rule stands still.
_FRESHNESS = """\
SELECT t.id, t.as_of, t.run_id, t.gained, t.lost, coalesce(r.users, 0) AS users, f.error, f.since AS error_since,
    CASE WHEN t.as_of IS NOT NULL
        THEN greatest(extract(epoch FROM coalesce(b.replayed_to, now()) - t.as_of), 0)::float END AS lag,
    (SELECT sum(value::float) FROM jsonb_each_text(r.seconds)) AS seconds
FROM {table} t JOIN brand b ON b.id = t.brand_id
LEFT JOIN run r ON r.brand_id = t.brand_id AND r.id = t.run_id
LEFT JOIN (
    SELECT e.key, min(f.error) AS error, min(f.since) AS since
    FROM fence f JOIN brand b ON b.id = f.brand_id, jsonb_array_elements(b.rulebooks) k
    JOIN rulebook_version v ON v.id = (k->>1)::bigint, jsonb_each(v.content->'{content}') e
    WHERE f.brand_id = $1 AND v.brand_id = $1 AND e.value->>'plugin' = f.plugin AND e.value->>'rule' = f.rule
    GROUP BY 1
) f ON f.key = t.{key}
WHERE t.brand_id = $1
"""
