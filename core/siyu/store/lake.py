"""The lake: closed ranges of the event log as Parquet, in the order of users.

The lake is derived from the log and can always be made again from it. A file is written once, under the table's
name and a hash of how it lies, with the range of event ids in its name; of an empty one there is only a marker. What
is missing (a lake that was deleted, a kind of event whose plugin came later, a payload with a new field) is written
when it is next read.

Ranges are merged as they grow, so that nearly all of a table lies in the order of its users, and what came since is
short: facts are reckoned from that order several times as fast (:mod:`siyu.engine.segments`). A merged range lies in
several files, each of some of the users, of all tables the same ones: they are read as they are, and reckoned with at
once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import polars as pl

from siyu.contract.events import MOMENT, PROFILE_UPDATED, Catalog, Column, EventKind, Source
from siyu.history import MOST, Block, History
from siyu.store.db import Connection, copy_out, fetch
from siyu.store.merges import SCHEMA as MERGED
from siyu.store.merges import apart, counted, mapping, members

__all__ = ["LOG_SCHEMA", "Lake", "Stored", "history_of", "tables"]

SEAL_FROM = 20_000
"""A tail shorter than this is read from PostgreSQL each time; files of a few rows cost more than they save."""
RANGE_ROWS = 500_000
"""Events that are read from PostgreSQL at once."""
FILE_ROWS = 1_000_000
"""Rows of the largest table that lie in a file of a merged range, in one piece."""
EVERY = 1_000
"""Of so many rows one is looked at to see where a merged range is best cut."""
GROUP_ROWS = 65_536
"""Rows that lie in a piece elsewhere: to merge ranges, few more are read of some users than are theirs."""
BEHIND = 8
"""The ranges behind the first come to no more than this part of it; then all are merged."""
LAYOUT = 2
"""Of files that lie otherwise nothing is read; they are written anew."""
KEPT_SECONDS = 3600
"""Files that were merged are kept for so long: somebody may be reading them."""
MANY, BYTES_A_USER = 2_000, 100_000
"""Of so many users events are looked for in the lake, if it is not larger than so much for each of them."""
FEW = 100
"""Of so many users events are read as rows; of more by COPY, which takes longer to set out and less for each."""

Range = tuple[int, int]
LOG_SCHEMA = {"id": pl.Int64(), "user_id": pl.Int64(), "kind": pl.String(), "at": MOMENT, "payload": pl.String()}

# A profile update is an open object; as a list of pairs it fits a table.
_PAYLOAD = f"""CASE kind WHEN '{PROFILE_UPDATED}' THEN (
    SELECT jsonb_agg(jsonb_build_object('name', key, 'value', value)) FROM jsonb_each_text(payload)
) ELSE payload END"""
_LOG = f"SELECT id, user_id, kind, at, {_PAYLOAD} FROM event WHERE brand_id = $1"

_LAST = """
SELECT max(id) FROM (SELECT id FROM event WHERE brand_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4) t
"""
_SEALED = "INSERT INTO sealed_range (brand_id, first_id, last_id) VALUES ($1, $2, $3)"


@dataclass(frozen=True)
class Stored:
    """A table as it lies: files in order, by the least user of each; later ones; what is in no file yet; and which of
    the users in all of these count as others."""

    ordered: Mapping[int, Path]
    later: Sequence[Path]
    tail: pl.DataFrame
    persons: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MERGED))

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [*self.ordered.values(), *self.later]

    def scan(self) -> pl.LazyFrame:
        """All of it, for Polars, by whom users count as."""
        return counted(pl.concat([*_scan(self.files), self.tail.lazy()]), self.persons)


def history_of(stored: Mapping[str, Stored]) -> History:
    """Tables as facts are reckoned from. One that is cut elsewhere than most (its kind came later) lies behind: files
    together are not in order."""
    lows = max((sorted(table.ordered) for table in stored.values()), key=len, default=[])
    blocks: list[dict[str, pl.LazyFrame]] = [{} for _ in lows]
    behind = {}
    for name, table in stored.items():
        alike = sorted(table.ordered) == lows
        files = table.later if alike else table.files
        late = [counted(pl.concat([*_scan(files), table.tail.lazy()]), table.persons)]
        for frames, path in zip(blocks, table.ordered.values(), strict=True) if alike else ():
            frames[name] = pl.scan_parquet(path)
            if len(table.persons):
                frames[name], others = apart(frames[name], table.persons)
                late.append(others)
        behind[name] = pl.concat(late)
    return History(behind, [Block(low, frames) for low, frames in zip(lows, blocks, strict=True)])


def _scan(files: Sequence[Path]) -> list[pl.LazyFrame]:
    return [pl.scan_parquet(list(files))] if files else []


class Lake:
    """The lake of one brand, below ``root`` (the data directory)."""

    def __init__(self, root: Path, brand_id: int, catalog: Catalog) -> None:
        self.folder = root / "lake" / str(brand_id)
        self._brand_id = brand_id
        self._catalog = catalog

    async def tables(self, connection: Connection, up_to: int, *, seal_from: int = SEAL_FROM) -> dict[str, Stored]:
        """All events with ids up to ``up_to`` (which must be closed), by table: sealed files and the tail.

        A tail of ``seal_from`` rows or more is sealed first. Tables without rows are left out.
        """
        ranges = await self._ranges(connection)
        sealed = ranges[-1][1] if ranges else 0
        tail: dict[str, pl.DataFrame] = {}
        if sealed < up_to:
            waiting = await connection.fetchval(
                "SELECT count(*) FROM (SELECT FROM event WHERE brand_id = $1 AND id > $2 AND id <= $3 LIMIT $4) t",
                self._brand_id,
                sealed,
                up_to,
                seal_from,
            )
            if waiting >= seal_from:
                ranges += await self._seal(connection, sealed, up_to)
                self._clear(ranges)
            else:
                tail = await self.read(connection, "id > $2 AND id <= $3", sealed, up_to)
        await self._mend(connection, ranges)
        ranges = await self._merged(connection, ranges)
        persons = await mapping(connection, self._brand_id)
        stored = {
            source.name: self._stored(source, ranges, [tail[source.name]] if tail else [], persons)
            for source in self._catalog.sources
        }
        return {name: table for name, table in stored.items() if table.files or len(table.tail)}

    def _stored(
        self, source: Source, ranges: Sequence[Range], tails: Sequence[pl.DataFrame], persons: pl.DataFrame
    ) -> Stored:
        tail = pl.concat(tails) if tails else pl.DataFrame(schema=source.schema)
        return Stored(self._files(source, ranges[0]) if ranges else {}, self._of(source, ranges[1:]), tail, persons)

    async def peek(self, connection: Connection) -> dict[str, Stored]:
        """All events that ``connection`` sees, as :meth:`tables` has them, without writing: what is in no file yet is
        read from PostgreSQL, however much it is."""
        ranges = await self._ranges(connection)
        rest = [await self.read(connection, "id > $2", ranges[-1][1] if ranges else 0)]
        for one in ranges:
            lost = [source for source in self._catalog.sources if not self._exists(source, one)]
            if lost:
                read = await self.read(connection, "id BETWEEN $2 AND $3", *one, kinds=sorted({s.kind for s in lost}))
                rest.append({source.name: read[source.name] for source in lost})
        persons = await mapping(connection, self._brand_id)
        return {
            source.name: self._stored(
                source, ranges, [frames[source.name] for frames in rest if source.name in frames], persons
            )
            for source in self._catalog.sources
        }

    async def of_users(self, connection: Connection, users: Sequence[int]) -> History:
        """All events of some users and of those who count as them, as far as ``connection`` sees them."""
        others = await members(connection, self._brand_id, users)
        everybody = [*users, *others.get_column("user_id")]
        if len(users) >= MANY:
            ranges = await self._ranges(connection)
            if self._quicker(ranges, len(users)):
                found = await self._of_many(connection, ranges, everybody)
                return History({name: counted(rows, others) for name, rows in found.items()})
        read = fetch if len(users) <= FEW else copy_out
        log = await read(
            connection,
            f"{_LOG} AND user_id = ANY($2::bigint[]) AND kind = ANY($3::text[])",
            self._brand_id,
            everybody,
            list(self._catalog.kinds),
            schema=LOG_SCHEMA,
        )
        log = counted(log.lazy(), others).collect() if len(others) else log
        # A table without rows is a pass over nothing for every fact about it, and most users have events of few kinds.
        kinds = log.get_column("kind").unique().sort().to_list()
        frames = await asyncio.to_thread(self._split, log, kinds)
        return History({name: frame.lazy() for name, frame in frames.items() if len(frame)})

    def _quicker(self, ranges: Sequence[Range], users: int) -> bool:
        """Whether to read all files takes less time than to look for the events of so many users in PostgreSQL."""
        sources = self._catalog.sources
        if not ranges or any(not self._exists(source, one) for source in sources for one in ranges):
            return False
        return sum(path.stat().st_size for one in ranges for path in self._files_of(one)) < users * BYTES_A_USER

    async def _of_many(
        self, connection: Connection, ranges: Sequence[Range], users: Sequence[int]
    ) -> dict[str, pl.LazyFrame]:
        """The events of users, from all files and, meanwhile, from PostgreSQL, what is in none yet."""
        mine = pl.col("user_id").is_in(pl.Series(users, dtype=pl.Int64).implode())
        scans = {s.name: scan.filter(mine) for s in self._catalog.sources for scan in _scan(self._of(s, ranges))}
        async with asyncio.TaskGroup() as both:
            sealed = both.create_task(asyncio.to_thread(pl.collect_all, list(scans.values())))
            new = "id > $2 AND user_id = ANY($3::bigint[])"
            tail = await self.read(connection, new, ranges[-1][1], list(users))
        parts = [dict(zip(scans, sealed.result(), strict=True)), tail]
        return {name: pl.concat([part[name] for part in parts if name in part]).lazy() for name in tail}

    async def read(
        self, connection: Connection, where: str, *args: object, kinds: Sequence[str] | None = None
    ) -> dict[str, pl.DataFrame]:
        """Events of the log as frames by table, sorted by user. ``where`` is SQL over ``event``, from ``$2`` on."""
        wanted = list(kinds if kinds is not None else self._catalog.kinds)
        log = await copy_out(
            connection,
            f"{_LOG} AND {where} AND kind = ANY(${len(args) + 2}::text[])",
            self._brand_id,
            *args,
            wanted,
            schema=LOG_SCHEMA,
        )
        return await asyncio.to_thread(self._split, log, wanted)

    def _split(self, log: pl.DataFrame, kinds: Sequence[str]) -> dict[str, pl.DataFrame]:
        log = log.sort("user_id", "at", "id")
        by_kind = {str(key[0]): rows for key, rows in log.partition_by("kind", as_dict=True).items()}
        frames: dict[str, pl.DataFrame] = {}
        for name in kinds:
            kind = self._catalog.kinds[name]
            nothing = {source.name: pl.DataFrame(schema=source.schema) for source in kind.sources}
            frames |= tables(kind, by_kind[name]) if name in by_kind else nothing
        return frames

    async def _ranges(self, connection: Connection) -> list[Range]:
        rows = await connection.fetch(
            "SELECT first_id, last_id FROM sealed_range WHERE brand_id = $1 ORDER BY first_id", self._brand_id
        )
        return [(row["first_id"], row["last_id"]) for row in rows]

    async def _seal(self, connection: Connection, after: int, up_to: int) -> list[Range]:
        """Write the files of all ranges in ``(after, up_to]``, and only then record them."""
        made: list[Range] = []
        while after < up_to:
            last = await connection.fetchval(_LAST, self._brand_id, after, up_to, RANGE_ROWS)
            if last is None:
                break
            await self._write(connection, (after + 1, last), self._catalog.sources)
            await connection.execute(_SEALED, self._brand_id, after + 1, last)
            made.append((after + 1, last))
            after = last
        return made

    async def _mend(self, connection: Connection, ranges: Sequence[Range]) -> None:
        for one in ranges:
            lost = [source for source in self._catalog.sources if not self._exists(source, one)]
            if lost:
                await self._write(connection, one, lost)

    async def _write(self, connection: Connection, one: Range, sources: Sequence[Source]) -> None:
        """The files of a range, which may have been merged of many."""
        pieces, after = [], one[0] - 1
        while after < one[1]:
            last = await connection.fetchval(_LAST, self._brand_id, after, one[1], RANGE_ROWS)
            pieces.append((after + 1, last if last is not None and last < one[1] else one[1]))
            after = pieces[-1][1]
        kinds = sorted({source.kind for source in sources})
        for piece in pieces:
            frames = await self.read(connection, "id BETWEEN $2 AND $3", *piece, kinds=kinds)
            await asyncio.to_thread(self._write_files, piece, {s.name: (s, frames[s.name]) for s in sources})
        if len(pieces) > 1:
            await asyncio.to_thread(self._merge, pieces, one, sources)

    def _write_files(self, one: Range, frames: Mapping[str, tuple[Source, pl.DataFrame]]) -> None:
        for source, frame in frames.values():
            path = self._path(source, one)
            path.parent.mkdir(parents=True, exist_ok=True)
            if frame.is_empty():
                path.with_suffix(".empty").touch()
            else:
                _save(frame, path)

    async def _merged(self, connection: Connection, ranges: list[Range]) -> list[Range]:
        """The ranges after those that have grown together are merged."""
        sizes = [sum(path.stat().st_size for path in self._files_of(one)) for one in ranges]
        start = _merge_from(sizes)
        if start is None:
            return ranges
        old, new = ranges[start:], (ranges[start][0], ranges[-1][1])
        await asyncio.to_thread(self._merge, old, new, self._catalog.sources)
        async with connection.transaction():
            await connection.execute(
                "DELETE FROM sealed_range WHERE brand_id = $1 AND first_id >= $2 AND last_id <= $3",
                self._brand_id,
                *new,
            )
            await connection.execute(_SEALED, self._brand_id, *new)
        return [*ranges[:start], new]

    def _merge(self, old: Sequence[Range], new: Range, sources: Sequence[Source]) -> None:
        """Write the files of ``new`` from those of ``old``, which lie side by side."""
        files = {source.name: self._of(source, old) for source in sources}
        edges = [*self._cuts(new, [each for each in files.values() if each]), MOST]
        for source in sources:
            mine = files[source.name]
            marker = self._path(source, new).with_suffix(".parts" if mine else ".empty")
            for path in _parts(marker):
                # Of a run that died before it had written all of them, and may have cut elsewhere.
                path.unlink()
            if mine:
                rows, user = pl.scan_parquet(mine), pl.col("user_id")
                for low, below in pairwise(edges):
                    part = rows.filter(user >= low, user < below).collect().sort(source.order)
                    _save(part, marker.with_suffix(f".{low:020d}.parquet"), len(part))
            marker.touch()
            for path in mine:
                os.utime(path)

    def _cuts(self, one: Range, tables: Sequence[Sequence[Path]]) -> list[int]:
        """Where the users of a range are cut: as they are for tables that lie there already, or so that the
        files of the largest of ``tables`` have as many rows each."""
        there = {low for source in self._catalog.sources for low in self._files(source, one)}
        if there:
            return sorted(there)
        every = min(EVERY, FILE_ROWS)
        sampled = pl.col("user_id").gather_every(every)
        samples = [pl.concat([pl.scan_parquet(path).select(sampled) for path in files]).collect() for files in tables]
        # Every so many of sorted ids are a fair sample of them.
        ids = max(samples, key=len, default=pl.DataFrame(schema={"user_id": pl.Int64})).to_series().sort()
        pieces = max(1, round(len(ids) * every / FILE_ROWS))
        return [0, *ids.gather([len(ids) * piece // pieces for piece in range(1, pieces)]).unique().sort()]

    def _clear(self, ranges: Sequence[Range]) -> None:
        """Remove what was merged, and what a run that died left behind, once nobody can be reading it."""
        names, now = {_name(one) for one in ranges}, time.time()
        for path in self.folder.glob("*/*"):
            if path.name.partition(".")[0] not in names and path.stat().st_mtime < now - KEPT_SECONDS:
                path.unlink()

    def _path(self, source: Source, one: Range) -> Path:
        shape = repr((LAYOUT, sorted(source.schema.items()), source.order))
        return self.folder / f"{source.name}-{hashlib.sha256(shape.encode()).hexdigest()[:8]}" / f"{_name(one)}.parquet"

    def _exists(self, source: Source, one: Range) -> bool:
        path = self._path(source, one)
        return path.exists() or path.with_suffix(".parts").exists() or path.with_suffix(".empty").exists()

    def _files(self, source: Source, one: Range) -> dict[int, Path]:
        """The files of a range, by the least user of each."""
        path = self._path(source, one)
        if path.exists():
            return {0: path}
        if not path.with_suffix(".parts").exists():
            return {}
        return {int(part.suffixes[-2][1:]): part for part in _parts(path)}

    def _of(self, source: Source, ranges: Sequence[Range]) -> list[Path]:
        return [path for one in ranges for path in self._files(source, one).values()]

    def _files_of(self, one: Range) -> list[Path]:
        return [path for source in self._catalog.sources for path in self._of(source, [one])]


def _name(one: Range) -> str:
    return f"{one[0]:020d}-{one[1]:020d}"


def _parts(path: Path) -> list[Path]:
    """The files of a merged range, in the order of their users."""
    return sorted(path.parent.glob(f"{path.stem}.*.parquet"))


def _save(frame: pl.DataFrame, path: Path, piece: int = GROUP_ROWS) -> None:
    half = path.with_suffix(f".{os.getpid()}.tmp")
    frame.write_parquet(half, compression="lz4", statistics=True, row_group_size=max(piece, 1))
    half.replace(path)


def _merge_from(sizes: Sequence[int]) -> int | None:
    """From which of the ranges on, by their sizes, all are to become one; each stays half of the one before it."""
    last = len(sizes) - 1
    if last < 1:
        return None
    if sum(sizes[1:]) * BEHIND > sizes[0]:
        return 0
    start, together = last, sizes[last]
    while start > 1 and sizes[start - 1] < 2 * together:
        start -= 1
        together += sizes[start]
    return start if start < last else None


def tables(kind: EventKind, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables of one kind from its rows of the log."""
    if kind.name == PROFILE_UPDATED:
        pairs = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))
        # An update that gives nothing keeps a row without a name: it still is an event of the user.
        attributes = rows.with_columns(pl.col("payload").str.json_decode(pairs)).explode("payload")
        table = attributes.select("user_id", "at", pl.col("payload").struct.unnest())
        return {kind.name: table.sort(kind.sources[0].order)}
    frames = {}
    for source in kind.sources:
        fields = _json_fields(source)
        table = rows
        if source.lines:
            lines = pl.Struct({source.lines: pl.List(pl.Struct(fields))})
            table = (
                rows.select(
                    "user_id",
                    "at",
                    pl.col("id").alias("event_id"),
                    pl.col("payload").str.json_decode(lines).struct.field(source.lines).alias("payload"),
                )
                .explode("payload")
                .drop_nulls("payload")
            )
        elif fields:
            table = rows.with_columns(pl.col("payload").str.json_decode(pl.Struct(fields)))
        fixed = [name for name in source.schema if not source.column(name)]
        frames[source.name] = table.select(*fixed, *(_column(column) for column in source.columns))
    return frames


def _json_fields(source: Source) -> dict[str, pl.DataType]:
    as_json: dict[str, pl.DataType] = {"money": pl.Float64(), "date": pl.String()}
    return {column.name: as_json.get(column.type, source.schema[column.name]) for column in source.columns}


def _column(column: Column) -> pl.Expr:
    value = pl.col("payload").struct.field(column.name)
    match column.type:
        case "money":
            # Two decimals in double precision; the nearest cent is exact up to 10^13.
            return (value * 100).round().cast(pl.Int64).alias(column.name)
        case "date":
            return value.str.to_date("%Y-%m-%d").alias(column.name)
    return value.alias(column.name)
