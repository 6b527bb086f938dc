"""The ledger of actions: plan, lease, and note what became of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import polars as pl

from siyu.store.changes import note
from siyu.store.db import Connection, give

__all__ = ["LEASE", "ORDINARY", "PLANNED", "lease", "plan_actions", "put_in_outbox", "settle", "write_texts"]

LEASE = timedelta(seconds=60)
ORDINARY = 5
"""The lane of what is not urgent."""
PLANNED = {
    "key": "text",
    "user_id": "bigint",
    "plugin": "text",
    "playbook": "text",
    "channel": "text",
    "purpose": "text",
    "because": "text",
    "text": "text",
    "rulebook_id": "bigint",
    "enrolment_id": "bigint",
    "step": "text",
    "lane": "smallint",
}
_UNSAID = {"text": "", "rulebook_id": None, "enrolment_id": None, "step": "", "lane": ORDINARY}


async def plan_actions(
    connection: Connection,
    brand_id: int,
    rows: pl.DataFrame,
    *,
    at: datetime,
    version_id: int | None = None,
    asked_by: str = "",
) -> int:
    """Plan an action a row (:data:`PLANNED`), once for each key; returns how many are new.

    What those of a playbook say is written when they leave.
    """
    rows = rows.with_columns(pl.lit(value).alias(name) for name, value in _UNSAID.items() if name not in rows.columns)
    planned, given = await give(connection, "planned", PLANNED, rows, first=5)
    made = await connection.fetch(
        f"{planned} INSERT INTO action"
        f" (brand_id, {', '.join(PLANNED)}, version_id, asked_by, planned_at, due_at, log)"
        " SELECT $1, p.*, $2, $4, $3, $3, jsonb_build_array(jsonb_build_array($3::timestamptz, 'planned', '', ''))"
        " FROM planned p ORDER BY user_id ON CONFLICT (brand_id, key) DO NOTHING RETURNING id",
        brand_id,
        version_id,
        at,
        asked_by,
        *given,
    )
    await note(connection, brand_id, (("planned", row["id"]) for row in made), at)
    return len(made)


async def lease(
    connection: Connection, brand_id: int, at: datetime, limit: int, repeatable: Sequence[str]
) -> list[Any]:
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
        "WITH due AS MATERIALIZED (SELECT id FROM action WHERE brand_id = $1 AND due_at <= $4"
        "   AND (status = 'planned' OR (status = 'leased' AND leased_until < now()))"
        "   ORDER BY lane, due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)"
        " UPDATE action a SET status = 'leased', leased_until = now() + $3, attempts = attempts + 1"
        " FROM due WHERE a.brand_id = $1 AND a.id = due.id RETURNING a.*",
        brand_id,
        limit,
        LEASE,
        at,
    )
    await note(connection, brand_id, ((row["status"], row["id"]) for row in (*lost, *rows)), datetime.now(UTC))
    return sorted(rows, key=lambda row: (row["lane"], row["due_at"], row["id"]))


class Words(Protocol):
    """What an action says."""

    @property
    def text(self) -> str: ...
    @property
    def body(self) -> Mapping[str, Any]: ...


async def write_texts(connection: Connection, brand_id: int, said: Mapping[int, Words]) -> None:
    """Keep what actions say, by id."""
    if said:
        await connection.execute(
            "UPDATE action a SET text = t.text, body = a.body || t.body"
            " FROM unnest($2::bigint[], $3::text[], $4::jsonb[]) t (id, text, body)"
            " WHERE a.brand_id = $1 AND a.id = t.id",
            brand_id,
            list(said),
            [each.text for each in said.values()],
            [json.dumps(each.body, ensure_ascii=False) for each in said.values()],
        )


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
