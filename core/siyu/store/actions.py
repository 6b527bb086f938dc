"""The ledger of actions: plan, lease, and note what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from siyu.store.changes import note
from siyu.store.db import Connection, give

__all__ = ["LEASE", "lease", "plan_actions", "put_in_outbox", "settle"]

LEASE = timedelta(seconds=60)
_PLANNED = {
    "key": "text",
    "user_id": "bigint",
    "plugin": "text",
    "playbook": "text",
    "channel": "text",
    "purpose": "text",
    "text": "text",
    "because": "text",
}


async def plan_actions(
    connection: Connection, brand_id: int, rows: pl.DataFrame, *, at: datetime, rulebook_id: int
) -> int:
    """Plan an action a row (key, user_id, plugin, playbook, channel, purpose, text, because), once for each key."""
    planned, given = await give(connection, "planned", _PLANNED, rows, first=4)
    made = await connection.fetch(
        f"{planned} INSERT INTO action (brand_id, {', '.join(_PLANNED)}, rulebook_id, planned_at, due_at)"
        " SELECT $1, p.*, $2, $3, $3 FROM planned p ORDER BY user_id ON CONFLICT (brand_id, key) DO NOTHING"
        " RETURNING id",
        brand_id,
        rulebook_id,
        at,
        *given,
    )
    await note(connection, brand_id, (("planned", row["id"]) for row in made), at)
    return len(made)


async def lease(connection: Connection, brand_id: int, limit: int, repeatable: Sequence[str]) -> list[Any]:
    """Take up to ``limit`` actions that are due, for :data:`LEASE`.

    An action whose lease ran out may have been delivered. On a ``repeatable`` channel it is taken again; on another
    it becomes ``unknown``, for a person to look at, and is never repeated.
    """
    lost = await connection.fetch(
        "UPDATE action SET status = 'unknown', detail = 'nothing was heard of it since it was handed over'"
        " WHERE brand_id = $1 AND status = 'leased' AND leased_until < now() AND NOT channel = ANY($2::text[])"
        " RETURNING id, status",
        brand_id,
        list(repeatable),
    )
    # Materialized: a subquery that the planner runs again for each row finds further rows each time, past any limit.
    rows: list[Any] = await connection.fetch(
        "WITH due AS MATERIALIZED (SELECT id FROM action WHERE brand_id = $1 AND due_at <= now()"
        "   AND (status = 'planned' OR (status = 'leased' AND leased_until < now()))"
        "   ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " UPDATE action a SET status = 'leased', leased_until = now() + $3, attempts = attempts + 1"
        " FROM due WHERE a.brand_id = $1 AND a.id = due.id RETURNING a.*",
        brand_id,
        limit,
        LEASE,
    )
    await note(connection, brand_id, ((row["status"], row["id"]) for row in (*lost, *rows)), datetime.now(UTC))
    return sorted(rows, key=lambda row: (row["due_at"], row["id"]))


async def settle(connection: Connection, brand_id: int, outcomes: Sequence[tuple[int, str, str]]) -> None:
    """Note what became of leased actions: (id, status, detail). A late receipt is believed where nobody knew."""
    async with connection.transaction():
        rows = await connection.fetch(
            "UPDATE action a SET status = o.status, detail = o.detail, leased_until = NULL, done_at = now()"
            " FROM unnest($2::bigint[], $3::text[], $4::text[]) AS o (id, status, detail)"
            " WHERE a.brand_id = $1 AND a.id = o.id AND a.status IN ('leased', 'unknown') RETURNING a.id, a.status",
            brand_id,
            *(list(column) for column in zip(*outcomes, strict=True)),
        )
        await note(connection, brand_id, ((row["status"], row["id"]) for row in rows), datetime.now(UTC))


async def put_in_outbox(
    connection: Connection, brand_id: int, messages: Sequence[tuple[int, int, str, datetime]]
) -> None:
    """Put messages (action id, user id, text, moment) in the outbox; one that is there stays as it is."""
    await connection.execute(
        "INSERT INTO outbox_message (brand_id, action_id, user_id, text, at)"
        " SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])"
        " ON CONFLICT (brand_id, action_id) DO NOTHING",
        brand_id,
        *(list(column) for column in zip(*messages, strict=True)),
    )
