"""Facts in an engine that lies outside: what :mod:`siyu.engine.facts` does in Polars, said in Narwhals.

The engine adds up the events and finishes the facts on one row a user; nothing but that leaves it. What Narwhals has no
word for, the engine says in its own (:mod:`siyu.engine.dialects`). Polars keeps code of its own: for the small batches
that follow events, putting Narwhals into its words costs more than the work.

Columns have short names: engines make no difference between a ``Tag`` and a ``tag``, and some read a dot as a path.
"""

from __future__ import annotations

import calendar
import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import reduce
from zoneinfo import ZoneInfo

import narwhals as nw

from siyu.contract.conditions import Expr, Lit
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
)
from siyu.engine.compile import Frame, reckon
from siyu.engine.days import window_start
from siyu.engine.dialects import Dialect
from siyu.engine.passes import DATE, INTEGER, MONEY, adds_up, base, bounds, cents, repeats

__all__ = ["Tables", "facts_frame", "short_names"]

Tables = Mapping[str, Frame]
"""By name of the table, all of the catalog's, with columns under their :func:`short_names`."""

EPOCH = date(1970, 1, 1)
FALSE, TRUE = ["false", "0", "no"], ["true", "1", "yes"]


def short_names(source: Source) -> dict[str, str]:
    """What the columns of :attr:`siyu.contract.events.Source.schema` are called here, in their order."""
    fields = {column.name: f"c{number}" for number, column in enumerate(source.columns)}
    return {name: fields.get(name, name) for name in source.schema}


def _field(source: Source, name: str) -> nw.Expr:
    return nw.col(short_names(source)[name])


def facts_frame(
    facts: Sequence[Fact], catalog: Catalog, tables: Tables, at: datetime, zone: ZoneInfo, dialect: Dialect
) -> tuple[Frame, dict[str, str]]:
    """The facts of every user with an event up to ``at``, in no order; and the columns that they lie in, by name."""
    now = _Now(catalog, tables, at, zone, dialect)
    return now.finished(now.folded(base(facts)), facts)


@dataclass(frozen=True)
class _Part:
    """Something that is added up: the value of a row, how rows of one event make one, and how events do."""

    row: nw.Expr
    lines: str
    events: str


class _Now:
    """A moment, and the tables as they stood."""

    def __init__(self, catalog: Catalog, tables: Tables, at: datetime, zone: ZoneInfo, dialect: Dialect) -> None:
        self.catalog = catalog
        self.at, self.zone, self.dialect = at, zone, dialect
        self.today = at.astimezone(zone).date()
        self._all = tables
        self._names: dict[tuple[str, str, str], str] = {}
        self._flags: dict[str, str] = {}
        self._dates: dict[str, None] = {}

    def table(self, source: Source) -> Frame:
        """The rows up to the moment."""
        return self._all[source.name].filter(nw.col("at") <= self.at.astimezone(UTC))

    def column(self, part: str, fact: str, source: str = "") -> str:
        """Of a part of a fact; a fact over a group of kinds has one a table."""
        return self._names.setdefault((part, fact, source), f"p{len(self._names)}")

    # -- passes over the events ----------------------------------------------------------------------------------

    def folded(self, facts: Sequence[Fact]) -> Frame:
        """One row a user with all parts of the facts: the results of all passes, laid below each other and folded."""
        shared: dict[tuple[Source, bool], list[EventFact]] = defaultdict(list)
        passes: list[Frame] = []
        attributes: set[str] = set()
        for fact in facts:
            if isinstance(fact, Attribute | DaysUntil | Age):
                attributes.add(fact.attribute)
            elif not isinstance(fact, EventFact):
                raise TypeError(fact)
            elif adds_up(fact) and not repeats(fact):
                for source in self.catalog.resolve(fact):
                    shared[source, fact.days is not None].append(fact)
            else:
                passes.append(self._own_pass(fact))
        if attributes:
            passes.append(self._attributes(sorted(attributes)))
        for (source, recent), group in sorted(shared.items(), key=lambda item: (item[0][0].name, item[0][1])):
            passes.append(self._shared_pass(source, group, max(fact.days or 0 for fact in group) if recent else None))
        # Users known only from tables that no pass reads whole.
        read = {source.name for source, recent in shared if not recent}
        passes += [
            self.table(source).select("user_id").group_by("user_id").agg(seen=nw.len()).select("user_id")
            for source in self.catalog.sources
            if source.lines is None and source.name not in read
        ]
        stacked = nw.concat(passes, how="diagonal")
        parts = sorted(self._names.values())
        return stacked.group_by("user_id").agg(seen=nw.len(), **{name: nw.col(name).max() for name in parts})

    def _shared_pass(self, source: Source, facts: Sequence[EventFact], days: int | None) -> Frame:
        table = self.table(source)
        if days:
            table = table.filter(nw.col("at") >= window_start(self.at, self.zone, days))
        flags: dict[str, nw.Expr] = {}
        parts: dict[str, _Part] = {}
        for fact in facts:
            for name, part in self._parts(fact, source, flags).items():
                parts[self.column(name, fact.name, source.name)] = part
        rows = table.with_columns(**flags) if flags else table
        keys = ["user_id", "event_id"] if source.lines else ["user_id"]
        rows = rows.select(*keys, **{name: part.row for name, part in parts.items()})
        if source.lines:
            each = {name: getattr(nw.col(name), part.lines)() for name, part in parts.items()}
            rows = rows.group_by(*keys).agg(**each)
        return rows.group_by("user_id").agg(**{name: _added(nw.col(name), part.events) for name, part in parts.items()})

    def _parts(self, fact: EventFact, source: Source, flags: dict[str, nw.Expr]) -> dict[str, _Part]:
        """What is added up for a fact, by name of the part; :meth:`finished` puts the parts together."""
        flag = self._flag(fact.where, fact.days, source, flags)

        def only(value: nw.Expr, which: nw.Expr | None = flag) -> nw.Expr:
            return value if which is None else nw.when(which).then(value)

        def counted(which: nw.Expr | None) -> _Part:
            return _Part(nw.lit(1) if which is None else nw.when(which).then(1).otherwise(0), "max", "sum")

        match fact:
            case Count() | Mentions():
                return {"n": counted(flag)}
            case Share():
                of = self._flag((*fact.where, *fact.of), fact.days, source, flags)
                return {"n": counted(flag), "of": counted(of)}
            case Total():
                return {"sum": _Part(only(_field(source, fact.field)), "sum", "sum")}
            case Mean():
                value = only(_field(source, fact.field))
                there = nw.when(value.is_null()).then(0).otherwise(1)
                return {"sum": _Part(value, "sum", "sum"), "n": _Part(there, "sum", "sum")}
            case Max():
                return {"max": _Part(only(_field(source, fact.field)), "max", "max")}
            case Min():
                return {"min": _Part(only(_field(source, fact.field)), "min", "min")}
            case DaysSince():
                return {"max": _Part(only(nw.col("at")), "max", "max")}
            case DaysSinceFirst():
                return {"min": _Part(only(nw.col("at")), "min", "min")}
        raise TypeError(fact)

    def _flag(self, where: Where, days: int | None, source: Source, flags: dict[str, nw.Expr]) -> nw.Expr | None:
        """The column that says whether a row counts; equal filters share one."""
        terms = self._terms(where, days, source)
        if not terms:
            return None
        name = self._flags.setdefault(repr((where, days)), f"q{len(self._flags)}")
        flags[name] = reduce(operator.and_, terms)
        return nw.col(name)

    def _terms(self, where: Where, days: int | None, source: Source) -> list[nw.Expr]:
        terms = [_test(source, field, test) for field, test in where]
        if days:
            terms.append(nw.col("at") >= window_start(self.at, self.zone, days))
        return terms

    def _own_pass(self, fact: EventFact) -> Frame:
        """The fact as ``user_id`` and its part."""
        sources = self.catalog.resolve(fact)
        wanted = dict.fromkeys([*fact.fields, *(field for field, _ in fact.where)])
        columns = ["user_id", "at", *(short_names(sources[0])[name] for name in wanted)]
        table = nw.concat([self.table(source).select(*columns) for source in sources])
        if terms := self._terms(fact.where, None, sources[0]):
            table = table.filter(*terms)
        if repeats(fact) or not fact.fields:
            table = self.dialect.with_sql(table, day=self.dialect.day("at", self.zone.key))
        if repeats(fact):
            # Before the window is: the first day is the first of all.
            first = table.group_by("user_id").agg(first=nw.col("day").min())
            table = table.join(first, on="user_id", how="inner").filter(nw.col("day") > nw.col("first"))
        if terms := self._terms((), fact.days, sources[0]):
            table = table.filter(*terms)
        part = self.column("own", fact.name)
        match fact:
            case First() | Last():
                rows = table.select("user_id", "at", **{part: _field(sources[0], fact.field)})
                return _outermost(rows, ["user_id"], part, latest=isinstance(fact, Last))
            case Distinct():
                value = nw.col("day") if fact.field == DAY else _field(sources[0], fact.field)
                there = table.select("user_id", **{part: value}).filter(~nw.col(part).is_null())
                return there.group_by("user_id").agg(**{part: nw.col(part).n_unique().cast(nw.Int64)})
            case Total():
                return table.group_by("user_id").agg(**{part: _field(sources[0], fact.field).sum().cast(nw.Int64)})
            case Values():
                texts = table.select("user_id", **{part: _field(sources[0], fact.field)}).filter(
                    ~nw.col(part).is_null()
                )
                return self.dialect.lists(texts, "user_id", part)
            case Cycle():
                days = table.group_by("user_id", "day").agg(rows=nw.len())
                gaps = days.with_columns(gap=nw.col("day").diff().over("user_id", order_by="day"))
                rhythm = gaps.group_by("user_id").agg(days=nw.len(), **{part: nw.col("gap").median()})
                return rhythm.filter(nw.col("days") >= fact.least).select("user_id", part)
        raise TypeError(fact)

    def _attributes(self, names: Sequence[str]) -> Frame:
        """The latest values of attributes, all in one pass."""
        source = self.catalog.kinds[PROFILE_UPDATED].sources[0]
        name, value = _field(source, "name"), _field(source, "value")
        rows = self.table(source).filter(name.is_in(names)).select("user_id", "at", name=name, value=value)
        latest = _outermost(rows, ["user_id", "name"], "value", latest=True)
        parts = {self.column("text", name): nw.when(nw.col("name") == name).then(nw.col("value")) for name in names}
        return latest.select("user_id", **parts).group_by("user_id").agg(**{part: nw.col(part).max() for part in parts})

    # -- one row a user ------------------------------------------------------------------------------------------

    def finished(self, parts: Frame, facts: Sequence[Fact]) -> tuple[Frame, dict[str, str]]:
        """The facts from their parts, and the columns that they lie in."""
        simple = base(facts)
        inner = {fact.name: f"f{number}" for number, fact in enumerate(simple)}
        frame = self._translated(parts, simple)
        frame = frame.select("user_id", **{inner[fact.name]: self._value(fact) for fact in simple})
        columns = dict(inner)
        for fact in _derived(facts):
            column = columns.setdefault(fact.name, f"r{len(columns)}")
            if isinstance(fact, Formula):
                frame = reckon(frame, columns, {column: fact.expr})
            elif isinstance(fact, FirstKnown):
                frame = frame.with_columns(**{column: nw.coalesce(*(_plain(each, columns) for each in fact.of))})
            else:
                value = nw.col(columns[fact.of.name])
                passed = [value <= cut if fact.reverse else value > cut for cut in fact.cuts]
                frame = frame.with_columns(
                    **{column: reduce(operator.add, (each.cast(nw.Int64) for each in passed)) + 1}
                )
        columns = {fact.name: columns[fact.name] for fact in facts}
        return frame.select("user_id", *columns.values()), columns

    def _translated(self, frame: Frame, facts: Sequence[Fact]) -> Frame:
        """With the moments that facts look at as days, and the texts as what they stand for."""
        exact: dict[str, nw.Expr] = {}
        read: dict[str, str] = {}
        for fact in facts:
            match fact:
                case DaysSince() | DaysSinceFirst():
                    latest = isinstance(fact, DaysSince)
                    found = [
                        nw.col(self.column("max" if latest else "min", fact.name, source.name))
                        for source in self.catalog.resolve(fact)
                    ]
                    moment = self.column("moment", fact.name)
                    outermost = nw.max_horizontal if latest else nw.min_horizontal
                    exact[moment] = outermost(*found) if len(found) > 1 else found[0]  # Spark compares two or more
                    read[self.column("day", fact.name)] = self.dialect.day(moment, self.zone.key)
                case Attribute(attribute, type="integer" | "money" | "date" as kind):
                    self._read(attribute, kind, exact, read)
                case DaysUntil(attribute) | Age(attribute):
                    self._read(attribute, "date", exact, read)
        frame = frame.with_columns(**exact) if exact else frame
        frame = self.dialect.with_sql(frame, **read) if read else frame
        dates = {self.column("number", name): self.column("date", name) for name in self._dates}
        numbers = {number: self.dialect.number(name) for number, name in dates.items()}
        return self.dialect.with_sql(frame, **numbers) if numbers else frame

    def _read(self, attribute: str, kind: str, exact: dict[str, nw.Expr], read: dict[str, str]) -> None:
        """Read what is written exactly so; engines differ in what else they would read."""
        pattern, sql = {"integer": (INTEGER, "BIGINT"), "money": (MONEY, "DOUBLE"), "date": (DATE, "DATE")}[kind]
        text = nw.col(self.column("text", attribute))
        name = self.column(f"exact {kind}", attribute)
        exact[name] = nw.when(text.str.contains(pattern)).then(text)
        read[self.column(kind, attribute)] = f"TRY_CAST({name} AS {sql})"
        if kind == "date":
            self._dates[attribute] = None

    def _value(self, fact: Fact) -> nw.Expr:
        """The value of the fact from its parts."""
        name = fact.name
        match fact:
            case Attribute():
                return self._attribute(fact)
            case DaysUntil():
                return self._until(fact)
            case Age():
                return self._age(fact)
            case Distinct():
                return nw.col(self.column("own", name)).fill_null(0)
            case Total() if repeats(fact):
                return self._unit(fact, nw.col(self.column("own", name)).fill_null(0))
            case Count() | Mentions():
                return self._added(fact, "n")
            case Share():
                n = self._added(fact, "n")
                return nw.when(n > 0).then(self._added(fact, "of").cast(nw.Float64) / n.cast(nw.Float64))
            case Total():
                return self._unit(fact, self._added(fact, "sum"))
            case Mean():
                n = self._added(fact, "n") * (100 if cents(fact, self.catalog) else 1)
                return nw.when(n > 0).then(self._added(fact, "sum").cast(nw.Float64) / n.cast(nw.Float64))
            case Max() | Min():
                part = "max" if isinstance(fact, Max) else "min"
                return self._unit(fact, nw.col(self.column(part, name, self.catalog.resolve(fact)[0].name)))
            case First() | Last():
                return self._unit(fact, nw.col(self.column("own", name)))
            case Cycle():
                return nw.col(self.column("own", name)).cast(nw.Float64)
            case Values():
                return nw.col(self.column("own", name))
            case DaysSince() | DaysSinceFirst():
                return self._today - nw.col(self.column("day", name))
        raise TypeError(fact)

    def _added(self, fact: EventFact, part: str) -> nw.Expr:
        found = [nw.col(self.column(part, fact.name, source.name)) for source in self.catalog.resolve(fact)]
        return reduce(operator.add, (each.fill_null(0) for each in found))

    def _unit(self, fact: EventFact, value: nw.Expr) -> nw.Expr:
        """Cents become the currency's unit in one division: comparisons with literals stay exact."""
        return value.cast(nw.Float64) / 100.0 if cents(fact, self.catalog) else value

    def _attribute(self, fact: Attribute) -> nw.Expr:
        value = nw.col(self.column("text" if fact.type in ("text", "flag") else fact.type, fact.attribute))
        match fact.type:
            case "text" if fact.values:
                value = nw.when(value.is_in(fact.values)).then(value)
            case "integer":
                value = nw.when(value.abs() <= 2**53).then(value)
            case "money":
                value = nw.when(value.is_finite()).then(value)
            case "flag":
                low = value.str.to_lowercase()
                value = nw.when(low.is_in(TRUE)).then(nw.lit(True)).when(low.is_in(FALSE)).then(nw.lit(False))
        return value if fact.default is None else value.fill_null(fact.default)

    def _until(self, fact: DaysUntil) -> nw.Expr:
        day = nw.col(self.column("number", fact.attribute))
        if fact.yearly:
            given = nw.col(self.column("date", fact.attribute))
            this, following = (_anniversary(given, self.today.year + later) for later in (0, 1))
            day = nw.when(this >= self._today).then(this).otherwise(following)
        return day - self._today

    def _age(self, fact: Age) -> nw.Expr:
        given, today = nw.col(self.column("date", fact.attribute)), self.today
        last = calendar.monthrange(today.year, today.month)[1]
        months = (today.year - given.dt.year().cast(nw.Int64)) * 12 + (today.month - given.dt.month().cast(nw.Int64))
        if today.day < last:
            months = months - nw.when(given.dt.day() > today.day).then(1).otherwise(0)
        return (months // 12).cast(nw.Int64) if fact.unit == "years" else months

    @property
    def _today(self) -> int:
        return (self.today - EPOCH).days


def _added(column: nw.Expr, how: str) -> nw.Expr:
    match how:
        case "sum":
            return column.sum().cast(nw.Int64)
        case "max":
            return column.max()
    return column.min()


def _derived(facts: Sequence[Fact]) -> list[FirstKnown | Formula | Score]:
    """The facts that are made of others, each after those that it is made of."""
    found: dict[str, FirstKnown | Formula | Score] = {}
    for fact in facts:
        if isinstance(fact, FirstKnown | Formula | Score):
            found |= {each.name: each for each in _derived(fact.inner)}
            found[fact.name] = fact
    return list(found.values())


def _plain(expr: Expr, columns: Mapping[str, str]) -> nw.Expr:
    """The value in the one type that all of its kind can be of."""
    value = nw.lit(expr.value) if isinstance(expr, Lit) else nw.col(columns[repr(expr)])
    return value.cast(nw.Float64) if expr.kind == "number" else value


def _test(source: Source, field: str, test: Test) -> nw.Expr:
    column = _field(source, field)
    match test:
        case OneOf(values):
            return column == values[0] if len(values) == 1 else column.is_in(values)
        case Contains():
            # The one letter whose small form is two, and is not in DuckDB.
            low = column.str.replace_all("\u0130", "i\u0307", literal=True).str.to_lowercase()
            return reduce(operator.or_, (low.str.contains(word, literal=True) for word in test.spellings))
    low_bound, high_bound = bounds(test, source, field)
    terms = [column >= low_bound] if low_bound is not None else []
    return reduce(operator.and_, [*terms, column <= high_bound] if high_bound is not None else terms)


def _outermost(rows: Frame, keys: Sequence[str], value: str, *, latest: bool) -> Frame:
    """The value at the latest (or first) moment; of several of one moment the greatest (or smallest)."""
    moment = nw.col("at").max() if latest else nw.col("at").min()
    ends = rows.group_by(*keys).agg(at=moment)
    picked = nw.col(value).max() if latest else nw.col(value).min()
    return rows.join(ends, on=[*keys, "at"], how="inner").group_by(*keys).agg(**{value: picked})


def _anniversary(given: nw.Expr, year: int) -> nw.Expr:
    """As days since 1970; the day within the year is reckoned as almanacs do."""
    month, day = given.dt.month().cast(nw.Int64), given.dt.day().cast(nw.Int64)
    leap = calendar.isleap(year)
    if not leap:
        # Only 29 February has no such day in some years.
        day = nw.when((month == 2) & (day == 29)).then(28).otherwise(day)
    within = 275 * month // 9 - (month + 9) // 12 * (1 if leap else 2) + day - 30
    return (date(year, 1, 1) - EPOCH).days - 1 + within.cast(nw.Int64)
