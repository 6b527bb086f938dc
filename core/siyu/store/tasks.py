"""What people are to do: made once an action, changed by one person at a time, escalated where nobody did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from siyu.store.changes import note
from siyu.store.db import Connection
from siyu.store.keyset import Order, Where

__all__ = ["ORDER", "done", "escalate", "escalate_now", "give_back", "make", "page", "take"]

ORDER = Order((("deadline", datetime), ("id", int)))
"""Those that are overdue come first."""
TAKEN, DONE, ESCALATED = "'taken'", "'done'", "'escalated'"
_FREE = "status IN ('open', 'escalated')"


def _log(status: str, words: str = "$5::text") -> str:
    return f"log = log || jsonb_build_array(jsonb_build_array($4::timestamptz, {status}, $3::text, {words}))"


async def make(connection: Connection, brand_id: int, tasks: Sequence[tuple[Any, ...]]) -> None:
    """Make tasks (action, user, role, title, text, deadline, escalate to, moment); an action's is made once."""
    rows = await connection.fetch(
        "INSERT INTO task (brand_id, action_id, user_id, role, title, text, deadline, escalate_to, made_at, log)"
        " SELECT $1, t.*, jsonb_build_array(jsonb_build_array(t.at, 'open', '', '')) FROM unnest($2::bigint[],"
        "   $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[], $9::timestamptz[])"
        "   t (action_id, user_id, role, title, text, deadline, escalate_to, at)"
        " ON CONFLICT (brand_id, action_id) DO NOTHING RETURNING id",
        brand_id,
        *(list(column) for column in zip(*tasks, strict=True)),
    )
    await note(connection, brand_id, {"open": [row["id"] for row in rows]}, datetime.now(UTC), noun="task")


async def page(connection: Connection, where: Where, limit: int) -> list[Any]:
    """The first ``limit`` tasks (``t``) that are so, in :data:`ORDER`."""
    rows: list[Any] = await connection.fetch(
        f"SELECT t.* FROM task t WHERE {where.sql} ORDER BY {ORDER.sql} LIMIT ${len(where.values) + 1}",
        *where.values,
        limit,
    )
    return rows


async def take(connection: Connection, brand_id: int, task_id: int, by: str, at: datetime) -> Any:
    """Give a task that nobody has to ``by``; its row, or None where somebody has it or it is done."""
    return await connection.fetchrow(
        f"UPDATE task SET status = 'taken', assignee = $3::text, taken_at = $4, {_log(TAKEN)}"
        f" WHERE brand_id = $1 AND id = $2 AND {_FREE} RETURNING *",
        *(brand_id, task_id, by, at, ""),
    )


async def give_back(connection: Connection, brand_id: int, task_id: int, by: str, at: datetime, why: str) -> Any:
    """Let a task that somebody has be anybody's again; its row, or None where nobody has it."""
    status = "CASE WHEN escalated_at IS NULL THEN 'open' ELSE 'escalated' END"
    return await connection.fetchrow(
        f"UPDATE task SET status = {status}, assignee = '', taken_at = NULL, {_log(status)}"
        " WHERE brand_id = $1 AND id = $2 AND status = 'taken' RETURNING *",
        *(brand_id, task_id, by, at, why),
    )


async def done(connection: Connection, brand_id: int, task_id: int, by: str, at: datetime, outcome: str) -> Any:
    """Note that ``by`` has done a task of theirs, or one that nobody had; its row, or None."""
    return await connection.fetchrow(
        f"UPDATE task SET status = 'done', assignee = $3::text, done_at = $4, outcome = $5, {_log(DONE)}"
        f" WHERE brand_id = $1 AND id = $2 AND ({_FREE} OR (status = 'taken' AND assignee = $3::text)) RETURNING *",
        *(brand_id, task_id, by, at, outcome),
    )


async def escalate_now(connection: Connection, brand_id: int, task_id: int, by: str, at: datetime, why: str) -> Any:
    """Give a task of ``by``, or one that nobody has, to whom it escalates to; its row, or None where it does not, or
    has done so already."""
    words = "concat_ws(': ', format('%s → %s', role, escalate_to), NULLIF($5::text, ''))"
    return await connection.fetchrow(
        "UPDATE task SET status = 'escalated', role = escalate_to, assignee = '', taken_at = NULL, escalated_at = $4,"
        f" {_log(ESCALATED, words)} WHERE brand_id = $1 AND id = $2 AND status IN ('open', 'taken')"
        " AND escalate_to <> '' AND escalated_at IS NULL AND assignee IN ('', $3::text) RETURNING *",
        *(brand_id, task_id, by, at, why),
    )


async def escalate(connection: Connection, limit: int) -> list[Any]:
    """Give up to ``limit`` tasks of all brands whose deadline has passed to whom they escalate to, once each; returns
    ``brand_id`` and ``id`` of them."""
    rows: list[Any] = await connection.fetch(
        "WITH late AS MATERIALIZED (SELECT t.brand_id, t.id, COALESCE(b.replayed_to, now()) AS at"
        "   FROM task t JOIN brand b ON b.id = t.brand_id"
        "   WHERE t.status IN ('open', 'taken') AND t.escalated_at IS NULL AND t.escalate_to <> ''"
        "   AND t.deadline < COALESCE(b.replayed_to, now()) ORDER BY t.brand_id, t.id LIMIT $1"
        "   FOR UPDATE OF t SKIP LOCKED)"
        " UPDATE task t SET status = 'escalated', role = t.escalate_to, assignee = '', taken_at = NULL,"
        "   escalated_at = late.at, log = t.log || jsonb_build_array(jsonb_build_array(late.at, 'escalated', '',"
        "   format('%s: %s → %s', COALESCE(NULLIF(t.assignee, ''), '-'), t.role, t.escalate_to)))"
        " FROM late WHERE t.brand_id = late.brand_id AND t.id = late.id RETURNING t.brand_id, t.id",
        limit,
    )
    for brand in sorted({row["brand_id"] for row in rows}):
        mine = [row["id"] for row in rows if row["brand_id"] == brand]
        await note(connection, brand, {"escalated": mine}, datetime.now(UTC), noun="task")
    return rows
