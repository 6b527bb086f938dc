"""Decisions as kept: current tags and stages, their history, and the snapshot that a whole brand is compared with.

Everything here happens under the brand's decision lock, and every row takes its id from one sequence, so "since" is a
single number. The snapshot is a cache: with it only the users decided since it was made are read, without it the whole
tables are. Whoever writes notes them (``decided_user``); a refresh forgets the snapshot instead, and makes the next.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from siyu.contract.events import MOMENT
from siyu.store.db import Connection, Lock, copy_out, fetch
from siyu.store.wide import overlaid, together, wide

__all__ = ["EVERYBODY", "CatalogEntry", "Decisions", "Users", "lock"]

Users: TypeAlias = tuple[int, int]
"""A range of user ids: from the first, up to but without the second."""
EVERYBODY: Users = (0, 2**63 - 1)
FEW = 100
"""Of so many users decisions are read as rows; of more by COPY, which takes longer to set out and less for each."""
TAG = pl.String()
TAG_SCHEMA = {"user_id": pl.Int64(), "tag": TAG}
STAGE_SCHEMA = {"user_id": pl.Int64(), "track": pl.String(), "stage": pl.String(), "since": MOMENT}


@dataclass(frozen=True)
class CatalogEntry:
    """A tag (``track`` is None) or a stage that the rulebook knows."""

    key: str
    title: str
    plugin: str
    track: str | None = None


async def lock(connection: Connection, brand_id: int) -> None:
    """Hold the brand's decisions until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", Lock.DECISIONS, brand_id)


class Decisions:
    """The decisions of one brand; ``root`` is the data directory, where the snapshot lies."""

    def __init__(self, root: Path, brand_id: int) -> None:
        self._folder = root / "lake" / str(brand_id)
        self._brand_id = brand_id

    async def of_users(self, connection: Connection, users: Sequence[int]) -> pl.DataFrame:
        """The decisions that stand for some users (who may have none), as the engine's wide frame."""
        if len(users) > FEW:
            # As a join: of thousands of users in a condition the planner thinks that they are most.
            named = "JOIN unnest($2::bigint[]) u (id) ON u.id = a.user_id"
            tags, stages = await self._read(connection, named, list(users))
        else:
            rows = await fetch(connection, _OF_USERS, self._brand_id, list(users), schema={**STAGE_SCHEMA, "tag": TAG})
            tags = rows.filter(pl.col("track").is_null()).select(list(TAG_SCHEMA))
            stages = rows.filter(pl.col("track").is_not_null()).select(list(STAGE_SCHEMA))
        return wide(pl.DataFrame({"user_id": pl.Series(users, dtype=pl.Int64)}), tags, stages)

    async def of_few(self, connection: Connection, users: Sequence[int]) -> dict[int, dict[str, Any]]:
        """As :meth:`of_users`, by user: of tags those that stand."""
        found: dict[int, dict[str, Any]] = {}
        for user, track, stage, since, tag in await connection.fetch(_OF_USERS, self._brand_id, list(users)):
            mine = found.setdefault(user, {})
            if track is None:
                mine[tag] = True
            else:
                mine |= {f"@{track}": stage, f"@{track}.since": since}
        return found

    async def stages_at(self, connection: Connection, at: datetime, users: Sequence[int] | None = None) -> pl.DataFrame:
        """Where users (all if not given) stood at a past moment, as the engine's wide frame, without tags."""
        only, args = ("", ()) if users is None else (" AND user_id = ANY($3::bigint[])", (list(users),))
        columns = f"SELECT user_id, track, stage, since FROM {{}} WHERE brand_id = $1 AND since <= $2{only}"
        stages = await copy_out(
            connection,
            f"{columns.format('user_stage')} UNION ALL {columns.format('stage_history')} AND until > $2",
            self._brand_id,
            at,
            *args,
            schema=STAGE_SCHEMA,
        )
        known = stages.select("user_id").unique().sort("user_id")
        return wide(known, pl.DataFrame(schema=TAG_SCHEMA), stages)

    async def standing(self, connection: Connection, users: Sequence[int], at: datetime | None = None) -> list[Any]:
        """The tags and stages of users that stand, or stood ``at`` a moment: user_id, track (of a tag null), key,
        since, why, and the version with its reason."""
        rows: list[Any] = await connection.fetch(_STANDING, self._brand_id, list(users), at)
        return rows

    async def of_all(self, connection: Connection, users: Users = EVERYBODY) -> pl.DataFrame:
        """The decisions that stand for every user of a range who has one."""
        snapshots = await self._covering(connection, users)
        if not snapshots:
            tags, stages = await self._read(connection, "AND a.user_id >= $2 AND a.user_id < $3", *users)
            known = pl.concat([tags.select("user_id"), stages.select("user_id")]).unique().sort("user_id")
            return wide(known, tags, stages)
        frames = [
            await self.brought_forward(connection, await asyncio.to_thread(pl.read_ipc, path), theirs, upto)
            for path, theirs, upto in snapshots
        ]
        return together(frames)

    async def brought_forward(
        self, connection: Connection, frame: pl.DataFrame, users: Users, upto: int
    ) -> pl.DataFrame:
        """``frame``, the decisions on a range of users as of id ``upto``, as they stand."""
        touched = await copy_out(
            connection,
            "SELECT DISTINCT user_id FROM decided_user"
            " WHERE brand_id = $1 AND id > $2 AND user_id >= $3 AND user_id < $4",
            self._brand_id,
            upto,
            *users,
            schema={"user_id": pl.Int64()},
        )
        if touched.is_empty():
            return frame
        fresh = await self.of_users(connection, touched.get_column("user_id").sort().to_list())
        return await asyncio.to_thread(overlaid, frame, fresh)

    async def stood(self, connection: Connection, decisions: pl.DataFrame, mark: int) -> pl.DataFrame:
        """``decisions`` that stand, with stages as they were when ``mark`` was the newest.

        An undo decides by these, or a minimum stay would hold users where only the change has put them.
        """
        rows = await copy_out(connection, _STOOD, self._brand_id, mark, schema=STAGE_SCHEMA)
        for key, mine in rows.partition_by("track", as_dict=True, include_key=False).items():
            stage, since = f"@{key[0]}", f"@{key[0]}.since"
            if stage not in decisions.columns:
                decisions = decisions.with_columns(
                    pl.lit(None, pl.String).alias(stage), pl.lit(None, MOMENT).alias(since)
                )
            then = mine.select(
                "user_id", pl.lit(True).alias("?"), pl.col("stage").alias("?s"), pl.col("since").alias("?t")
            )
            decisions = (
                decisions.join(then, on="user_id", how="full", coalesce=True)
                .with_columns(
                    pl.when("?").then("?s").otherwise(pl.col(stage).cast(pl.String)).alias(stage),
                    pl.when("?").then("?t").otherwise(since).alias(since),
                )
                .drop("?", "?s", "?t")
            )
        return decisions

    @staticmethod
    async def list_catalog(
        connection: Connection,
        brand_id: int,
        entries: Iterable[CatalogEntry],
        standing_tags: Iterable[str] = (),
        standing_tracks: Iterable[str] = (),
    ) -> None:
        """Make the brand's tags and stages those of ``entries``, and those that stand still. Others stay, inactive, for
        the sake of history."""
        entries = list(entries)
        tags = [entry for entry in entries if entry.track is None]
        stages = [entry for entry in entries if entry.track is not None]
        await connection.execute(
            "UPDATE tag SET active = false WHERE brand_id = $1 AND active AND NOT key = ANY($2::text[])",
            brand_id,
            list(standing_tags),
        )
        await connection.execute(
            "UPDATE stage SET active = false WHERE brand_id = $1 AND active AND NOT track = ANY($2::text[])",
            brand_id,
            list(standing_tracks),
        )
        await connection.executemany(
            "INSERT INTO tag (brand_id, key, title, plugin, active, users) VALUES ($1, $2, $3, $4, true, 0)"
            " ON CONFLICT (brand_id, key) DO UPDATE SET title = $3, plugin = $4, active = true",
            [(brand_id, entry.key, entry.title, entry.plugin) for entry in tags],
        )
        await connection.executemany(
            "INSERT INTO stage (brand_id, track, key, title, plugin, position, active, users)"
            " VALUES ($1, $2, $3, $4, $5, $6, true, 0)"
            " ON CONFLICT (brand_id, track, key) DO UPDATE SET title = $4, plugin = $5, position = $6, active = true",
            [(brand_id, e.track, e.key, e.title, e.plugin, n) for n, e in enumerate(stages)],
        )

    async def stamp(
        self,
        connection: Connection,
        at: datetime,
        run_id: int,
        tags: pl.DataFrame,
        stages: pl.DataFrame,
        standing_tags: Iterable[str] = (),
        standing_tracks: Iterable[str] = (),
    ) -> None:
        """Note that a run looked at all active tags and stages but those that stand still, as of ``at``, and how many
        users it moved; ``tags`` and ``stages`` are what it changed."""
        moved = tags.group_by("tag").agg(pl.col("gained").sum(), pl.col("gained").not_().sum().alias("lost"))
        await connection.execute(
            _STAMP_TAGS, self._brand_id, at, run_id, list(standing_tags), *(column.to_list() for column in moved)
        )
        entered = stages.select("track", pl.col("after").alias("key"), gained=1, lost=0)
        left = stages.select("track", pl.col("before").alias("key"), gained=0, lost=1)
        moved = pl.concat([entered, left]).drop_nulls().group_by("track", "key").sum()
        await connection.execute(
            _STAMP_STAGES, self._brand_id, at, run_id, list(standing_tracks), *(column.to_list() for column in moved)
        )

    async def written(self, connection: Connection) -> int:
        """The newest id among the decisions of all brands; under the lock no smaller one of this brand can follow."""
        # Of a sequence that was never used, last_value is the first that it will give.
        query = "SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM decision_id_seq"
        return int(await connection.fetchval(query))

    async def forget(self, connection: Connection, users: Users = EVERYBODY, *, upto: int | None = None) -> None:
        """Make do without snapshots of a range; what was noted for them goes with them. The next one, if it is to be
        kept once the transaction has ended, will hold as of id ``upto``."""
        await connection.execute(
            "DELETE FROM decided_user WHERE brand_id = $1 AND user_id >= $2 AND user_id < $3", self._brand_id, *users
        )
        await connection.execute(
            "DELETE FROM decision_snapshot WHERE brand_id = $1 AND low < $3 AND below > $2", self._brand_id, *users
        )
        if upto is not None:
            await connection.execute(
                "INSERT INTO decision_snapshot (brand_id, low, below, upto) VALUES ($1, $2, $3, $4)",
                self._brand_id,
                *users,
                upto,
            )

    async def snapshot(self, frame: pl.DataFrame, users: Users, upto: int) -> None:
        """Keep ``frame``, the decisions on a range of users as of id ``upto``, for the next comparison."""
        await asyncio.to_thread(self._write_snapshot, frame, users, upto)

    def _write_snapshot(self, frame: pl.DataFrame, users: Users, upto: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._snapshot(users, upto)
        half = path.with_suffix(f".{os.getpid()}.tmp")
        frame.write_ipc(half, compression="lz4")
        half.replace(path)
        for other in self._folder.glob(f"decisions-{users[0]:020d}-*.arrow"):
            if other != path:
                other.unlink(missing_ok=True)

    def _snapshot(self, users: Users, upto: int) -> Path:
        return self._folder / f"decisions-{users[0]:020d}-{users[1]:020d}-{upto:020d}.arrow"

    async def _covering(self, connection: Connection, users: Users) -> list[tuple[Path, Users, int]]:
        """The snapshots that make up a range; none where there is a gap. A file that the database does not know of is
        another's, or from before one of the two was restored."""
        rows = await connection.fetch(
            "SELECT low, below, upto FROM decision_snapshot WHERE brand_id = $1 AND low >= $2 AND below <= $3"
            " ORDER BY low",
            self._brand_id,
            *users,
        )
        found = [(self._snapshot((low, below), upto), (low, below), upto) for low, below, upto in rows]
        edges = [users[0], *(below for _, (_, below), _ in found)]
        whole = [low for _, (low, _), _ in found] == edges[:-1] and edges[-1] == users[1]
        return found if whole and all(path.exists() for path, _, _ in found) else []

    async def _read(self, connection: Connection, only: str, *args: object) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Tags and stages; ``only`` narrows the join of the brand with what its users have."""
        each = "SELECT a.user_id, {} JOIN {} a ON a.brand_id = $1 AND {} {}"
        tags = await copy_out(
            connection,
            each.format("t.key FROM tag t", "tag_assignment", "a.tag_id = t.id", only),
            self._brand_id,
            *args,
            schema=TAG_SCHEMA,
        )
        stages = await copy_out(
            connection,
            each.format("track, stage, since FROM brand b", "user_stage", "b.id = $1", only),
            self._brand_id,
            *args,
            schema=STAGE_SCHEMA,
        )
        return tags, stages


_OF_USERS = """
SELECT user_id, track, stage, since, NULL AS tag FROM user_stage WHERE brand_id = $1 AND user_id = ANY($2::bigint[])
UNION ALL
SELECT user_id, NULL, NULL, NULL, (SELECT key FROM tag t WHERE t.id = a.tag_id) FROM tag_assignment a
WHERE brand_id = $1 AND user_id = ANY($2::bigint[])
"""

# Without a moment nothing of the history is true; at a moment what has come later is not.
_STANDING = """
WITH stood AS (
    SELECT user_id, NULL AS track, (SELECT key FROM tag t WHERE t.id = a.tag_id) AS key, since, rulebook_id, why
    FROM (
        SELECT user_id, tag_id, since, rulebook_id, why FROM tag_assignment
        WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND ($3::timestamptz IS NULL OR since <= $3)
        UNION ALL
        SELECT user_id, tag_id, since, rulebook_id, why FROM tag_history
        WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND since <= $3 AND until > $3
    ) a
    UNION ALL
    SELECT user_id, track, stage, since, rulebook_id, why FROM user_stage
    WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND ($3::timestamptz IS NULL OR since <= $3)
    UNION ALL
    SELECT user_id, track, stage, since, rulebook_id, why FROM stage_history
    WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND since <= $3 AND until > $3
)
SELECT s.user_id, s.track, s.key, s.since, s.why, v.version, CASE WHEN s.track IS NULL THEN v.content->'tags'->s.key
       ELSE v.content->'tracks'->s.track->'stages'->s.key END AS reason
FROM stood s LEFT JOIN rulebook_version v ON v.brand_id = $1 AND v.id = s.rulebook_id
ORDER BY s.user_id, s.track NULLS FIRST, s.key
"""

_STAMP_TAGS = """
UPDATE tag t SET as_of = $2, run_id = $3, gained = coalesce(d.gained, 0), lost = coalesce(d.lost, 0)
FROM tag a LEFT JOIN unnest($5::text[], $6::bigint[], $7::bigint[]) AS d (key, gained, lost) USING (key)
WHERE t.brand_id = $1 AND a.brand_id = $1 AND a.id = t.id AND t.active AND NOT t.key = ANY($4::text[])
"""
_STAMP_STAGES = """
UPDATE stage t SET as_of = $2, run_id = $3, gained = coalesce(d.gained, 0), lost = coalesce(d.lost, 0)
FROM stage a
LEFT JOIN unnest($5::text[], $6::text[], $7::bigint[], $8::bigint[]) AS d (track, key, gained, lost) USING (track, key)
WHERE t.brand_id = $1 AND a.brand_id = $1 AND a.id = t.id AND t.active AND NOT t.track = ANY($4::text[])
"""

# Of every user and track that has changed since the mark, the stage that there was, if any.
_STOOD = """
SELECT DISTINCT coalesce(s.user_id, h.user_id), coalesce(s.track, h.track), h.stage, h.since
FROM (SELECT user_id, track FROM user_stage WHERE brand_id = $1 AND id > $2) s
FULL JOIN (
    SELECT user_id, track, stage, since FROM stage_history WHERE brand_id = $1 AND held_id BETWEEN 1 AND $2 AND id > $2
) h ON h.user_id = s.user_id AND h.track = s.track
"""
