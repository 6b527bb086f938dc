"""Write what was decided: current tags and stages, their history, how many users have each, and the log of changes.

All of it under the brand's decision lock. Many changes come as frames and go a statement a table; a few, as a moment
after an event, go as rows in one statement, made of the same parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from siyu.store.changes import BATCHED, NOTED, Noted, as_rows, note_decisions, noted_of
from siyu.store.db import AT_ONCE, Connection, Rows, copy_in, fetch, few, give

__all__ = ["write", "write_few"]


async def write(
    connection: Connection,
    brand_id: int,
    tags: pl.DataFrame,
    stages: pl.DataFrame,
    *,
    at: datetime,
    rulebook_id: int,
    mark: int | None = None,
    noted: bool = True,
) -> pl.DataFrame:
    """Write changes as :class:`siyu.engine.diff.Changes` has them; the catalog must know their tags.

    Their users are ``noted`` for the next snapshot, unless the caller forgets the one that there is.

    With a ``mark``, a change that leads back to what stood when that was the newest decision gives it back: since
    when, by which rulebook and why, as though nothing had been in between. Returns the other changes of stage.
    """
    if tags.is_empty() and stages.is_empty():
        return stages
    rows = await note_decisions(connection, brand_id, tags, stages, at)
    decided = {user for *_, users in rows for user in users} if noted else ()
    given, args = _counted(rows, decided, first=2)
    await connection.execute(f"WITH {given}, {_TALLY} SELECT", brand_id, *args)
    if len(tags):
        known = await connection.fetch("SELECT id, key FROM tag WHERE brand_id = $1", brand_id)
        ids = {row["key"]: row["id"] for row in known}
        tags = tags.with_columns(pl.col("tag").replace_strict(ids, return_dtype=pl.Int64).alias("tag_id"))
    if mark is not None:
        tags, stages = await _restore(connection, brand_id, tags, stages, mark)
    values = {"brand_id": brand_id, "since": at, "rulebook_id": rulebook_id}
    if len(tags):
        # Side by side, what a user has is read in one page, not in one for each tag.
        rest = tags.sort("user_id", "tag_id")
        if len(rest) > AT_ONCE:
            gained = rest.filter("gained").select("user_id", "tag_id", "why")
            rest = rest.filter(~pl.col("gained"))
            await _copy(connection, "tag_assignment", gained, values)
        given, args = await give(connection, "tag_change", _TAG_CHANGE, rest, first=4)
        await connection.execute(f"{given}, {_WRITE_TAGS} SELECT", *values.values(), *args)
    if len(stages):
        rest = stages.sort("user_id")
        if len(rest) > AT_ONCE:
            new = pl.col("before").is_null()
            entered = rest.filter(new).select("user_id", "track", "why", stage="after")
            rest = rest.filter(~new)
            await _copy(connection, "user_stage", entered, values)
        given, args = await give(connection, "stage_change", _STAGE_CHANGE, rest, first=4)
        await connection.execute(f"{given}, {_WRITE_STAGES} SELECT", *values.values(), *args)
    return stages


async def write_few(
    connection: Connection, brand_id: int, tags: Rows, stages: Rows, *, at: datetime, rulebook_id: int
) -> None:
    """As :func:`write`, of a few changes (:class:`siyu.engine.diff.FewChanges`)."""
    rows = noted_of(tags, stages)
    if not rows:
        return
    args: list[Any] = [brand_id, at, rulebook_id]
    noted, more = few("noted", NOTED, as_rows(rows), first=len(args) + 1)
    args += more
    counted, more = _counted(rows, {user for *_, users in rows for user in users}, first=len(args) + 1)
    args += more
    parts = [noted, BATCHED, counted, _TALLY]
    if tags:
        given, more = few("tag_named", _TAG_NAMED, tags, first=len(args) + 1)
        args += more
        parts += [given, _TAGS_BY_NAME, _WRITE_TAGS]
    if stages:
        given, more = few("stage_change", _STAGE_CHANGE, stages, first=len(args) + 1)
        args += more
        parts += [given, _WRITE_STAGES]
    await connection.execute(f"WITH {', '.join(parts)} SELECT", *args)


def _counted(rows: Sequence[Noted], decided: Iterable[int], *, first: int) -> tuple[str, list[Any]]:
    """For :data:`_TALLY`: by how many the users of each tag and stage change, and who was decided."""
    by: Counter[tuple[str | None, str]] = Counter()
    for _, track, before, after, users in rows:
        for key, n in ((before, -len(users)), (after, len(users))):
            if key is not None:
                by[track, key] += n
    moved, args = few("moved", _MOVED, [(track, key, n) for (track, key), n in by.items()], first=first)
    return f"{moved}, decided (user_id) AS (SELECT unnest(${first + len(args)}::bigint[]))", [*args, list(decided)]


async def _restore(
    connection: Connection, brand_id: int, tags: pl.DataFrame, stages: pl.DataFrame, mark: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give back what stood when ``mark`` was the newest; returns the changes that lead elsewhere."""
    if len(tags):
        given, args = await give(connection, "tag_change", _TAG_CHANGE, tags, first=3)
        back = await fetch(
            connection,
            "SELECT user_id, tag_id FROM back",
            brand_id,
            mark,
            *args,
            schema={"user_id": pl.Int64(), "tag_id": pl.Int64()},
            given=f"{given}, {_RESTORE_TAGS}",
        )
        tags = tags.join(back, on=["user_id", "tag_id"], how="anti")
    if len(stages):
        given, args = await give(connection, "stage_change", _STAGE_CHANGE, stages, first=3)
        back = await fetch(
            connection,
            "SELECT user_id, track FROM back",
            brand_id,
            mark,
            *args,
            schema={"user_id": pl.Int64(), "track": pl.String()},
            given=f"{given}, {_RESTORE_STAGES}",
        )
        stages = stages.join(back, on=["user_id", "track"], how="anti", maintain_order="left")
    return tags, stages


async def _copy(connection: Connection, table: str, rows: pl.DataFrame, same: Mapping[str, Any]) -> None:
    """Add many rows, with what is the ``same`` in all: straight into the table, which logs a page of them at a time."""
    await copy_in(connection, table, rows.with_columns(**{name: pl.lit(value) for name, value in same.items()}))


_TAG_NAMED = {"user_id": "bigint", "tag": "text", "gained": "boolean", "why": "text"}
_TAG_CHANGE = {"user_id": "bigint", "tag_id": "int", "gained": "boolean", "why": "text"}
_STAGE_CHANGE = {"user_id": "bigint", "track": "text", "before": "text", "after": "text", "why": "text"}
_MOVED = {"track": "text", "key": "text", "n": "bigint"}

_TALLY = """
of_tags AS (
    UPDATE tag t SET users = users + n FROM moved m WHERE t.brand_id = $1 AND m.track IS NULL AND t.key = m.key
), of_stages AS (
    UPDATE stage s SET users = users + n FROM moved m WHERE s.brand_id = $1 AND s.track = m.track AND s.key = m.key
), for_snapshot AS (
    INSERT INTO decided_user (brand_id, user_id) SELECT $1, user_id FROM decided
)
"""

# One that the catalog does not know is no tag, which the table refuses.
_TAGS_BY_NAME = """
tag_change AS MATERIALIZED (
    SELECT user_id, (SELECT id FROM tag t WHERE t.brand_id = $1 AND t.key = n.tag) AS tag_id, gained, why
    FROM tag_named n
)
"""

_WRITE_TAGS = """
lost AS (
    DELETE FROM tag_assignment a USING tag_change c
    WHERE a.brand_id = $1 AND a.user_id = c.user_id AND a.tag_id = c.tag_id AND NOT c.gained
    RETURNING a.*, c.why AS ended_why
), closed AS (
    INSERT INTO tag_history
        (brand_id, user_id, tag_id, since, until, held_id, rulebook_id, why, ended_rulebook_id, ended_why)
    SELECT brand_id, user_id, tag_id, since, $2, id, rulebook_id, why, $3, ended_why FROM lost
), gained AS (
    INSERT INTO tag_assignment (brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT $1, user_id, tag_id, $2, $3, why FROM tag_change WHERE gained
)
"""

# A row that changes is found once: it is returned as it was, for the history.
_WRITE_STAGES = """
changed AS (
    UPDATE user_stage s
    SET id = nextval('decision_id_seq'), stage = c.after, since = $2, rulebook_id = $3, why = c.why
    FROM stage_change c
    WHERE s.brand_id = $1 AND s.user_id = c.user_id AND s.track = c.track
      AND c.before IS NOT NULL AND c.after IS NOT NULL
    RETURNING old.*
), left_track AS (
    DELETE FROM user_stage s USING stage_change c
    WHERE s.brand_id = $1 AND s.user_id = c.user_id AND s.track = c.track AND c.after IS NULL
    RETURNING s.*
), ended AS (
    INSERT INTO stage_history (brand_id, user_id, track, stage, since, until, held_id, rulebook_id, why)
    SELECT brand_id, user_id, track, stage, since, $2, id, rulebook_id, why
    FROM (SELECT * FROM changed UNION ALL SELECT * FROM left_track) was
), entered AS (
    INSERT INTO user_stage (brand_id, user_id, track, stage, since, rulebook_id, why)
    SELECT $1, user_id, track, after, $2, $3, why FROM stage_change WHERE before IS NULL
)
"""

# A row of history stood at the mark if it was opened before and closed after it, one that is current if it is older.
# What is given back leaves no trace of what was in between: not even that it ended, nor a new id.
_RESTORE_TAGS = """
back AS MATERIALIZED (
    SELECT c.user_id, c.tag_id, c.gained, h.held_id, h.since, h.rulebook_id, h.why
    FROM tag_change c LEFT JOIN tag_history h
      ON h.brand_id = $1 AND h.user_id = c.user_id AND h.tag_id = c.tag_id AND h.held_id BETWEEN 1 AND $2 AND h.id > $2
    WHERE c.gained = (h.id IS NOT NULL) AND (c.gained OR EXISTS (
        SELECT FROM tag_assignment a
        WHERE a.brand_id = $1 AND a.user_id = c.user_id AND a.tag_id = c.tag_id AND a.id > $2))
), gone AS (
    DELETE FROM tag_history h USING back b
    WHERE h.brand_id = $1 AND h.user_id = b.user_id AND h.tag_id = b.tag_id AND h.id > $2
), off AS (
    DELETE FROM tag_assignment a USING back b
    WHERE a.brand_id = $1 AND a.user_id = b.user_id AND a.tag_id = b.tag_id AND NOT b.gained
), put AS (
    INSERT INTO tag_assignment (id, brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT held_id, $1, user_id, tag_id, since, rulebook_id, why FROM back WHERE gained
)
"""

_RESTORE_STAGES = """
back AS MATERIALIZED (
    SELECT c.user_id, c.track, c.after, h.held_id, h.since, h.rulebook_id, h.why
    FROM stage_change c LEFT JOIN stage_history h
      ON h.brand_id = $1 AND h.user_id = c.user_id AND h.track = c.track AND h.held_id BETWEEN 1 AND $2 AND h.id > $2
    WHERE h.stage IS NOT DISTINCT FROM c.after AND (c.before IS NULL OR EXISTS (
        SELECT FROM user_stage s
        WHERE s.brand_id = $1 AND s.user_id = c.user_id AND s.track = c.track AND s.id > $2))
), gone AS (
    DELETE FROM stage_history h USING back b
    WHERE h.brand_id = $1 AND h.user_id = b.user_id AND h.track = b.track AND h.id > $2
), off AS (
    DELETE FROM user_stage s USING back b
    WHERE s.brand_id = $1 AND s.user_id = b.user_id AND s.track = b.track AND b.after IS NULL
), put AS (
    INSERT INTO user_stage (id, brand_id, user_id, track, stage, since, rulebook_id, why)
    SELECT held_id, $1, user_id, track, after, since, rulebook_id, why FROM back WHERE after IS NOT NULL
    ON CONFLICT (brand_id, user_id, track) DO UPDATE SET id = excluded.id, stage = excluded.stage,
        since = excluded.since, rulebook_id = excluded.rulebook_id, why = excluded.why
)
"""
