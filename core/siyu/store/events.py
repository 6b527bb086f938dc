"""The event log in PostgreSQL: append, drop duplicates, resolve users, and say how far the log is closed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from siyu.contract.events import CONSENT_GIVEN, CONSENT_WITHDRAWN, MOMENT, PROFILE_UPDATED, Catalog, ColumnType
from siyu.store.consents import KEEP
from siyu.store.db import Connection, Lock, Rows, copy_out, give
from siyu.store.merges import LATEST

__all__ = [
    "EVENT_SCHEMA",
    "Appended",
    "Claimed",
    "append",
    "attach",
    "claim",
    "closed_up_to",
    "hold_identities",
    "log_of",
    "resolve",
    "rows_by_table",
    "users_since",
]

EVENT_SCHEMA = {
    "key": pl.String(),
    "kind": pl.String(),
    "at": MOMENT,
    "identity_kind": pl.String(),
    "identity": pl.String(),
    "payload": pl.String(),
}
"""What :func:`append` takes: ``payload`` is JSON text, ``identity`` the user's name of ``identity_kind``."""


FEW = 100
"""Up to so many events go in one statement."""


@dataclass(frozen=True)
class Appended:
    """What became of a batch: events that were new, those known already, and those that playbooks wait for."""

    new: int
    duplicate: int
    users: int
    occasions: int = 0


async def append(
    connection: Connection, brand_id: int, events: pl.DataFrame | Rows, *, mark_dirty: bool = True
) -> Appended:
    """Append events (:data:`EVENT_SCHEMA`) within the transaction of ``connection``.

    Users that are not known yet are made. Events whose key the brand has already are left out. The users touched are
    marked dirty, or (for bulk) the caller marks the whole brand as due for a refresh.
    """
    incoming, given = await give(connection, "incoming", _COLUMNS, events, first=2)
    await _join_writers(connection, brand_id)
    if len(events) > FEW:
        if not await connection.fetchval(f"{incoming} SELECT {_ALL_KNOWN}", brand_id, *given):
            await connection.execute(f"{incoming}, {_NEW_USERS}", brand_id, *given)
        await connection.execute(f"{incoming}, {_HOLD_USERS}", brand_id, *given)
        row = await connection.fetchrow(f"{incoming}, {_APPEND.format(marked=mark_dirty)}", brand_id, *given)
    else:
        row = await _append_few(connection, brand_id, incoming, given, mark_dirty)
    if row["profiles"]:
        await connection.execute(f"{incoming}, {_ATTRIBUTES}", brand_id, *given)
    if row["consents"]:
        await connection.execute(f"{incoming}, {KEEP}", brand_id, *given)
    return Appended(row["new"], len(events) - row["new"], row["users"], row["occasions"])


async def hold_identities(connection: Connection, brand_id: int) -> None:
    """Be the only one who gives names to users of the brand until the transaction ends.

    Of two who meet the same person by different names at once, each would otherwise make a user.
    """
    await _join_writers(connection, brand_id)
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.IDENTITIES, brand_id)


async def resolve(connection: Connection, brand_id: int, identities: pl.DataFrame) -> pl.DataFrame:
    """``identities`` (kind, value) with the ``user_id`` of those that are known, and whom that one counts as
    (``into_id``)."""
    return await copy_out(
        connection,
        "SELECT i.kind, i.value, i.user_id, COALESCE(m.into_id, i.user_id) FROM identity i"
        " JOIN unnest($2::text[], $3::text[]) AS w (kind, value) ON i.kind = w.kind AND i.value = w.value"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = i.user_id WHERE i.brand_id = $1",
        brand_id,
        identities.get_column("kind").to_list(),
        identities.get_column("value").to_list(),
        schema={"kind": pl.String(), "value": pl.String(), "user_id": pl.Int64(), "into_id": pl.Int64()},
    )


async def attach(connection: Connection, brand_id: int, identities: pl.DataFrame) -> None:
    """Give known users further ``identities`` (kind, value, user_id); names that are taken stay as they are."""
    await connection.execute(
        "INSERT INTO identity (brand_id, kind, value, user_id)"
        " SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[]) ON CONFLICT DO NOTHING",
        brand_id,
        *(identities.get_column(name).to_list() for name in ("kind", "value", "user_id")),
    )


async def names_of(connection: Connection, brand_id: int, users: Sequence[int]) -> dict[int, tuple[str, str]]:
    """A name of each of ``users``, the oldest: kind and value."""
    rows = await connection.fetch(
        "SELECT DISTINCT ON (i.user_id) i.user_id, i.kind, i.value FROM identity i JOIN unnest($2::bigint[]) u (id)"
        " ON u.id = i.user_id WHERE i.brand_id = $1 ORDER BY i.user_id, i.id",
        brand_id,
        list(users),
    )
    return {row["user_id"]: (row["kind"], row["value"]) for row in rows}


@dataclass(frozen=True)
class Claimed:
    """Users with marks, and whom each counts as (``into``); of the latter those who are to be decided ``quiet``-ly."""

    into: dict[int, int]
    quiet: frozenset[int]


async def claim(connection: Connection, brand_id: int, limit: int) -> Claimed:
    """The users of the oldest ``limit`` marks, sorted, whose marks go with the transaction."""
    # By the range of their ids, not by a join: the planner, who may last have seen the table when nobody waited, would
    # look through the marks once for each of them (seen: 10 s for 2,000 of 40,000).
    rows = await connection.fetch(
        "WITH gone AS (DELETE FROM dirty_user WHERE brand_id = $1 AND id <= (SELECT max(id) FROM"
        " (SELECT id FROM dirty_user WHERE brand_id = $1 ORDER BY id LIMIT $2) AS oldest) RETURNING user_id, quiet)"
        " SELECT g.user_id, COALESCE(m.into_id, g.user_id) AS into_id, bool_or(g.quiet) AS quiet FROM gone g"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = g.user_id GROUP BY 1, 2 ORDER BY 1",
        brand_id,
        limit,
    )
    return Claimed(
        {row["user_id"]: row["into_id"] for row in rows}, frozenset(row["into_id"] for row in rows if row["quiet"])
    )


async def log_of(
    connection: Connection, brand_id: int, users: Sequence[int], kinds: Iterable[str], most: int
) -> list[Any] | None:
    """The events of some users, and of those who count as them, as rows of the log: user_id, id, kind, at, payload.
    None if they have more than ``most``."""
    rows: list[Any] = await connection.fetch(_OF_USERS, brand_id, list(users), list(kinds), most + 1)
    return rows if len(rows) <= most else None


_OF_USERS = """
WITH mine AS MATERIALIZED (
    SELECT id AS user_id, id AS into_id FROM unnest($2::bigint[]) u (id)
    UNION ALL SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY($2::bigint[])
)
SELECT mine.into_id AS user_id, e.id, e.kind, e.at, e.payload::text
FROM mine JOIN event e ON e.brand_id = $1 AND e.user_id = mine.user_id WHERE e.kind = ANY($3::text[]) LIMIT $4
"""


def rows_by_table(catalog: Catalog, log: Iterable[Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the log as the rows of tables (:attr:`siyu.contract.events.Source.schema`), as the lake has them."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for user, number, kind, at, text in log:
        payload = json.loads(text) or {}
        fixed = {"user_id": user, "at": at, "event_id": number}
        if kind == PROFILE_UPDATED:
            # An update that gives nothing still is an event of the user.
            given = [{"name": name, "value": _read("text", value)} for name, value in payload.items()]
            tables.setdefault(kind, []).extend({**fixed, **each} for each in given or [{"name": None, "value": None}])
            continue
        for source in catalog.kinds[kind].sources:
            lines = (
                [payload]
                if source.lines is None
                else [line for line in payload.get(source.lines) or () if line is not None]
            )
            tables.setdefault(source.name, []).extend(
                {**fixed, **{each.name: _read(each.type, line.get(each.name)) for each in source.columns}}
                for line in lines
            )
    return tables


def _read(kind: ColumnType, value: Any) -> Any:
    """A value of a payload as its column holds it."""
    if value is None:
        return None
    match kind:
        case "text":
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        case "integer":
            return int(value)
        case "money":
            return round(value * 100)
        case "date":
            return date.fromisoformat(value)
        case "flag":
            return value


async def closed_up_to(connection: Connection, brand_id: int) -> tuple[int, int]:
    """The newest event id such that no smaller one can still appear, and the newest mark of a dirty user.

    Writers take ids before they commit, so "newest" alone would skip the ones still under way.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.EVENTS, brand_id)
        row = await connection.fetchrow(
            "SELECT (SELECT max(id) FROM event WHERE brand_id = $1) AS event,"
            " (SELECT max(id) FROM dirty_user WHERE brand_id = $1) AS mark",
            brand_id,
        )
    return row["event"] or 0, row["mark"] or 0


async def users_since(connection: Connection, brand_id: int, event_id: int) -> pl.DataFrame:
    """``user_id`` of the users with events after ``event_id``, and of whom they count as."""
    return await copy_out(
        connection,
        "WITH since AS MATERIALIZED (SELECT DISTINCT user_id FROM event WHERE brand_id = $1 AND id > $2)"
        " SELECT user_id FROM since UNION"
        " SELECT m.into_id FROM since JOIN merged_user m ON m.brand_id = $1 AND m.user_id = since.user_id",
        brand_id,
        event_id,
        schema={"user_id": pl.Int64()},
    )


async def _append_few(
    connection: Connection, brand_id: int, incoming: str, given: Sequence[Any], mark_dirty: bool
) -> Any:
    """What was appended, in one statement if all users are known."""
    append_known, append_all = (_APPEND_FEW.format(marked=mark_dirty, known=known) for known in (_ALL_KNOWN, "true"))
    row = await connection.fetchrow(f"{incoming}, {append_known}", brand_id, *given)
    if not row["known"]:
        await connection.execute(f"{incoming}, {_NEW_USERS}", brand_id, *given)
        row = await connection.fetchrow(f"{incoming}, {append_all}", brand_id, *given)
    return row


async def _join_writers(connection: Connection, brand_id: int) -> None:
    # Shared with other writers; whoever wants to know how far the log is closed waits for all of them.
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1, $2)", Lock.EVENTS, brand_id)


_COLUMNS = {name: "timestamptz" if dtype == MOMENT else "text" for name, dtype in EVENT_SCHEMA.items()}

_NEW_USERS = f"""
unknown AS MATERIALIZED (
    SELECT identity_kind AS kind, identity AS value, at, key FROM incoming e
    WHERE NOT EXISTS (
        SELECT FROM identity i WHERE i.brand_id = $1 AND i.kind = e.identity_kind AND i.value = e.identity)
), fresh AS MATERIALIZED (
    -- A known event makes nobody up, whomever it names this time. OFFSET has each looked up by itself; a join would
    -- read the whole log where its statistics are not there yet.
    SELECT kind, value, min(at) AS first, max(at) AS last FROM unknown
    WHERE NOT EXISTS (SELECT FROM event e WHERE e.brand_id = $1 AND e.key = unknown.key OFFSET 0)
    GROUP BY 1, 2
), held AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared({int(Lock.IDENTITIES)}, $1) WHERE EXISTS (SELECT FROM fresh)
), numbered AS MATERIALIZED (
    SELECT kind, value, nextval('users_id_seq') AS id
    FROM (SELECT fresh.* FROM fresh CROSS JOIN held ORDER BY first, kind, value) AS f
), named AS (
    -- Of two writers that meet the same new user at once, one makes it; the other waits here and finds it. All
    -- insert in one order, so that nobody waits in a circle.
    INSERT INTO identity (brand_id, kind, value, user_id)
    SELECT $1, kind, value, id FROM numbered ORDER BY kind, value
    ON CONFLICT DO NOTHING
    RETURNING kind, value, user_id
)
INSERT INTO users (brand_id, id, first_seen, last_seen)
SELECT $1, named.user_id, first, last FROM named JOIN fresh USING (kind, value)
"""

_ALL_KNOWN = """NOT EXISTS (SELECT FROM incoming e WHERE NOT EXISTS (
        SELECT FROM identity i WHERE i.brand_id = $1 AND i.kind = e.identity_kind AND i.value = e.identity))"""

# Those whom the names mean: of users who count as one, the one that stands for them.
_NAMED = """
touched AS (
    SELECT DISTINCT COALESCE(m.into_id, i.user_id) AS user_id FROM incoming e
    JOIN identity i ON i.brand_id = $1 AND i.kind = e.identity_kind AND i.value = e.identity
    LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = i.user_id {where}
)
"""

# All of them before anything is changed, and in one order: two batches that share users wait, and never for each other.
_HOLD_USERS = f"""
{_NAMED.format(where="")}
SELECT FROM users WHERE brand_id = $1 AND id IN (SELECT user_id FROM touched)
ORDER BY id FOR NO KEY UPDATE
"""

# What follows from the events that are ``fresh``.
_FOLLOWS = """
occasions AS (
    -- What playbooks wait for, where it is news; what is taken in as history sets nothing off.
    INSERT INTO occasion (brand_id, user_id, noun, key, ref, at)
    SELECT $1, f.user_id, 'event', f.kind, f.id, f.at FROM fresh f JOIN brand b ON b.id = $1
    WHERE {marked} AND b.listens->'event' ? f.kind AND f.at > COALESCE(b.replayed_to, now()) - interval '1 day'
    ORDER BY f.id RETURNING 1
), touched AS (
    SELECT COALESCE(m.into_id, f.user_id) AS user_id, min(at) AS first, max(at) AS last
    FROM fresh f LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = f.user_id GROUP BY 1
), seen AS (
    UPDATE users u SET first_seen = LEAST(first_seen, first), last_seen = GREATEST(last_seen, last)
    FROM touched t
    WHERE u.brand_id = $1 AND u.id = t.user_id AND (first < first_seen OR last > last_seen)
), marked AS (
    INSERT INTO dirty_user (brand_id, user_id) SELECT $1, user_id FROM touched WHERE {marked}
)
"""
_COUNTS = f"""
(SELECT count(*) FROM fresh) AS new, (SELECT count(*) FROM touched) AS users,
(SELECT count(*) FROM fresh WHERE kind = '{PROFILE_UPDATED}') AS profiles,
(SELECT count(*) FROM fresh WHERE kind IN ('{CONSENT_GIVEN}', '{CONSENT_WITHDRAWN}')) AS consents,
(SELECT count(*) FROM occasions) AS occasions
"""

_APPEND = f"""
fresh AS (
    INSERT INTO event (brand_id, key, user_id, kind, at, payload)
    SELECT $1, e.key, i.user_id, e.kind, e.at, e.payload::jsonb
    FROM incoming e
    JOIN identity i ON i.brand_id = $1 AND i.kind = e.identity_kind AND i.value = e.identity
    ORDER BY e.at, e.key
    ON CONFLICT (brand_id, key) DO NOTHING
    RETURNING id, user_id, kind, at
), {_FOLLOWS}
SELECT {_COUNTS}
"""

# The same with who is held, in one statement; of many, PostgreSQL would take all for few and go through them for each.
# Where a name is nobody's yet, nothing is done. Who is known stays known, whatever others do meanwhile.
_APPEND_FEW = f"""
known AS MATERIALIZED (
    SELECT {{known}} AS known
), named AS MATERIALIZED (
    SELECT e.key, e.kind, e.at, e.payload, i.user_id, COALESCE(m.into_id, i.user_id) AS into_id FROM incoming e
    JOIN identity i ON i.brand_id = $1 AND i.kind = e.identity_kind AND i.value = e.identity
    LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = i.user_id WHERE (SELECT known FROM known)
), held AS MATERIALIZED (
    SELECT FROM users WHERE brand_id = $1 AND id IN (SELECT into_id FROM named) ORDER BY id FOR NO KEY UPDATE
), fresh AS (
    INSERT INTO event (brand_id, key, user_id, kind, at, payload)
    SELECT $1, key, user_id, kind, at, payload::jsonb FROM named CROSS JOIN (SELECT count(*) FROM held) h
    ORDER BY at, key
    ON CONFLICT (brand_id, key) DO NOTHING
    RETURNING id, user_id, kind, at
), {_FOLLOWS}
SELECT (SELECT known FROM known), {_COUNTS}
"""

_ATTRIBUTES = f"""
{_NAMED.format(where=f"WHERE e.kind = '{PROFILE_UPDATED}'")}, {LATEST}
UPDATE users u SET attributes = COALESCE(p.attributes, '{{}}')
FROM profile p WHERE u.brand_id = $1 AND u.id = p.user_id
"""
