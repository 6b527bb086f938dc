"""Users merged and parted over the API, and what is seen of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand

from tests.schema.conftest import START, Api

USERS = '{ brand(slug: "shop") { users { totalCount nodes { id identities { kind value } } } } }'
MERGE = """
mutation ($user: ID!, $other: ID!, $force: Boolean! = false) {
  mergeUsers(brand: "shop", user: $user, other: $other, reason: "same face", force: $force) {
    merge { id userIds at by reason identities { kind value } undoneAt }
    user { id identities { kind value } merges { id } }
    userErrors { code field message remedy }
  }
}
"""
UNMERGE = """
mutation ($merge: ID!) {
  unmergeUsers(brand: "shop", merge: $merge) {
    merge { id undoneAt undoneBy } users { id identities { value } merges { id } } userErrors { code field message }
  }
}
"""
SEEN = """
query ($id: ID!) {
  node(id: $id) { id ... on User {
    lastSeen
    tags { key }
    events(first: 3) { totalCount nodes { key } pageInfo { endCursor hasNextPage } }
    tagHistory { totalCount nodes { key endedBecause } }
    stageHistory { nodes { key endedBecause } }
    merges { by identities { kind value } }
    facts(plugin: "rfm") { rule name value }
  } }
}
"""


@pytest.fixture
async def people(api: Api, ctx: Context, brand: Brand) -> dict[str, str]:
    """Two users, m and p, each with orders, tags and stages; their ids by name."""
    for plugin in ("rfm", "lifecycle"):
        await plugins.enable(ctx, brand, plugin)
    await record(
        ctx,
        brand,
        [
            IncomingEvent(
                f"{name}{n}", "order.paid", user, {"amount": "10"}, START + timedelta(days=2 * n + (name == "p"))
            )
            for name, user in (("m", {"member": "m"}), ("p", {"phone": "p"}))
            for n in range(4)
        ],
    )
    await refresh(ctx, brand.id)
    found = (await api.data(USERS))["brand"]["users"]["nodes"]
    return {each["identities"][0]["value"]: each["id"] for each in found}


async def test_two_users_are_merged_seen_as_one_and_parted_again(
    api: Api, ctx: Context, brand: Brand, people: dict[str, str]
) -> None:
    before = await api.data(SEEN, id=people["p"])
    done = (await api.data(MERGE, user=people["p"], other=people["m"]))["mergeUsers"]
    assert done["userErrors"] == []
    assert done["user"]["id"] == people["m"]
    assert [name["value"] for name in done["user"]["identities"]] == ["m", "p"]
    assert done["merge"]["userIds"] == [people["p"], people["m"]]
    assert (done["merge"]["by"], done["merge"]["reason"], done["merge"]["identities"]) == (
        "root",
        "same face",
        [],
    )
    assert api.queue.pushed == [("decide", brand.id)]
    await decide_users(ctx, brand.id)

    assert (await api.data(USERS))["brand"]["users"]["totalCount"] == 1
    # By the id that is no longer anybody's own, too.
    one = (await api.data(SEEN, id=people["p"]))["node"]
    assert one == (await api.data(SEEN, id=people["m"]))["node"]
    assert one["id"] == people["m"]
    assert one["events"]["totalCount"] == 8
    assert [event["key"] for event in one["events"]["nodes"]] == ["p3", "m3", "p2"]
    ended = [tag for tag in one["tagHistory"]["nodes"] if tag["endedBecause"] == "merged: the user counts as another"]
    assert {tag["key"] for tag in ended} == {tag["key"] for tag in before["node"]["tags"]} != set()
    assert one["tagHistory"]["totalCount"] >= len(ended)
    assert any(stage["endedBecause"] for stage in one["stageHistory"]["nodes"])
    assert {"rule": "rfm", "name": "frequency", "value": 8} in one["facts"]

    undone = (await api.data(UNMERGE, merge=done["merge"]["id"]))["unmergeUsers"]
    assert undone["userErrors"] == []
    assert undone["merge"]["undoneBy"] == "root"
    assert [user["id"] for user in undone["users"]] == [people["p"], people["m"]]
    await decide_users(ctx, brand.id)
    assert await api.data(SEEN, id=people["p"]) == before
    listed = (await api.data('{ brand(slug: "shop") { merges { totalCount nodes { id undoneAt } } } }'))["brand"]
    assert listed["merges"]["nodes"] == [{"id": done["merge"]["id"], "undoneAt": undone["merge"]["undoneAt"]}]


async def test_a_mutation_sees_what_those_before_it_in_the_document_have_changed(
    api: Api, people: dict[str, str]
) -> None:
    merged = (await api.data(MERGE, user=people["p"], other=people["m"]))["mergeUsers"]["merge"]["id"]
    again = """
    mutation ($merge: ID!, $user: ID!, $other: ID!) {
      unmergeUsers(brand: "shop", merge: $merge) { users { id identities { value } } }
      mergeUsers(brand: "shop", user: $user, other: $other) { user { id identities { value } } }
    }
    """
    done = await api.data(again, merge=merged, user=people["p"], other=people["m"])
    parted = [{"id": people[name], "identities": [{"value": name}]} for name in ("p", "m")]
    assert done["unmergeUsers"]["users"] == parted
    assert done["mergeUsers"]["user"] == {"id": people["m"], "identities": [{"value": "m"}, {"value": "p"}]}


async def test_pages_of_what_several_did_neither_skip_nor_repeat(api: Api, people: dict[str, str]) -> None:
    await api.data(MERGE, user=people["m"], other=people["p"])
    query = """query ($id: ID!, $after: String) { node(id: $id) { ... on User {
      events(first: 3, after: $after) { nodes { key } pageInfo { endCursor hasNextPage } } } } }"""
    keys: list[str] = []
    after = None
    while True:
        page = (await api.data(query, id=people["m"], after=after))["node"]["events"]
        keys += [event["key"] for event in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert keys == ["p3", "m3", "p2", "m2", "p1", "m1", "p0", "m0"]


async def test_an_event_that_proves_it_merges_and_says_so(api: Api, people: dict[str, str]) -> None:
    event = """mutation { recordEvents(brand: "shop", events: [{id: "both", kind: "article.opened",
      user: [{kind: "member", value: "m"}, {kind: "phone", value: "p"}], at: "2026-01-01T00:00:00Z"}]) { accepted } }"""
    assert (await api.data(event))["recordEvents"] == {"accepted": 1}
    [merge] = (await api.data(SEEN, id=people["p"]))["node"]["merges"]
    assert merge["by"] == "event both"
    assert sorted(name["value"] for name in merge["identities"]) == ["m", "p"]


async def test_what_cannot_be_merged_or_parted_is_refused_with_the_reason(
    api: Api, ctx: Context, brand: Brand, people: dict[str, str]
) -> None:
    async def refused(mutation: str, **variables: Any) -> Any:
        [payload] = (await api.data(mutation, **variables)).values()
        [error] = payload["userErrors"]
        return error

    await record(ctx, brand, [IncomingEvent("n", "article.opened", {"member": "n"}, {}, START)])
    found = (await api.data(USERS))["brand"]["users"]["nodes"]
    n = next(each["id"] for each in found if each["identities"][0]["value"] == "n")
    assert (await refused(MERGE, user=people["m"], other=people["m"]))["message"].endswith("are one user already")
    conflict = await refused(MERGE, user=people["m"], other=n)
    assert (conflict["code"], conflict["field"]) == ("INVALID_INPUT", "force")
    assert "the member 'm' and 'n'" in conflict["message"]
    done = (await api.data(MERGE, user=people["m"], other=n, force=True))["mergeUsers"]
    assert done["userErrors"] == []
    tag = (await api.data('{ brand(slug: "shop") { id tags { id } } }'))["brand"]["tags"][0]["id"]
    assert (await refused(MERGE, user=people["m"], other=tag))["field"] == "other"
    assert (await refused(UNMERGE, merge=people["m"]))["code"] == "NOT_FOUND"
    await api.data(UNMERGE, merge=done["merge"]["id"])
    assert "was undone by root" in (await refused(UNMERGE, merge=done["merge"]["id"]))["message"]
