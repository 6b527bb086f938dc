"""The log of changes: what happened to tags and stages of users, to actions and tasks, in the order of commits.

A row is the same change of up to :data:`BATCH` of them, so that a refresh of a million users writes thousands of
rows, not millions. Whoever writes holds a lock of the brand until the commit (decisions their own, actions and tasks
:attr:`Lock.ACTIONS`) and only then takes the number of a row: of each brand and noun no smaller number can follow
one that is seen, and a cursor is a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

import polars as pl

from siyu.contract.errors import InputError
from siyu.store.db import Connection, Lock

__all__ = [
    "BATCH",
    "BATCHED",
    "KEPT",
    "NOTE",
    "NOTED",
    "Change",
    "Expired",
    "Noted",
    "Noun",
    "as_rows",
    "changes_after",
    "forget",
    "latest_of_all",
    "newest",
    "note",
    "note_decisions",
    "noted_of",
]

Noun: TypeAlias = Literal["action", "stage", "tag", "task"]

BATCH = 100
"""The most users, actions or tasks of a row."""
Noted: TypeAlias = tuple[Noun, str | None, str | None, str | None, Sequence[int]]
"""A row: noun, track, before, after and ids, as :class:`Change` has them."""
KEPT = timedelta(days=7)
"""How long changes can be followed from."""
ROWS = 200
"""The most rows that are read at a time."""


class Expired(InputError):
    """What followed the cursor is no longer known."""

    code = "EXPIRED"


@dataclass(frozen=True)
class Change:
    """The same change of many: ``ids`` are users, actions or tasks.

    A tag is ``after`` where gained, ``before`` where lost.
    """

    number: int
    track: str | None
    before: str | None
    after: str | None
    at: datetime
    ids: Sequence[int]


async def note_decisions(
    connection: Connection, brand_id: int, tags: pl.DataFrame, stages: pl.DataFrame, at: datetime
) -> list[Noted]:
    """Note changes as :class:`siyu.engine.diff.Changes` has them, under the brand's decision lock."""
    rows: list[Noted] = [
        ("tag", None, None if gained else tag, tag if gained else None, users)
        for tag, gained, users in _grouped(tags, "tag", "gained")
    ]
    rows += [("stage", *row) for row in _grouped(stages, "track", "before", "after")]
    await _write(connection, brand_id, at, rows)
    return rows


def noted_of(tags: Iterable[tuple[Any, ...]], stages: Iterable[tuple[Any, ...]]) -> list[Noted]:
    """The rows of a few changes (:class:`siyu.engine.diff.FewChanges`), for a statement to write."""
    users: dict[tuple[Noun, str | None, str | None, str | None], list[int]] = {}
    for user, tag, gained, _ in tags:
        users.setdefault(("tag", None, None if gained else tag, tag if gained else None), []).append(user)
    for user, track, before, after, _ in stages:
        users.setdefault(("stage", track, before, after), []).append(user)
    return [(*what, ids[start : start + BATCH]) for what, ids in users.items() for start in range(0, len(ids), BATCH)]


def as_rows(noted: Iterable[Noted]) -> list[tuple[str | None, ...]]:
    """Rows as a statement is given them (:data:`NOTED`)."""
    # Lists of different lengths are no array.
    return [(*what, f"{{{','.join(map(str, ids))}}}") for *what, ids in noted]


NOTED = {"noun": "text", "track": "text", "before": "text", "after": "text", "ids": "text"}
BATCHED = """
batched AS (
    INSERT INTO change_batch (brand_id, at, noun, track, before, after, ids)
    SELECT $1, $2, noun, track, before, after, ids::bigint[] FROM noted
)
"""
"""For statements that write decisions by themselves: the rows that they are given as ``noted``, of brand $1 at $2."""


async def note(
    connection: Connection,
    brand_id: int,
    changed: Mapping[str, Sequence[int]],
    at: datetime,
    *,
    noun: Noun = "action",
) -> None:
    """Note the actions or tasks that came into each status, in their transaction and last in it."""
    rows: list[Noted] = [
        (noun, None, None, after, ids[start : start + BATCH])
        for after, ids in changed.items()
        for start in range(0, len(ids), BATCH)
    ]
    if rows:
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.ACTIONS, brand_id)
        await _write(connection, brand_id, at, rows)


def _grouped(frame: pl.DataFrame, *by: str) -> Iterator[tuple[Any, ...]]:
    if frame.is_empty():
        return
    for *values, ids in frame.group_by(*by, maintain_order=True).agg("user_id").iter_rows():
        for start in range(0, len(ids), BATCH):
            yield (*values, ids[start : start + BATCH])


async def _write(connection: Connection, brand_id: int, at: datetime, rows: Sequence[Noted]) -> None:
    if rows:
        await connection.copy_records_to_table(
            "change_batch",
            records=[(brand_id, at, *row) for row in rows],
            columns=["brand_id", "at", "noun", "track", "before", "after", "ids"],
        )


NOTE = f"""
INSERT INTO change_batch (brand_id, noun, track, before, after, at, ids)
SELECT $1, '{{noun}}', track, before, after, {{at}}, array_agg(user_id ORDER BY user_id)
FROM (
    SELECT *, (row_number() OVER (PARTITION BY track, before, after ORDER BY user_id) - 1) / {BATCH} AS n
    FROM ({{rows}}) rows (user_id, track, before, after)
) changes GROUP BY track, before, after, n
"""
"""For statements that write decisions by themselves: notes ``rows`` (user_id, track, before, after) of brand $1."""


async def newest(connection: Connection, brand_id: int, noun: Noun) -> int:
    """The number of the newest change that is committed: all later ones of the brand and noun are beyond it."""
    query = "SELECT max(id) FROM change_batch WHERE brand_id = $1 AND noun = $2"
    return await connection.fetchval(query, brand_id, noun) or 0


async def latest_of_all(connection: Connection) -> int:
    """A number that no change has exceeded yet: a cursor beyond it is of a database that was since restored."""
    # Of a sequence that was never used, last_value is the first that it will give.
    query = "SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM change_batch_id_seq"
    return int(await connection.fetchval(query))


async def changes_after(
    connection: Connection, brand_id: int, noun: Noun, after: int, track: str | None, key: str | None
) -> tuple[list[Change], int]:
    """The changes that follow number ``after``, oldest first (of the track, and to or from the key, if given), and the
    number up to which they are all; :class:`Expired` where some are no longer known."""
    rows = await connection.fetch(_AFTER, brand_id, noun, after, track, key)
    bound = rows[0]["bound"]
    if rows[0]["forgotten"]:
        raise Expired(
            "what followed this cursor is no longer known", field="after", remedy="read the list anew, without `after`"
        )
    found = [Change(*row[:6]) for row in rows if row["id"] is not None]
    return found, found[-1].number if len(found) == ROWS else bound


# The upper bound is of the same snapshot as the rows; with it a change that is rarely of interest is not looked for
# again and again from where the last one was.
_AFTER = f"""
WITH known AS MATERIALIZED (
    SELECT greatest((SELECT max(id) FROM change_batch WHERE brand_id = $1 AND noun = $2), $3) AS bound, (
        SELECT ids = '{{}}' FROM change_batch WHERE brand_id = $1 AND noun = $2 AND id > $3 ORDER BY id LIMIT 1
    ) AS forgotten
)
SELECT c.id, c.track, c.before, c.after, c.at, c.ids, known.* FROM known LEFT JOIN LATERAL (
    SELECT * FROM change_batch WHERE brand_id = $1 AND noun = $2 AND id > $3
        AND ($4::text IS NULL OR track = $4) AND ($5::text IS NULL OR before = $5 OR after = $5)
    ORDER BY id LIMIT {ROWS}
) c ON true ORDER BY c.id
"""


async def forget(connection: Connection) -> None:
    """Forget changes older than :data:`KEPT`. The last of a brand and noun stays, empty, to tell where they ended."""
    await connection.execute(
        "UPDATE change_batch SET ids = '{}' WHERE written_at < now() - $1::interval AND ids <> '{}'", KEPT
    )
    await connection.execute(
        "DELETE FROM change_batch c WHERE written_at < now() - $1::interval AND EXISTS (SELECT FROM change_batch n"
        " WHERE n.brand_id = c.brand_id AND n.noun = c.noun AND n.id > c.id AND n.ids = '{}')",
        KEPT,
    )
