"""The ledger of actions: plan, lease, and note what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

import polars as pl

from siyu.contract.events import MOMENT
from siyu.contract.playbooks import BENEFITS
from siyu.store.changes import note
from siyu.store.channels import add_used
from siyu.store.db import Connection, fetch, give

__all__ = [
    "CLAIMED",
    "JUDGED",
    "LEASE",
    "ORDINARY",
    "PLANNED",
    "SETTLED",
    "URGENT",
    "Mark",
    "bury",
    "claim",
    "hear",
    "named",
    "plan_actions",
    "put_in_outbox",
    "settle",
    "unclear",
    "waiting_channels",
    "write_judged",
]

LEASE = timedelta(seconds=120)
"""Half of it to hand a message over, half for the channel to deliver it."""
URGENT = 0
"""The lane of what overtakes all else."""
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
    "version_id": "bigint",
    "step": "text",
    "lane": "smallint",
    "body": "jsonb",
}
_UNSAID = {
    "text": "",
    "body": "{}",
    "rulebook_id": None,
    "enrolment_id": None,
    "version_id": None,
    "step": "",
    "lane": ORDINARY,
}


async def plan_actions(
    connection: Connection,
    brand_id: int,
    rows: pl.DataFrame,
    *,
    at: datetime,
    asked_by: str = "",
) -> int:
    """Plan an action a row (:data:`PLANNED`), once for each key; returns how many are new.

    What those of a playbook say is written when they leave.
    """
    rows = rows.with_columns(pl.lit(value).alias(name) for name, value in _UNSAID.items() if name not in rows.columns)
    # User by user, so that two who plan do not wait for each other; to each in the order given, in which they leave.
    rows = rows.sort("user_id", maintain_order=True)
    planned, given = await give(connection, "planned", PLANNED, rows, first=4)
    made = await connection.fetchval(
        f"{planned}, made AS (INSERT INTO action"
        f" (brand_id, {', '.join(PLANNED)}, asked_by, planned_at, due_at, log)"
        " SELECT $1, p.*, $3, $2, $2, jsonb_build_array(jsonb_build_array($2::timestamptz, 'planned', '', ''))"
        " FROM planned p ON CONFLICT (brand_id, key) DO NOTHING RETURNING id)"
        " SELECT array_agg(id) FROM made",
        brand_id,
        at,
        asked_by,
        *given,
    )
    await note(connection, brand_id, {"planned": made or []}, at)
    return len(made or [])


async def waiting_channels(connection: Connection, brand_id: int, at: datetime, urgent: bool | None) -> list[str]:
    """The channels on which something is due: of the ``urgent`` actions, of the others, or (None) of all."""
    rows = await connection.fetch(_CHANNELS.format(lanes=_LANES[urgent]), brand_id, at)
    return [row["channel"] for row in rows]


_LANES = {None: "lane >= 0", True: "lane = 0", False: "lane > 0"}
# From one channel to the next, however many actions wait on each.
_CHANNELS = """
WITH RECURSIVE there (channel) AS (
    SELECT min(channel) FROM action WHERE brand_id = $1 AND status IN ('planned', 'held', 'leased')
    UNION ALL
    SELECT (SELECT min(channel) FROM action
        WHERE brand_id = $1 AND status IN ('planned', 'held', 'leased') AND channel > there.channel)
    FROM there WHERE channel IS NOT NULL
)
SELECT channel FROM there WHERE EXISTS (
    SELECT FROM action a WHERE brand_id = $1 AND a.channel = there.channel AND {lanes} AND due_at <= $2
        AND status IN ('planned', 'held', 'leased') AND (status <> 'leased' OR leased_until < now())
)
"""


async def claim(
    connection: Connection,
    brand_id: int,
    channel: str,
    at: datetime,
    limit: int,
    urgent: bool | None,
    after: Mark | None = None,
) -> pl.DataFrame:
    """Up to ``limit`` actions (:data:`CLAIMED`) that are due on a channel, in the order in which they are to leave: the
    ``urgent`` ones, the others, or (None) all. Nobody else takes them until the transaction ends.

    What a playbook says waits for what it gives, whose code it may tell. Those that are ``leased`` were handed over by
    somebody who has not been heard of since. With ``after`` only what follows that one: the index still has those that
    left a moment ago, and each claim would look at all of them.
    """
    later = "AND (lane, due_at, id) > ($5, $6, $7)" if after else ""
    query = _CLAIM.format(lanes=_LANES[urgent], after=later, benefits=BENEFITS)
    return await fetch(connection, query, brand_id, channel, at, limit, *(after or ()), schema=CLAIMED)


Mark: TypeAlias = tuple[int, datetime, int]
"""A place in the order in which actions leave: lane, due_at, id."""


CLAIMED = {
    "id": pl.Int64(),
    "key": pl.String(),
    "user_id": pl.Int64(),
    "plugin": pl.String(),
    "playbook": pl.String(),
    "step": pl.String(),
    "purpose": pl.String(),
    "lane": pl.Int64(),
    "status": pl.String(),
    "planned_at": MOMENT,
    "due_at": MOMENT,
    "attempts": pl.Int64(),
    "version_id": pl.Int64(),
    "text": pl.String(),
    "body": pl.String(),
    "first_seen": MOMENT,
    "merged_into": pl.Int64(),
}
_CLAIM = """
SELECT a.id, a.key, a.user_id, a.plugin, a.playbook, a.step, a.purpose, a.lane, a.status, a.planned_at, a.due_at,
    a.attempts, a.version_id, a.text, a.body::text, u.first_seen, m.into_id
FROM (
    SELECT * FROM action WHERE brand_id = $1 AND channel = $2 AND {lanes} AND due_at <= $3 {after}
        AND status IN ('planned', 'held', 'leased') AND (status <> 'leased' OR leased_until < now())
        AND (channel = '{benefits}' OR enrolment_id IS NULL OR enrolment_id NOT IN (
            SELECT enrolment_id FROM action WHERE brand_id = $1 AND channel = '{benefits}' AND enrolment_id IS NOT NULL
                AND status IN ('planned', 'held', 'leased')
        ))
    ORDER BY lane, due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
) a
LEFT JOIN users u ON u.brand_id = $1 AND u.id = a.user_id
LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = a.user_id
ORDER BY a.lane, a.due_at, a.id
"""

JUDGED = {
    "id": "bigint",
    "status": "text",
    "reason": "text",
    "detail": "text",
    "due_at": "timestamptz",
    "text": "text",
    "body": "text",
}


async def write_judged(
    connection: Connection, brand_id: int, rows: pl.DataFrame, *, at: datetime, touches: bool
) -> None:
    """Write what became of claimed actions (:data:`JUDGED`): leased for :data:`LEASE`, held until ``due_at``,
    suppressed, failed or unknown. What is leased counts as having reached its user if it ``touches`` them, so that
    nobody is sent more than they are to get."""
    judged, given = await give(connection, "judged", JUDGED, rows, first=5)
    await connection.execute(
        f"{judged} UPDATE action a SET status = j.status, reason = j.reason, detail = j.detail,"
        " due_at = COALESCE(j.due_at, a.due_at), text = COALESCE(j.text, a.text),"
        " body = COALESCE(a.body || j.body::jsonb, a.body), attempts = a.attempts + (j.status = 'leased')::int,"
        " leased_until = CASE WHEN j.status = 'leased' THEN clock_timestamp() + $3 END,"
        " touched_at = CASE WHEN j.status = 'leased' THEN CASE WHEN $4 THEN $2::timestamptz END"
        "   WHEN a.status = 'leased' THEN a.touched_at END,"
        " done_at = CASE WHEN j.status IN ('suppressed', 'failed', 'unknown') THEN now() END,"
        f" log = a.log || {_ENTRY.format('j', '$2')} FROM judged j WHERE a.brand_id = $1 AND a.id = j.id",
        brand_id,
        at,
        LEASE,
        touches,
        *given,
    )
    await note(connection, brand_id, dict(rows.group_by("status", maintain_order=True).agg("id").iter_rows()), at)


_ENTRY = "jsonb_build_array(jsonb_build_array({1}::timestamptz, {0}.status, {0}.reason, {0}.detail))"

SETTLED = {
    "id": "bigint",
    "attempt": "int",
    "status": "text",
    "reason": "text",
    "detail": "text",
    "due_at": "timestamptz",
}


async def settle(
    connection: Connection, brand_id: int, channel: str, rows: pl.DataFrame, *, at: datetime, day: date
) -> dict[str, int]:
    """Note what became of leased actions of a channel (:data:`SETTLED`); returns how many are in each status. Those
    that it did not take are not counted as used on the ``day``.

    ``planned`` were not handed over after all. That something was sent, or failed, is believed also of what nobody knew
    of; all else only of whom the lease is.
    """
    rows = rows.sort("id")
    settled, given = await give(connection, "settled", SETTLED, rows, first=3)
    done = await connection.fetch(
        f"{settled}, done AS (UPDATE action a SET status = o.status, reason = o.reason, detail = o.detail,"
        " due_at = COALESCE(o.due_at, a.due_at), attempts = a.attempts - (o.status = 'planned')::int,"
        " leased_until = NULL, touched_at = CASE WHEN o.status IN ('sent', 'unknown') THEN a.touched_at END,"
        " done_at = CASE WHEN o.status IN ('sent', 'failed', 'unknown') THEN now() END,"
        f" log = a.log || {_ENTRY.format('o', '$2')} FROM settled o WHERE a.brand_id = $1 AND a.id = o.id"
        " AND a.status IN ('leased', 'unknown') AND (o.status IN ('sent', 'failed')"
        "   OR (a.status = 'leased' AND a.attempts = o.attempt)) RETURNING a.status, a.id)"
        " SELECT status, array_agg(id) FROM done GROUP BY status",
        brand_id,
        at,
        *given,
    )
    by_status: dict[str, list[int]] = dict(done)
    back = sum(len(by_status.get(each, ())) for each in ("failed", "held", "planned"))
    # Before the lock that the note takes, as whoever leases does.
    await add_used(connection, brand_id, channel, day, -back)
    await note(connection, brand_id, by_status, at)
    return {status: len(ids) for status, ids in by_status.items()}


async def unclear(connection: Connection, brand_id: int, numbers: Sequence[int]) -> pl.DataFrame:
    """Those of these actions of which nobody knows what became of them: id, attempt, channel, due_at (none) and when
    each was handed_at. They stay so until the transaction ends."""
    return await fetch(
        connection,
        "SELECT id, attempts AS attempt, channel, NULL::timestamptz AS due_at,"
        " COALESCE(touched_at, done_at) AS handed_at FROM action"
        " WHERE brand_id = $1 AND id = ANY($2::bigint[]) AND status = 'unknown' ORDER BY id FOR UPDATE",
        brand_id,
        list(numbers),
        schema={"id": pl.Int64(), "attempt": pl.Int64(), "channel": pl.String(), "due_at": MOMENT, "handed_at": MOMENT},
    )


async def named(connection: Connection, brand_id: int, keys: Sequence[str]) -> dict[str, Any]:
    """The actions of those keys, with a name (``kind``, ``value``) of whom each is for."""
    rows = await connection.fetch(
        "SELECT a.id, a.key, a.channel, a.plugin, a.playbook, a.step, a.purpose, i.kind, i.value FROM action a"
        " JOIN LATERAL (SELECT kind, value FROM identity i WHERE i.brand_id = $1 AND i.user_id = a.user_id"
        "   ORDER BY id LIMIT 1) i ON true WHERE a.brand_id = $1 AND a.key = ANY($2::text[])",
        brand_id,
        list(keys),
    )
    return {row["key"]: row for row in rows}


async def bury(connection: Connection, brand_id: int, reports: Sequence[tuple[str, str, datetime]]) -> None:
    """Note addresses that take no messages any more: key of the action, address, since when. Only those of the person
    whom the action was for."""
    if not reports:
        return
    await connection.execute(
        "UPDATE identity i SET dead_since = o.at"
        " FROM unnest($2::text[], $3::text[], $4::timestamptz[]) o (key, dead, at)"
        " JOIN action a ON a.brand_id = $1 AND a.key = o.key"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = a.user_id"
        " WHERE i.brand_id = $1 AND lower(i.value) = lower(o.dead) AND i.user_id IN (SELECT a.user_id UNION ALL"
        "   SELECT m.into_id UNION ALL SELECT n.user_id FROM merged_user n WHERE n.brand_id = $1"
        "     AND n.into_id = COALESCE(m.into_id, a.user_id))",
        brand_id,
        *(list(column) for column in zip(*reports, strict=True)),
    )


async def hear(connection: Connection, brand_id: int, reports: Sequence[tuple[str, str, datetime, str]]) -> None:
    """Note what was heard of messages later: key, what, at, detail.

    An action goes on from sent to delivered, opened, clicked and replied, and never back; one that bounced has failed.
    """
    known = await connection.fetch(
        "SELECT id, key, status FROM action WHERE brand_id = $1 AND key = ANY($2::text[]) ORDER BY id FOR UPDATE",
        brand_id,
        [key for key, *_ in reports],
    )
    stands = {row["key"]: (row["id"], row["status"]) for row in known}
    moved: list[tuple[int, str, str, str, datetime]] = []
    for key, what, moment, detail in reports:
        if key not in stands:
            continue
        number, status = stands[key]
        after = "failed" if what == "bounced" else what
        if status in _FOLLOWS[after]:
            moved.append((number, after, "bounced" if what == "bounced" else "", detail, moment))
            stands[key] = (number, after)
    for rows in _once_each(moved):
        await connection.execute(
            "UPDATE action a SET status = o.status, reason = o.reason, detail = o.detail, leased_until = NULL,"
            " done_at = now(), touched_at = CASE WHEN o.status <> 'failed' THEN a.touched_at END,"
            f" log = a.log || {_ENTRY.format('o', 'o.at')}"
            " FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])"
            "   o (id, status, reason, detail, at) WHERE a.brand_id = $1 AND a.id = o.id",
            brand_id,
            *(list(column) for column in zip(*rows, strict=True)),
        )
    by_status: dict[str, list[int]] = {}
    for number, status, *_ in moved:
        by_status.setdefault(status, []).append(number)
    await note(connection, brand_id, by_status, datetime.now(UTC))


_AFTER_SENT = ("delivered", "opened", "clicked", "replied")
_HANDED = ("leased", "unknown", "sent")
_FOLLOWS = {
    **{after: (*_HANDED, *_AFTER_SENT[:place]) for place, after in enumerate(_AFTER_SENT)},
    "failed": (*_HANDED, "delivered"),
}


def _once_each(moved: list[tuple[int, str, str, str, datetime]]) -> Iterator[list[tuple[int, str, str, str, datetime]]]:
    """In rounds in which each action comes but once: a statement changes a row only once."""
    while moved:
        seen: dict[int, tuple[int, str, str, str, datetime]] = {}
        rest = []
        for row in moved:
            if row[0] in seen:
                rest.append(row)
            else:
                seen[row[0]] = row
        yield list(seen.values())
        moved = rest


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
