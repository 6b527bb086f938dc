"""Facts from rows in the order of users, as of a moment.

Of the rows that a filter leaves, all facts with that filter are made at once: counts are how long the runs of one user
are, sums differences of running totals, the latest value is that of the last row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, lru_cache, reduce
from operator import or_
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.events import PROFILE_UPDATED, Catalog, Source
from siyu.contract.facts import (
    DAY,
    Age,
    Attribute,
    Contains,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    EventFact,
    Fact,
    First,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    OneOf,
    Share,
    Test,
    Total,
    Values,
    Where,
    Within,
)
from siyu.engine.days import fixed_offset, window_start
from siyu.engine.finish import Finish, own_column, part_column, text_column
from siyu.engine.passes import adds_up, base, bounds, is_total_of_repeats, repeats
from siyu.engine.segments import Segments, aligned, merged

__all__ = ["MANY", "Reckoning"]

MANY = 10_000
"""Of so many rows it pays to look first what they have in common."""
RECENT = 100
"""Facts with windows of up to so many days share the rows of the longest of these windows; the others take all."""


def _parts_of(source: Source, rows: pl.DataFrame) -> Iterator[tuple[Any, pl.DataFrame]]:
    """The parts of a table in each of which users follow each other: one, or one for each attribute."""
    if source.order[0] == "user_id":
        yield None, rows
        return
    names = rows.get_column(source.order[0])
    start = names.null_count()
    if start:
        yield None, rows.head(start)
    while start < len(rows):
        end = int(names.search_sorted(names[start], side="right"))
        yield names[start], rows.slice(start, end - start)
        start = end


@dataclass
class _Parts:
    """What is asked of rows that have one flag in common, by name of the column that it gives."""

    columns: dict[str, None] = field(default_factory=dict)
    """What is looked at."""
    counts: dict[str, str | None] = field(default_factory=dict)
    """How many rows, or how many with a value in a column."""
    events: dict[str, None] = field(default_factory=dict)
    """Of lines, how many events they are of."""
    totals: dict[str, str] = field(default_factory=dict)
    extremes: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Of which column, and whether the greatest or the smallest."""
    moments: dict[str, bool] = field(default_factory=dict)
    """Whether the latest or the first."""


@dataclass
class _Recipe:
    """What is asked of the rows of a table."""

    since: pl.Expr | None
    """Which rows it is about."""
    flags: dict[str, pl.Expr] = field(default_factory=dict)
    parts: dict[str | None, _Parts] = field(default_factory=lambda: defaultdict(_Parts))
    """By the flag of the rows, None for all of them."""


class Reckoning:
    """The facts of users at a moment, by tables whose rows are in order and no later."""

    def __init__(
        self,
        catalog: Catalog,
        tables: Mapping[str, pl.DataFrame],
        at: datetime,
        zone: ZoneInfo,
        facts: tuple[Fact, ...],
    ) -> None:
        self.catalog = catalog
        self.tables = tables
        self.at, self.zone = at, zone
        self._facts = facts
        self._rows = sum(map(len, tables.values()))
        today, offset = at.astimezone(zone).date(), self._same_offset()
        self._finish = Finish(catalog, today, zone, offset)
        self._made = _made(facts, catalog, today, zone.key, offset)

    def facts(self, wanted: pl.Series | None, others: pl.Series | None = None) -> pl.DataFrame:
        """The facts of ``wanted`` users, or of whoever is in the tables and of ``others``; both are sorted."""
        whole = {source.name for source in self.catalog.sources if source.lines is None or wanted is not None}
        own = {
            (source.name, part): Segments(rows)
            for source in self.catalog.sources
            if source.name in self.tables
            for part, rows in _parts_of(source, self.tables[source.name])
        }
        known = [each.users for (name, _), each in own.items() if name in whole]
        users = merged([*known, *(each for each in (wanted, others) if each is not None)])
        # With whoever is missing between them, nobody has to be looked up.
        rows = pl.int_range(users[0], users[-1] + 1, eager=True).alias("user_id") if _dense(users) else users
        result = pl.DataFrame([rows, *self._passes(rows, own)])
        finished = self._finished(result.columns)
        once = self._once(result) if len(result) > MANY else {}
        result = result.select("user_id", *(once.get(each.meta.output_name(), each) for each in finished))
        mine = users if wanted is None else wanted
        return result if len(result) == len(mine) else result.filter(pl.col("user_id").is_in(mine.implode()))

    def _passes(self, users: pl.Series, own: Mapping[tuple[str, Any], Segments]) -> Iterator[pl.Series]:
        """The columns that facts are made of, a row for each of ``users``; ``own`` is by table and part of it."""
        shared: dict[tuple[Source, bool], list[EventFact]] = defaultdict(list)
        alone: dict[str, EventFact] = {}
        attributes: dict[str, None] = {}

        @cache
        def over(name: str, part: str | None = None) -> Segments:
            return own[name, part].over(users)

        for fact in base(self._facts):
            if isinstance(fact, Attribute | DaysUntil | Age):
                attributes[fact.attribute] = None
                continue
            assert isinstance(fact, EventFact)
            if adds_up(fact):
                for source in self.catalog.resolve(fact):
                    shared[source, 0 < (fact.days or 0) <= RECENT].append(fact)
                if not is_total_of_repeats(fact):
                    continue
            alone[own_column(fact)] = fact
        for (source, recent), group in shared.items():
            if (source.name, None) in own:
                key = source.name, recent
                if key not in self._made:
                    self._made[key] = self._recipe(source, group, recent)
                yield from _cooked(over(source.name), self._made[key])
        for name in attributes:
            if (PROFILE_UPDATED, name) in own:
                given = over(PROFILE_UPDATED, name)
                yield given.for_all(given.value("value", latest=True)).alias(text_column(name))
        for name, fact in alone.items():
            value = self._own_value(fact)
            if value is not None:
                places = aligned(users, value.get_column("user_id"))
                column = value.get_column("value").alias(name)
                yield column if places is None else column.gather(places)

    def _same_offset(self) -> timedelta | None:
        """How far the zone is from UTC, where that has not changed since the first event."""
        if self._rows < MANY:
            return None
        moments: list[Any] = [rows.get_column("at").min() for rows in self.tables.values() if len(rows)]
        first = min(moments)
        return fixed_offset(self.zone, first, self.at)

    def start(self, days: int) -> pl.Expr:
        """The first moment of a window: midnight, in the brand's zone, of the first of its days."""
        return _moment(window_start(self.at, self.zone, days))

    def _recipe(self, source: Source, facts: Sequence[EventFact], recent: bool) -> _Recipe:
        first = self.start(max(fact.days or 0 for fact in facts)) if recent else None
        recipe = _Recipe(None if first is None else pl.col("at") >= first)
        for fact in facts:
            self._add(fact, source, recipe)
        return recipe

    def _add(self, fact: EventFact, source: Source, recipe: _Recipe) -> None:
        """What a fact asks of the rows. Equal parts are one; :class:`Finish` puts them together."""

        def asked(where: Where) -> _Parts:
            return recipe.parts[self._flag(where, fact.days, source, recipe.flags)]

        def counted(part: str, where: Where) -> None:
            parts, name = asked(where), part_column(fact, part, source.name)
            if source.lines:
                parts.columns["event_id"] = None
                parts.events[name] = None
            else:
                parts.counts[name] = None

        parts = asked(fact.where)
        parts.columns |= dict.fromkeys(fact.fields)
        match fact:
            case Count() | Mentions():
                counted("n", fact.where)
            case Share():
                counted("n", fact.where)
                counted("of", (*fact.where, *fact.of))
            case Total() | Mean():
                parts.totals[part_column(fact, "sum", source.name)] = fact.field
                if isinstance(fact, Mean):
                    parts.counts[part_column(fact, "n", source.name)] = fact.field
            case Max() | Min():
                part = "max" if isinstance(fact, Max) else "min"
                parts.extremes[part_column(fact, part, source.name)] = fact.field, part == "max"
            case DaysSince() | DaysSinceFirst():
                latest = isinstance(fact, DaysSince)
                parts.columns["at"] = None
                parts.moments[part_column(fact, "max" if latest else "min", source.name)] = latest
            case _:
                raise TypeError(fact)

    def _flag(self, where: Where, days: int | None, source: Source, flags: dict[str, pl.Expr]) -> str | None:
        """The column that says whether a row counts; equal filters share one."""
        if not (where or days):
            return None
        name = f"?{where!r}{days}"
        if name not in flags:
            flags[name] = pl.all_horizontal(self._terms(where, days, source))
        return name

    def _terms(self, where: Where, days: int | None, source: Source) -> list[pl.Expr]:
        recent = [pl.col("at") >= self.start(days)] if days else []
        return [*recent, *(_test(source, field, test, *recent) for field, test in where)]

    def _own_value(self, fact: EventFact) -> pl.DataFrame | None:
        """The fact as sorted ``user_id`` and ``value``, or None where there are no rows to look at."""
        sources = [source for source in self.catalog.resolve(fact) if source.name in self.tables]
        if not sources:
            return None
        wanted = list(dict.fromkeys(["user_id", "at", *fact.fields, *(field for field, _ in fact.where)]))
        rows = pl.concat([self.tables[source.name].select(wanted) for source in sources])
        if len(sources) > 1:
            rows = rows.sort("user_id", "at")
        rows = rows.filter(pl.lit(True), *self._terms(fact.where, None, sources[0]))
        if is_total_of_repeats(fact):
            rows = self._first_days(rows)
        elif repeats(fact) and (fact.days or fact.fields):
            # Before the window is: the first day is the first of all.
            rows = rows.with_columns(Segments(rows).first("at").alias("?first"))
            rows = rows.filter(self._finish.day(pl.col("at")) > self._finish.day(pl.col("?first")))
        return self._reckoned(fact, rows.filter(pl.lit(True), *self._terms((), fact.days, sources[0])))

    def _first_days(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of each user's first day. Days are reckoned for the few rows that may be of it alone."""
        rows = rows.with_columns(Segments(rows).first("at").alias("?first"))
        near = rows.filter(pl.col("at") < pl.col("?first") + timedelta(hours=26))
        return near.filter(self._finish.day(pl.col("at")) == self._finish.day(pl.col("?first")))

    def _reckoned(self, fact: EventFact, rows: pl.DataFrame) -> pl.DataFrame:
        match fact:
            case First() | Last():
                segments = Segments(rows)
                value = segments.value(fact.field, latest=isinstance(fact, Last)).alias("value")
                return pl.DataFrame([segments.users, value])
            case Distinct() if fact.field == DAY:
                # Of all days, the first is no repeat.
                first = 1 if repeats(fact) and not fact.days else 0
                days = self._days(rows)
                return days.group_by("user_id", maintain_order=True).agg((pl.len() - first).alias("value"))
            case Distinct():
                different = rows.select("user_id", pl.col(fact.field).alias("value")).drop_nulls().unique()
                return different.group_by("user_id").agg(pl.len().alias("value")).sort("user_id")
            case Total():
                segments = Segments(rows)
                return pl.DataFrame([segments.users, segments.total(pl.col(fact.field).fill_null(0)).alias("value")])
            case Values():
                texts = rows.select("user_id", pl.col(fact.field).alias("value")).drop_nulls().unique()
                return texts.group_by("user_id").agg(pl.col("value").sort().str.join("\n")).sort("user_id")
            case Cycle():
                days = self._days(rows)
                gap = (pl.col("day") - pl.col("day").shift(1)).dt.total_days()
                gaps = days.with_columns(
                    pl.when(pl.col("user_id") == pl.col("user_id").shift(1)).then(gap).alias("gap")
                )
                median = gaps.group_by("user_id").agg(pl.col("gap").median().alias("value"), pl.len().alias("days"))
                return median.filter(pl.col("days") >= fact.least).sort("user_id")
        raise TypeError(fact)

    def _days(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Each day on which a user has a row, once: ``user_id`` and ``day``."""
        days = rows.select("user_id", self._finish.day(pl.col("at")).alias("day"))
        same = (pl.col("user_id") == pl.col("user_id").shift(1)) & (pl.col("day") == pl.col("day").shift(1))
        return days.filter(~same.fill_null(False))

    def _once(self, result: pl.DataFrame) -> dict[str, pl.Series]:
        """The facts that texts are read for, reckoned once for each text that occurs instead of for each user."""
        found: dict[str, pl.Series] = {}
        facts = [fact for fact in self._facts if isinstance(fact, Attribute | DaysUntil | Age) and _is_read(fact)]
        for name in {own_column(fact): None for fact in facts if own_column(fact) in result.columns}:
            texts = result.get_column(name)
            different = texts.drop_nulls().unique()
            if len(different) * 4 < len(texts):
                mine = [self._finish.value(fact, [name]).alias(fact.name) for fact in facts if own_column(fact) == name]
                # Behind them all stands what is said of those without.
                table = pl.concat([different, texts.clear(1)]).to_frame().select(mine)
                places = texts.cast(pl.Enum(different)).to_physical().cast(pl.UInt32).fill_null(len(different))
                found |= {column.name: column.gather(places) for column in table}
        return found

    def _finished(self, columns: Sequence[str]) -> list[pl.Expr]:
        """The facts from the columns that the passes gave."""
        key = tuple(columns)
        if key not in self._made:
            self._made[key] = [self._finish.value(fact, columns).alias(fact.name) for fact in self._facts]
        found: list[pl.Expr] = self._made[key]
        return found


def _dense(users: pl.Series) -> bool:
    """Whether few are missing between the first and the last of sorted ids."""
    return len(users) > 0 and bool(users[-1] - users[0] < 1.25 * len(users))


def _is_read(fact: Attribute | DaysUntil | Age) -> bool:
    """Whether texts stand for something else, or for themselves."""
    return not isinstance(fact, Attribute) or fact.type != "text"


@lru_cache(maxsize=64)
def _made(
    facts: tuple[Fact, ...], catalog: Catalog, today: date, zone: str, offset: timedelta | None
) -> dict[Any, Any]:
    """The expressions of facts on a day, as far as they were needed: for one user, to make them is most of the work."""
    return {}


@lru_cache(maxsize=256)
def _moment(at: datetime) -> pl.Expr:
    """A moment to compare with. To make one takes longer than to look at a user's events."""
    return pl.lit(at)


def _test(source: Source, field: str, test: Test, *recent: pl.Expr) -> pl.Expr:
    column = pl.col(field)
    match test:
        case OneOf(values):
            # A few comparisons take less time than a set.
            held = reduce(or_, (column == each for each in values)) if len(values) <= 8 else column.is_in(list(values))
        case Contains():
            # To look into a text takes longer than to see how old it is.
            column = pl.when(*recent).then(column) if recent else column
            held = column.str.to_lowercase().str.contains_any(list(test.spellings))
        case Within():
            low, high = bounds(test, source, field)
            held = pl.lit(True)
            if low is not None:
                held &= column >= low
            if high is not None:
                held &= column <= high
    return held.fill_null(False)


def _cooked(segments: Segments, recipe: _Recipe) -> Iterator[pl.Series]:
    """What a recipe makes of the rows."""
    if recipe.since is not None:
        segments = segments.only(segments.rows.select(recipe.since).to_series())
    flags = segments.rows.select(**recipe.flags)
    for flag, parts in recipe.parts.items():
        some = segments if flag is None else segments.only(flags.get_column(flag), list(parts.columns))
        if parts.events:
            events = some.events()
            yield from (events.for_all(events.counts, without=0).alias(name) for name in parts.events)
        for name, column in parts.counts.items():
            counted = some if column is None else some.having(column)
            yield counted.for_all(counted.counts, without=0).alias(name)
        for name, column in parts.totals.items():
            yield some.for_all(some.total(pl.col(column).fill_null(0)), without=0).alias(name)
        for name, (column, greatest) in parts.extremes.items():
            yield some.for_all(some.extreme(pl.col(column), greatest)).alias(name)
        for name, latest in parts.moments.items():
            yield some.for_all(some.outermost("at", latest=latest)).alias(name)
