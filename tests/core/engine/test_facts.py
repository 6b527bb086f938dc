"""Facts against a plain reading of the contract: loops over a list of events, one user at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from siyu import Attribute, Count, DaysSince, DaysSinceFirst, Fact, Total
from siyu.contract.events import PROFILE_UPDATED, Catalog, Source
from siyu.contract.facts import EventFact
from siyu.contract.manager import PluginManager
from siyu.engine.facts import Frames, compute

CATALOG: Catalog = PluginManager().catalog
INTERACTION = CATALOG.groups["interaction"]

# Zones with the middays around which days are awkward: clocks that skip midnight, repeat it, or move by half an hour.
PLACES = {
    "Asia/Shanghai": ["2026-11-21"],
    "America/New_York": ["2026-03-09", "2026-11-02"],
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
    if isinstance(fact, Attribute):
        given = [
            (event.at, event.payload[fact.attribute] is not None, event.payload[fact.attribute] or "")
            for event in mine
            if event.kind == PROFILE_UPDATED and fact.attribute in event.payload
        ]
        value = max(given)[2] if given and max(given)[1] else None
        if fact.values and value not in fact.values:
            value = None
        return fact.default if value is None else value
    assert isinstance(fact, EventFact)
    today = at.astimezone(zone).date()
    kinds = INTERACTION if fact.event == "interaction" else [fact.event]
    hits: list[tuple[Event, Mapping[str, Any]]] = []
    for event in mine:
        age = (today - event.at.astimezone(zone).date()).days
        if event.kind not in kinds or (fact.days and age >= fact.days):
            continue
        on_event = {name for name, _ in fact.where} | ({fact.field} if isinstance(fact, Total) else set())
        in_lines = not on_event <= {column.name for column in CATALOG.kinds[event.kind].sources[0].columns}
        rows = event.payload.get("items", ()) if in_lines else [event.payload]
        hits += [(event, row) for row in rows if all(row.get(name) in values for name, values in fact.where)]
    if isinstance(fact, Count):
        return len({event.id for event, _ in hits})
    if isinstance(fact, Total):
        amounts = [row[fact.field] for _, row in hits if row.get(fact.field) is not None]
        return float(sum(amounts)) if fact.field in ("amount", "discount") else sum(amounts)
    dates = [event.at.astimezone(zone).date() for event, _ in hits]
    if not dates:
        return None
    return (today - (max(dates) if isinstance(fact, DaysSince) else min(dates))).days


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
profiles = st.dictionaries(st.sampled_from(["skin", "city"]), st.none() | names, max_size=2)
payloads = st.one_of(
    orders.map(lambda p: ("order.paid", p)),
    orders.map(lambda p: ("order.paid", p)),
    profiles.map(lambda p: (PROFILE_UPDATED, p)),
    st.just(("article.opened", {})),
    st.just(("contact.removed", {})),
    names.map(lambda topic: ("article.opened", {"topic": topic})),
)
offsets = st.one_of(
    # Whole days and hours hit midnight and the awkward hours; the odd second is just before and after.
    st.builds(timedelta, days=st.integers(-9, 1), hours=st.integers(-13, 13), seconds=st.integers(-1, 1)),
    st.builds(timedelta, minutes=st.integers(-60 * 24 * 40, 60 * 24)),
)
moments = st.sampled_from([(zone, day) for zone, days in PLACES.items() for day in days])
windows = st.none() | st.integers(1, 10)
facts = st.one_of(
    st.builds(
        Count,
        st.just("order.paid"),
        st.fixed_dictionaries(
            {}, optional={"store": names, "quantity": st.lists(st.integers(0, 3), min_size=1, max_size=2)}
        ),
        windows,
    ),
    st.builds(Count, st.just("order.paid"), st.fixed_dictionaries({"category": st.lists(names, min_size=1)}), windows),
    st.builds(
        Total,
        st.just("order.paid"),
        st.sampled_from(["amount", "quantity"]),
        st.fixed_dictionaries({}, optional={"category": names}) | st.fixed_dictionaries({}, optional={"store": names}),
        windows,
    ),
    st.builds(
        lambda kind, event, where: kind(event, where),
        st.sampled_from([DaysSince, DaysSinceFirst]),
        st.just("order.paid"),
        st.fixed_dictionaries({}, optional={"category": names}) | st.fixed_dictionaries({}, optional={"store": names}),
    ),
    st.builds(lambda kind: kind("interaction"), st.sampled_from([DaysSince, DaysSinceFirst])),
    st.builds(Count, st.just("interaction"), st.none(), windows),
    st.builds(Count, st.sampled_from(["article.opened", "group.message"]), st.none(), windows),
    st.sampled_from(
        [
            Attribute("skin"),
            Attribute("skin", values=["tea"]),
            Attribute("city", values=["tea", "茶"], default="茶"),
            Attribute("city", default="x"),
            Attribute("nobody"),
        ]
    ),
)


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
    for row in found.iter_rows(named=True):
        for fact in wanted:
            assert row[fact.name] == expected(fact, row["user_id"], events, at, zone), (fact, row["user_id"])


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
    Attribute("city", default="x"),
]
TYPES = [pl.Int64, pl.Int64, pl.Int64, pl.Float64, pl.Int64, pl.Int64, pl.Int64, pl.String, pl.String]


@pytest.mark.parametrize(
    "frames",
    [frames_of([]), {}, frames_of([], CATALOG.kinds["contact.removed"].sources)],
    ids=["tables without rows", "no tables", "tables that no fact reads"],
)
def test_without_events_the_types_of_facts_are_the_same(frames: Frames) -> None:
    for users in (None, pl.DataFrame({"user_id": [7]})):
        found = compute(EVERY, CATALOG, frames, NOON, ZoneInfo("UTC"), users)
        assert list(found.schema.values()) == [pl.Int64, *TYPES]
        assert found.rows() == ([] if users is None else [(7, 0, 0, 0, 0.0, 0, None, None, None, "x")])


def test_with_events_the_types_of_facts_are_the_same() -> None:
    events = [
        Event(1, 1, "order.paid", NOON, {"amount": Decimal("0.10"), "quantity": 1, "items": [{"category": "tea"}]}),
        Event(2, 1, PROFILE_UPDATED, NOON, {"skin": "oily"}),
    ]
    found = compute(EVERY, CATALOG, frames_of(events), NOON, ZoneInfo("UTC"))
    assert list(found.schema.values()) == [pl.Int64, *TYPES]
    assert found.rows() == [(1, 1, 1, 1, 0.1, 1, 0, 0, "oily", "x")]


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
