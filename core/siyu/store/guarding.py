"""What the guard looks at, for a batch of users in a query each. A person's other users, since a merge, count too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from siyu.contract.events import MOMENT
from siyu.store.db import Connection, Lock, fetch

__all__ = [
    "REMEMBERED",
    "People",
    "addresses",
    "consents",
    "hold",
    "hours",
    "marks",
    "people",
    "seen",
    "touches",
    "usual_hours",
]

REMEMBERED = timedelta(days=90)
"""How far back it is known what reached a user."""
OPENED = ("message.opened", "message.clicked", "message.replied")
LEAST = 3
"""So many times somebody must have opened something before it is known when they do."""
TRACK, LEAST_ALIKE = "lifecycle", 20
"""Users of one stage of this track are alike, once they have opened something so many times together."""


@dataclass(frozen=True)
class People:
    """Users, each with all users that count as them: ``users[n]`` is one name of ``persons[n]``."""

    persons: Sequence[int]
    users: Sequence[int]


async def hold(connection: Connection, brand_id: int, *, urgent: bool) -> None:
    """Be the only one who lets actions of the brand pass, until the transaction ends."""
    if not urgent:
        # Of those who are in no hurry only one stands in line: who is waits for one batch at most.
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.GUARD_LINE, brand_id)
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.GUARD, brand_id)


async def people(connection: Connection, brand_id: int, users: Sequence[int]) -> People:
    """``users`` and who counts as one of them."""
    merged = await connection.fetch(
        "SELECT into_id, user_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY($2::bigint[])",
        brand_id,
        list(users),
    )
    return People(
        [*users, *(row["into_id"] for row in merged)],
        [*users, *(row["user_id"] for row in merged)],
    )


SEEN = {"user_id": pl.Int64(), "first_seen": MOMENT, "merged_into": pl.Int64()}


async def seen(connection: Connection, brand_id: int, users: Sequence[int]) -> pl.DataFrame:
    """Since when each of ``users`` is known, and as whom they count since a merge."""
    return await fetch(
        connection,
        "SELECT w.id, u.first_seen, m.into_id FROM unnest($2::bigint[]) w (id)"
        " LEFT JOIN users u ON u.brand_id = $1 AND u.id = w.id"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = w.id",
        brand_id,
        list(users),
        schema=SEEN,
    )


TOUCHES = {
    "user_id": pl.Int64(),
    "at": MOMENT,
    "channel": pl.String(),
    "purpose": pl.String(),
    "kind": pl.String(),
    "plugin": pl.String(),
    "playbook": pl.String(),
    "step": pl.String(),
}


async def touches(
    connection: Connection, brand_id: int, who: People, at: datetime, but: Sequence[int] = ()
) -> pl.DataFrame:
    """What reached them, all ``but`` some actions."""
    return await fetch(
        connection,
        # Of each by itself (OFFSET): while a campaign runs nobody knows how many were touched, and a join would look at
        # all of them for each batch.
        "SELECT w.person, a.* FROM unnest($2::bigint[], $3::bigint[]) w (person, user_id), LATERAL ("
        "   SELECT touched_at, channel, purpose, COALESCE(body->>'kind', 'text'), plugin, playbook, step FROM action"
        "   WHERE brand_id = $1 AND user_id = w.user_id AND touched_at > $4 AND NOT id = ANY($5::bigint[]) OFFSET 0) a",
        brand_id,
        who.persons,
        who.users,
        at - REMEMBERED,
        list(but),
        schema=TOUCHES,
    )


CONSENTS = {
    "user_id": pl.Int64(),
    "purpose": pl.String(),
    "channel": pl.String(),
    "given": pl.Boolean(),
    "at": MOMENT,
}


async def consents(connection: Connection, brand_id: int, who: People) -> pl.DataFrame:
    """What they said last."""
    return await fetch(
        connection,
        "SELECT w.person, c.purpose, c.channel, c.given, c.at FROM unnest($2::bigint[], $3::bigint[])"
        " w (person, user_id) JOIN consent c ON c.brand_id = $1 AND c.user_id = w.user_id",
        brand_id,
        who.persons,
        who.users,
        schema=CONSENTS,
    )


MARKS = {"user_id": pl.Int64(), "mark": pl.String()}


async def marks(connection: Connection, brand_id: int, users: Sequence[int], wanted: Collection[str]) -> pl.DataFrame:
    """Which of the tags and stages (``track:stage``) they have."""
    stages = [mark for mark in wanted if ":" in mark]
    tags = [mark for mark in wanted if ":" not in mark]
    return await fetch(
        connection,
        "SELECT s.user_id, s.track || ':' || s.stage FROM unnest($2::bigint[]) w (user_id) JOIN user_stage s"
        "   ON s.brand_id = $1 AND s.user_id = w.user_id AND s.track = ANY($3::text[])"
        " WHERE s.track || ':' || s.stage = ANY($4::text[])"
        " UNION ALL SELECT a.user_id, t.key FROM tag t JOIN unnest($2::bigint[]) w (user_id) ON true"
        "   JOIN tag_assignment a ON a.brand_id = $1 AND a.user_id = w.user_id AND a.tag_id = t.id"
        " WHERE t.brand_id = $1 AND t.key = ANY($5::text[])",
        brand_id,
        list(users),
        sorted({mark.partition(":")[0] for mark in stages}),
        stages,
        tags,
        schema=MARKS,
    )


ADDRESSES = {"user_id": pl.Int64(), "address": pl.String()}


async def addresses(connection: Connection, brand_id: int, who: People, kind: str) -> pl.DataFrame:
    """The name of a kind that each took last; not one at which messages came back for good, unless its user has said
    yes to messages since."""
    return await fetch(
        connection,
        "SELECT DISTINCT ON (w.person) w.person, i.value FROM unnest($2::bigint[], $3::bigint[]) w (person, user_id)"
        " JOIN identity i ON i.brand_id = $1 AND i.user_id = w.user_id AND i.kind = $4"
        " WHERE i.dead_since IS NULL OR EXISTS (SELECT FROM consent c WHERE c.brand_id = $1 AND c.user_id = w.user_id"
        "   AND c.given AND c.at > i.dead_since) ORDER BY w.person, i.id DESC",
        brand_id,
        who.persons,
        who.users,
        kind,
        schema=ADDRESSES,
    )


HOURS = {"user_id": pl.Int64(), "hour": pl.Int64()}


async def hours(connection: Connection, brand_id: int, who: People, at: datetime, zone: str) -> pl.DataFrame:
    """The hour of the day, in the zone, at which each opens most; nothing of those who hardly ever do."""
    return await fetch(
        connection,
        "SELECT w.person, mode() WITHIN GROUP (ORDER BY extract(hour FROM e.at AT TIME ZONE $5)::int)"
        " FROM unnest($2::bigint[], $3::bigint[]) w (person, user_id) JOIN event e ON e.brand_id = $1"
        "   AND e.user_id = w.user_id AND e.kind = ANY($6::text[]) AND e.at > $4 AND e.at <= $7"
        f" GROUP BY 1 HAVING count(*) >= {LEAST}",
        brand_id,
        who.persons,
        who.users,
        at - REMEMBERED,
        zone,
        list(OPENED),
        at,
        schema=HOURS,
    )


async def usual_hours(connection: Connection, brand_id: int, zone: str) -> tuple[int | None, dict[str, int]]:
    """The hour at which the brand's users open most, and by mark (``lifecycle:stage``) that of those of each stage: by
    the newest ten thousand that they opened."""
    rows = await connection.fetch(_USUAL, brand_id, zone, TRACK, LEAST_ALIKE)
    found = {row["stage"]: row["hour"] for row in rows if row["hour"] is not None}
    return found.pop(None, None), {f"{TRACK}:{stage}": hour for stage, hour in found.items()}


# Who is in no stage is of the brand alone.
_USUAL = """
SELECT stage, mode() WITHIN GROUP (ORDER BY extract(hour FROM e.at AT TIME ZONE $2)::int) AS hour
FROM (SELECT user_id, at FROM event WHERE brand_id = $1 AND kind = 'message.opened' ORDER BY id DESC LIMIT 10000) e
LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = e.user_id
LEFT JOIN user_stage s ON s.brand_id = $1 AND s.user_id = COALESCE(m.into_id, e.user_id) AND s.track = $3
GROUP BY GROUPING SETS ((stage), ())
HAVING grouping(stage) = 1 OR (stage IS NOT NULL AND count(*) >= $4)
"""
