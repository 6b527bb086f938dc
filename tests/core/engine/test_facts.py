"""Facts against a plain reading of the contract: loops over a list of events, one user at a time."""

from __future__ import annotations

import calendar
import itertools
import math
import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from siyu import (
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
    Expr,
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
    Within,
)
from siyu.contract.conditions import Arithmetic, Lit, lift
from siyu.contract.events import MOMENT, PROFILE_UPDATED, Catalog, Source
from siyu.contract.facts import EventFact, OneOf, Where
from siyu.contract.manager import PluginManager
from siyu.engine import facts as facts_module
from siyu.engine import reckoning
from siyu.engine.facts import compute
from siyu.engine.facts_python import compute_few
from siyu.flow.engines import opened
from siyu.history import Block, Frames, History
from siyu.store.lake import Stored

from tests.properties import examples

CATALOG: Catalog = PluginManager().catalog
INTERACTION = CATALOG.groups["interaction"]

# Zones with the middays around which days are awkward: clocks that skip midnight, repeat it, or move by half an hour.
PLACES = {
    "Asia/Shanghai": ["2026-11-21"],
    "America/New_York": ["2026-03-09", "2026-11-02"],
    "Pacific/Auckland": ["2026-04-06", "2026-09-28"],
    "America/Sao_Paulo": ["2017-10-16", "2018-02-18"],
    "America/Havana": ["2017-11-06"],
    "Australia/Lord_Howe": ["2026-04-06"],
    "UTC": ["2024-02-29"],
}


@dataclass(frozen=True)
class Event:
    id: int
    user: int
    kind: str
    at: datetime
    payload: Mapping[str, Any]


def frames_of(events: Sequence[Event], tables: Sequence[Source] | None = None) -> Frames:
    return {source.name: _frame(source, events) for source in (CATALOG.sources if tables is None else tables)}


def _frame(source: Source, events: Sequence[Event]) -> pl.LazyFrame:
    rows: list[dict[str, Any]] = []
    for event in (event for event in events if event.kind == source.kind):
        fixed = {"user_id": event.user, "at": event.at, "event_id": event.id}
        if source.kind == PROFILE_UPDATED:
            rows += [{**fixed, "name": name, "value": value} for name, value in event.payload.items()]
        elif source.lines:
            rows += [{**fixed, **line} for line in event.payload.get(source.lines, ())]
        else:
            rows.append({**fixed, **event.payload})
    names = [column.name for column in source.columns if column.type == "money"]
    cents = [{**row, **{n: int(row[n] * 100) for n in names if row.get(n) is not None}} for row in rows]
    table = [{name: row.get(name) for name in source.schema} for row in cents]
    return pl.LazyFrame(table, schema=source.schema, orient="row")


def expected(fact: Fact, user: int, events: Sequence[Event], at: datetime, zone: ZoneInfo) -> Any:
    """The value of a fact, as the contract words it."""
    mine = [event for event in events if event.user == user and event.at <= at]
    today = at.astimezone(zone).date()
    match fact:
        case Attribute(attribute):
            value = typed(fact.type, latest(attribute, mine))
            if fact.values and value not in fact.values:
                value = None
            return fact.default if value is None else value
        case DaysUntil(attribute):
            day = typed("date", latest(attribute, mine))
            if day is not None and fact.yearly:
                day = next(each for each in (today + timedelta(n) for n in range(366)) if celebrates(day, each))
            return None if day is None else (day - today).days
        case Age(attribute):
            day = typed("date", latest(attribute, mine))
            if day is None:
                return None
            months = max(n for n in range(-3000, 3000) if months_later(day, n) <= today)
            return months if fact.unit == "months" else math.floor(months / 12)
        case FirstKnown(of):
            given = (each.value if isinstance(each, Lit) else expected(each, user, events, at, zone) for each in of)  # type: ignore[arg-type]
            return next((each for each in given if each is not None), None)
        case Formula(expr):
            return reckoned(expr, user, events, at, zone)
        case Score(of, cuts, reverse):
            value = expected(of, user, events, at, zone)
            if value is None:
                return None
            below = sum(cut < value for cut in cuts)
            return len(cuts) - below + 1 if reverse else below + 1
    assert isinstance(fact, EventFact)
    kinds = INTERACTION if fact.event == "interaction" else [fact.event]
    asked = {name for name, _ in (*fact.where, *(fact.of if isinstance(fact, Share) else ()))} | set(fact.fields)
    hits: list[tuple[Event, Mapping[str, Any]]] = []
    for event in mine:
        if event.kind in kinds:
            in_lines = not asked <= {column.name for column in CATALOG.kinds[event.kind].sources[0].columns}
            rows = event.payload.get("items", ()) if in_lines else [event.payload]
            hits += [(event, row) for row in rows if passes(row, fact.where)]

    def day_of(event: Event) -> date:
        return event.at.astimezone(zone).date()

    if isinstance(fact, Total | Distinct) and fact.repeat:
        first = min((day_of(event) for event, _ in hits), default=None)
        hits = [(event, row) for event, row in hits if day_of(event) != first]
    if fact.days:
        hits = [(event, row) for event, row in hits if (today - day_of(event)).days < fact.days]
    days = sorted({day_of(event) for event, _ in hits})
    ids = {event.id for event, _ in hits}
    field = fact.fields[0] if fact.fields else ""
    found = [row[field] for _, row in hits if row.get(field) is not None]
    match fact:
        case Count() | Mentions():
            return len(ids)
        case Share():
            held = {event.id for event, row in hits if passes(row, fact.of)}
            return len(held) / len(ids) if ids else None
        case Total():
            return float(sum(found)) if field in MONEY else sum(found)
        case Mean():
            return float(Fraction(sum(found)) / len(found)) if found else None
        case Max() | Min():
            outermost = (max if isinstance(fact, Max) else min)(found, default=None)
            return float(outermost) if outermost is not None and field in MONEY else outermost
        case Distinct():
            return len(days) if fact.field == DAY else len(set(found))
        case Values():
            return "\n".join(sorted(set(found))) if found else None
        case First() | Last():
            ends = [event.at for event, _ in hits]
            end = (max if isinstance(fact, Last) else min)(ends, default=None)
            there = [row[field] for event, row in hits if event.at == end and row.get(field) is not None]
            value = (max if isinstance(fact, Last) else min)(there, default=None)
            return float(value) if value is not None and field in MONEY else value
        case Cycle():
            gaps = [(after - before).days for before, after in pairwise(days)]
            return statistics.median(gaps) if len(days) >= fact.least else None
        case DaysSince():
            return (today - days[-1]).days if days else None
        case DaysSinceFirst():
            return (today - days[0]).days if days else None
    raise AssertionError(fact)


def latest(attribute: str, mine: Sequence[Event]) -> str | None:
    """The text that an attribute has; of several of one moment the greatest."""
    given = [
        (event.at, event.payload[attribute] is not None, event.payload[attribute] or "")
        for event in mine
        if event.kind == PROFILE_UPDATED and attribute in event.payload
    ]
    return max(given)[2] if given and max(given)[1] else None


def typed(kind: str, text: str | None) -> Any:
    """What a text stands for."""
    if text is None or kind == "text":
        return text
    if kind == "flag":
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())
    if kind == "integer":
        exactly = re.fullmatch("[+-]?[0-9]+", text)
        return int(text) if exactly and abs(int(text)) <= 2**53 else None
    if kind == "money":
        exactly = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", text)
        return float(text) if exactly and abs(float(text)) < 10**15 else None
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def passes(row: Mapping[str, Any], where: Where) -> bool:
    """Whether a row fulfils every filter; what is not there fulfils none."""
    for name, test in where:
        value = row.get(name)
        if value is None:
            return False
        match test:
            case OneOf(values):
                held = value in values
            case Within(low, high):
                held = (low is None or value >= exact(low)) and (high is None or value <= exact(high))
            case Contains(words):
                held = any(folded(word) in folded(value) for word in words)
        if not held:
            return False
    return True


def folded(text: str) -> str:
    """Whatever its case; the sigma that ends a word is a sigma."""
    return text.lower().replace("ς", "σ")


def exact(bound: float) -> Decimal:
    return Decimal(str(bound))


def celebrates(born: date, day: date) -> bool:
    """Whether ``day`` is an anniversary."""
    if (born.month, born.day) == (2, 29) and not calendar.isleap(day.year):
        return (day.month, day.day) == (2, 28)
    return (born.month, born.day) == (day.month, day.day)


def months_later(day: date, months: int) -> date:
    """The same day some months on, or the last of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return date.max if year > 9999 else date.min
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def reckoned(expr: Expr, *rest: Any) -> float | None:
    """What arithmetic comes to."""
    match expr:
        case Fact():
            value = expected(expr, *rest)
            return None if value is None else float(value)
        case Lit(number):
            return float(number)  # type: ignore[arg-type]
        case Arithmetic(op, left, right):
            a, b = reckoned(left, *rest), reckoned(right, *rest)
            if a is None or b is None or (op == "/" and b == 0):
                return None
            result: float = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}[op](a, b)
            return result
    raise AssertionError(expr)


MONEY = ("amount", "discount")
names = st.sampled_from(["tea", "coffee", "", "茶"])
cents = st.integers(-(10**6), 10**6).map(lambda n: Decimal(n) / 100)
lines = st.fixed_dictionaries(
    {"category": st.none() | names, "quantity": st.integers(1, 3)}, optional={"amount": st.none() | cents}
)
orders = st.fixed_dictionaries(
    {"amount": cents},
    optional={
        "store": st.none() | names,
        "quantity": st.none() | st.integers(0, 5),
        "items": st.lists(lines, max_size=3),
    },
)
texts = st.sampled_from(
    [
        "",
        "tea",
        "茶",
        "Is there TEA?",
        "有奶粉吗",
        "Coffee or tea",
        "Ärger",
        "ΟΔΟΣ",
        "οδός Σ",
        "İstanbul",
        "Istanbul",
        "🫖",
    ]
)
dates = st.dates(date(2016, 1, 1), date(2027, 12, 31)) | st.sampled_from(
    [date(2024, 2, 29), date(2016, 2, 29), date(2026, 10, 31), date(2026, 8, 31), date(2017, 10, 15), date(1900, 3, 1)]
)
given_texts = st.one_of(
    names,
    dates.map(date.isoformat),
    st.sampled_from(["2026-2-3", "2026-02-30", "2025-02-29", " 2026-01-01", "2026-01-01 10:00", "20260101"]),
    st.integers(-5, 40).map(str),
    cents.map(str),
    st.sampled_from(["1.0", "nan", "inf", "-inf", "1e400", "true", "False", "YES", "no", "0", "1", "maybe"]),
    # What one engine or another would read as a number.
    st.sampled_from(
        ["1e3", "1_000", " 5", "5\n", "+5", "007", "5.", ".5", "0x1f", "1d", "１２", "9" * 17, "9007199254740993"]
    ),
)
profiles = st.dictionaries(st.sampled_from(["skin", "city"]), st.none() | given_texts, max_size=2)
payloads = st.one_of(
    orders.map(lambda p: ("order.paid", p)),
    orders.map(lambda p: ("order.paid", p)),
    profiles.map(lambda p: (PROFILE_UPDATED, p)),
    st.just(("article.opened", {})),
    st.just(("contact.removed", {})),
    names.map(lambda topic: ("article.opened", {"topic": topic})),
    texts.map(lambda text: ("group.message", {"text": text})),
)
offsets = st.one_of(
    # Whole days and hours hit midnight and the awkward hours; the odd second is just before and after.
    st.builds(timedelta, days=st.integers(-9, 1), hours=st.integers(-13, 13), seconds=st.integers(-1, 1)),
    st.builds(timedelta, minutes=st.integers(-60 * 24 * 40, 60 * 24)),
)
moments = st.sampled_from([(zone, day) for zone, days in PLACES.items() for day in days])
windows = st.none() | st.integers(1, 10)
bounds = st.integers(-3, 3) | st.sampled_from([0.1, 0.29, -0.07, 0.005, 1.1, 2.5, -(10.0**300), 10**15])
ranges = st.one_of(
    bounds.map(lambda low: Within(low)),
    bounds.map(lambda high: Within(high=high)),
    st.tuples(bounds, bounds).map(lambda pair: Within(min(pair), max(pair))),
)
some_words = st.lists(
    st.sampled_from(["tea", "TEA", "茶", "奶粉", "coffee", "ä", "Σ", "ος", "οσ", "İ", "ist"]), min_size=1, max_size=2
)
containing = some_words.map(lambda words: Contains(*words))
category = st.one_of(names, st.lists(names, min_size=1), containing)
# Filters on the event itself, on its lines, and on what both have (the event's counts); none.
filters: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {}, optional={"store": names | containing, "quantity": st.lists(st.integers(0, 3), min_size=1) | ranges}
    ),
    st.fixed_dictionaries({"category": category}, optional={"amount": ranges, "quantity": ranges | st.integers(0, 3)}),
    st.fixed_dictionaries({"amount": ranges}),
)
of_lines = st.fixed_dictionaries({}, optional={"category": category, "amount": ranges})
ORDERED = st.just("order.paid")


def some(*kinds: Callable[..., Fact]) -> st.SearchStrategy[Callable[..., Fact]]:
    return st.sampled_from(kinds)


simple = st.one_of(
    st.builds(lambda kind, *rest: kind(*rest), some(Count, Cycle), ORDERED, filters, windows),
    st.builds(lambda least, *rest: Cycle(*rest, least=least), st.integers(2, 4), ORDERED, filters, windows),
    st.builds(
        lambda kind, *rest: kind(*rest),
        some(Total, Mean, Max, Min),
        ORDERED,
        st.sampled_from(["amount", "quantity"]),
        filters,
        windows,
    ),
    st.builds(Distinct, ORDERED, st.sampled_from([DAY, "amount", "quantity"]), filters, windows),
    st.builds(Distinct, ORDERED, st.sampled_from([DAY, "category", "amount"]), of_lines, windows),
    st.builds(
        lambda kind, *rest: kind(*rest, repeat=True),
        some(Total, Distinct),
        ORDERED,
        st.sampled_from(["amount", "quantity"]),
        filters,
        windows,
    ),
    st.builds(lambda *rest: Distinct(*rest, repeat=True), ORDERED, st.just(DAY), filters, windows),
    st.builds(lambda kind, *rest: kind(*rest), some(DaysSince, DaysSinceFirst), ORDERED, filters),
    st.builds(
        lambda kind, field, *rest: kind("order.paid", field[0], *rest, kind=field[1]),
        some(First, Last),
        st.sampled_from([("category", "text"), ("amount", "number"), ("quantity", "number")]),
        of_lines,
        windows,
    ),
    st.builds(lambda kind, *rest: kind("order.paid", "store", *rest), some(First, Last), st.just({}), windows),
    st.builds(Values, ORDERED, st.just("category"), of_lines, windows),
    st.builds(Values, st.just("article.opened"), st.just("topic"), st.none(), windows),
    st.builds(Share, ORDERED, st.fixed_dictionaries({"store": names | containing}), st.just({}), windows),
    st.builds(Share, ORDERED, st.fixed_dictionaries({"category": category}), of_lines, windows),
    st.builds(Share, ORDERED, st.fixed_dictionaries({"amount": ranges}), filters, windows),
    st.builds(lambda words, days: Mentions("group.message", *words, days=days), some_words, windows),
    st.builds(lambda words, days: Mentions("article.opened", *words, field="topic", days=days), some_words, windows),
    st.builds(lambda kind: kind("interaction"), some(DaysSince, DaysSinceFirst, Cycle)),
    st.builds(Distinct, st.just("interaction"), st.just(DAY), st.none(), windows),
    st.builds(Count, st.sampled_from(["interaction", "article.opened", "group.message"]), st.none(), windows),
    st.builds(
        lambda attribute, kind: Attribute(attribute, type=kind),
        st.sampled_from(["skin", "city", "nobody"]),
        st.sampled_from(["text", "integer", "money", "flag", "date"]),
    ),
    st.builds(DaysUntil, st.sampled_from(["skin", "nobody"]), st.booleans()),
    st.builds(Age, st.sampled_from(["skin", "nobody"]), st.sampled_from(["years", "months"])),
    st.sampled_from(
        [
            Attribute("skin", values=["tea"]),
            Attribute("city", values=["tea", "茶"], default="茶"),
            Attribute("city", default="x"),
            Attribute("city", type="flag", default=False),
            Attribute("city", type="integer", default=7),
            Attribute("city", type="date", default=date(2026, 1, 1)),
        ]
    ),
)
numbers = simple.filter(lambda fact: fact.kind == "number")
formulas = st.recursive(
    numbers | st.sampled_from([0, 3, 0.1, 100]).map(lift),
    lambda inner: st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner),
    max_leaves=4,
)
named = formulas.filter(lambda expr: any(True for _ in expr.leaves())).map(Formula)
scores = st.builds(
    lambda of, cuts, reverse: Score(of, cuts, reverse=reverse),
    numbers | named,
    st.lists(st.sampled_from([0, 1, 2, 3, 0.5, 10, -4.25]), min_size=1, max_size=4),
    st.booleans(),
)
attributes = st.sampled_from(["skin", "city", "nobody"])


def first_known(of: st.SearchStrategy[Fact], literal: Any) -> st.SearchStrategy[Fact]:
    return st.builds(
        lambda of, last: FirstKnown(*of, *last), st.lists(of, min_size=2, max_size=3), st.sampled_from([[], [literal]])
    )


numbers_first = first_known(numbers | named | scores, 7)
firsts = st.one_of(
    numbers_first,
    first_known(simple.filter(lambda fact: fact.kind == "text"), "x"),
    first_known(attributes.map(lambda name: Attribute(name, type="flag")), False),
    first_known(attributes.map(lambda name: Attribute(name, type="date")), date(2026, 1, 1)),
)
facts = simple | named | scores | firsts | numbers_first.map(lambda fact: Score(fact, [1, 7]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Event], datetime, ZoneInfo]:
    name, day = draw(moments)
    zone = ZoneInfo(name)
    at = datetime.fromisoformat(day).replace(hour=12, tzinfo=zone).astimezone(UTC) + draw(
        st.sampled_from([timedelta(0), timedelta(hours=12), timedelta(hours=-12, microseconds=1)])
    )
    given = draw(st.lists(st.tuples(st.integers(1, 3), offsets, payloads), max_size=12))
    return (
        [Event(n, user, kind, at + offset, payload) for n, (user, offset, (kind, payload)) in enumerate(given, 1)],
        at,
        zone,
    )


@settings(max_examples=200, deadline=None)
@given(history=histories(), wanted=st.lists(facts, min_size=1, max_size=6), data=st.data())
def test_facts_are_what_the_contract_says(
    history: tuple[list[Event], datetime, ZoneInfo], wanted: list[Fact], data: st.DataObject
) -> None:
    events, at, zone = history
    wanted = list({fact.name: fact for fact in wanted}.values())
    arrived = data.draw(st.permutations(events))
    found = compute(wanted, CATALOG, frames_of(arrived), at, zone)
    seen = sorted({e.user for e in events if e.at <= at and (e.kind != PROFILE_UPDATED or e.payload)})
    assert found.get_column("user_id").to_list() == seen
    tables = {name: frame.collect().rows(named=True) for name, frame in frames_of(arrived).items()}
    few = compute_few(wanted, CATALOG, tables, at, zone)
    assert list(few) == seen
    for row in found.iter_rows(named=True):
        for fact in wanted:
            value = expected(fact, row["user_id"], events, at, zone)
            assert row[fact.name] == value, (fact, row["user_id"])
            # By their texts: of the same type, too.
            assert repr(few[row["user_id"]][fact.name]) == repr(row[fact.name]), (fact, row["user_id"], "by loops")


@settings(max_examples=100, deadline=None)
@given(
    history=histories(),
    wanted=st.lists(facts, min_size=1, max_size=6),
    chosen=st.none() | st.sets(st.integers(1, 5)),
    cuts=st.sets(st.integers(2, 70), max_size=4),
    together=st.integers(0, 9),
    many=st.sampled_from([1, 10_000]),
)
def test_what_came_since_the_tables_were_put_in_order_is_laid_over_them(
    history: tuple[list[Event], datetime, ZoneInfo],
    wanted: list[Fact],
    chosen: set[int] | None,
    cuts: set[int],
    together: int,
    many: int,
) -> None:
    events, at, zone = history
    wanted = list({fact.name: fact for fact in wanted}.values())
    users = None if chosen is None else pl.DataFrame({"user_id": pl.Series(sorted(chosen), dtype=pl.Int64)})
    crowd = [
        Event(100 + n, n, kind, at - timedelta(days=n), payload)
        for n in range(50, 80)
        for kind, payload in (("order.paid", {"items": [{"category": "tea"}]}), (PROFILE_UPDATED, {"skin": "oily"}))
    ]
    blocks = []
    for low, below in pairwise([0, *sorted(cuts), 100]):
        theirs = [event for event in [*events[:6], *crowd] if low <= event.user < below]
        frames = frames_of(theirs)
        blocks.append(Block(low, {s.name: frames[s.name].sort(s.order) for s in CATALOG.sources if s.name in frames}))
    laid = History(frames_of(events[6:]), blocks)
    others = compute(wanted, CATALOG, frames_of([*events, *crowd]), at, zone, users)
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(facts_module, "TOGETHER", together)
        patch.setattr(reckoning, "MANY", many)
        assert compute(wanted, CATALOG, laid, at, zone, users).equals(others)
        everybody = compute(wanted, CATALOG, frames_of([*events, *crowd]), at, zone)
        some = pl.Series("user_id", [1, 2, 55, 99])
        held = compute(wanted, CATALOG, laid.held(some), at, zone)
        assert held.equals(everybody.filter(pl.col("user_id").is_in(some.implode())))
        part = compute(wanted, CATALOG, laid.of((2, 60)), at, zone)
        assert part.equals(everybody.filter(pl.col("user_id").is_between(2, 59)))


def test_many_rows_are_reckoned_as_few_are() -> None:
    """What pays for many rows only: days by a fixed distance from UTC, texts looked at once each."""
    for zone in (ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")):
        events = [
            Event(
                n,
                n % 7919,
                PROFILE_UPDATED,
                NOON - timedelta(hours=n % 9000),
                {"day": f"19{n % 80 + 10}-0{n % 9 + 1}-28"},
            )
            for n in range(12_000)
        ] + [Event(n, n % 7919, "article.opened", NOON - timedelta(hours=5 * (n % 1900)), {}) for n in range(12_000)]
        wanted = [Age("day"), DaysUntil("day", yearly=True), Attribute("day", type="date"), DaysSince("article.opened")]
        wanted += [Distinct("article.opened", DAY), Attribute("skin", default="x"), Cycle("article.opened")]
        found = compute(wanted, CATALOG, frames_of(events), NOON, zone)
        some = [0, 1, 77, 4000, 7918]
        few = compute(wanted, CATALOG, frames_of([e for e in events if e.user in some]), NOON, zone)
        assert found.filter(pl.col("user_id").is_in(some)).equals(few)
        for row in few.iter_rows(named=True):
            for fact in wanted:
                assert row[fact.name] == expected(fact, row["user_id"], events, NOON, zone)


def test_a_total_is_exact_where_the_totals_of_all_go_past_the_largest_number() -> None:
    amount = 2**63 // 3 // 100
    events = [Event(n, n, "order.paid", NOON, {"amount": Decimal(amount)}) for n in range(1, 6)]
    frames = frames_of(events)
    assert compute([Total("order.paid", "amount")], CATALOG, frames, NOON, ZoneInfo("UTC")).rows() == [
        (n, float(amount)) for n in range(1, 6)
    ]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[Event], datetime, ZoneInfo]:
    """Many histories under one clock: an engine outside takes its time over each, however few they are."""
    name, day = draw(moments)
    at = datetime.fromisoformat(day).replace(hour=12, tzinfo=ZoneInfo(name)).astimezone(UTC)
    given = draw(st.lists(st.tuples(st.integers(1, 12), offsets, payloads), min_size=20, max_size=60))
    return (
        [Event(n, user, kind, at + offset, payload) for n, (user, offset, (kind, payload)) in enumerate(given, 1)],
        at,
        ZoneInfo(name),
    )


@pytest.mark.examples
def test_engines_outside_find_the_facts_that_the_contract_says(outside: str, tmp_path: Path) -> None:
    numbers = itertools.count()

    few = {"duckdb": examples(10), "spark": 5}[outside]

    @settings(max_examples=few, deadline=None, suppress_health_check=list(HealthCheck))
    @given(history=crowds(), wanted=st.lists(facts, min_size=10, max_size=30), sealed=st.integers(0, 60))
    def law(history: tuple[list[Event], datetime, ZoneInfo], wanted: list[Fact], sealed: int) -> None:
        events, at, zone = history
        wanted = list({fact.name: fact for fact in wanted}.values())
        stored = {}
        for source in CATALOG.sources:
            file = tmp_path / f"{next(numbers)}.parquet"
            files, tail = _frame(source, events[:sealed]).collect(), _frame(source, events[sealed:]).collect()
            files.write_parquet(file)
            if len(files) or len(tail):
                stored[source.name] = Stored({0: file} if len(files) else {}, [], tail)
        with opened(outside, CATALOG, stored, at, zone) as engine:
            found = engine.facts(wanted)
        assert found.schema == compute(wanted, CATALOG, frames_of(events), at, zone).schema
        seen = sorted({e.user for e in events if e.at <= at and (e.kind != PROFILE_UPDATED or e.payload)})
        assert found.get_column("user_id").to_list() == seen
        for row in found.iter_rows(named=True):
            for fact in wanted:
                assert row[fact.name] == expected(fact, row["user_id"], events, at, zone), (fact, row["user_id"])

    law()


def test_words_are_found_whatever_their_case_in_every_engine(outside: str) -> None:
    said = ["ΟΔΟΣ", "οδος", "οδοσ", "İstanbul", "i̇stanbul", "ISTANBUL", "ÄRGER", "茶 TEA", "\U0001fad6"]
    events = [Event(n, n, "group.message", NOON, {"text": text}) for n, text in enumerate(said, 1)]
    wanted = [Mentions("group.message", word) for word in ("ΟΣ", "οσ", "σ", "İ", "ist", "ä", "Tea", "茶", "\U0001fad6")]
    source = CATALOG.kinds["group.message"].sources[0]
    stored = {source.name: Stored({}, [], _frame(source, events).collect())}
    with opened(outside, CATALOG, stored, NOON, ZoneInfo("UTC")) as engine:
        found = engine.facts(wanted)
    assert found.equals(compute(wanted, CATALOG, frames_of(events), NOON, ZoneInfo("UTC")))
    for row in found.iter_rows(named=True):
        for fact in wanted:
            assert row[fact.name] == expected(fact, row["user_id"], events, NOON, ZoneInfo("UTC")), (
                fact,
                row["user_id"],
            )


@settings(max_examples=60, deadline=None)
@given(history=histories(), wanted=st.lists(facts, min_size=1, max_size=4), chosen=st.sets(st.integers(1, 5)))
@example(history=([], datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")), wanted=[Count("order.paid")], chosen=set())
def test_of_named_users_each_has_a_row_whether_or_not_anything_happened(
    history: tuple[list[Event], datetime, ZoneInfo], wanted: list[Fact], chosen: set[int]
) -> None:
    events, at, zone = history
    wanted = list({fact.name: fact for fact in wanted}.values())
    users = pl.DataFrame({"user_id": pl.Series(sorted(chosen, reverse=True), dtype=pl.Int64)})
    found = compute(wanted, CATALOG, frames_of(events), at, zone, users)
    assert found.get_column("user_id").to_list() == sorted(chosen)
    for row in found.iter_rows(named=True):
        for fact in wanted:
            assert row[fact.name] == expected(fact, row["user_id"], events, at, zone), (fact, row["user_id"])


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVERY = [
    Count("order.paid"),
    Count("order.paid", where={"category": "tea"}, days=7),
    Count("interaction", days=7),
    Total("order.paid", "amount"),
    Total("order.paid", "quantity", days=7),
    DaysSince("interaction"),
    DaysSinceFirst("order.paid"),
    Attribute("skin"),
    DaysUntil("skin", yearly=True),
    Age("skin"),
    Attribute("city", default="x"),
]
TYPES = [pl.Int64, pl.Int64, pl.Int64, pl.Float64, *[pl.Int64] * 3, pl.String, pl.Int64, pl.Int64, pl.String]


@pytest.mark.parametrize(
    "frames",
    [frames_of([]), {}, frames_of([], CATALOG.kinds["contact.removed"].sources)],
    ids=["tables without rows", "no tables", "tables that no fact reads"],
)
def test_without_events_the_types_of_facts_are_the_same(frames: Frames) -> None:
    for users in (None, pl.DataFrame({"user_id": [7]})):
        found = compute(EVERY, CATALOG, frames, NOON, ZoneInfo("UTC"), users)
        assert list(found.schema.values()) == [pl.Int64, *TYPES]
        assert found.rows() == ([] if users is None else [(7, 0, 0, 0, 0.0, 0, None, None, None, None, None, "x")])


def test_with_events_the_types_of_facts_are_the_same() -> None:
    events = [
        Event(1, 1, "order.paid", NOON, {"amount": Decimal("0.10"), "quantity": 1, "items": [{"category": "tea"}]}),
        Event(2, 1, PROFILE_UPDATED, NOON, {"skin": "oily"}),
    ]
    found = compute(EVERY, CATALOG, frames_of(events), NOON, ZoneInfo("UTC"))
    assert list(found.schema.values()) == [pl.Int64, *TYPES]
    assert found.rows() == [(1, 1, 1, 1, 0.1, 1, 0, 0, "oily", None, None, "x")]


def test_users_are_found_in_tables_that_no_fact_reads_whole() -> None:
    events = [Event(1, 5, "contact.removed", NOON, {}), Event(2, 3, "order.paid", NOON - timedelta(days=99), {})]
    for wanted in ([Count("article.opened")], [Count("order.paid", days=3)], []):
        found = compute(wanted, CATALOG, frames_of(events), NOON, ZoneInfo("UTC"))
        assert found.get_column("user_id").to_list() == [3, 5]


def test_the_moment_may_come_in_any_time_zone() -> None:
    events = [Event(1, 1, "order.paid", NOON, {"amount": Decimal(1)})]
    for zone in (ZoneInfo("Asia/Shanghai"), timezone(timedelta(hours=8))):
        for at, number in ((NOON, 1), (NOON - timedelta(microseconds=1), 0)):
            found = compute(
                [Count("order.paid")],
                CATALOG,
                frames_of(events),
                at.astimezone(zone),
                ZoneInfo("Asia/Shanghai"),
                pl.DataFrame({"user_id": [1]}),
            )
            assert found.item(0, "Count('order.paid')") == number


def test_of_two_values_of_one_moment_the_greater_wins_whichever_came_first() -> None:
    events = [Event(n, 1, PROFILE_UPDATED, NOON, {"skin": skin}) for n, skin in enumerate(["b", "c", None, "a"])]
    for order in (events, events[::-1]):
        assert compute([Attribute("skin")], CATALOG, frames_of(order), NOON, ZoneInfo("UTC")).rows() == [(1, "c")]


def test_a_total_of_cents_is_exact_in_any_order() -> None:
    events = [Event(n, 1, "order.paid", NOON, {"amount": Decimal("0.10")}) for n in range(1001)]
    total = Total("order.paid", "amount")
    assert compute([total], CATALOG, frames_of(events), NOON, ZoneInfo("UTC")).rows() == [(1, 100.1)]


def test_money_is_what_the_decimal_number_says_for_one_user_and_for_many() -> None:
    total = Total("order.paid", "amount")
    for users in (range(301, 302), range(2000)):
        events = [Event(n, n, "order.paid", NOON, {"amount": Decimal(n) / 100}) for n in users]
        found = compute([total], CATALOG, frames_of(events), NOON, ZoneInfo("UTC"))
        assert found.rows() == [(n, float(Decimal(n) / 100)) for n in users]


def test_users_who_are_named_have_what_lies_out_of_order_in_lines_alone() -> None:
    """Nothing else tells who has the rows: no table of events is read for facts over lines."""
    rows = [(1, 10, datetime(2026, 6, 20, tzinfo=UTC), "toner"), (1, 11, datetime(2026, 4, 2, tzinfo=UTC), "cleanser")]
    columns: dict[str, Any] = {"user_id": pl.Int64, "event_id": pl.Int64, "at": MOMENT, "category": pl.String}
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    source = next(each for each in CATALOG.sources if each.name == "order.paid.items")
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in source.schema.items() if name not in frame.columns]
    frames = {source.name: frame.with_columns(missing).select(*source.schema).lazy()}
    fact = Count("order.paid", {"category": "cleanser"}, days=180)
    at = datetime(2026, 6, 30, tzinfo=UTC)
    found = compute([fact], CATALOG, frames, at, ZoneInfo("UTC"), pl.DataFrame({"user_id": [1]}))
    assert found.rows() == [(1, 1)]
