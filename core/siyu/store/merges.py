"""Users who have turned out to be one person.

Nothing is moved. Events and names stay with the user that they came to; a merge ties two users together, and of all who
are tied the one who was known first stands for the person. Who counts as whom follows from the merges that stand and is
kept in ``merged_user``, a row for each user who counts as another; every reader applies it. So a merge can be taken
back at any time and in any order, with what has come since for either.

Merges are made and undone while nobody records events (:func:`alone`): writers may rely on them to the end of their
transactions. What merged users still hold is ended when they are decided next (:func:`retire`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from siyu.store.changes import NOTE
from siyu.store.db import Connection, Lock, copy_out

__all__ = [
    "alone",
    "apart",
    "counted",
    "differing",
    "mapping",
    "members",
    "merge",
    "parts",
    "persons",
    "retire",
    "unmerge",
    "waiting",
]

SCHEMA = {"user_id": pl.Int64(), "into_id": pl.Int64()}


async def alone(connection: Connection, brand_id: int) -> None:
    """Be the only one who records events or merges users of the brand until the transaction ends.

    To be asked for before anything else that writers of events hold.
    """
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.EVENTS, brand_id)


async def mapping(connection: Connection, brand_id: int) -> pl.DataFrame:
    """The users of the brand who count as others: user_id, into_id."""
    return await copy_out(
        connection, "SELECT user_id, into_id FROM merged_user WHERE brand_id = $1", brand_id, schema=SCHEMA
    )


def counted(frame: pl.LazyFrame, merged: pl.DataFrame) -> pl.LazyFrame:
    """``frame`` with every ``user_id`` as the user that they count as."""
    return pl.concat(apart(frame, merged)) if len(merged) else frame


def apart(frame: pl.LazyFrame, merged: pl.DataFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """The rows of those who count as themselves, in the order in which they were, and those of others, as the users
    that they count as."""
    theirs = pl.col("user_id").is_in(merged.get_column("user_id").implode())
    into = pl.col("user_id").replace(merged.get_column("user_id"), merged.get_column("into_id"))
    return frame.filter(~theirs), frame.filter(theirs).with_columns(into)


def differing(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """``user_id`` of all whom a difference of two mappings concerns."""
    changed = pl.concat([one, other]).group_by("user_id", "into_id").len().filter(pl.col("len") == 1)
    return pl.concat([changed.select("user_id"), changed.select(user_id="into_id")]).unique()


async def persons(connection: Connection, brand_id: int, users: Sequence[int]) -> dict[int, int]:
    """Whom each of ``users`` counts as; themselves, most often."""
    rows = await connection.fetch(
        "SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND user_id = ANY($2::bigint[])", brand_id, users
    )
    return {**{user: user for user in users}, **{row["user_id"]: row["into_id"] for row in rows}}


async def members(connection: Connection, brand_id: int, users: Sequence[int]) -> pl.DataFrame:
    """Those who count as one of ``users``: user_id, into_id."""
    rows = await connection.fetch(
        "SELECT user_id, into_id FROM merged_user WHERE brand_id = $1 AND into_id = ANY($2::bigint[])", brand_id, users
    )
    return pl.DataFrame([tuple(row) for row in rows], schema=SCHEMA, orient="row")


async def merge(
    connection: Connection,
    brand_id: int,
    one: int,
    other: int,
    *,
    by: str,
    reason: str = "",
    names: Sequence[tuple[str, str]] = (),
) -> int:
    """Tie two users who do not count as one yet together, and mark them dirty; returns the number of the merge."""
    merge_id = await connection.fetchval(
        "INSERT INTO user_merge (brand_id, user_id, other_id, at, by, reason, names)"
        " VALUES ($1, $2, $3, now(), $4, $5, $6::jsonb) RETURNING id",
        brand_id,
        one,
        other,
        by,
        reason,
        json.dumps(names, ensure_ascii=False),
    )
    whom = await persons(connection, brand_id, [one, other])
    first, second = sorted((whom[one], whom[other]))
    await connection.execute(
        "UPDATE merged_user SET into_id = $2 WHERE brand_id = $1 AND into_id = $3", brand_id, first, second
    )
    await connection.execute(
        "INSERT INTO merged_user (brand_id, user_id, into_id, merge_id) VALUES ($1, $3, $2, $4)",
        brand_id,
        first,
        second,
        merge_id,
    )
    await _recount(connection, brand_id, [first])
    await _mark(connection, brand_id, [first, second])
    return int(merge_id)


async def unmerge(connection: Connection, brand_id: int, one: int, other: int) -> tuple[int, int]:
    """Part two users whom a merge tied together that stands no longer, give back what it ended, and mark them dirty.

    Returns whom each counts as now. The caller holds the brand's decisions, too.
    """
    [whole] = set((await persons(connection, brand_id, [one, other])).values())
    everybody = [whole, *(await members(connection, brand_id, [whole])).get_column("user_id")]
    ties = await connection.fetch(
        "SELECT user_id, other_id FROM user_merge"
        " WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND undone_at IS NULL",
        brand_id,
        everybody,
    )
    both = [sorted(parts(everybody, ties, user)) for user in (one, other)]
    parted = next(part for part in both if part[0] != whole)
    await connection.execute(
        "UPDATE merged_user SET into_id = $3 WHERE brand_id = $1 AND user_id = ANY($2::bigint[])",
        brand_id,
        parted,
        parted[0],
    )
    await connection.execute("DELETE FROM merged_user WHERE brand_id = $1 AND user_id = $2", brand_id, parted[0])
    await connection.execute(_GIVE_BACK_TAGS, brand_id, parted[0])
    await connection.execute(_GIVE_BACK_STAGES, brand_id, parted[0])
    await _recount(connection, brand_id, [whole, parted[0]])
    await _mark(connection, brand_id, [whole, parted[0]])
    return both[0][0], both[1][0]


def parts(users: Iterable[int], ties: Iterable[Mapping[str, Any]], user: int) -> set[int]:
    """Those of ``users`` whom ``ties`` (user_id, other_id) connect with ``user``, with that one."""
    near: dict[int, set[int]] = {each: set() for each in users}
    for tie in ties:
        near[tie["user_id"]].add(tie["other_id"])
        near[tie["other_id"]].add(tie["user_id"])
    found, waiting = {user}, [user]
    while waiting:
        waiting += (more := near[waiting.pop()] - found)
        found |= more
    return found


async def retire(connection: Connection, brand_id: int, users: Sequence[int], *, at: datetime) -> None:
    """End the tags and stages that those of ``users`` still hold who count as others, under the brand's decision lock.

    The actions that are planned for them stay: whoever carries them out reaches the same person.
    """
    for statement in (_RETIRE_TAGS, _RETIRE_STAGES):
        await connection.execute(statement, brand_id, at, users)


async def waiting(connection: Connection, brand_id: int) -> dict[int, int]:
    """The users who were merged or parted and not decided since, and whom each counts as."""
    rows = await connection.fetch(
        "SELECT DISTINCT d.user_id, COALESCE(m.into_id, d.user_id) AS into_id FROM dirty_user d"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = d.user_id WHERE d.brand_id = $1 AND d.quiet",
        brand_id,
    )
    return {row["user_id"]: row["into_id"] for row in rows}


async def _mark(connection: Connection, brand_id: int, users: Sequence[int]) -> None:
    await connection.execute(
        "INSERT INTO dirty_user (brand_id, user_id, quiet) SELECT $1, unnest($2::bigint[]), true", brand_id, users
    )


async def _recount(connection: Connection, brand_id: int, users: Sequence[int]) -> None:
    """Bring what the table of users says of persons up to date."""
    await connection.execute(_RECOUNT, brand_id, users)


# Whoever counts as ``t.user_id``, that one included; one index entry each, in a table that is empty for most brands.
MEMBERS = """
(SELECT t.user_id AS id UNION ALL SELECT m.user_id FROM merged_user m WHERE m.brand_id = $1 AND m.into_id = t.user_id)
"""

# The same rule as the engine's: the latest value wins, of two of one moment the greater.
LATEST = f"""
latest AS (
    SELECT DISTINCT ON (t.user_id, a.key) t.user_id, a.key, a.value
    FROM touched t
    CROSS JOIN LATERAL {MEMBERS} o
    JOIN event e ON e.brand_id = $1 AND e.user_id = o.id AND e.kind = 'profile.updated'
    CROSS JOIN LATERAL jsonb_each_text(e.payload) a
    ORDER BY t.user_id, a.key, e.at DESC, a.value COLLATE "C" DESC NULLS LAST
), profile AS (
    SELECT user_id, jsonb_object_agg(key, value) FILTER (WHERE value IS NOT NULL) AS attributes
    FROM latest GROUP BY user_id
)
"""

_RECOUNT = f"""
WITH touched AS (SELECT unnest($2::bigint[]) AS user_id), seen AS (
    SELECT t.user_id, min(e.at) AS first, max(e.at) AS last
    FROM touched t CROSS JOIN LATERAL {MEMBERS} o JOIN event e ON e.brand_id = $1 AND e.user_id = o.id GROUP BY 1
), {LATEST}
UPDATE users u SET first_seen = s.first, last_seen = s.last, attributes = COALESCE(p.attributes, '{{}}')
FROM seen s LEFT JOIN profile p USING (user_id) WHERE u.brand_id = $1 AND u.id = s.user_id
"""

_NO_TAGS = """
    SELECT user_id, NULL::text, t.key, NULL::text FROM lost JOIN tag t ON t.brand_id = $1 AND t.id = lost.tag_id"""
_NO_STAGES = "SELECT user_id, track, stage, NULL::text FROM lost"
_TAGS_AGAIN = "SELECT $2, NULL::text, NULL::text, t.key FROM held JOIN tag t ON t.brand_id = $1 AND t.id = held.tag_id"
_STAGES_AGAIN = "SELECT $2, track, NULL::text, stage FROM held"

_RETIRE_TAGS = f"""
WITH lost AS (
    DELETE FROM tag_assignment a USING merged_user m
    WHERE a.brand_id = $1 AND m.brand_id = $1 AND a.user_id = m.user_id AND m.user_id = ANY($3::bigint[])
    RETURNING a.*, m.merge_id
), closed AS (
    INSERT INTO tag_history
        (brand_id, user_id, tag_id, since, until, held_id, rulebook_id, why, ended_rulebook_id, ended_why, merge_id)
    SELECT $1, user_id, tag_id, since, $2, id, rulebook_id, why, rulebook_id, why, merge_id FROM lost
), noted AS (
    INSERT INTO decided_user (brand_id, user_id) SELECT DISTINCT $1, user_id FROM lost
), told AS (
    {NOTE.format(noun="tag", at="$2", rows=_NO_TAGS)}
)
UPDATE tag t SET users = users - n FROM (SELECT tag_id, count(*) AS n FROM lost GROUP BY 1) d
WHERE t.brand_id = $1 AND t.id = d.tag_id
"""

_RETIRE_STAGES = f"""
WITH lost AS (
    DELETE FROM user_stage s USING merged_user m
    WHERE s.brand_id = $1 AND m.brand_id = $1 AND s.user_id = m.user_id AND m.user_id = ANY($3::bigint[])
    RETURNING s.*, m.merge_id
), closed AS (
    INSERT INTO stage_history (brand_id, user_id, track, stage, since, until, held_id, rulebook_id, why, merge_id)
    SELECT $1, user_id, track, stage, since, $2, id, rulebook_id, why, merge_id FROM lost
), noted AS (
    INSERT INTO decided_user (brand_id, user_id) SELECT DISTINCT $1, user_id FROM lost
), told AS (
    {NOTE.format(noun="stage", at="$2", rows=_NO_STAGES)}
)
UPDATE stage t SET users = users - n FROM (SELECT track, stage, count(*) AS n FROM lost GROUP BY 1, 2) d
WHERE t.brand_id = $1 AND t.track = d.track AND t.key = d.stage
"""

# A refresh that was under way may have written decisions of a user that had just been merged; the later ones count.
_GIVE_BACK_TAGS = f"""
WITH back AS (
    DELETE FROM tag_history WHERE brand_id = $1 AND user_id = $2 AND merge_id IS NOT NULL RETURNING *
), held AS (
    INSERT INTO tag_assignment (id, brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT DISTINCT ON (tag_id) held_id, $1, $2, tag_id, since, rulebook_id, why FROM back ORDER BY tag_id, id DESC
    ON CONFLICT DO NOTHING
    RETURNING tag_id
), noted AS (
    INSERT INTO decided_user (brand_id, user_id) VALUES ($1, $2)
), told AS (
    {NOTE.format(noun="tag", at="now()", rows=_TAGS_AGAIN)}
)
UPDATE tag t SET users = users + 1 FROM held h WHERE t.brand_id = $1 AND t.id = h.tag_id
"""

_GIVE_BACK_STAGES = f"""
WITH back AS (
    DELETE FROM stage_history WHERE brand_id = $1 AND user_id = $2 AND merge_id IS NOT NULL RETURNING *
), held AS (
    INSERT INTO user_stage (id, brand_id, user_id, track, stage, since, rulebook_id, why)
    SELECT DISTINCT ON (track) held_id, $1, $2, track, stage, since, rulebook_id, why FROM back ORDER BY track, id DESC
    ON CONFLICT DO NOTHING
    RETURNING track, stage
), noted AS (
    INSERT INTO decided_user (brand_id, user_id) VALUES ($1, $2)
), told AS (
    {NOTE.format(noun="stage", at="now()", rows=_STAGES_AGAIN)}
)
UPDATE stage t SET users = users + 1 FROM held h WHERE t.brand_id = $1 AND t.track = h.track AND t.key = h.stage
"""
