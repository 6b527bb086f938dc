"""From tables of events to one row of facts a user, as of a moment.

Facts that add up (counts, sums, newest moments) share passes: one over each table for all of them without a window,
one more over its recent rows for those with one. Their filters are flags made once and summed, not filters inside each
aggregate, so a long history is read once and the second pass is narrow. The others (the latest value, different values,
the user's rhythm) have a pass of their own over the few columns and rows that they need.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, reduce
from operator import add
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.conditions import Arithmetic, Expr, Lit
from siyu.contract.events import MOMENT, PROFILE_UPDATED, Catalog, Source
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
    Formula,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    OneOf,
    Score,
    Share,
    Test,
    Total,
    Values,
    Where,
    Within,
)
from siyu.engine.days import window_start
from siyu.engine.passes import DATE, INTEGER, MONEY, adds_up, base, bounds, cents, is_total_of_repeats, repeats

__all__ = ["Frames", "codes", "compute"]

Frames = Mapping[str, pl.LazyFrame]
"""By name of the table, with the columns of :attr:`siyu.contract.events.Source.schema`."""


def compute(
    facts: Sequence[Fact],
    catalog: Catalog,
    frames: Frames,
    at: datetime,
    zone: ZoneInfo,
    users: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The facts of every user with an event up to ``at`` (or of ``users``, a frame of ``user_id``).

    Returns ``user_id`` sorted, and one column a fact under the fact's name: Int64 for counts and days, Float64 for
    money, means and shares, the field's own type for values, an Enum for an attribute that lists its values. The time
    zone decides what a day is.
    """
    known = pl.col("at") <= _moment(at.astimezone(UTC))
    now = _Now(catalog, {name: frame.filter(known) for name, frame in frames.items()}, at, zone, tuple(facts))
    whole, others = now.passes(base(facts))
    if users is None:
        # All users are in what reads a table whole, and in the tables that nothing does.
        unread = {source.name for source in catalog.sources if source.lines is None} - whole.keys()
        whole |= {name: now.frames[name].group_by("user_id").agg() for name in sorted(unread) if name in frames}
    collected = pl.collect_all([*whole.values(), *others])
    if users is None:
        ids = [frame.get_column("user_id") for frame in collected[: len(whole)]] or [pl.Series("user_id", [], pl.Int64)]
        users = pl.DataFrame({"user_id": ids[0] if len(ids) == 1 else pl.concat(ids).unique()})
    result = users.select(pl.col("user_id").cast(pl.Int64).sort())
    for frame in collected:
        if frame.width > 1:
            # Sorted on both sides, they are laid beside each other in half the time.
            result = result.join(frame.sort("user_id"), on="user_id", how="left", maintain_order="left")
    finished = result.lazy().select("user_id", *now.finished(facts, result.columns)).collect()
    # Polars 2.1 panics where texts are put together of columns that lie in several pieces.
    return finished.rechunk()


class _Now:
    """A moment, and the tables as they stood."""

    def __init__(self, catalog: Catalog, frames: Frames, at: datetime, zone: ZoneInfo, facts: tuple[Fact, ...]) -> None:
        self.catalog = catalog
        self.frames = frames
        self.at, self.zone = at, zone
        self.today = at.astimezone(zone).date()
        self._made = _made(facts, catalog, self.today, zone.key)

    def passes(self, facts: Sequence[Fact]) -> tuple[dict[str, pl.LazyFrame], list[pl.LazyFrame]]:
        """The passes that the facts need: by table those that read it whole, and the others."""
        shared: dict[tuple[Source, bool], list[EventFact]] = defaultdict(list)
        own: dict[str, pl.LazyFrame | None] = {}
        for fact in facts:
            if isinstance(fact, EventFact) and adds_up(fact):
                for source in self.catalog.resolve(fact):
                    shared[source, fact.days is not None].append(fact)
                if not is_total_of_repeats(fact):
                    continue
            # Of an attribute, the text is what several facts read.
            if _own(fact) not in own:
                own[_own(fact)] = self._own_pass(fact)
        whole: dict[str, pl.LazyFrame] = {}
        others = [each for each in own.values() if each is not None]
        for (source, recent), group in sorted(shared.items(), key=lambda item: (item[0][0].name, item[0][1])):
            if source.name in self.frames:
                table = self.frames[source.name]
                if recent:
                    table = table.filter(pl.col("at") >= self.start(max(fact.days or 0 for fact in group)))
                if (source.name, recent) not in self._made:
                    self._made[source.name, recent] = self._aggregates(source, group)
                flags, aggregates = self._made[source.name, recent]
                added_up = table.with_columns(**flags).group_by("user_id").agg(**aggregates)
                if recent:
                    others.append(added_up)
                else:
                    whole[source.name] = added_up
        return whole, others

    def start(self, days: int) -> pl.Expr:
        """The first moment of a window: midnight, in the brand's zone, of the first of its days."""
        return _moment(window_start(self.at, self.zone, days))

    def day(self) -> pl.Expr:
        """The calendar day of an event."""
        return pl.col("at").dt.convert_time_zone(self.zone.key).dt.date()

    def _aggregates(self, source: Source, facts: Sequence[EventFact]) -> tuple[dict[str, pl.Expr], dict[str, pl.Expr]]:
        """The flags of a shared pass, and what it adds up."""
        flags: dict[str, pl.Expr] = {}
        aggregates: dict[str, pl.Expr] = {}
        for fact in facts:
            for part, expr in self._parts(fact, source, flags).items():
                aggregates[_column(fact, part, source.name)] = expr
        return flags, aggregates

    def _parts(self, fact: EventFact, source: Source, flags: dict[str, pl.Expr]) -> dict[str, pl.Expr]:
        """What is added up for a fact, by name of the part; :meth:`finish` puts the parts together."""
        flag = self._flag(fact.where, fact.days, source, flags)

        def counted(which: pl.Expr | None) -> pl.Expr:
            if source.lines:
                event = pl.col("event_id")
                return (event if which is None else event.filter(which)).n_unique()
            return pl.len() if which is None else which.sum()

        def only(value: pl.Expr) -> pl.Expr:
            return value if flag is None else pl.when(flag).then(value)

        match fact:
            case Count() | Mentions():
                return {"n": counted(flag)}
            case Share():
                of = self._flag((*fact.where, *fact.of), fact.days, source, flags)
                return {"n": counted(flag), "of": counted(of)}
            case Total():
                return {"sum": only(pl.col(fact.field)).sum()}
            case Mean():
                return {"sum": only(pl.col(fact.field)).sum(), "n": only(pl.col(fact.field)).count()}
            case Max():
                return {"max": only(pl.col(fact.field)).max()}
            case Min():
                return {"min": only(pl.col(fact.field)).min()}
            case DaysSince():
                return {"max": only(pl.col("at")).max()}
            case DaysSinceFirst():
                return {"min": only(pl.col("at")).min()}
        raise TypeError(fact)

    def _flag(self, where: Where, days: int | None, source: Source, flags: dict[str, pl.Expr]) -> pl.Expr | None:
        """The column that says whether a row counts; equal filters share one."""
        if not (where or days):
            return None
        name = f"?{where!r}{days}"
        if name not in flags:
            flags[name] = pl.all_horizontal(self._terms(where, days, source))
        return pl.col(name)

    def _terms(self, where: Where, days: int | None, source: Source) -> list[pl.Expr]:
        terms = [_test(source, field, test) for field, test in where]
        if days:
            terms.append(pl.col("at") >= self.start(days))
        return terms

    def _own_pass(self, fact: Fact) -> pl.LazyFrame | None:
        """The fact as ``user_id`` and its column, or None where there are no rows to look at."""
        sources = [source for source in self.catalog.resolve(fact) if source.name in self.frames]
        if not sources:
            return None
        match fact:
            case Attribute(attribute) | DaysUntil(attribute) | Age(attribute):
                table = self.frames[PROFILE_UPDATED].filter(pl.col("name") == attribute)
                value = _outermost(table, pl.col("value"), latest=True)
            case EventFact():
                wanted = ["user_id", "at", *fact.fields, *(field for field, _ in fact.where)]
                table = pl.concat([self.frames[source.name].select(list(dict.fromkeys(wanted))) for source in sources])
                table = table.filter(pl.lit(True), *self._terms(fact.where, None, sources[0]))
                if is_total_of_repeats(fact):
                    table = self._first_days(table)
                elif repeats(fact) and (fact.days or fact.fields):
                    # Before the window is: the first day is the first of all.
                    table = table.filter(self.day() > self.day().min().over("user_id"))
                table = table.filter(pl.lit(True), *self._terms((), fact.days, sources[0]))
                value = self._own_value(fact, table)
            case _:
                raise TypeError(fact)
        return value.select("user_id", pl.col("value").alias(_own(fact)))

    def _first_days(self, table: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of each user's first day. Days are reckoned for the few rows that may be of it alone."""
        first = pl.col("at").min().over("user_id")
        near = table.with_columns(first.alias("?first")).filter(pl.col("at") < pl.col("?first") + timedelta(hours=26))
        return near.filter(self.day() == pl.col("?first").dt.convert_time_zone(self.zone.key).dt.date())

    def _own_value(self, fact: EventFact, table: pl.LazyFrame) -> pl.LazyFrame:
        match fact:
            case First() | Last():
                return _outermost(table, pl.col(fact.field), latest=isinstance(fact, Last))
            case Distinct():
                value = self.day() if fact.field == DAY else pl.col(fact.field)
                different = table.select("user_id", value.alias("value")).drop_nulls().group_by("user_id")
                # Of all days, the first is no repeat.
                first = 1 if repeats(fact) and not (fact.days or fact.fields) else 0
                return different.agg(pl.col("value").n_unique() - first)
            case Total():
                return table.group_by("user_id").agg(pl.col(fact.field).sum().alias("value"))
            case Values():
                texts = table.select("user_id", pl.col(fact.field).alias("value")).drop_nulls().unique()
                return texts.group_by("user_id").agg(pl.col("value").sort().str.join("\n"))
            case Cycle():
                days = table.select("user_id", self.day().alias("day")).unique().sort("user_id", "day")
                gaps = days.with_columns((pl.col("day").diff().over("user_id")).dt.total_days().alias("gap"))
                median = gaps.group_by("user_id").agg(pl.col("gap").median().alias("value"), pl.len().alias("days"))
                return median.filter(pl.col("days") >= fact.least)
        raise TypeError(fact)

    def finished(self, facts: Sequence[Fact], columns: Sequence[str]) -> list[pl.Expr]:
        """The facts from the columns that the passes gave."""
        key = tuple(columns)
        if key not in self._made:
            self._made[key] = [self.finish(fact, columns).alias(fact.name) for fact in facts]
        found: list[pl.Expr] = self._made[key]
        return found

    def finish(self, fact: Fact, columns: Sequence[str]) -> pl.Expr:
        """The value of the fact from its parts; tables without rows have none."""
        sources = self.catalog.resolve(fact)

        def parts(name: str) -> list[pl.Expr]:
            wanted = (_column(fact, name, source.name) for source in sources)
            return [pl.col(column) for column in wanted if column in columns]

        def added(name: str) -> pl.Expr:
            found = parts(name)
            return pl.sum_horizontal(*found).cast(pl.Int64) if found else pl.lit(0, pl.Int64)

        own = pl.col(_own(fact)) if _own(fact) in columns else None
        match fact:
            case Attribute():
                return _attribute(fact, own)
            case DaysUntil():
                return self._until(fact, own)
            case Age():
                return self._age(fact, own)
            case Formula():
                return self._formula(fact.expr, columns)
            case Score(of, cuts, reverse):
                value = self.finish(of, columns)
                passed = [value <= cut if reverse else value > cut for cut in cuts]
                return 1 + reduce(add, (each.cast(pl.Int64) for each in passed))
            case Count() | Mentions():
                return added("n")
            case Distinct():
                return pl.lit(0, pl.Int64) if own is None else own.fill_null(0).cast(pl.Int64)
            case Share():
                return pl.when(added("n") > 0).then(added("of") / added("n"))
            case Total():
                total = added("sum") if adds_up(fact) else pl.lit(0, pl.Int64) if own is None else own.fill_null(0)
                if is_total_of_repeats(fact) and own is not None:
                    total = total - own.fill_null(0)
                return self._unit(fact, total)
            case Mean():
                # One division, correctly rounded, whatever the unit.
                unit = 100 if cents(fact, self.catalog) else 1
                return pl.when(added("n") > 0).then(added("sum") / (added("n") * unit))
            case Max() | Min():
                found = parts("max" if isinstance(fact, Max) else "min")
                return self._unit(fact, found[0] if found else pl.lit(None, pl.Int64))
            case First() | Last():
                dtype = sources[0].schema[fact.field]
                return self._unit(fact, pl.lit(None, dtype) if own is None else own)
            case Cycle():
                return pl.lit(None, pl.Float64) if own is None else own
            case Values():
                return pl.lit(None, pl.String) if own is None else own
            case DaysSince() | DaysSinceFirst():
                latest = isinstance(fact, DaysSince)
                found = parts("max" if latest else "min")
                outermost = pl.max_horizontal if latest else pl.min_horizontal
                moment = outermost(*found) if found else pl.lit(None, MOMENT)
                return (pl.lit(self.today) - moment.dt.convert_time_zone(self.zone.key).dt.date()).dt.total_days()
        raise TypeError(fact)

    def _unit(self, fact: EventFact, value: pl.Expr) -> pl.Expr:
        """Cents become the currency's unit in one division: comparisons with literals stay exact."""
        return _divide(value, 100.0) if cents(fact, self.catalog) else value

    def _formula(self, expr: Expr, columns: Sequence[str]) -> pl.Expr:
        match expr:
            case Fact():
                return self.finish(expr, columns).cast(pl.Float64)
            case Lit(number):
                return pl.lit(number, pl.Float64)
            case Arithmetic(op, left, right):
                a, b = self._formula(left, columns), self._formula(right, columns)
                value = {"+": a + b, "-": a - b, "*": a * b, "/": _divide(a, b)}[op]
                return pl.when(value.is_finite()).then(value)
        raise TypeError(expr)

    def _until(self, fact: DaysUntil, text: pl.Expr | None) -> pl.Expr:
        day = _date(text)
        if fact.yearly:
            # Of 366 days each is reckoned once.
            until = pl.Series([self._until_next(month, number) for month in range(13) for number in range(32)])
            return pl.lit(until.cast(pl.Int64)).gather(day.dt.month().cast(pl.Int64) * 32 + day.dt.day())
        return (day - pl.lit(self.today)).dt.total_days()

    def _until_next(self, month: int, day: int) -> int | None:
        """Days until the next such day of a year, or the last of February where the year has no 29th."""
        if not month or not 1 <= day <= calendar.monthrange(2000, month)[1]:
            return None
        years = (self.today.year, self.today.year + 1)
        found = (date(year, month, min(day, calendar.monthrange(year, month)[1])) for year in years)
        return next((each - self.today).days for each in found if each >= self.today)

    def _age(self, fact: Age, text: pl.Expr | None) -> pl.Expr:
        day, today = _date(text), self.today
        last = calendar.monthrange(today.year, today.month)[1]
        full = pl.min_horizontal(day.dt.day().cast(pl.Int64), pl.lit(last, pl.Int64)) <= today.day
        months = (today.year - day.dt.year()).cast(pl.Int64) * 12 + (today.month - day.dt.month().cast(pl.Int64))
        months = pl.when(day.is_not_null()).then(months - pl.when(full).then(0).otherwise(1))
        return months.floordiv(12) if fact.unit == "years" else months


@lru_cache(maxsize=64)
def _made(facts: tuple[Fact, ...], catalog: Catalog, today: date, zone: str) -> dict[Any, Any]:
    """The expressions of facts on a day, as far as they were needed: for one user, to make them is most of the work."""
    return {}


@lru_cache(maxsize=256)
def _moment(at: datetime) -> pl.Expr:
    """A moment to compare with. To make one takes longer than to look at a user's events."""
    return pl.lit(at)


def _own(fact: Fact) -> str:
    """The column of a pass of its own."""
    return f"text of {fact.attribute}" if isinstance(fact, Attribute | DaysUntil | Age) else f"value of {fact.name}"


def _column(fact: Fact, part: str, source: str) -> str:
    """Of a part of a fact; a fact over a group of kinds has one a table."""
    return f"{part} of {fact.name} in {source}"


def _divide(value: pl.Expr, divisor: pl.Expr | float) -> pl.Expr:
    """Polars divides by a scalar by multiplying with its reciprocal, which is one bit off; by a column it divides."""
    return value / (value * 0 + divisor)


def _test(source: Source, field: str, test: Test) -> pl.Expr:
    column = pl.col(field)
    match test:
        case OneOf(values):
            held = column == values[0] if len(values) == 1 else column.is_in(list(values))
        case Contains():
            held = column.str.to_lowercase().str.contains_any(list(test.spellings))
        case Within():
            low, high = bounds(test, source, field)
            held = pl.lit(True)
            if low is not None:
                held &= column >= low
            if high is not None:
                held &= column <= high
    return held.fill_null(False)


def _outermost(table: pl.LazyFrame, value: pl.Expr, *, latest: bool) -> pl.LazyFrame:
    """The value at the user's latest (or first) moment. The order of arrival must not matter: of several values of
    one moment the greatest counts as the latest, the smallest as the first."""
    rows = table.select("user_id", "at", value.alias("value"))
    moment = pl.col("at").max() if latest else pl.col("at").min()
    ends = rows.group_by("user_id").agg(moment)
    picked = pl.col("value").max() if latest else pl.col("value").min()
    return rows.join(ends, on=["user_id", "at"]).group_by("user_id").agg(picked)


def codes(fact: Attribute) -> pl.Enum:
    """The type of an attribute that lists its values: rules look at whole numbers instead of texts."""
    return pl.Enum(sorted(fact.values))


def _attribute(fact: Attribute, text: pl.Expr | None) -> pl.Expr:
    value = pl.lit(None, pl.String) if text is None else text
    if fact.values:
        value = value.cast(codes(fact), strict=False)
    match fact.type:
        case "integer":
            value = pl.when(value.str.contains(INTEGER)).then(value).cast(pl.Int64)
            value = pl.when(value.abs() <= 2**53).then(value)
        case "money":
            value = pl.when(value.str.contains(MONEY)).then(value).cast(pl.Float64)
        case "flag":
            low = value.str.to_lowercase()
            value = (
                pl.when(low.is_in(["true", "1", "yes"])).then(True).when(low.is_in(["false", "0", "no"])).then(False)
            )
        case "date":
            value = _date(value)
    return value if fact.default is None else value.fill_null(fact.default)


def _date(text: pl.Expr | None) -> pl.Expr:
    """The date that a text like 2026-11-21 names; missing for whatever else, also what Polars would still read."""
    if text is None:
        return pl.lit(None, pl.Date)
    exact = pl.when(text.str.contains(DATE)).then(text)
    return exact.str.to_date("%Y-%m-%d", strict=False)
