"""From tables of events to one row of facts a user, as of a moment.

One pass over each table for all facts without a window, one more over its recent rows for those with one:
filters are flags made once and summed, not filters inside each aggregate. The table with the long history is then
read once, and the second pass is narrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.conditions import Scalar
from siyu.contract.events import MOMENT, Catalog
from siyu.contract.facts import Attribute, Count, DaysSince, DaysSinceFirst, EventFact, Fact, Total

__all__ = ["Frames", "compute"]

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
    money, String for attributes. The time zone decides what a day is.
    """
    today = at.astimezone(zone).date()
    at = at.astimezone(UTC)  # Polars compares moments of one time zone only
    passes: list[pl.LazyFrame] = []
    read: set[str] = set()
    for source, group in _by_table(facts, catalog).items():
        if source not in frames:
            continue
        table = frames[source].filter(pl.col("at") <= at)
        long = [fact for fact in group if not (isinstance(fact, EventFact) and fact.days)]
        short = [fact for fact in group if isinstance(fact, EventFact) and fact.days]
        if long:
            passes.append(_aggregate(source, table, long, today, zone))
            read.add(source)
        if short:
            since = _start(today, max(fact.days or 0 for fact in short), zone)
            passes.append(_aggregate(source, table.filter(pl.col("at") >= since), short, today, zone))
    if users is None:
        # Users known only from tables that no pass reads whole.
        unread = {s.name for s in catalog.sources if s.lines is None and s.name in frames} - read
        passes += [frames[name].filter(pl.col("at") <= at).group_by("user_id").agg() for name in sorted(unread)]
    collected = pl.collect_all(passes)
    if users is None:
        ids = [frame.get_column("user_id") for frame in collected] or [pl.Series("user_id", [], pl.Int64)]
        users = pl.DataFrame({"user_id": ids[0] if len(ids) == 1 else pl.concat(ids).unique()})
    result = users.select(pl.col("user_id").cast(pl.Int64).sort())
    for frame in collected:
        if frame.width > 1:
            result = result.join(frame, on="user_id", how="left", maintain_order="left")
    return result.select("user_id", *(_finish(fact, today, zone, catalog, result) for fact in facts))


def _by_table(facts: Sequence[Fact], catalog: Catalog) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        for source in catalog.resolve(fact):
            groups[source.name].append(fact)
    return groups


def _partial(fact: Fact, source: str) -> str:
    """The column with the share of one table in a fact; a fact over a group of kinds has several."""
    return f"{fact.name} of {source}"


def _start(today: date, days: int, zone: ZoneInfo) -> datetime:
    """The first moment of a window: midnight, in the brand's zone, of the first of its days."""
    return datetime.combine(today - timedelta(days=days - 1), time(), zone).astimezone(UTC)


def _aggregate(source: str, table: pl.LazyFrame, facts: Sequence[Fact], today: date, zone: ZoneInfo) -> pl.LazyFrame:
    lines = "event_id" in table.collect_schema()
    flags: dict[str, pl.Expr] = {}
    aggregates: dict[str, pl.Expr] = {}
    for fact in facts:
        flag = _flag(fact, today, zone, flags)
        match fact:
            case Attribute():
                # Order of arrival must not matter: of two values of one moment the greater one is the latest.
                value = pl.col("value").filter(pl.col("name") == fact.attribute)
                value = value.sort_by(
                    *(pl.col(by).filter(pl.col("name") == fact.attribute) for by in ("at", "value"))
                ).last()
            case Count() if lines:
                event = pl.col("event_id")
                value = (event if flag is None else event.filter(flag)).n_unique()
            case Count():
                value = pl.len() if flag is None else flag.sum()
            case Total():
                number = pl.col(fact.field)
                value = (number if flag is None else pl.when(flag).then(number)).sum()
            case DaysSince() | DaysSinceFirst():
                moment = pl.col("at") if flag is None else pl.when(flag).then(pl.col("at"))
                value = moment.max() if isinstance(fact, DaysSince) else moment.min()
            case _:
                raise TypeError(fact)
        aggregates[_partial(fact, source)] = value
    return table.with_columns(**flags).group_by("user_id").agg(**aggregates)


def _flag(fact: Fact, today: date, zone: ZoneInfo, flags: dict[str, pl.Expr]) -> pl.Expr | None:
    """The column that says whether a row counts for the fact; equal filters share one."""
    if not isinstance(fact, EventFact) or not (fact.where or fact.days):
        return None
    name = f"?{fact.where!r}{fact.days}"
    if name not in flags:
        terms = [_filter(field, values) for field, values in fact.where]
        if fact.days:
            terms.append(pl.col("at") >= _start(today, fact.days, zone))
        flags[name] = pl.all_horizontal(terms)
    return pl.col(name)


def _filter(field: str, values: tuple[Scalar, ...]) -> pl.Expr:
    column = pl.col(field)
    return (column == values[0] if len(values) == 1 else column.is_in(list(values))).fill_null(False)


def _finish(fact: Fact, today: date, zone: ZoneInfo, catalog: Catalog, result: pl.DataFrame) -> pl.Expr:
    """The value of the fact from the shares of its tables; tables without rows have none."""
    names = [_partial(fact, source.name) for source in catalog.resolve(fact)]
    parts = [pl.col(name) for name in names if name in result.columns]
    match fact:
        case Attribute():
            value = (parts or [pl.lit(None, pl.String)])[0]
            if fact.values:
                value = pl.when(value.is_in(list(fact.values))).then(value)
            if fact.default is not None:
                value = value.fill_null(fact.default)
        case Count():
            value = pl.sum_horizontal(*parts).cast(pl.Int64) if parts else pl.lit(0, pl.Int64)
        case Total():
            value = (parts or [pl.lit(0)])[0].fill_null(0).cast(pl.Int64)
            column = catalog.resolve(fact)[0].column(fact.field)
            if column is not None and column.type == "money":
                # One division, correctly rounded: comparisons with literals stay exact. By a column, as Polars
                # divides by a constant through its inverse.
                value = value / (value * 0 + 100)
        case DaysSince() | DaysSinceFirst():
            outermost = pl.max_horizontal if isinstance(fact, DaysSince) else pl.min_horizontal
            moment = outermost(*parts) if parts else pl.lit(None, MOMENT)
            value = (pl.lit(today) - moment.dt.convert_time_zone(zone.key).dt.date()).dt.total_days().cast(pl.Int64)
        case _:
            raise TypeError(fact)
    return value.alias(fact.name)
