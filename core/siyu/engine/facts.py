"""From tables of events to one row of facts a user, as of a moment.

Each table is read once, in the order of its users (:mod:`siyu.engine.reckoning`), a block of users on each core, so
that memory holds few rows at once, and those are near at hand. What has come since the tables were put in order is
short: the users whom it concerns are reckoned by themselves and laid over the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.events import Catalog
from siyu.contract.facts import EventFact, Fact, Share
from siyu.engine.passes import base
from siyu.engine.reckoning import Reckoning
from siyu.engine.segments import merged
from siyu.frames import written_over
from siyu.history import Block, Frames, History

__all__ = ["compute"]

Tables: TypeAlias = Mapping[str, pl.DataFrame]
"""Rows by name of the table."""
Range: TypeAlias = tuple[int, int]

TOGETHER = 1_000_000
"""So many rows of users of different blocks are reckoned with at once."""


def compute(
    facts: Sequence[Fact],
    catalog: Catalog,
    events: History | Frames,
    at: datetime,
    zone: ZoneInfo,
    users: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The facts of every user with an event up to ``at`` (or of ``users``, a frame of ``user_id``).

    Returns ``user_id`` sorted, and one column a fact under the fact's name: Int64 for counts and days, Float64 for
    money, means and shares, the field's own type for values, an Enum for an attribute that lists its values. The time
    zone decides what a day is.
    """
    wanted = None if users is None else users.select(pl.col("user_id").cast(pl.Int64).sort()).to_series()
    question = _Question(tuple(facts), catalog, at, zone, wanted)
    return question.answer(events if isinstance(events, History) else History(events))


@dataclass(frozen=True)
class _Question:
    """Which facts, at which moment, of which users; of all if none are ``wanted``."""

    facts: tuple[Fact, ...]
    catalog: Catalog
    at: datetime
    zone: ZoneInfo
    wanted: pl.Series | None

    def answer(self, history: History) -> pl.DataFrame:
        behind = self._read(history.behind)
        if not history.blocks:
            return self._of(behind, self.wanted)
        edges = history.ranges
        with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
            done = list(pool.map(lambda block, edge: self._block(block, edge, behind), history.blocks, edges))
            founds, boths = [found for found, _ in done], [both for _, both in done]
            if not any(boths):
                return pl.concat(founds)
            # Of all blocks at once: for the few users of one the number of steps is what takes time.
            every = _joined(boths)
            again = self._of(every, _users(every))
            return pl.concat(
                list(pool.map(lambda found, edge: written_over(found, _within(again, edge)), founds, edges))
            )

    def _block(self, block: Block, edge: Range, behind: Tables) -> tuple[pl.DataFrame, Tables]:
        """The facts of a block's users by the rows that are in order, and all rows of those who have others behind."""
        tables, newer = self._read(block.frames), {name: _within(rows, edge) for name, rows in behind.items()}
        mine = None if self.wanted is None else _within(self.wanted.to_frame(), edge).to_series()
        touched = _users(newer)
        # With those who are only in what is behind, so that there is a row to write them over.
        found = self._reckoned(tables, mine, touched)
        if mine is not None:
            touched = touched.filter(touched.is_in(mine.implode()))
        if touched.is_empty():
            return found, {}
        theirs = pl.col("user_id").is_in(touched.implode())
        both = _joined([{name: rows.filter(theirs) for name, rows in each.items()} for each in (tables, newer)])
        if sum(map(len, both.values())) > TOGETHER:
            return written_over(found, self._of(both, touched)), {}
        return found, both

    def _of(self, tables: Tables, users: pl.Series | None) -> pl.DataFrame:
        """The facts of users, or of all, by rows in whatever order. They are named where some may have no rows but in a
        table of lines."""
        order = {source.name: source.order for source in self.catalog.sources}
        return self._reckoned({name: rows.sort(order[name]) for name, rows in tables.items()}, users)

    def _reckoned(self, tables: Tables, users: pl.Series | None, others: pl.Series | None = None) -> pl.DataFrame:
        return Reckoning(self.catalog, tables, self.at, self.zone, self.facts).facts(users, others)

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        """By table, the columns that are looked at."""
        # Who has an event is in one of these.
        everybody = [source for source in self.catalog.sources if source.lines is None and self.wanted is None]
        found: dict[str, dict[str, None]] = {source.name: {} for source in everybody}
        for fact in base(self.facts):
            for source in self.catalog.resolve(fact):
                columns = found.setdefault(source.name, {})
                if isinstance(fact, EventFact):
                    filters = (*fact.where, *(fact.of if isinstance(fact, Share) else ()))
                    columns |= dict.fromkeys([*fact.fields, *(name for name, _ in filters)])
                else:
                    columns |= {"value": None}
        order = {source.name: source.order for source in self.catalog.sources}
        return {name: list(dict.fromkeys([*order[name], *columns])) for name, columns in found.items()}

    def _read(self, frames: Frames) -> Tables:
        """The tables that are looked at, now in memory, up to the moment."""
        names = [name for name in self._columns if name in frames]
        found = pl.collect_all([frames[name].select(self._columns[name]) for name in names])
        return {name: self._up_to(rows) for name, rows in zip(names, found, strict=True)}

    def _up_to(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows up to the moment, which most often are all; in one piece, or each look at two columns would bring
        the pieces together anew."""
        newest: Any = rows.get_column("at").max()
        if newest is not None and newest > self.at:
            rows = rows.filter(pl.col("at") <= self.at.astimezone(UTC))
        return rows.rechunk()


def _joined(several: Sequence[Tables]) -> Tables:
    """Tables with the rows of all of these."""
    names = dict.fromkeys(chain(*several))
    return {name: pl.concat([tables[name] for tables in several if name in tables]) for name in names}


def _users(tables: Tables) -> pl.Series:
    """Who has rows, sorted."""
    return merged([rows.get_column("user_id").unique().sort() for rows in tables.values() if len(rows)])


def _within(rows: pl.DataFrame, users: Range) -> pl.DataFrame:
    return rows.filter((pl.col("user_id") >= users[0]) & (pl.col("user_id") < users[1]))
