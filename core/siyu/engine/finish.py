"""From the columns that passes over the tables gave to the values of facts."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, reduce
from operator import add
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.conditions import Arithmetic, Expr, Lit
from siyu.contract.events import MOMENT, Catalog
from siyu.contract.facts import (
    Age,
    Attribute,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    EventFact,
    Fact,
    First,
    FirstKnown,
    Formula,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    Score,
    Share,
    Total,
    Values,
)
from siyu.engine.passes import DATE, INTEGER, MONEY, adds_up, cents, is_total_of_repeats

__all__ = ["Finish", "attribute", "codes", "own_column", "part_column", "text_column"]


class Finish:
    """What facts are on a day, as expressions over columns named by :func:`own_column` and :func:`part_column`.

    ``offset`` is how far the zone is from UTC, where that is the same for all moments that are looked at.
    """

    def __init__(self, catalog: Catalog, today: date, zone: ZoneInfo, offset: timedelta | None) -> None:
        self.catalog = catalog
        self.today, self.zone = today, zone
        self._offset = offset

    def day(self, moment: pl.Expr) -> pl.Expr:
        """The calendar day of a moment."""
        if self._offset is not None:
            return (moment.dt.replace_time_zone(None) + self._offset).dt.date()
        return moment.dt.convert_time_zone(self.zone.key).dt.date()

    def _days_since(self, moment: pl.Expr) -> pl.Expr:
        """Days from the day of a moment, which is not later, to today."""
        if self._offset is None:
            return (pl.lit(self.today) - self.day(moment)).dt.total_days()
        # From the last instant of today one division is enough.
        end = datetime.combine(self.today, time.max, UTC) - self._offset
        return (pl.lit(end) - moment).dt.total_days()

    def value(self, fact: Fact, columns: Sequence[str]) -> pl.Expr:
        """The value of the fact from its parts; tables without rows have none."""
        sources = self.catalog.resolve(fact)

        def parts(name: str) -> list[pl.Expr]:
            assert isinstance(fact, EventFact)
            wanted = (part_column(fact, name, source.name) for source in sources)
            return [pl.col(column) for column in wanted if column in columns]

        def added(name: str) -> pl.Expr:
            found = parts(name)
            return reduce(add, (each.cast(pl.Int64).fill_null(0) for each in found)) if found else pl.lit(0, pl.Int64)

        own = pl.col(own_column(fact)) if own_column(fact) in columns else None
        match fact:
            case Attribute():
                return attribute(fact, own)
            case DaysUntil():
                return self._until(fact, own)
            case Age():
                return self._age(fact, own)
            case Formula():
                return self._formula(fact.expr, columns)
            case FirstKnown(of):
                return pl.coalesce([self._plain(each, columns) for each in of])
            case Score(of, cuts, reverse):
                value = self.value(of, columns)
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
                return self._days_since(moment)
        raise TypeError(fact)

    def _unit(self, fact: EventFact, value: pl.Expr) -> pl.Expr:
        """Cents become the currency's unit in one division: comparisons with literals stay exact."""
        return _divide(value, 100.0) if cents(fact, self.catalog) else value

    def _formula(self, expr: Expr, columns: Sequence[str]) -> pl.Expr:
        match expr:
            case Fact():
                return self.value(expr, columns).cast(pl.Float64)
            case Lit(number):
                return pl.lit(number, pl.Float64)
            case Arithmetic(op, left, right):
                a, b = self._formula(left, columns), self._formula(right, columns)
                value = {"+": a + b, "-": a - b, "*": a * b, "/": _divide(a, b)}[op]
                return pl.when(value.is_finite()).then(value)
        raise TypeError(expr)

    def _plain(self, expr: Expr, columns: Sequence[str]) -> pl.Expr:
        """The value in the one type that all of its kind can be of."""
        match expr:
            case _ if expr.kind == "number":
                return self._formula(expr, columns)
            case Fact():
                value = self.value(expr, columns)
                return value.cast(pl.String) if expr.kind == "text" else value
            case Lit(constant):
                return pl.lit(constant)
        raise TypeError(expr)

    def _until(self, fact: DaysUntil, text: pl.Expr | None) -> pl.Expr:
        if text is None:
            return pl.lit(None, pl.Int64)
        day = _date(text)
        if fact.yearly:
            return pl.lit(_until_days(self.today)).gather(day.dt.month().cast(pl.Int64) * 32 + day.dt.day())
        return (day - pl.lit(self.today)).dt.total_days()

    def _age(self, fact: Age, text: pl.Expr | None) -> pl.Expr:
        day, today = _date(text), self.today
        last = calendar.monthrange(today.year, today.month)[1]
        full = pl.min_horizontal(day.dt.day().cast(pl.Int64), pl.lit(last, pl.Int64)) <= today.day
        months = (today.year - day.dt.year()).cast(pl.Int64) * 12 + (today.month - day.dt.month().cast(pl.Int64))
        months = pl.when(day.is_not_null()).then(months - pl.when(full).then(0).otherwise(1))
        return months.floordiv(12) if fact.unit == "years" else months


@lru_cache(maxsize=64)
def _until_days(today: date) -> pl.Series:
    """Days until each day of a year, at 32 times its month and its day."""
    days = (_until_next(today, month, day) for month in range(13) for day in range(32))
    return pl.Series(days, dtype=pl.Int64)


def _until_next(today: date, month: int, day: int) -> int | None:
    """Days until the next such day of a year, or the last of February where the year has no 29th."""
    if not month or not 1 <= day <= calendar.monthrange(2000, month)[1]:
        return None
    years = (today.year, today.year + 1)
    found = (date(year, month, min(day, calendar.monthrange(year, month)[1])) for year in years)
    return next((each - today).days for each in found if each >= today)


def own_column(fact: Fact) -> str:
    """The column of a pass of its own."""
    return text_column(fact.attribute) if isinstance(fact, Attribute | DaysUntil | Age) else f"value of {fact.name}"


def text_column(attribute: str) -> str:
    """The column of an attribute as it was given; several facts may read it."""
    return f"text of {attribute}"


def part_column(fact: EventFact, part: str, source: str) -> str:
    """Of a part of a fact; a fact over a group of kinds has one a table."""
    field = fact.field if isinstance(fact, Total | Mean | Max | Min) else ""
    # What a share is of, it counts.
    part, where = ("n", (*fact.where, *fact.of)) if part == "of" and isinstance(fact, Share) else (part, fact.where)
    return f"{part} of {field} in {source} where {where!r} days={fact.days}"


def _divide(value: pl.Expr, divisor: pl.Expr | float) -> pl.Expr:
    """Polars divides by a scalar by multiplying with its reciprocal, which is one bit off; by a column it divides."""
    return value / (value * 0 + divisor)


def codes(fact: Attribute) -> pl.Enum:
    """The type of an attribute that lists its values: rules look at whole numbers instead of texts."""
    return pl.Enum(sorted(fact.values))


def attribute(fact: Attribute, text: pl.Expr | None) -> pl.Expr:
    """What the text of an attribute stands for."""
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
