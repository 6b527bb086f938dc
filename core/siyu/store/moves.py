"""Flows between the stages of a track: how many users went from where to where in a period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from siyu.store.db import Connection

__all__ = ["moves"]


async def moves(
    connection: Connection,
    brand_id: int,
    track: str,
    since: datetime,
    until: datetime,
    *,
    days: ZoneInfo | None = None,
    limit: int,
) -> Sequence[Any]:
    """Rows of ``day`` (in the zone ``days``; null without), ``before`` (null: none yet), ``after`` (null: none any
    more) and ``users``, from ``since`` on and before ``until``, by day."""
    rows: Sequence[Any] = await connection.fetch(
        _MOVES, brand_id, track, since, until, days.key if days else None, limit
    )
    return rows


# A move ends one row and begins another at the same moment; a merge ends rows and moves nobody. What was decided twice
# for one moment counts as the last said, so that rows of no length are left out.
_MOVES = """
WITH entered AS (
    SELECT user_id, stage, since AS at FROM user_stage
    WHERE brand_id = $1 AND track = $2 AND since >= $3 AND since < $4
    UNION ALL
    SELECT user_id, stage, since FROM stage_history
    WHERE brand_id = $1 AND track = $2 AND since >= $3 AND since < $4 AND until >= $3 AND until > since
), departed AS (
    SELECT user_id, stage, until AS at FROM stage_history
    WHERE brand_id = $1 AND track = $2 AND until >= $3 AND until < $4 AND until > since
        AND merge_id IS NULL
)
SELECT CASE WHEN $5::text IS NOT NULL THEN (at AT TIME ZONE $5)::date END AS day,
    d.stage AS before, e.stage AS after, count(*) AS users
FROM entered e FULL JOIN departed d USING (user_id, at)
WHERE d.stage IS DISTINCT FROM e.stage
GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC, 2, 3 LIMIT $6
"""
