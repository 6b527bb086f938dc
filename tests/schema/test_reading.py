"""What can be read: users by tag and stage, why, since when, and what was before."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from strawberry.relay import to_base64

FILTERED = """
query ($filter: UserFilter) {
  brand(slug: "shop") {
    users(first: 100, filter: $filter) {
      totalCount
      nodes { id tags { key } stages { track key } identities { kind value } }
    }
    tags { key users }
    stages(track: "lifecycle") { key users }
  }
}
"""
M00 = '{ brand(slug: "shop") { user(identity: {kind: "member", value: "m00"}) { %s } } }'


async def user(world: Any, fields: str) -> Any:
    return (await world.data(M00.replace("%s", fields)))["brand"]["user"]


async def filtered(world: Any, **filter: Any) -> Any:
    brand = (await world.data(FILTERED, filter=filter))["brand"]
    assert brand["users"]["totalCount"] == len(brand["users"]["nodes"])
    return brand


async def test_users_with_a_tag_are_as_many_as_the_tag_counts(world: Any) -> None:
    brand = await filtered(world)
    assert len(brand["tags"]) == 11
    for tag in brand["tags"]:
        users = (await filtered(world, tag=[tag["key"]]))["users"]["nodes"]
        assert len(users) == tag["users"]
        assert all(tag["key"] in {t["key"] for t in found["tags"]} for found in users)


async def test_users_in_a_stage_are_as_many_as_the_stage_counts(world: Any) -> None:
    stages = (await filtered(world))["stages"]
    assert [stage["key"] for stage in stages] == ["intro", "growth", "mature", "dormant", "lost"]
    assert sum(stage["users"] for stage in stages) == 45
    for stage in stages:
        users = (await filtered(world, stage={"track": "lifecycle", "key": stage["key"]}))["users"]["nodes"]
        assert len(users) == stage["users"]
        assert all({"track": "lifecycle", "key": stage["key"]} in found["stages"] for found in users)


async def test_tags_together_must_all_be_there_or_any(world: Any) -> None:
    everybody = (await filtered(world))["users"]["nodes"]
    two = {"rfm.high_value", "rfm.important_value"}

    def holds(test: Any) -> list[str]:
        return [found["id"] for found in everybody if test({tag["key"] for tag in found["tags"]})]

    both = (await filtered(world, tag=sorted(two)))["users"]["nodes"]
    assert [found["id"] for found in both] == holds(two.issubset) != []
    two = {"rfm.high_value", "rfm.sleeping"}
    any_of = (await filtered(world, anyTag=sorted(two)))["users"]["nodes"]
    assert [found["id"] for found in any_of] == holds(two.intersection)
    assert 0 < len(any_of) < 45


async def test_filters_hold_all_together(world: Any) -> None:
    stage = {"track": "lifecycle", "key": "growth"}
    assert (await filtered(world, tag="rfm.sleeping", stage=stage))["users"]["nodes"] == []


@pytest.mark.parametrize(
    "filter",
    [
        {"tag": ["rfm.no_such"]},
        {"anyTag": []},
        {"anyTag": ["rfm.no_such"]},
        {"stage": {"track": "lifecycle", "key": "no_such"}},
        {"stage": {"track": "no_such", "key": "lost"}},
    ],
)
async def test_nobody_has_what_is_not_there(world: Any, filter: Any) -> None:
    assert (await filtered(world, **filter))["users"]["nodes"] == []


async def test_too_many_tags_are_refused_with_the_limit(world: Any) -> None:
    [error] = (await world.ask(FILTERED, filter={"tag": ["x"] * 21}))["errors"]
    assert (error["extensions"]["field"], error["extensions"]["remedy"]) == ("filter.tag", "give at most 20")


async def test_a_tag_says_since_when_and_why(world: Any) -> None:
    found = await user(world, "tags { key title since because rule plugin rulebookVersion }")
    tag = next(tag for tag in found["tags"] if tag["key"].startswith(("rfm.important_", "rfm.general_")))
    assert datetime.fromisoformat(tag["since"]).utcoffset() is not None
    assert tag["plugin"] == "rfm"
    assert tag["because"].startswith("last order 0 days ago (recent: up to ")
    assert "2 orders" in tag["because"]
    assert "{" not in tag["because"]
    assert "order.paid" in tag["rule"]
    assert len(tag["rulebookVersion"]) == 16


async def test_a_stage_says_since_when_and_why(world: Any) -> None:
    query = 'stages(track: "lifecycle") { track key title since because rule plugin rulebookVersion }'
    [stage] = (await user(world, query))["stages"]
    assert (stage["track"], stage["key"], stage["title"]) == ("lifecycle", "growth", "成长")
    assert stage["because"] == "2 orders so far, last interaction 0 days ago"
    assert stage["since"] == "2026-06-01T12:00:00+00:00"
    assert stage["plugin"] == "lifecycle"


async def test_stages_can_be_of_one_track(world: Any) -> None:
    found = await user(world, 'no: stages(track: "membership") { key } yes: stages(track: "lifecycle") { key }')
    assert (found["no"], len(found["yes"])) == ([], 1)


async def test_history_says_what_was_and_why_it_ended(world: Any) -> None:
    found = await user(
        world,
        "tagHistory { nodes { key since until because endedBecause } }"
        " stageHistory { nodes { key since until because } }",
    )
    [stage] = found["stageHistory"]["nodes"]
    assert stage["key"] == "lost"
    assert stage["since"] < stage["until"] == "2026-06-01T12:00:00+00:00"
    assert stage["because"] == "last interaction 140 days ago; lost from 90"
    [asleep] = [tag for tag in found["tagHistory"]["nodes"] if tag["key"] == "rfm.sleeping"]
    assert asleep["because"] == "last order 140 days ago; sleeping after 90"
    assert asleep["endedBecause"] == "last order 0 days ago; sleeping after 90"


async def test_a_user_has_identities_attributes_events_and_actions(world: Any) -> None:
    found = await user(
        world,
        "identities { kind value } attributes firstSeen lastSeen"
        " events(first: 2) { totalCount nodes { key kind at payload receivedAt } }"
        " actions { nodes { status channel plugin playbook purpose text because attempts doneAt user { lastSeen } } }",
    )
    assert found["identities"] == [{"kind": "member", "value": "m00"}, {"kind": "phone", "value": "139"}]
    assert found["attributes"] == {"skin": "油性"}
    assert found["events"]["totalCount"] == 3
    latest = found["events"]["nodes"][0]
    assert (latest["key"], latest["kind"], latest["payload"]) == ("o0-9", "order.paid", {"amount": 10.5, "items": []})
    assert latest["at"] == found["lastSeen"] == "2026-06-01T12:00:00+00:00"
    [action] = found["actions"]["nodes"]
    assert (action["status"], action["channel"], action["playbook"]) == ("SENT", "outbox", "welcome_back")
    assert action["because"] == "lifecycle: lost → growth"
    assert action["user"] == {"lastSeen": found["lastSeen"]}


async def test_a_user_is_found_by_id_as_by_identity(world: Any) -> None:
    id = (await user(world, "id"))["id"]
    query = 'query ($id: ID) { brand(slug: "shop") { user(id: $id) { id } } node(id: $id) { id } }'
    with_null = query.replace("$id: ID)", "$id: ID!)")
    data = await world.data(with_null, id=id)
    assert data["brand"]["user"] == data["node"] == {"id": id}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ('(identity: {kind: "member", value: "nobody"})', "NOT_FOUND"),
        (f'(id: "{to_base64("User", "1:999999")}")', "NOT_FOUND"),
        (f'(id: "{to_base64("Action", "1:1")}")', "NOT_FOUND"),
        ("", "INVALID_INPUT"),
        (f'(id: "{to_base64("User", "1:1")}", identity: {{kind: "member", value: "m00"}})', "INVALID_INPUT"),
    ],
)
async def test_a_user_who_is_not_there_is_null_with_an_error(world: Any, arguments: str, code: str) -> None:
    answer = await world.ask(f'{{ brand(slug: "shop") {{ user{arguments} {{ id }} }} }}')
    assert answer["data"] == {"brand": {"user": None}}
    assert answer["errors"][0]["extensions"]["code"] == code


async def test_everything_with_an_id_is_found_by_it(world: Any) -> None:
    query = """{ brand(slug: "shop") { id __typename
      users(first: 1, orderBy: {field: LAST_SEEN, direction: DESC}) { nodes { id __typename
        actions { nodes { id __typename } } events { nodes { id __typename } } } }
      tags { id __typename } segments { nodes { id __typename } } stages { id __typename } plugins { id __typename }
      runs { nodes { id __typename } } rejectedEvents { nodes { id __typename } } } }"""
    found: dict[str, str] = {}

    def collect(item: Any) -> None:
        if isinstance(item, list):
            for inner in item:
                collect(inner)
        elif isinstance(item, dict):
            if "id" in item:
                found[item["id"]] = item["__typename"]
            collect(list(item.values()))

    collect(await world.data(query))
    assert set(found.values()) == {
        "Action",
        "Brand",
        "Event",
        "Plugin",
        "RejectedEvent",
        "Run",
        "Segment",
        "Stage",
        "Tag",
        "User",
    }
    for id, typename in found.items():
        data = await world.data("query ($id: ID!) { node(id: $id) { id __typename } }", id=id)
        assert data["node"] == {"id": id, "__typename": typename}
    data = await world.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id __typename } }", ids=list(found))
    assert data["nodes"] == [{"id": id, "__typename": typename} for id, typename in found.items()]


async def test_of_many_ids_those_of_nothing_are_null_each_with_an_error(world: Any) -> None:
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    good = (await user(world, "id"))["id"]
    wrong = to_base64("User", "9:1")
    answer = await world.ask(query, ids=[wrong, good, wrong, good])
    assert answer["data"] == {"nodes": [None, {"id": good}, None, {"id": good}]}
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["nodes", 0], "NOT_FOUND"),
        (["nodes", 2], "NOT_FOUND"),
    ]
    [error] = (await world.ask(query, ids=[good] * 101))["errors"]
    assert (error["extensions"]["field"], error["extensions"]["remedy"]) == ("ids", "give at most 100")


async def test_many_ids_are_read_together(world: Any) -> None:
    users = (await world.data('{ brand(slug: "shop") { users(first: 45) { nodes { id } } } }'))["brand"]["users"]
    ids = [node["id"] for node in users["nodes"]]
    with world.statements() as sent:
        await world.data("query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on User { lastSeen } } }", ids=ids)
    assert len(sent) == 2, "whom they count as, and who these are"


@pytest.mark.parametrize(
    "id",
    [
        to_base64(kind, rest)
        for kind in ("User", "Brand", "Plugin", "Edge", "Nothing")
        for rest in (
            "",
            "1",
            "1:",
            "1:x",
            "0:1",
            "9:1",
            "1:-1",
            "1:99999999999999999999",
            "99999999999:1",
            "1:1:1",
            "٣:1",
        )
        if (kind, rest) not in (("Brand", "1"), ("Brand", "1:"))
    ],
)
async def test_an_id_of_nothing_is_null_with_an_error(world: Any, id: str) -> None:
    answer = await world.ask("query ($id: ID!) { node(id: $id) { id } }", id=id)
    assert answer["data"] == {"node": None}
    assert (answer["errors"][0]["extensions"]["code"], answer["errors"][0]["path"]) == ("NOT_FOUND", ["node"])


@pytest.mark.parametrize("id", ["", "x", "VXNlcg", "é"])
async def test_an_id_that_is_none_is_refused(world: Any, id: str) -> None:
    [error] = (await world.ask("query ($id: ID!) { node(id: $id) { id } }", id=id))["errors"]
    assert error["extensions"]["code"] == "INVALID_REQUEST"


async def test_a_brand_tells_of_itself(world: Any) -> None:
    data = await world.data(
        """{ version me { role name brand { slug } } brands { slug }
        brand(slug: "shop") { slug name zone now refreshedAt refreshAskedAt
          runs { nodes { kind status phase progress users changes seconds error finishedAt } }
          rejectedEvents { nodes { field reason received receivedAt } }
          plugins { name title version enabled params paramsSchema changedBy tags { key } stages { key } } } }"""
    )
    assert data["me"] == {"role": "ADMIN", "name": "root", "brand": None}
    assert [brand["slug"] for brand in data["brands"]] == ["other", "shop"]
    brand = data["brand"]
    assert brand["now"] == "2026-06-01T12:00:00+00:00"
    assert brand["refreshedAt"]
    assert brand["refreshAskedAt"] is None
    run, before = brand["runs"]["nodes"]
    assert before["kind"] == "export"
    assert (run["kind"], run["status"], run["progress"], run["users"]) == ("refresh", "DONE", 1.0, 45)
    assert run["seconds"]["facts"] >= 0
    [rejected] = brand["rejectedEvents"]["nodes"]
    assert rejected["field"] == "kind"
    assert rejected["received"]["kind"] == "order.lost"
    plugins = {plugin["name"]: plugin for plugin in brand["plugins"]}
    lifecycle, rfm = plugins["lifecycle"], plugins["rfm"]
    assert not plugins["beauty"]["enabled"]
    assert (lifecycle["name"], lifecycle["enabled"], lifecycle["tags"]) == ("lifecycle", True, [])
    assert len(lifecycle["stages"]) == 9
    assert lifecycle["params"]["lifecycle"]["lost_days"] == 90
    assert lifecycle["paramsSchema"]["properties"]["lifecycle"]["properties"]["lost_days"]["minimum"] == 2
    assert set(lifecycle["params"]) == set(lifecycle["paramsSchema"]["properties"])
    assert {tag["key"].split(".")[0] for tag in rfm["tags"]} == {"rfm"}


async def test_plugins_tell_which_attributes_they_know(world: Any) -> None:
    query = '{ brand(slug: "shop") { plugins { name attributes { name title type values personal } } } }'
    plugins = (await world.data(query))["brand"]["plugins"]
    attributes = {plugin["name"]: plugin["attributes"] for plugin in plugins}
    member = {"name": "member", "title": "会员", "type": "FLAG", "values": [], "personal": False}
    assert (attributes["lifecycle"], attributes["rfm"]) == ([member], [])
    skin, born, _ = attributes["beauty"]
    assert (skin["type"], skin["values"][:2], skin["personal"]) == ("TEXT", ["dry", "干性"], False)
    assert (born["name"], born["type"], born["personal"]) == ("birthday", "DATE", True)


async def test_actions_can_be_of_one_status(world: Any) -> None:
    query = (
        'query ($status: [ActionStatus!]) { brand(slug: "shop") { actions(filter: {status: $status}) { totalCount } } }'
    )
    counts = [
        (await world.data(query, status=status))["brand"]["actions"]["totalCount"]
        for status in (None, ["SENT"], ["SENT", "PLANNED"], ["FAILED"], [])
    ]
    assert counts == [2, 2, 2, 0, 0]


async def test_actions_are_filtered_by_what_they_are_and_for_whom(world: Any) -> None:
    query = """query ($filter: ActionFilter) { brand(slug: "shop") { actions(filter: $filter) {
      nodes { id status channel plannedAt user { id actions(filter: $filter) { nodes { id } } } } } } }"""

    async def asked(**filter: Any) -> list[Any]:
        nodes: list[Any] = (await world.data(query, filter=filter))["brand"]["actions"]["nodes"]
        assert all(node["id"] in [mine["id"] for mine in node["user"]["actions"]["nodes"]] for node in nodes)
        return nodes

    both = await asked()
    assert len(both) == 2
    assert await asked(user=both[0]["user"]["id"]) == both[:1]
    assert await asked(channel=["outbox"], plannedAt={"gte": both[0]["plannedAt"]}, plugin=["lifecycle"]) == both
    assert await asked(doneAt={"lt": "2020-01-01T00:00:00Z"}) == []
    assert await asked(NOT={"status": ["SENT"]}) == await asked(purpose=["SALES"]) == []
    assert await asked(NOT={"doneAt": {"lt": "2020-01-01T00:00:00Z"}}) == both


async def test_fragments_aliases_and_directives_work_as_everywhere(world: Any) -> None:
    query = """query ($full: Boolean!) { shop: brand(slug: "shop") { ...B } other: brand(slug: "other") { ...B } }
      fragment B on Brand { slug users(first: 1) { totalCount nodes @include(if: $full) { ...U } } }
      fragment U on Node { id ... on User { lastSeen } }"""
    data = await world.data(query, full=True)
    assert [data[name]["users"]["totalCount"] for name in ("shop", "other")] == [45, 3]
    assert "nodes" not in (await world.data(query, full=False))["shop"]["users"]


async def test_chinese_is_sent_as_it_is(world: Any) -> None:
    response = await world.post({"query": '{ brand(slug: "shop") { stages { title } } }'})
    assert "休眠" in response.content.decode()
    assert json.loads(response.content)["data"]


async def test_an_error_takes_with_it_only_what_it_has_to(world: Any) -> None:
    # `edges` and `nodes` wait for one page: an error that ends one of them must not end the other's waiting.
    query = """{ brand(slug: "shop") { zone users(first: 50) {
      edges { node { stageHistory { nodes { rule } edges { cursor } } tagHistory(after: "W10") { nodes { key } } } }
      nodes { id tagHistory { nodes { because } } stageHistory { nodes { rule } } }
      totalCount
    } } }"""
    answer = await world.ask(query)
    assert {error["extensions"]["field"] for error in answer["errors"]} == {"after"}


@pytest.mark.parametrize(
    ("asked", "message", "code", "field"),
    [
        ('user(id: "1003") { id }', '"1003"', "INVALID_REQUEST", None),
        ('user(identity: {kind: "member", value: "nobody"}) { id }', "member 'nobody'", "NOT_FOUND", "identity"),
        ('user(id: "VGFnOjE6MQ==") { id }', "VGFnOjE6MQ==", "NOT_FOUND", "id"),
        ("users(first: 1000) { nodes { id } }", "first is 1000", "INVALID_INPUT", "first"),
        ("users(first: 1, last: 1) { nodes { id } }", "first and last", "INVALID_INPUT", "last"),
    ],
)
async def test_a_mistake_is_told_with_the_value_and_the_remedy(
    world: Any, asked: str, message: str, code: str, field: str | None
) -> None:
    [error] = (await world.ask(f'{{ brand(slug: "shop") {{ {asked} }} }}'))["errors"]
    assert message in error["message"]
    assert (error["extensions"]["code"], error["extensions"].get("field")) == (code, field)
    assert error["extensions"]["remedy"]
