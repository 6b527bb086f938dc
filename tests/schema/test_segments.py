"""Filters are kept under a name, counted, changed, deleted and restored."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.store.models import Segment

SHOWN = "name title filter createdBy changedBy deletedAt"
CREATE = """mutation ($name: String!, $filter: UserFilter!, $title: String) {
  createSegment(brand: "shop", name: $name, filter: $filter, title: $title) {
    segment { SHOWN } userErrors { code field message remedy } } }""".replace("SHOWN", SHOWN)
CHANGE = """mutation ($name: String!, $filter: UserFilter, $title: String) {
  updateSegment(brand: "shop", name: $name, filter: $filter, title: $title) {
    segment { SHOWN } userErrors { code field remedy } } }""".replace("SHOWN", SHOWN)
ONE = """query ($name: String!, $filter: UserFilter) { brand(slug: "shop") { segment(name: $name) {
  id name filter size { users asOf }
  users(filter: $filter, first: 100) { totalCount nodes { id tags { key } } } } } }"""
LIST = """query ($all: Boolean = false, $first: Int, $after: String) { brand(slug: "shop") {
  segments(includeDeleted: $all, first: $first, after: $after) { totalCount nodes { name deletedAt }
    pageInfo { hasNextPage endCursor } } } }"""
SILENT = {"plugin": "rfm", "rule": "rfm", "name": "recency", "gte": 60}
ASLEEP = {"fact": [SILENT], "NOT": {"tag": ["rfm.high_value"]}}


async def created(api: Any, name: str, filter: Any, title: str | None = None) -> Any:
    return (await api.data(CREATE, name=name, filter=filter, title=title))["createSegment"]


async def names(api: Any, *, deleted: bool = False) -> list[str]:
    nodes = (await api.data(LIST, all=deleted, first=100))["brand"]["segments"]["nodes"]
    return [node["name"] for node in nodes]


async def test_a_segment_keeps_a_filter_and_finds_whom_it_finds(world: Any) -> None:
    made = await created(world, "asleep", ASLEEP, "睡着的")
    assert made["userErrors"] == []
    assert made["segment"]["filter"] == ASLEEP
    assert (made["segment"]["title"], made["segment"]["createdBy"]) == ("睡着的", "root")
    segment = (await world.data(ONE, name="asleep"))["brand"]["segment"]
    direct = await world.data(
        'query ($f: UserFilter) { brand(slug: "shop") { users(filter: $f, first: 100) { nodes { id } } } }', f=ASLEEP
    )
    assert [node["id"] for node in segment["users"]["nodes"]] == [
        node["id"] for node in direct["brand"]["users"]["nodes"]
    ]
    assert segment["users"]["totalCount"] == segment["size"]["users"] == len(segment["users"]["nodes"]) > 0
    assert segment["size"]["asOf"] == "2026-06-01T12:00:00+00:00"
    narrower = (await world.data(ONE, name="asleep", filter={"tag": "rfm.sleeping"}))["brand"]["segment"]["users"]
    assert narrower["nodes"] == [
        node for node in segment["users"]["nodes"] if "rfm.sleeping" in {tag["key"] for tag in node["tags"]}
    ]


@pytest.mark.parametrize(
    ("filter", "field", "remedy"),
    [
        ({"OR": [{"tag": ["rfm.sleepin"]}]}, "filter.OR.0.tag.0", "rfm.sleeping"),
        ({"NOT": {"stage": {"track": "lifecycle", "key": "lots"}}}, "filter.NOT.stage.key", "lost"),
        ({"anyStage": {"track": "life", "key": "lost"}}, "filter.anyStage.0.track", "lifecycle"),
        ({"AND": {"fact": {"plugin": "rfm", "name": "recencyy"}}}, "filter.AND.0.fact.0.name", "recency"),
        ({"fact": {"plugin": "rfm", "rule": "rfm", "name": "recency", "lt": "x"}}, "filter.fact.0.lt", "a number"),
    ],
)
async def test_what_a_filter_names_must_be_there_when_it_is_kept(
    world: Any, filter: Any, field: str, remedy: str
) -> None:
    refused = await created(world, "wrong", filter)
    assert refused["segment"] is None
    [error] = refused["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", field)
    assert remedy in error["remedy"]
    assert "wrong" not in await names(world)


@pytest.mark.parametrize("name", ["", "Großes", "a b", "x" * 81, "-a"])
async def test_a_name_is_for_programs(world: Any, name: str) -> None:
    [error] = (await created(world, name, {}))["userErrors"]
    assert (error["field"], error["remedy"]) == ("name", "use up to 80 lower-case letters, digits, - and _")


async def test_a_name_is_taken_once_for_good(world: Any) -> None:
    await created(world, "once", {})
    [error] = (await created(world, "once", {}))["userErrors"]
    assert (error["field"], error["remedy"]) == ("name", "choose another, or update or restore that one")


async def test_what_is_changed_is_changed_and_the_rest_stays(world: Any) -> None:
    await created(world, "changing", ASLEEP, "before")
    changed = (await world.data(CHANGE, name="changing", title="after"))["updateSegment"]["segment"]
    assert (changed["title"], changed["filter"]) == ("after", ASLEEP)
    changed = (await world.data(CHANGE, name="changing", filter={"tag": ["rfm.sleeping"]}))["updateSegment"]["segment"]
    assert (changed["title"], changed["filter"]) == ("after", {"tag": ["rfm.sleeping"]})
    [error] = (await world.data(CHANGE, name="nothing", title="x"))["updateSegment"]["userErrors"]
    assert (error["code"], error["field"]) == ("NOT_FOUND", "name")
    [error] = (await world.data(CHANGE, name="changing", title="\n"))["updateSegment"]["userErrors"]
    assert error["field"] == "title"


async def test_what_was_deleted_is_not_shown_and_can_be_restored_as_it_was(world: Any) -> None:
    await created(world, "going", ASLEEP)
    call = (
        'mutation { VERBSegment(brand: "shop", name: "going") { segment { filter deletedAt } userErrors { field } } }'
    )
    gone = (await world.data(call.replace("VERB", "delete")))["deleteSegment"]
    assert gone["segment"]["deletedAt"]
    assert "going" not in await names(world)
    assert "going" in await names(world, deleted=True)
    [error] = (await world.ask(ONE, name="going"))["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert (await world.data(call.replace("VERB", "delete")))["deleteSegment"]["userErrors"] == [{"field": "name"}]
    back = (await world.data(call.replace("VERB", "restore")))["restoreSegment"]["segment"]
    assert back == {"filter": ASLEEP, "deletedAt": None}
    assert "going" in await names(world)
    assert (await world.data(call.replace("VERB", "restore")))["restoreSegment"]["userErrors"] == [{"field": "name"}]


async def test_segments_come_by_name_page_by_page(world: Any) -> None:
    for name in ("b-2", "a-1", "b_1", "b1"):
        await created(world, name, {})
    found: list[str] = []
    after, more = None, True
    while more:
        page = (await world.data(LIST, first=2, after=after))["brand"]["segments"]
        found += [node["name"] for node in page["nodes"]]
        more, after = page["pageInfo"]["hasNextPage"], page["pageInfo"]["endCursor"]
    assert found == await names(world)
    assert len(found) == page["totalCount"] == len(set(found))


async def test_a_count_is_kept_for_a_minute(world: Any) -> None:
    query = '{ brand(slug: "shop") { segment(name: "kept") { size { users } } } }'
    await world.data(query)
    with world.statements() as sent:
        await world.data(query)
    assert [sql for sql in sent if "FROM segment" not in sql] == []


async def test_a_brand_has_only_so_many(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siyu.flow.segments.MOST_SEGMENTS", await Segment.filter(brand_id=1).count())
    [error] = (await created(world, "another", {}))["userErrors"]
    assert error["remedy"] == "change one that is no longer needed"
