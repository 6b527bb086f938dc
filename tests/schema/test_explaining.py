"""Why, what if, and what would have been, asked over the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from siyu.flow.tokens import create_token
from siyu.store.models import Brand, Fence, PluginSetting, Run

EXPLAIN = """query ($at: DateTime) { brand(slug: "shop") { user(identity: {kind: "member", value: "m00"}) {
  stages { key since rulebookVersion } tags { key }
  explain(at: $at) {
    at rulebookVersion gone { key }
    tags { key held because words condition facts { name fact value } params plugin rule stands { since because } }
    tracks { key stage first keptUntil plugin rule stands { track key since rulebookVersion because }
      stages { key title tried held because words condition facts { name value } params stay } }
  } } } }"""
PREVIEW = """query ($plugin: String!, $enabled: Boolean, $params: JSON, $samples: Int! = 5) { brand(slug: "shop") {
  previewPlugin(plugin: $plugin, enabled: $enabled, params: $params, samples: $samples) {
    users today proposed actions { now perDay perDayToday users }
    tags { ...effect } stages { ...effect } } } }
fragment effect on Effect { track key today proposed enter { ...moved } leave { ...moved } }
fragment moved on Moved { users byStage { track stage users } samples { userId because } }"""
REPLAY = """query ($since: DateTime!, $days: Int! = 7, $plugin: String, $params: JSON) { brand(slug: "shop") {
  replay(since: $since, everyDays: $days, plugin: $plugin, params: $params) { moments {
    at users stages { track key today proposed enter leave } tags { key today }
    moves { track before after today proposed } } failing { plugin rule error at moments } } } }"""
SOONER = {"lifecycle": {"dormant_days": 10, "lost_days": 60, "stay_days": 0}}


async def test_a_user_is_explained_with_all_that_was_looked_at(world: Any) -> None:
    user = (await world.data(EXPLAIN))["brand"]["user"]
    found = user["explain"]
    track = found["tracks"][0]
    stands = next(stage for stage in user["stages"] if stage["key"] == track["stage"])
    assert (track["stage"], track["first"], track["keptUntil"], track["plugin"]) == (
        stands["key"], "growth", None, "lifecycle"
    )  # fmt: skip
    assert track["stands"]["since"] == stands["since"]
    assert [(stage["key"], stage["tried"], stage["held"]) for stage in track["stages"]] == [
        ("lost", True, False), ("dormant", True, False), ("mature", True, False), ("growth", True, True),
        ("intro", False, True),
    ]  # fmt: skip
    lost = track["stages"][0]
    assert lost["because"] == lost["words"] == "silent >= 90 (is 0)"
    assert lost["condition"]["op"] == ">="
    assert [child["value"] for child in lost["condition"]["children"]] == [0, 90]
    assert (lost["facts"][0], lost["params"]["lost_days"]) == ({"name": "silent", "value": 0}, 90)
    assert len(found["tags"]) == 11
    assert [tag["key"] for tag in found["tags"] if tag["held"]] == [tag["key"] for tag in user["tags"]]
    assert all((tag["stands"] is not None) == tag["held"] for tag in found["tags"])
    high = next(tag for tag in found["tags"] if tag["key"] == "rfm.high_value")
    assert {fact["name"] for fact in high["facts"]} == {"recency", "frequency", "monetary"}
    assert (high["rule"], high["params"]["bins"]) == ("rfm", 5)
    then = (await world.data(EXPLAIN, at="2026-03-20T00:00:00Z"))["brand"]["user"]["explain"]
    assert then["tracks"][0]["stage"] == "dormant"
    assert then["tracks"][0]["stands"] is None, "the brand was not decided for then"


async def test_many_users_are_explained_in_a_few_statements(world: Any) -> None:
    query = '{ brand(slug: "shop") { users(first: %d) { nodes { explain { tracks { stage } } } } } }'
    with world.statements() as sent:
        await world.data(query % 2)
    two = len(sent)
    with world.statements() as sent:
        await world.data(query % 40)
    assert len(sent) == two
    [error, *_] = (await world.ask(query % 60))["errors"]
    assert error["extensions"]["code"] == "TOO_LARGE"


@pytest.mark.usefixtures("one_day")
async def test_a_change_is_previewed_and_nothing_is_changed(world: Any) -> None:
    runs, settings = await Run.all().count(), await PluginSetting.all().values()
    found = (await world.data(PREVIEW, plugin="lifecycle", params=SOONER))["brand"]["previewPlugin"]
    lost = next(stage for stage in found["stages"] if stage["key"] == "lost")
    assert lost["proposed"] - lost["today"] == lost["enter"]["users"] - lost["leave"]["users"] > 0
    assert found["today"] != found["proposed"]
    assert found["users"] == 45
    sample = lost["enter"]["samples"][0]
    assert "lost from 60" in sample["because"]
    query = 'query ($id: ID!) { brand(slug: "shop") { user(id: $id) { stages { key } } } }'
    stage = (await world.data(query, id=sample["userId"]))["brand"]["user"]["stages"][0]["key"]
    assert stage in {each["stage"] for each in lost["enter"]["byStage"]}
    off = (await world.data(PREVIEW, plugin="rfm", enabled=False, samples=0))["brand"]["previewPlugin"]
    assert {tag["proposed"] for tag in off["tags"]} == {0}
    assert not any(tag["leave"]["samples"] for tag in off["tags"])
    assert (await Run.all().count(), await PluginSetting.all().values()) == (runs, settings)
    assert world.queue.pushed == []


async def test_the_past_is_replayed_under_both_rules(world: Any) -> None:
    asked = {"since": "2026-02-01T00:00:00Z", "days": 30}
    replayed = (await world.data(REPLAY, **asked, plugin="lifecycle", params=SOONER))["brand"]["replay"]
    both, today = replayed["moments"], (await world.data(REPLAY, **asked))["brand"]["replay"]["moments"]
    assert replayed["failing"] == []
    assert [moment["at"] for moment in both] == [moment["at"] for moment in today]
    assert len(both) == 5
    for one, other in zip(both, today, strict=True):
        assert sum(s["proposed"] for s in one["stages"] if s["track"] == "lifecycle") == one["users"]
        assert [stage["today"] for stage in one["stages"]] == [stage["today"] for stage in other["stages"]]
    assert {stage["proposed"] for moment in today for stage in moment["stages"]} == {None}
    assert any(move["after"] == "dormant" and move["proposed"] for move in both[1]["moves"])


async def test_a_replay_names_the_rules_that_it_goes_without(world: Any) -> None:
    fence: dict[str, Any] = {"plugin": "rfm", "rule": "rfm", "error": "no luck"}
    await Fence.create(brand_id=(await Brand.get(slug="shop")).id, since=datetime.now(UTC), **fence)
    found = (await world.data(REPLAY, since="2026-02-01T00:00:00Z"))["brand"]["replay"]
    moments = [moment["at"] for moment in found["moments"]]
    assert found["failing"] == [{**fence, "at": moments[0], "moments": len(moments)}]
    assert not any(tag["key"].startswith("rfm.") for moment in found["moments"] for tag in moment["tags"])


@pytest.mark.parametrize(
    ("query", "variables", "code", "says"),
    [
        (PREVIEW, {"plugin": "lifecycle", "params": {"lifecycle": {"dormant": 1}}}, "INVALID_PLUGIN", "dormant_days"),
        (PREVIEW, {"plugin": "lifecycle", "params": []}, "INVALID_INPUT", "object"),
        (PREVIEW, {"plugin": "lifecycle"}, "INVALID_INPUT", "nothing would change"),
        (PREVIEW, {"plugin": "nothing", "enabled": True}, "NOT_FOUND", "installed are"),
        (PREVIEW, {"plugin": "rfm", "enabled": True, "samples": 51}, "INVALID_INPUT", "0 to 50"),
        (REPLAY, {"since": "2020-01-01T00:00:00Z"}, "INVALID_INPUT", "at most 60"),
        (REPLAY, {"since": "2030-01-01T00:00:00Z"}, "INVALID_INPUT", "later than until"),
        (REPLAY, {"since": "2026-01-01T00:00:00Z", "days": 0}, "INVALID_INPUT", "1 to 3660"),
        (REPLAY, {"since": "2026-05-01T00:00:00Z", "plugin": "rfm"}, "INVALID_INPUT", "nothing would change"),
        (REPLAY, {"since": "2026-05-01T00:00:00Z", "params": {}}, "INVALID_INPUT", "name the plugin"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_remedy(
    world: Any, query: str, variables: Any, code: str, says: str
) -> None:
    [error] = (await world.ask(query, **variables))["errors"]
    assert error["extensions"]["code"] == code
    assert says in error["message"] + error["extensions"].get("remedy", "")


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_only_who_may_set_a_plugin_asks_what_that_would_do(world: Any, role: str) -> None:
    token = await create_token(role, await Brand.get(slug="shop"))
    since = "2026-05-28T00:00:00Z"
    answers = [
        await world.ask(PREVIEW, token=token, plugin="lifecycle", params=SOONER),
        await world.ask(REPLAY, token=token, since=since, plugin="lifecycle", params=SOONER),
    ]
    for answer in answers:
        codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
        assert codes == ([] if role == "admin" else ["FORBIDDEN"])
    assert "errors" not in await world.ask(REPLAY, token=token, since=since)
    assert "errors" not in await world.ask(EXPLAIN, token=token)
