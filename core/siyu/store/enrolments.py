"""Users on their way through playbooks, and the occasions that playbooks wait for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from siyu.contract.events import MOMENT
from siyu.store.db import Connection, Lock, Rows, copy_out, fetch, give

__all__ = [
    "ENROLLED",
    "ENTERED",
    "all_under_way",
    "by_step",
    "end",
    "enrol",
    "enter",
    "entered",
    "heard_of",
    "hold",
    "how_many",
    "keep_version",
    "kept_version",
    "listens",
    "listens_in",
    "move_on",
    "note_changes",
    "note_few",
    "set_listens",
    "take",
    "take_due",
    "under_way",
    "versions_under_way",
    "wake",
]

OCCASIONS = {
    "id": pl.Int64(),
    "user_id": pl.Int64(),
    "noun": pl.String(),
    "key": pl.String(),
    "before": pl.String(),
    "after": pl.String(),
    "ref": pl.Int64(),
    "rulebook_id": pl.Int64(),
    "at": MOMENT,
}
ENROLMENTS = {
    "id": pl.Int64(),
    "user_id": pl.Int64(),
    "playbook": pl.String(),
    "version_id": pl.Int64(),
    "because": pl.String(),
    "rulebook_id": pl.Int64(),
    "began_at": MOMENT,
    "step": pl.Int64(),
    "listens": pl.Boolean(),
    "heard": pl.Boolean(),
    "listens_from": MOMENT,
}


async def hold(connection: Connection, brand_id: int) -> None:
    """Be the only one who takes users of the brand in, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.PLAYBOOKS, brand_id)


# -- occasions ----------------------------------------------------------------------------------------------------


async def listens(connection: Connection, brand_id: int) -> dict[str, set[str]]:
    """What playbooks wait for: by ``event``, ``tag`` and ``stage``, the kinds, tags and tracks."""
    return listens_in(await connection.fetchval("SELECT listens::text FROM brand WHERE id = $1", brand_id))


def listens_in(text: str) -> dict[str, set[str]]:
    """As :func:`listens`, from what the brand's row has."""
    return {noun: set(keys) for noun, keys in json.loads(text).items()}


async def set_listens(connection: Connection, brand_id: int, wanted: Mapping[str, set[str]]) -> None:
    """Note what playbooks wait for."""
    data = json.dumps({noun: sorted(keys) for noun, keys in wanted.items()})
    await connection.execute(
        "UPDATE brand SET listens = $2::jsonb WHERE id = $1 AND listens <> $2::jsonb", brand_id, data
    )


async def note_changes(
    connection: Connection, brand_id: int, tags: pl.DataFrame, stages: pl.DataFrame, *, at: datetime, rulebook_id: int
) -> int:
    """Note changes of tags and stages that playbooks wait for; returns how many."""
    wanted = await listens(connection, brand_id)
    exact, starts = _tags(wanted)
    tag, gained, nothing = pl.col("tag"), pl.col("gained"), pl.lit(None, pl.String)
    heard = tag.is_in(exact) | pl.any_horizontal(pl.lit(False), *(tag.str.starts_with(each) for each in starts))
    rows = pl.concat(
        [
            tags.filter(heard).select(
                "user_id",
                noun=pl.lit("tag"),
                key="tag",
                before=pl.when(gained).then(nothing).otherwise("tag"),
                after=pl.when(gained).then("tag").otherwise(nothing),
            ),
            stages.filter(pl.col("track").is_in(sorted(wanted.get("stage", ())))).select(
                "user_id",
                noun=pl.lit("stage"),
                key="track",
                before=pl.col("before").cast(pl.String),
                after=pl.col("after").cast(pl.String),
            ),
        ]
    )
    return await _note(connection, brand_id, rows, at, rulebook_id)


async def note_few(
    connection: Connection,
    brand_id: int,
    wanted: Mapping[str, set[str]],
    tags: Iterable[tuple[Any, ...]],
    stages: Iterable[tuple[Any, ...]],
    *,
    at: datetime,
    rulebook_id: int,
) -> int:
    """As :func:`note_changes`, of a few (:class:`siyu.engine.diff.FewChanges`) and what is ``wanted`` of them."""
    exact, starts = _tags(wanted)
    rows: list[tuple[Any, ...]] = [
        (user, "tag", tag, None if gained else tag, tag if gained else None)
        for user, tag, gained, _ in tags
        if tag in exact or tag.startswith(starts)
    ]
    tracks = wanted.get("stage", ())
    rows += [(user, "stage", track, before, after) for user, track, before, after, _ in stages if track in tracks]
    return await _note(connection, brand_id, rows, at, rulebook_id)


def _tags(wanted: Mapping[str, set[str]]) -> tuple[list[str], tuple[str, ...]]:
    """The tags that are wanted, and what those begin with that are wanted whatever they end with."""
    keys = sorted(wanted.get("tag", ()))
    return keys, tuple(key[:-1] for key in keys if key.endswith("*"))


async def _note(
    connection: Connection, brand_id: int, rows: pl.DataFrame | Rows, at: datetime, rulebook_id: int
) -> int:
    if len(rows):
        noted, given = await give(connection, "noted", _NOTED, rows, first=4)
        await connection.execute(
            f"{noted} INSERT INTO occasion (brand_id, {', '.join(_NOTED)}, at, rulebook_id)"
            " SELECT $1, n.*, $2, $3 FROM noted n",
            brand_id,
            at,
            rulebook_id,
            *given,
        )
    return len(rows)


_NOTED = {"user_id": "bigint", "noun": "text", "key": "text", "before": "text", "after": "text"}


async def take(connection: Connection, brand_id: int, limit: int) -> pl.DataFrame:
    """The oldest occasions, of whom their users count as; they are gone when the transaction is committed."""
    return await fetch(
        connection,
        f"SELECT g.id, COALESCE(m.into_id, g.user_id), {', '.join(list(OCCASIONS)[2:])} FROM gone g"
        " LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = g.user_id ORDER BY g.id",
        brand_id,
        limit,
        schema=OCCASIONS,
        given="WITH taken AS MATERIALIZED (SELECT id FROM occasion WHERE brand_id = $1"
        # Somebody may wait for what follows an event; of decisions a night brings many at once.
        " ORDER BY noun <> 'event', id LIMIT $2), gone AS ("
        " DELETE FROM occasion o USING taken WHERE o.brand_id = $1 AND o.id = taken.id RETURNING o.*)",
    )


# -- versions -----------------------------------------------------------------------------------------------------


async def keep_version(
    connection: Connection, brand_id: int, playbook: str, version: str, content: Mapping[str, Any]
) -> int:
    """The id of a version of a playbook; one that is new is kept."""
    found = await connection.fetchval(
        "SELECT id FROM playbook_version WHERE brand_id = $1 AND playbook = $2 AND version = $3",
        brand_id,
        playbook,
        version,
    )
    if found is None:
        found = await connection.fetchval(
            "INSERT INTO playbook_version (brand_id, playbook, version, content, created_at)"
            " VALUES ($1, $2, $3, $4::jsonb, now())"
            " ON CONFLICT (brand_id, playbook, version) DO UPDATE SET version = excluded.version RETURNING id",
            brand_id,
            playbook,
            version,
            json.dumps(content, ensure_ascii=False),
        )
    return int(found)


async def kept_version(connection: Connection, brand_id: int, version_id: int) -> dict[str, Any]:
    """The content of a version."""
    content: dict[str, Any] = json.loads(
        await connection.fetchval(
            "SELECT content::text FROM playbook_version WHERE brand_id = $1 AND id = $2", brand_id, version_id
        )
    )
    return content


async def versions_under_way(connection: Connection, brand_id: int) -> list[int]:
    """The versions by which somebody is under way."""
    rows = await connection.fetch(
        "SELECT id FROM playbook_version v WHERE brand_id = $1 AND EXISTS (SELECT FROM enrolment e"
        " WHERE e.brand_id = $1 AND e.playbook = v.playbook AND e.version_id = v.id AND e.status = 'active')",
        brand_id,
    )
    return [row["id"] for row in rows]


# -- enrolments ---------------------------------------------------------------------------------------------------


async def enter(
    connection: Connection, brand_id: int, playbook: str, candidates: pl.DataFrame, *, since: datetime | None
) -> pl.DataFrame:
    """Those of the candidates (:data:`siyu.engine.moving.CANDIDATES`) who come in (:data:`ENTERED`), each with the
    ``id`` that they are to have.

    Who is in the playbook, was by the same occasion, or came in after ``since``, does not come in. The caller holds the
    brand's playbooks until they are enrolled.
    """
    rows, given = await give(connection, "candidate", _CANDIDATE, candidates, first=4)
    return await fetch(
        connection,
        "SELECT nextval('enrolment_id_seq'), c.* FROM candidate c WHERE NOT EXISTS (SELECT FROM enrolment e"
        "   WHERE e.brand_id = $1 AND e.playbook = $2::varchar AND e.user_id = c.user_id"
        "   AND (e.status = 'active' OR e.began_at > $3 OR e.occasion = c.occasion))",
        brand_id,
        playbook,
        since or datetime.max.replace(tzinfo=UTC),
        *given,
        schema=ENTERED,
        given=rows,
    )


async def enrol(
    connection: Connection, brand_id: int, playbook: str, version_id: int, rows: pl.DataFrame, at: datetime
) -> None:
    """Write those who came in (:data:`ENROLLED`) as far as they got."""
    enrolled, given = await give(connection, "enrolled", ENROLLED, rows, first=5)
    await connection.execute(
        f"{enrolled} INSERT INTO enrolment (brand_id, playbook, version_id, began_at, {', '.join(ENROLLED)},"
        " listens_from, ended_at) SELECT $1, $2::varchar, $3, $4::timestamptz, r.*,"
        "   CASE WHEN r.listens THEN $4 END, CASE WHEN r.status <> 'active' THEN $4 END FROM enrolled r",
        brand_id,
        playbook,
        version_id,
        at,
        *given,
    )


_CANDIDATE = {"user_id": "bigint", "occasion": "text", "because": "text", "rulebook_id": "bigint"}
ENTERED = {
    "id": pl.Int64(),
    "user_id": pl.Int64(),
    "occasion": pl.String(),
    "because": pl.String(),
    "rulebook_id": pl.Int64(),
}
ENROLLED = {
    "id": "bigint",
    **_CANDIDATE,
    "step": "int",
    "due_at": "timestamptz",
    "listens": "bool",
    "status": "text",
    "why": "text",
}

_ENROLMENT = f"SELECT {', '.join('e.' + name for name in ENROLMENTS)} FROM enrolment e"


async def under_way(connection: Connection, brand_id: int, users: Sequence[int]) -> pl.DataFrame:
    """Where some users are under way."""
    return await fetch(
        connection,
        f"{_ENROLMENT} JOIN unnest($2::bigint[]) u (id) ON u.id = e.user_id"
        " WHERE e.brand_id = $1 AND e.status = 'active' ORDER BY e.id FOR UPDATE OF e",
        brand_id,
        list(users),
        schema=ENROLMENTS,
    )


async def how_many(connection: Connection, brand_id: int) -> list[tuple[str, str, int]]:
    """How many enrolments each playbook has: name, status, number."""
    rows = await connection.fetch(
        "SELECT playbook, status, count(*) FROM enrolment WHERE brand_id = $1 GROUP BY 1, 2", brand_id
    )
    return [tuple(row) for row in rows]


async def all_under_way(connection: Connection, brand_id: int, playbook: str) -> pl.DataFrame:
    """Where everybody is who is under way in a playbook, with ``due_at``."""
    return await copy_out(
        connection,
        f"SELECT {', '.join('e.' + name for name in ENROLMENTS)}, e.due_at FROM enrolment e"
        " WHERE e.brand_id = $1 AND e.playbook = $2 AND e.status = 'active'",
        brand_id,
        playbook,
        schema={**ENROLMENTS, "due_at": MOMENT},
    )


async def by_step(connection: Connection, brand_id: int, at: datetime, until: datetime, zone: str) -> list[Any]:
    """How many ``users`` are due at each step of each version (``version_id``, ``step``, whether it ``listens``) on
    each day before ``until``, those that were due before ``at`` then, and the first ``due_at`` of the day."""
    rows: list[Any] = await connection.fetch(
        "SELECT version_id, step, listens, greatest(min(due_at), $2) AS due_at, count(*) AS users FROM enrolment"
        " WHERE brand_id = $1 AND status = 'active' AND due_at < $3"
        " GROUP BY version_id, step, listens, (greatest(due_at, $2) AT TIME ZONE $4)::date",
        brand_id,
        at,
        until,
        zone,
    )
    return rows


async def entered(
    connection: Connection, brand_id: int, playbook: str, users: Sequence[int], since: datetime | None
) -> list[int]:
    """Those of ``users`` who are in a playbook, or came in after ``since``."""
    rows = await connection.fetch(
        "SELECT DISTINCT user_id FROM enrolment WHERE brand_id = $1 AND playbook = $2"
        " AND user_id = ANY($3::bigint[]) AND (status = 'active' OR began_at > $4)",
        brand_id,
        playbook,
        list(users),
        since or datetime.max.replace(tzinfo=UTC),
    )
    return [row["user_id"] for row in rows]


async def take_due(connection: Connection, brand_id: int, at: datetime, limit: int) -> pl.DataFrame:
    """Those whose next step is due; nobody else takes them until the transaction ends."""
    query = (
        f"{_ENROLMENT} WHERE e.brand_id = $1 AND e.status = 'active' AND e.due_at <= $2"
        " ORDER BY e.lane, e.due_at LIMIT $3 FOR UPDATE OF e SKIP LOCKED"
    )
    return await fetch(connection, query, brand_id, at, limit, schema=ENROLMENTS)


async def heard_of(
    connection: Connection, brand_id: int, waits: Sequence[tuple[int, int, datetime, Sequence[str]]], at: datetime
) -> set[int]:
    """Those of ``waits`` (enrolment, user, since when, kinds) of which such an event has come up to ``at``."""
    found: set[int] = set()
    by_kinds: dict[tuple[str, ...], list[tuple[int, int, datetime]]] = {}
    for enrolment, user, since, kinds in waits:
        by_kinds.setdefault(tuple(kinds), []).append((enrolment, user, since))
    for kinds, rows in by_kinds.items():
        heard = await connection.fetch(
            "SELECT w.id FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[]) w (id, user_id, since)"
            " WHERE EXISTS (SELECT FROM event e WHERE e.brand_id = $1 AND e.kind = ANY($5::text[])"
            "   AND e.at > w.since AND e.at <= $6 AND e.user_id IN (SELECT w.user_id UNION ALL"
            "   SELECT m.user_id FROM merged_user m WHERE m.brand_id = $1 AND m.into_id = w.user_id))",
            brand_id,
            *(list(column) for column in zip(*rows, strict=True)),
            list(kinds),
            at,
        )
        found |= {row["id"] for row in heard}
    return found


async def wake(connection: Connection, brand_id: int, ids: Sequence[int], at: datetime) -> None:
    """Let enrolments that listen go on now: what they wait for has come."""
    await connection.execute(
        "UPDATE enrolment SET heard = true, due_at = $3 WHERE brand_id = $1 AND id = ANY($2::bigint[])"
        " AND status = 'active' AND listens",
        brand_id,
        list(ids),
        at,
    )


async def move_on(connection: Connection, brand_id: int, waiting: pl.DataFrame, at: datetime) -> None:
    """Note where enrolments wait now (``id``, ``step``, ``due_at``, ``listens``)."""
    if waiting.is_empty():
        return
    rows, given = await give(connection, "moved", _MOVED, waiting, first=3)
    await connection.execute(
        f"{rows} UPDATE enrolment e SET step = m.step, lane = 5, due_at = m.due_at, listens = m.listens, heard = false,"
        " listens_from = CASE WHEN m.listens THEN $2::timestamptz END"
        " FROM moved m WHERE e.brand_id = $1 AND e.id = m.id",
        brand_id,
        at,
        *given,
    )


_MOVED = {"id": "bigint", "step": "int", "due_at": "timestamptz", "listens": "bool"}


async def end(connection: Connection, brand_id: int, done: pl.DataFrame, status: str, at: datetime) -> None:
    """Note that enrolments (``id``, ``why``) are at an end."""
    if done.is_empty():
        return
    rows, given = await give(connection, "ended", {"id": "bigint", "why": "text"}, done, first=4)
    await connection.execute(
        f"{rows} UPDATE enrolment e SET status = $2, why = d.why, ended_at = $3 FROM ended d"
        " WHERE e.brand_id = $1 AND e.id = d.id AND e.status = 'active'",
        brand_id,
        status,
        at,
        *given,
    )
