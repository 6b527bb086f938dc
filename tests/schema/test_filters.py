"""Users are found and ordered by what is known of them, alone and put together: what comes is what a plain look at each
user says."""

from __future__ import annotations

import asyncio
import itertools
import operator
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from siyu.contract.manager import PluginManager
from siyu.engine.facts import compute
from siyu.flow import plugins as plugin_settings
from siyu.flow import selection
from siyu.flow.context import open_context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.flow.tokens import create_token
from siyu.store.models import Brand

from tests.conftest import Databases

from .conftest import Api

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
USERS = 36
LIST = """query ($filter: UserFilter, $orderBy: UserOrder, $first: Int, $after: String, $last: Int, $before: String) {
  brand(slug: "crowd") { users(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last,
      before: $before) { totalCount asOf edges { cursor node { id } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"""
EVERYBODY = """{ brand(slug: "crowd") { users(first: 36) { nodes { id attributes firstSeen lastSeen
  identities { kind } tags { key } stages { track key } events { nodes { kind payload } }
  rfm: facts(plugin: "rfm", names: ["recency", "frequency", "monetary"]) { rule name value } } } } }"""
SKINS, SOURCES = ("oily", "dry", "mixed"), ("guide", "search", "friend")


@pytest.fixture(scope="module")
async def crowd(
    databases: Databases, plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A brand of 36 users who differ in everything that can be filtered by; it lives on 1 June."""
    home = tmp_path_factory.mktemp("crowd")
    async with databases.borrowed() as url, open_context(url, plugins, home) as ctx:
        brand = await Brand.create(slug="crowd", name="Crowd", replayed_to=START)
        for plugin in ("rfm", "lifecycle"):
            await plugin_settings.enable(ctx, brand, plugin)
        events = []
        for number in range(USERS):
            at = START + timedelta(days=number % 24, hours=number % 3)
            name = {"member": f"m{number}", **({"phone": f"139{number}"} if number % 4 == 0 else {})}
            came = {"source": SOURCES[number % 3]} if number % 5 else {}
            events.append(IncomingEvent(f"c{number}", "contact.added", name, came, at))
            if number % 3:
                skin = {"skin": SKINS[number % 2 + number % 5 % 2], **({"city": "沪"} if number % 7 == 0 else {})}
                events.append(IncomingEvent(f"p{number}", "profile.updated", name, skin, at))
            for order in range(number % 4):
                paid = {"amount": f"{5 * (number % 6)}.50"}
                events.append(IncomingEvent(f"o{number}-{order}", "order.paid", name, paid, at + timedelta(days=order)))
        events.append(IncomingEvent("end", "contact.added", {"member": "m1"}, {}, START + timedelta(days=151)))
        await record(ctx, brand, events)
        # Who came from the guide by e-mail turns out to be m5, who came from nowhere.
        await record(ctx, brand, [IncomingEvent("g1", "contact.added", {"email": "5@m"}, {"source": "guide"}, START)])
        await record(ctx, brand, [IncomingEvent("g2", "contact.added", {"email": "5@m", "member": "m5"}, {}, START)])
        await refresh(ctx, brand.id)
        client = Api(ctx, await create_token("viewer", brand))
        yield client
        await client.http.aclose()


@pytest.fixture(scope="module")
async def everybody(crowd: Api) -> dict[str, Any]:
    """What is known of each user, by id."""
    nodes = (await crowd.data(EVERYBODY))["brand"]["users"]["nodes"]
    assert len(nodes) == USERS
    for node in nodes:
        node["rfm"] = {(fact["rule"], fact["name"]): fact["value"] for fact in node["rfm"]}
    return {node["id"]: node for node in nodes}


# -- the plain look -----------------------------------------------------------------------------------------------

SIGNS = {"eq": operator.eq, "gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}


def passes(value: Any, test: dict[str, Any]) -> bool:
    """Whether a value, None where it is missing, passes a test of an attribute or a fact."""
    for name, wanted in test.items():
        if name == "isMissing":
            holds = (value is None) == wanted
        elif name == "in":
            holds = value is not None and value in wanted
        elif name in SIGNS:
            holds = value is not None and SIGNS[name](value, wanted)
        else:
            holds = True
        if not holds:
            return False
    return True


def within(moment: str, test: dict[str, str]) -> bool:
    at = datetime.fromisoformat(moment)
    return all(SIGNS[name](at, datetime.fromisoformat(wanted)) for name, wanted in test.items())


def found(user: dict[str, Any], filter: dict[str, Any]) -> bool:
    """What the filter says of a user, looked at plainly."""
    tags = {tag["key"] for tag in user["tags"]}
    stages = [(stage["track"], stage["key"]) for stage in user["stages"]]
    sources = {event["payload"].get("source") for event in user["events"]["nodes"] if event["kind"] == "contact.added"}
    kinds = {identity["kind"] for identity in user["identities"]}
    tests: dict[str, Any] = {
        "AND": lambda them: all(found(user, each) for each in them),
        "OR": lambda them: any(found(user, each) for each in them),
        "NOT": lambda one: not found(user, one),
        "tag": lambda them: tags >= set(them),
        "anyTag": lambda them: bool(tags & set(them)),
        "stage": lambda one: (one["track"], one["key"]) in stages,
        "anyStage": lambda them: any((one["track"], one["key"]) in stages for one in them),
        "attribute": lambda them: all(passes(user["attributes"].get(one["name"]), one) for one in them),
        "source": lambda them: bool(sources & set(them)),
        "identity": lambda them: kinds >= set(them),
        "firstSeen": lambda one: within(user["firstSeen"], one),
        "lastSeen": lambda one: within(user["lastSeen"], one),
        "fact": lambda them: all(passes(user["rfm"].get((one["rule"], one["name"])), one) for one in them),
    }
    return all(tests[name](wanted) for name, wanted in filter.items())


tags = st.lists(st.sampled_from(["rfm.high_value", "rfm.sleeping", "rfm.no_such"]), max_size=2, unique=True)
stages = st.builds(
    lambda key: {"track": "lifecycle", "key": key}, st.sampled_from(["intro", "growth", "dormant", "lost", "none"])
)
days = st.integers(-1, 60).map(lambda day: (START + timedelta(days=day)).isoformat())
moments = st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt"]), days, max_size=2)
attributes = st.builds(
    lambda name, test: {"name": name, **test},
    st.sampled_from(["skin", "city", "none"]),
    st.one_of(
        st.builds(lambda value: {"eq": value}, st.sampled_from(SKINS)),
        st.builds(lambda values: {"in": values}, st.lists(st.sampled_from(SKINS), max_size=2)),
        st.builds(lambda missing: {"isMissing": missing}, st.booleans()),
    ),
)
NAMES = [("rfm", "recency"), ("rfm", "monetary"), ("customer_base", "frequency"), ("customer_base", "monetary")]
numbers = st.sampled_from([0, 1, 2, 5.5, 10.5, 11, 100, 120, 150])
facts = st.builds(
    lambda name, test: {"plugin": "rfm", "rule": name[0], "name": name[1], **test},
    st.sampled_from(NAMES),
    st.one_of(
        st.dictionaries(st.sampled_from(["gte", "gt", "lte", "lt", "eq"]), numbers, max_size=2),
        st.builds(lambda values: {"in": values}, st.lists(numbers, max_size=3)),
        st.builds(lambda missing: {"isMissing": missing}, st.booleans()),
    ),
)
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "tag": tags,
    "anyTag": tags,
    "stage": stages,
    "anyStage": st.lists(stages, max_size=2),
    "attribute": st.lists(attributes, max_size=2),
    "source": st.lists(st.sampled_from(SOURCES), max_size=2),
    "identity": st.lists(st.sampled_from(["phone", "email", "none"]), max_size=2),
    "firstSeen": moments,
    "lastSeen": moments,
    "fact": st.lists(facts, min_size=1, max_size=2),
}


def leaf_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return LEAVES[name].map(lambda wanted: {name: wanted})


leaf = st.sampled_from([*LEAVES, *["fact"] * 6]).flatmap(leaf_of)
leaves = st.lists(leaf, max_size=2).map(lambda them: dict(pair for each in them for pair in each.items()))


def combined(inner: Any) -> Any:
    lists = st.lists(inner, max_size=2)
    grown = st.one_of(
        st.just({}),
        st.builds(lambda them: {"AND": them}, lists),
        st.builds(lambda them: {"OR": them}, lists),
        st.builds(lambda one: {"NOT": one}, inner),
    )
    return st.builds(lambda leaf, more: {**leaf, **more}, leaves, grown)


filters = combined(combined(leaves))
ends = st.sampled_from(["ASC", "DESC"])
orders = st.one_of(
    st.none(),
    st.builds(lambda field, end: {"field": field, "direction": end}, st.sampled_from(["LAST_SEEN", "ID"]), ends),
    st.builds(
        lambda name, end: {"fact": {"plugin": "rfm", "rule": name[0], "name": name[1]}, "direction": end},
        st.sampled_from(NAMES),
        ends,
    ),
)


async def walked(api: Api, size: int, backward: bool, **variables: Any) -> list[str]:
    """All ids, page by page from one end or the other, in the order of the list."""
    ids: list[str] = []
    size_of, on, cursor, more = (
        ("last", "before", "startCursor", "hasPreviousPage")
        if backward
        else ("first", "after", "endCursor", "hasNextPage")
    )
    at = None
    for _ in itertools.count():
        users = (await api.data(LIST, **{size_of: size, on: at}, **variables))["brand"]["users"]
        page = [edge["node"]["id"] for edge in users["edges"]]
        ids = page + ids if backward else ids + page
        if not users["pageInfo"][more]:
            assert users["totalCount"] == len(ids)
            return ids
        assert len(page) == size
        at = users["pageInfo"][cursor]
    raise AssertionError


@pytest.mark.parametrize("piece", [3, 20_000])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(filter=filters, order=orders, size=st.sampled_from([3, 10, 100]), backward=st.booleans())
async def test_a_filter_finds_whom_a_plain_look_finds(
    crowd: Api, everybody: Any, piece: int, filter: Any, order: Any, size: int, backward: bool
) -> None:
    with patch.multiple(selection, FIRST_PIECE=min(piece, selection.FIRST_PIECE), PIECE=piece):
        ids = await walked(crowd, size, backward, filter=filter, orderBy=order)
    assert sorted(ids) == sorted(id for id, user in everybody.items() if found(user, filter))
    assert ids == in_order(ids, everybody, order)


def in_order(ids: list[str], everybody: dict[str, Any], order: Any) -> list[str]:
    """The ids in an order, reckoned plainly."""
    if order is None:
        return [id for id in everybody if id in ids]
    numbers = list(everybody)  # by id
    down = order["direction"] == "DESC"
    if "fact" in order:
        name = order["fact"]["rule"], order["fact"]["name"]
        values = {id: everybody[id]["rfm"].get(name) for id in ids}
    else:
        values = {id: everybody[id]["lastSeen"] if order["field"] == "LAST_SEEN" else "" for id in ids}
    have = sorted(
        (id for id in ids if values[id] is not None), key=lambda id: (values[id], numbers.index(id)), reverse=down
    )
    none = sorted((id for id in ids if values[id] is None), key=numbers.index, reverse=down)
    return have + none


# -- what is said of it -------------------------------------------------------------------------------------------


def fact(name: str, /, rule: str | None = "rfm", plugin: str = "rfm", **test: Any) -> dict[str, Any]:
    return {"fact": [{"plugin": plugin, "name": name, **({"rule": rule} if rule else {}), **test}]}


def nested(levels: int) -> dict[str, Any]:
    return {"NOT": nested(levels - 1)} if levels else {"tag": "rfm.sleeping"}


@pytest.mark.parametrize(
    ("filter", "field", "remedy"),
    [
        (fact("recencyy"), "filter.fact.0.name", "there are: recency"),
        (fact("recency", plugin="beauty"), "filter.fact.0.plugin", "those that are on and have facts: lifecycle, rfm"),
        (fact("recency", rule="rmf"), "filter.fact.0.rule", "the rules of rfm: customer_base, rfm"),
        (fact("recency", rule=None), "filter.fact.0.rule", "name the rule too: customer_base, rfm"),
        (fact("recency", gte="3"), "filter.fact.0.gte", "give a number"),
        ({"OR": [{}, {"NOT": fact("recency", gte="3")}]}, "filter.OR.1.NOT.fact.0.gte", "give a number"),
        (fact("recency", eq=True), "filter.fact.0.eq", "give a number"),
        (
            {"fact": {"plugin": "rfm", "rule": "rfm", "name": "recency", "in": [1, "2"]}},
            "filter.fact.0.in",
            "give a number",
        ),
        (fact("recency", eq=[1]), "filter.fact.0.eq", "a finite number"),
        (fact("recency\x00"), "filter.fact.0.name", "whole Unicode"),
        ({"tag": ["x"] * 21}, "filter.tag", "give at most 20"),
        ({"OR": [{"attribute": {"name": "skin", "in": ["x"] * 21}}]}, "filter.OR.0.attribute.0.in", "at most 20"),
        ({"AND": [{"tag": ["x"] * 20}] * 6}, "filter.AND", "give at most 100 values"),
        (nested(5), "filter.NOT.NOT.NOT.NOT.NOT", "fewer levels"),
        ({"attribute": {"name": "skin", "eq": "\ud800"}}, "filter.attribute.0.eq", "whole Unicode"),
    ],
)
async def test_what_is_wrong_with_a_filter_is_said_with_the_place(
    crowd: Api, filter: Any, field: str, remedy: str
) -> None:
    [error] = (await crowd.ask(LIST, filter=filter))["errors"][:1]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["field"] == field
    assert remedy in error["extensions"]["remedy"]


async def test_an_order_is_of_a_field_or_of_a_fact(crowd: Api) -> None:
    both = {"field": "ID", "fact": {"plugin": "rfm", "name": "monetary_score"}}
    [error] = (await crowd.ask(LIST, orderBy=both))["errors"]
    assert error["extensions"]["field"] == "orderBy.fact"
    users = (await crowd.data(LIST, orderBy={"direction": "DESC"}, first=2))["brand"]["users"]
    cursor = users["pageInfo"]["endCursor"]
    wrong = {"fact": {"plugin": "rfm", "rule": "rfm", "name": "recency"}}
    [error] = (await crowd.ask(LIST, orderBy=wrong, after=cursor))["errors"][:1]
    assert (error["extensions"]["field"], error["message"]) == ("after", "not a cursor of this list")


async def test_facts_say_how_old_they_are_and_are_computed_once_for_all_who_ask(crowd: Api) -> None:
    crowd.ctx.columns.forget()
    assert (await crowd.data(LIST, filter={"tag": "rfm.sleeping"}))["brand"]["users"]["asOf"] is None
    with patch("siyu.flow.columns.compute", wraps=compute) as computed:
        two = {"AND": [fact("recency", gte=100), fact("frequency", gte=1)]}
        answers = await asyncio.gather(*(crowd.data(LIST, filter=two) for _ in range(5)))
        assert {answer["brand"]["users"]["asOf"] for answer in answers} == {"2026-06-01T12:00:00+00:00"}
        assert computed.call_count == 1, "both facts in one pass"
        await crowd.data(
            LIST, filter=fact("recency", lt=10), orderBy={"fact": {"plugin": "rfm", "name": "frequency", "rule": "rfm"}}
        )
        assert computed.call_count == 1
        with patch.object(crowd.ctx.columns, "seconds", -1):
            await crowd.data(LIST, filter=fact("recency", lt=10))
        assert computed.call_count == 2, "what is old is computed anew"


async def test_a_filter_that_lets_hardly_anybody_through_ends(crowd: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST_PIECE", 2), ("PIECE", 2), ("MOST_PIECES", 3)):
        monkeypatch.setattr(selection, name, value)
    nobody = {"OR": [fact("recency", gt=9_000), {"tag": ["rfm.no_such"]}]}
    [error] = (await crowd.ask(LIST, filter=nobody))["errors"][:1]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("TOO_LARGE", "filter")


# -- events and actions -------------------------------------------------------------------------------------------

EVENTS = """query ($filter: EventFilter, $last: Int, $before: String) { brand(slug: "crowd") {
  events(filter: $filter, last: $last, before: $before) {
    totalCount nodes { id key kind at user { id identities { value } } } pageInfo { startCursor hasPreviousPage } }
  user(identity: {kind: "member", value: "m7"}) { id events(filter: $filter, last: $last) { totalCount nodes { key } } }
} }"""


async def events(api: Api, **filter: Any) -> Any:
    return (await api.data(EVENTS, filter=filter, last=100))["brand"]


async def test_events_are_filtered_by_kind_time_and_user(crowd: Api) -> None:
    everything = (await events(crowd))["events"]
    paid = (await events(crowd, kind=["order.paid"]))["events"]
    assert {node["kind"] for node in paid["nodes"]} == {"order.paid"}
    others = (await events(crowd, NOT={"kind": ["order.paid"]}))["events"]
    assert paid["totalCount"] + others["totalCount"] == everything["totalCount"]
    early = {"lt": (START + timedelta(days=2)).isoformat()}
    some = (await events(crowd, kind=["order.paid"], at=early))["events"]["nodes"]
    assert [node["key"] for node in some] == [node["key"] for node in paid["nodes"] if node["at"] < early["lt"]] != []
    user = (await events(crowd))["user"]
    mine = await events(crowd, user=user["id"], OR=[{"kind": ["order.paid"]}, {"key": ["c7"]}])
    assert [node["key"] for node in mine["events"]["nodes"]] == ["o7-2", "o7-1", "o7-0", "c7"]
    assert {each["value"] for node in mine["events"]["nodes"] for each in node["user"]["identities"]} == {"m7"}
    assert mine["user"]["events"]["totalCount"] == 4
    assert (await events(crowd, OR=[]))["events"]["totalCount"] == 0


@pytest.mark.parametrize("id", ["VXNlcjoyOjE=", "QWN0aW9uOjE6MQ=="])
async def test_of_a_user_of_another_brand_there_is_nothing(crowd: Api, id: str) -> None:
    assert (await events(crowd, user=id))["events"]["nodes"] == []


async def test_filters_of_events_have_limits(crowd: Api) -> None:
    [error, *_] = (await crowd.ask(EVENTS, filter={"kind": ["x"] * 21}, last=1))["errors"]
    assert (error["extensions"]["field"], error["extensions"]["remedy"]) == ("filter.kind", "give at most 20")


async def test_who_was_merged_is_found_as_whom_they_count_as(crowd: Api) -> None:
    query = """query ($filter: UserFilter, $events: EventFilter) { brand(slug: "crowd") {
      users(filter: $filter) { nodes { id identities { value } } }
      events(filter: $events, last: 100) { nodes { key user { identities { value } } } } } }"""
    by_mail = {"identity": ["email"], "source": ["guide"]}
    brand = (await crowd.data(query, filter=by_mail, events={}))["brand"]
    [node] = brand["users"]["nodes"]
    assert {name["value"] for name in node["identities"]} == {"5**", "m5"}
    events = (await crowd.data(query, filter=by_mail, events={"user": node["id"]}))["brand"]["events"]["nodes"]
    assert {"g1", "g2", "c5"} <= {event["key"] for event in events}
    assert all({"value": "m5"} in event["user"]["identities"] for event in events)
