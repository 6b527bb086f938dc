"""Lists are read page by page, everything once, whatever the order."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.store.keyset import encoded

PAGE = """
query ($after: String, $first: Int, $order: UserOrder) {
  brand(slug: "shop") {
    users(first: $first, after: $after, orderBy: $order) {
      edges { cursor node { id firstSeen lastSeen } }
      nodes { id }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}
"""
BACK = PAGE.replace("($after", "($last: Int, $before: String, $after").replace(
    "(first", "(last: $last, before: $before, first"
)
ORDERS = [
    None,
    *({"field": f, "direction": d} for f in ("ID", "LAST_SEEN", "FIRST_SEEN") for d in ("ASC", "DESC")),
]
SEEN = {"LAST_SEEN": "lastSeen", "FIRST_SEEN": "firstSeen"}


async def pages(api: Any, first: int, order: Any) -> list[Any]:
    found: list[Any] = []
    after = None
    while True:
        page = (await api.data(PAGE, first=first, after=after, order=order))["brand"]["users"]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        found.append(page)
        if not page["pageInfo"]["hasNextPage"]:
            return found
        assert len(page["edges"]) == first
        after = page["pageInfo"]["endCursor"]


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: f"{o['field']}-{o['direction']}" if o else "default")
@pytest.mark.parametrize("first", [1, 7, 45])
async def test_every_user_comes_once_in_order(world: Any, first: int, order: Any) -> None:
    found = await pages(world, first, order)
    nodes = [edge["node"] for page in found for edge in page["edges"]]
    assert len(nodes) == len({node["id"] for node in nodes}) == 45
    key = SEEN.get(order["field"]) if order else None
    if key:
        moments = [node[key] for node in nodes]
        assert moments == sorted(moments, reverse=order["direction"] == "DESC")
        assert len(set(moments)) < 45, "there are ties, and pages end within them"


async def test_nodes_and_cursors_say_the_same_as_edges(world: Any) -> None:
    page = (await world.data(PAGE, first=3))["brand"]["users"]
    assert [edge["node"]["id"] for edge in page["edges"]] == [node["id"] for node in page["nodes"]]
    cursors = [edge["cursor"] for edge in page["edges"]]
    assert (page["pageInfo"]["startCursor"], page["pageInfo"]["endCursor"]) == (cursors[0], cursors[-1])


async def test_opposite_orders_are_each_others_reverse(world: Any) -> None:
    both = []
    for direction in ("ASC", "DESC"):
        found = await pages(world, 10, {"field": "LAST_SEEN", "direction": direction})
        both.append([node["id"] for page in found for node in page["nodes"]])
    assert both[0] == both[1][::-1]


async def test_twenty_come_where_nothing_is_said(world: Any) -> None:
    data = await world.data('{ brand(slug: "shop") { users { nodes { id } } } }')
    assert len(data["brand"]["users"]["nodes"]) == 20
    assert len((await world.data(PAGE, first=None))["brand"]["users"]["nodes"]) == 20


async def test_none_come_where_none_are_wanted(world: Any) -> None:
    page = (await world.data(PAGE, first=0))["brand"]["users"]
    assert page["edges"] == []
    assert page["pageInfo"] == {
        "hasNextPage": True,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: f"{o['field']}-{o['direction']}" if o else "default")
@pytest.mark.parametrize("size", [1, 7, 45])
async def test_from_the_end_the_same_comes(world: Any, size: int, order: Any) -> None:
    forward = [edge for page in await pages(world, 45, order) for edge in page["edges"]]
    found: list[Any] = []
    before = None
    while True:
        page = (await world.data(BACK, last=size, before=before, order=order))["brand"]["users"]
        found = page["edges"] + found
        assert page["pageInfo"]["hasNextPage"] == (before is not None)
        if not page["pageInfo"]["hasPreviousPage"]:
            break
        assert len(page["edges"]) == size
        before = page["pageInfo"]["startCursor"]
    assert found == forward


async def test_both_cursors_together_leave_what_lies_between(world: Any) -> None:
    [page] = await pages(world, 45, None)
    cursors = [edge["cursor"] for edge in page["edges"]]
    for size, wanted, more in (({"first": 5}, cursors[11:16], True), ({"last": 5}, cursors[15:20], True)):
        users = (await world.data(BACK, after=cursors[10], before=cursors[20], **size))["brand"]["users"]
        assert [edge["cursor"] for edge in users["edges"]] == wanted
        assert users["pageInfo"]["hasNextPage"] == users["pageInfo"]["hasPreviousPage"] == more


async def test_first_and_last_are_not_asked_for_together(world: Any) -> None:
    [error] = (await world.ask(BACK, first=1, last=1))["errors"]
    assert (error["extensions"]["field"], error["extensions"]["remedy"]) == ("last", "give one of them")
    [error] = (await world.ask(BACK, last=101))["errors"]
    assert error["extensions"]["remedy"] == "ask for 0 to 100, then go on with before"


@pytest.mark.parametrize("first", [-1, 101, 2**31 - 1])
async def test_a_page_of_another_size_is_refused_with_the_limits(world: Any, first: int) -> None:
    [error] = (await world.ask(PAGE, first=first))["errors"]
    assert error["extensions"] == {
        "code": "INVALID_INPUT",
        "field": "first",
        "remedy": "ask for 0 to 100, then go on with after",
    }
    assert error["path"] == ["brand", "users"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "bnVsbA", "W10", "WyIraWQiXQ", "WyIraWQiLCAiMSJd", "WyIraWQiLCB0cnVlXQ", "W" * 4000]
)
async def test_a_cursor_that_is_none_is_refused(world: Any, cursor: str) -> None:
    [error] = (await world.ask(PAGE, after=cursor))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", "after")


async def test_a_cursor_beyond_all_that_a_list_can_hold_leads_to_its_end(world: Any) -> None:
    query = "query ($after: String) { tokens(after: $after) { nodes { id } } }"
    assert (await world.data(query, after=encoded("-id", -(2**63))))["tokens"] == {"nodes": []}
    assert (await world.data(query, after=encoded("-id", 2**63 - 1)))["tokens"]["nodes"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_cursor_beyond_all_time_is_refused(world: Any, moment: str) -> None:
    order = {"field": "LAST_SEEN", "direction": "ASC"}
    [error] = (await world.ask(PAGE, after=encoded("+last_seen,id", moment, 1), order=order))["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", "after")


async def test_a_cursor_of_another_order_is_refused(world: Any) -> None:
    page = (await world.data(PAGE, first=1))["brand"]["users"]
    order = {"field": "LAST_SEEN", "direction": "DESC"}
    [error] = (await world.ask(PAGE, after=page["pageInfo"]["endCursor"], order=order))["errors"]
    assert error["extensions"]["field"] == "after"


async def test_all_are_counted_only_when_asked(world: Any) -> None:
    with world.statements() as sent:
        await world.data(PAGE, first=2)
    assert not [sql for sql in sent if "count(" in sql]
    with world.statements() as sent:
        data = await world.data('{ brand(slug: "shop") { users { totalCount } } }')
    assert data["brand"]["users"]["totalCount"] == 45
    assert len(sent) == 1, "no page was read for a count"


@pytest.mark.parametrize("name", ["actions", "runs", "rejectedEvents"])
async def test_the_other_lists_of_a_brand_are_paged_too(world: Any, name: str) -> None:
    query = """query ($after: String) { brand(slug: "shop") { list: LIST(first: 1, after: $after) {
        totalCount nodes { id } pageInfo { hasNextPage endCursor } } } }""".replace("LIST", name)
    ids, after, more = [], None, True
    while more:
        page = (await world.data(query, after=after))["brand"]["list"]
        ids += [node["id"] for node in page["nodes"]]
        more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
    assert len(set(ids)) == len(ids) == page["totalCount"] > 0


@pytest.mark.parametrize("name", ["events", "actions", "tagHistory", "stageHistory"])
async def test_the_lists_of_a_user_are_paged_too(world: Any, name: str) -> None:
    nodes = "id" if name in ("events", "actions") else "key since until"
    query = """query ($after: String) { brand(slug: "shop") { user(identity: {kind: "member", value: "m01"}) {
        list: LIST(first: 1, after: $after) {
          totalCount edges { cursor node { NODE } } pageInfo { hasNextPage }
        } } } }""".replace("LIST", name).replace("NODE", nodes)
    seen, after, more = [], None, True
    while more:
        page = (await world.data(query, after=after))["brand"]["user"]["list"]
        seen += [str(edge["node"]) for edge in page["edges"]]
        more, after = page["pageInfo"]["hasNextPage"], page["edges"][-1]["cursor"]
    assert len(set(seen)) == len(seen) == page["totalCount"] > 0


NESTED = """
query ($first: Int) { brand(slug: "shop") { users(first: $first) { nodes {
  identities { kind value }
  tags { key because rule rulebookVersion }
  stages { key because }
  tagHistory { totalCount nodes { key because endedBecause } }
  stageHistory { nodes { because } }
  actions(first: 3) { totalCount nodes { status user { id lastSeen } } }
  events(first: 2) { nodes { key payload } }
} } } }
"""


async def test_a_longer_page_takes_no_more_statements(world: Any) -> None:
    for first in (2, 45):
        with world.statements() as sent:
            data = await world.data(NESTED, first=first)
        assert len(data["brand"]["users"]["nodes"]) == first
        # How loads fall together depends on when answers come; that it does not grow with the page does not.
        assert len(sent) <= 20, sent


async def test_lists_within_lists_are_limited_together(world: Any) -> None:
    query = """{ brand(slug: "shop") { users(first: 100) { nodes { events(first: 100) { nodes { key } }
        more: events(first: 99) { nodes { key } } actions(first: 100) { nodes { id } }
        tagHistory(first: 100) { nodes { key } } stageHistory(first: 100) { nodes { key } } } } } }"""
    answer = await world.ask(query)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TOO_LARGE"}
