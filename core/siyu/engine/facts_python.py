"""The facts of a few users, by loops over their rows.

A frame costs its setting out, a thousand steps of some microseconds, before it looks at the first row; until then all
rows of a few users have been looked at here. What is found is what :mod:`siyu.engine.facts` finds.
"""

from __future__ import annotations

import calendar
import math
import operator
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from siyu.contract.conditions import Arithmetic, Expr, Lit
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
    FirstKnown,
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
from siyu.engine.passes import DATE, INTEGER, MONEY, bounds, cents, repeats

__all__ = ["Facts", "compute_few"]

Facts: TypeAlias = dict[str, Any]
"""Of one user, by the names of the facts."""
Row: TypeAlias = Mapping[str, Any]
Value: TypeAlias = Callable[["_User"], Any]

# Python writes \Z where others write \z.
_INTEGER, _MONEY, _DATE = (re.compile(pattern.replace(r"\z", r"\Z")) for pattern in (INTEGER, MONEY, DATE))
_REAL: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def compute_few(
    facts: Sequence[Fact], catalog: Catalog, tables: Mapping[str, Iterable[Row]], at: datetime, zone: ZoneInfo
) -> dict[int, Facts]:
    """As :func:`siyu.engine.facts.compute`, by user; from rows by name of the table, in whatever order."""
    moment, users = at.astimezone(UTC), dict[int, dict[str, list[Row]]]()
    whole = {source.name for source in catalog.sources if source.lines is None}
    for name in sorted(tables, key=lambda name: name not in whole):
        for row in tables[name]:
            # Who has rows in a table of lines alone has no event.
            if row["at"] <= moment and (name in whole or row["user_id"] in users):
                users.setdefault(row["user_id"], {}).setdefault(name, []).append(row)
    plan = _plan(tuple(facts), catalog)
    starts = {days: window_start(at, zone, days) for days in plan.windows}
    today = at.astimezone(zone).date()
    return {user: plan.of(_User(users[user], plan.filters, starts, today, zone)) for user in sorted(users)}


class _Filter:
    """Which rows of a table count."""

    def __init__(self, source: Source, where: Where, days: int | None) -> None:
        self.table = source.name
        self.days = days
        self._tests = [(field, _test(source, field, test)) for field, test in where]

    def rows(self, rows: Sequence[Row], starts: Mapping[int, datetime]) -> Sequence[Row]:
        """Those of a user's rows that do."""
        if self.days:
            since = starts[self.days]
            rows = [row for row in rows if row["at"] >= since]
        for field, held in self._tests:
            rows = [row for row in rows if row[field] is not None and held(row[field])]
        return rows


def _test(source: Source, field: str, test: Test) -> Callable[[Any], bool]:
    match test:
        case OneOf(values):
            return frozenset(values).__contains__
        case Contains():
            spellings = test.spellings

            def contains(text: str) -> bool:
                low = text.lower()
                return any(each in low for each in spellings)

            return contains
        case Within():
            low, high = bounds(test, source, field)
            least, most = -math.inf if low is None else low, math.inf if high is None else high
            return lambda value: least <= value <= most


class _User:
    """What is known of a user at a moment."""

    def __init__(
        self,
        tables: Mapping[str, Sequence[Row]],
        filters: Sequence[_Filter],
        starts: Mapping[int, datetime],
        today: date,
        zone: ZoneInfo,
    ) -> None:
        self.hits = [each.rows(tables[each.table], starts) if each.table in tables else () for each in filters]
        self.starts, self.today, self.zone = starts, today, zone
        latest: dict[str, tuple[datetime, bool, str]] = {}
        for row in tables.get(PROFILE_UPDATED, ()):
            if row["name"] is not None:
                # Of several of one moment the greatest counts.
                given = row["at"], row["value"] is not None, row["value"] or ""
                latest[row["name"]] = max(given, latest.get(row["name"], given))
        self.texts = {name: value for name, (_, there, value) in latest.items() if there}

    def day(self, row: Row) -> date:
        """The calendar day of a row."""
        moment: datetime = row["at"]
        return moment.astimezone(self.zone).date()


class _Plan:
    """Facts, made ready for one user after another. Equal filters are one."""

    def __init__(self, facts: Sequence[Fact], catalog: Catalog) -> None:
        self._catalog = catalog
        self._numbers: dict[tuple[str, Where, int | None], int] = {}
        self.filters: list[_Filter] = []
        self.windows: set[int] = set()
        self._values = [(fact.name, self._value(fact)) for fact in facts]

    def of(self, user: _User) -> Facts:
        """The facts of a user."""
        return {name: value(user) for name, value in self._values}

    def _filter(self, source: Source, where: Where, days: int | None) -> int:
        key = source.name, where, days
        if key not in self._numbers:
            self._numbers[key] = len(self.filters)
            self.filters.append(_Filter(source, where, days))
        return self._numbers[key]

    def _value(self, fact: Fact) -> Value:
        match fact:
            case Attribute():
                return _attribute(fact)
            case DaysUntil() | Age():
                return _reckoned_from_date(fact)
            case Formula(expr):
                return self._formula(expr)
            case FirstKnown(of):
                return _first_known([self._plain(each) for each in of])
            case Score(of, cuts, reverse):
                return _score(self._value(of), cuts, reverse)
            case EventFact():
                return self._of_events(fact)
        raise TypeError(fact)

    def _formula(self, expr: Expr) -> Value:
        match expr:
            case Fact():
                value = self._value(expr)
                return lambda user: None if (found := value(user)) is None else float(found)
            case Lit(number):
                constant = float(number)  # type: ignore[arg-type]
                return lambda user: constant
            case Arithmetic(op, left, right):
                return _arithmetic(_REAL[op], self._formula(left), self._formula(right))
        raise TypeError(expr)

    def _plain(self, expr: Expr) -> Value:
        """The value in the one type that all of its kind can be of."""
        if expr.kind == "number":
            return self._formula(expr)
        if isinstance(expr, Lit):
            constant = expr.value
            return lambda user: constant
        assert isinstance(expr, Fact)
        return self._value(expr)

    def _of_events(self, fact: EventFact) -> Value:
        sources = self._catalog.resolve(fact)
        lines = sources[0].lines is not None
        days = None if repeats(fact) else fact.days
        if fact.days:
            self.windows.add(fact.days)

        def hits(where: Where) -> Callable[[_User], Sequence[Row]]:
            numbers = [self._filter(source, where, days) for source in sources]
            if len(numbers) == 1:
                [number] = numbers
                return lambda user: user.hits[number]
            return lambda user: list(chain.from_iterable(user.hits[number] for number in numbers))

        rows = hits(fact.where)
        if isinstance(fact, Share):
            of = hits((*fact.where, *fact.of))
            return lambda user: _events(of(user), lines) / n if (n := _events(rows(user), lines)) else None
        if isinstance(fact, Count | Mentions):
            return lambda user: _events(rows(user), lines)
        if repeats(fact):
            rows = _repeated(rows, fact.days)
        unit = 100 if cents(fact, self._catalog) else 1
        return _of_rows(fact, rows, fact.fields[0] if fact.fields else "", unit)


@lru_cache(maxsize=64)
def _plan(facts: tuple[Fact, ...], catalog: Catalog) -> _Plan:
    return _Plan(facts, catalog)


def _events(rows: Sequence[Row], lines: bool) -> int:
    return len({row["event_id"] for row in rows}) if lines else len(rows)


def _repeated(rows: Callable[[_User], Sequence[Row]], days: int | None) -> Callable[[_User], Sequence[Row]]:
    """All but the rows of the first day; a window opens after that has been found."""

    def later(user: _User) -> Sequence[Row]:
        dated = [(user.day(row), row) for row in rows(user)]
        first = min((day for day, _ in dated), default=None)
        return [row for day, row in dated if day != first and (not days or row["at"] >= user.starts[days])]

    return later


def _of_rows(fact: EventFact, rows: Callable[[_User], Sequence[Row]], field: str, unit: int) -> Value:
    """What the rows that count come to; of money in ``unit`` parts."""

    def found(user: _User) -> list[Any]:
        return [row[field] for row in rows(user) if row[field] is not None]

    def days(user: _User) -> list[date]:
        return sorted({user.day(row) for row in rows(user)})

    def in_unit(value: Any) -> Any:
        return value if unit == 1 or value is None else value / unit

    match fact:
        case Total():
            return lambda user: in_unit(sum(found(user)))
        case Mean():
            return lambda user: sum(values) / (len(values) * unit) if (values := found(user)) else None
        case Max():
            return lambda user: in_unit(max(found(user), default=None))
        case Min():
            return lambda user: in_unit(min(found(user), default=None))
        case Distinct():
            return lambda user: len(days(user) if fact.field == DAY else set(found(user)))
        case Values():
            return lambda user: "\n".join(sorted(set(values))) if (values := found(user)) else None
        case First() | Last():
            latest = isinstance(fact, Last)
            return lambda user: in_unit(_outermost(rows(user), field, max if latest else min))
        case Cycle():
            least = fact.least
            return lambda user: _rhythm(all_days) if len(all_days := days(user)) >= least else None
        case DaysSince() | DaysSinceFirst():
            end = max if isinstance(fact, DaysSince) else min
            return lambda user: (user.today - user.day(end(hits, key=_at))).days if (hits := rows(user)) else None
    raise TypeError(fact)


def _at(row: Row) -> Any:
    return row["at"]


def _outermost(rows: Sequence[Row], field: str, end: Callable[..., Any]) -> Any:
    """Of the first or last moment the smallest or greatest value."""
    moment = end(map(_at, rows), default=None)
    return end((row[field] for row in rows if row["at"] == moment and row[field] is not None), default=None)


def _rhythm(days: Sequence[date]) -> float:
    return float(statistics.median((after - before).days for before, after in pairwise(days)))


def _arithmetic(reckon: Callable[[float, float], float], left: Value, right: Value) -> Value:
    def value(user: _User) -> float | None:
        one, other = left(user), right(user)
        if one is None or other is None:
            return None
        try:
            found = reckon(one, other)
        except ZeroDivisionError:
            return None
        return found if math.isfinite(found) else None

    return value


def _first_known(of: Sequence[Value]) -> Value:
    def value(user: _User) -> Any:
        for each in of:
            if (found := each(user)) is not None:
                return found
        return None

    return value


def _score(of: Value, cuts: Sequence[float], reverse: bool) -> Value:
    def value(user: _User) -> int | None:
        number = of(user)
        if number is None:
            return None
        return 1 + len([cut for cut in cuts if (number <= cut if reverse else number > cut)])

    return value


def _attribute(fact: Attribute) -> Value:
    name, default, allowed = fact.attribute, fact.default, frozenset(fact.values)

    def value(user: _User) -> Any:
        text = user.texts.get(name)
        if text is None or (allowed and text not in allowed):
            return default
        found = text if fact.type == "text" else _READ[fact.type](text)
        return default if found is None else found

    return value


def _integer(text: str) -> int | None:
    number = int(text) if _INTEGER.match(text) else None
    return number if number is not None and abs(number) <= 2**53 else None


def _money(text: str) -> float | None:
    return float(text) if _MONEY.match(text) else None


def _flag(text: str) -> bool | None:
    return _FLAGS.get(text.lower())


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.match(text) else None
    except ValueError:
        return None


_READ: Mapping[str, Callable[[str], Any]] = {"integer": _integer, "money": _money, "flag": _flag, "date": _date}


def _reckoned_from_date(fact: DaysUntil | Age) -> Value:
    name = fact.attribute
    reckon: Callable[[date, date], int]
    if isinstance(fact, Age):
        reckon = _years if fact.unit == "years" else _months
    else:
        reckon = _until_next if fact.yearly else _until

    def value(user: _User) -> int | None:
        day = _date(user.texts.get(name, ""))
        return None if day is None else reckon(day, user.today)

    return value


def _months(day: date, today: date) -> int:
    full = min(day.day, calendar.monthrange(today.year, today.month)[1]) <= today.day
    return (today.year - day.year) * 12 + today.month - day.month - (not full)


def _years(day: date, today: date) -> int:
    return _months(day, today) // 12


def _until(day: date, today: date) -> int:
    return (day - today).days


def _until_next(day: date, today: date) -> int:
    return next((each - today).days for each in _anniversaries(day, today.year) if each >= today)


def _anniversaries(day: date, year: int) -> Iterator[date]:
    """This year's and the next, on the last of February where the year has no 29th."""
    for each in (year, year + 1):
        yield date(each, day.month, min(day.day, calendar.monthrange(each, day.month)[1]))
