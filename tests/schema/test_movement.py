"""What happened to users over time: flows between stages, timelines, work that waits."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from siyu.flow.dispatch import carry_out
from siyu.store.models import Brand
from siyu.store.moves import moves

FLOWS = """query ($since: DateTime!, $until: DateTime, $daily: Boolean = false) { brand(slug: "shop") {
  stageFlows(track: "lifecycle", since: $since, until: $until, daily: $daily) {
    day from { key title } to { key title } users } } }"""
EVERYBODY = """{ brand(slug: "shop") { users(first: 100) { nodes {
  stages(track: "lifecycle") { key since } stageHistory(first: 50) { nodes { track key since until } } } } } }"""
TIMELINE = """query ($first: Int, $last: Int, $kinds: [TimelineKind!], $at: DateTimeRange) { brand(slug: "shop") {
  user(identity: {kind: "member", value: "m00"}) {
    timeline(first: $first, last: $last, kinds: $kinds, at: $at) { totalCount nodes {
      at kind event { key } action { text status } tag { key } stage { key title } because } } } } }"""
BACK = datetime(2026, 6, 1, 12, tzinfo=UTC)


async def flows(api: Any, since: datetime, until: datetime | None = None, *, daily: bool = False) -> Any:
    given = {"since": since.isoformat(), "until": until and until.isoformat(), "daily": daily}
    return (await api.data(FLOWS, **given))["brand"]["stageFlows"]


@pytest.mark.parametrize("daily", [False, True])
async def test_flows_are_what_the_histories_of_all_users_say(world: Any, daily: bool) -> None:
    wanted: Counter[Any] = Counter()
    for node in (await world.data(EVERYBODY))["brand"]["users"]["nodes"]:
        ended = {each["until"]: each["key"] for each in node["stageHistory"]["nodes"] if each["track"] == "lifecycle"}
        entered = {each["since"]: each["key"] for each in node["stageHistory"]["nodes"] if each["track"] == "lifecycle"}
        entered |= {each["since"]: each["key"] for each in node["stages"]}
        for moment, key in entered.items():
            day = datetime.fromisoformat(moment).astimezone(ZoneInfo("Asia/Shanghai")).date().isoformat()
            wanted[day if daily else None, ended.get(moment), key] += 1
    found = await flows(world, BACK - timedelta(days=300), daily=daily)
    assert wanted == Counter({(f["day"], f["from"] and f["from"]["key"], f["to"]["key"]): f["users"] for f in found})
    assert sum(f["users"] for f in found) == 45 + 2


async def test_a_period_ends_before_its_end(world: Any) -> None:
    lost = {"from": {"key": "lost", "title": "流失"}, "to": {"key": "growth", "title": "成长"}, "users": 2, "day": None}
    assert await flows(world, BACK) == [lost]
    assert await flows(world, BACK - timedelta(hours=1), BACK) == []
    assert await flows(world, BACK, BACK + timedelta(seconds=1)) == [lost]


@pytest.mark.parametrize("days", [-1, 367])
async def test_a_period_has_a_limit(world: Any, days: int) -> None:
    given = {"since": (BACK - timedelta(days=days)).isoformat(), "until": BACK.isoformat()}
    [error] = (await world.ask(FLOWS, **given))["errors"]
    assert (error["extensions"]["field"], "366 days" in error["extensions"]["remedy"]) == ("since", True)


async def test_too_many_flows_are_refused(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siyu_graphql.stage.flows.MOST_FLOWS", 1)
    [error] = (await world.ask(FLOWS, since="2026-01-01T00:00:00Z"))["errors"]
    assert error["extensions"]["code"] == "TOO_LARGE"


async def test_what_was_decided_twice_for_one_moment_is_one_move(world: Any) -> None:
    brand = await Brand.create(slug="twice", name="Twice")
    moved = """INSERT INTO stage_history (brand_id, user_id, track, stage, since, until, rulebook_id, why)
        VALUES ($1, 1, 'life', 'a', $2, $3, 1, '[]'), ($1, 1, 'life', 'b', $3, $3, 1, '[]'),
            ($1, 2, 'life', 'a', $2, $3, 1, '[]'), ($1, 3, 'life', 'a', $2, $3, 1, '[]')"""
    now_in = """INSERT INTO user_stage (brand_id, user_id, track, stage, since, rulebook_id, why)
        VALUES ($1, 1, 'life', 'c', $2, 1, '[]'), ($1, 2, 'life', 'a', $2, 1, '[]')"""
    async with world.ctx.db.connection() as connection:
        await connection.execute(moved, brand.id, BACK, BACK + timedelta(days=1))
        await connection.execute(now_in, brand.id, BACK + timedelta(days=1))
        rows = await moves(connection, brand.id, "life", BACK, BACK + timedelta(days=2), limit=10)
    # The second was put where they were; the third left the track.
    assert {tuple(row) for row in rows} == {(None, None, "a", 3), (None, "a", "c", 1), (None, "a", None, 1)}


# -- timelines ----------------------------------------------------------------------------------------------------


async def timeline(api: Any, **given: Any) -> Any:
    return (await api.data(TIMELINE, **given))["brand"]["user"]["timeline"]


async def test_a_timeline_tells_all_in_order_with_the_reasons(world: Any) -> None:
    whole = await timeline(world, first=100)
    nodes = whole["nodes"]
    assert whole["totalCount"] == len(nodes)
    ways = [(node["at"], node["kind"]) for node in nodes if node["kind"] != "ACTION_DONE"]
    assert [at for at, _ in ways] == sorted((at for at, _ in ways), reverse=True)
    at_return = [node for node in nodes if node["at"] == BACK.isoformat()]
    assert [node["kind"] for node in at_return if not node["kind"].startswith("TAG")] == [
        "ACTION_PLANNED",
        "STAGE_ENTERED",
        "STAGE_LEFT",
        "EVENT",
    ]
    by_kind = {node["kind"]: node for node in at_return}
    assert by_kind["EVENT"]["event"] == {"key": "o0-9"}
    assert by_kind["STAGE_LEFT"]["stage"]["key"] == "lost"
    assert by_kind["STAGE_ENTERED"]["stage"] == {"key": "growth", "title": "成长"}
    assert by_kind["STAGE_ENTERED"]["because"] == "2 orders so far, last interaction 0 days ago"
    assert by_kind["ACTION_PLANNED"]["action"]["status"] == "SENT"
    asleep = [node for node in nodes if node["tag"] == {"key": "rfm.sleeping"}]
    assert [(node["kind"], node["because"]) for node in asleep] == [
        ("TAG_LOST", "last order 0 days ago; sleeping after 90"),
        ("TAG_GAINED", "last order 140 days ago; sleeping after 90"),
    ]


async def test_a_timeline_is_narrowed_by_kind_and_time(world: Any) -> None:
    events = await timeline(world, kinds=["EVENT"])
    assert {node["kind"] for node in events["nodes"]} == {"EVENT"}
    assert events["totalCount"] == 3
    early = {"lt": BACK.isoformat()}
    assert (await timeline(world, kinds=["EVENT", "ACTION_PLANNED"], at=early))["totalCount"] == 2
    assert (await timeline(world, kinds=[]))["nodes"] == []


# -- work ---------------------------------------------------------------------------------------------------------

WORK = """query ($slug: String!) { brand(slug: $slug) {
  waiting { marks actionsDue dueSince actionsUnderWay actionsLater }
  done: runs(status: [DONE]) { totalCount } others: runs(status: [RUNNING, FAILED]) { totalCount }
  imports: runs(kind: ["import"]) { totalCount }
  plugins { name changes { totalCount nodes { plugin by after } } } } }"""


async def test_work_that_waits_is_counted(world: Any) -> None:
    brand = await Brand.create(slug="busy", name="Busy")
    actions = """INSERT INTO action (brand_id, key, user_id, plugin, playbook, channel, purpose, text, because, status,
            rulebook_id, planned_at, due_at)
        SELECT $1, status || due, 1, 'p', 'p', 'no_such', 'care', '', '', status, 1, now(), now() + due * interval '1 h'
        FROM (VALUES ('planned', -2), ('planned', -1), ('planned', 3), ('leased', -1), ('sent', -1)) v (status, due)"""
    async with world.ctx.db.connection() as connection:
        await connection.execute("INSERT INTO dirty_user (brand_id, user_id) VALUES ($1, 1), ($1, 1)", brand.id)
        await connection.execute(actions, brand.id)
    waiting = (await world.data(WORK, slug="busy"))["brand"]["waiting"]
    since = datetime.fromisoformat(waiting.pop("dueSince"))
    assert timedelta(hours=2) <= datetime.now(UTC) - since < timedelta(hours=2, minutes=5)
    assert waiting == {"marks": 2, "actionsDue": 2, "actionsUnderWay": 1, "actionsLater": 1}


async def test_where_nothing_waits_nothing_is_counted(world: Any) -> None:
    await carry_out(world.ctx, (await Brand.get(slug="shop")).id)
    brand = (await world.data(WORK, slug="shop"))["brand"]
    assert brand["waiting"] == {
        "marks": 0,
        "actionsDue": 0,
        "dueSince": None,
        "actionsUnderWay": 0,
        "actionsLater": 0,
    }


async def test_runs_are_narrowed_and_changes_are_a_plugins_own(world: Any) -> None:
    brand = (await world.data(WORK, slug="shop"))["brand"]
    # A refresh and an export.
    assert [brand[name]["totalCount"] for name in ("done", "others", "imports")] == [2, 0, 0]
    changes = {plugin["name"]: plugin["changes"] for plugin in brand["plugins"]}
    assert {name for name, each in changes.items() if each["totalCount"]} == {"lifecycle", "rfm"}
    assert all(node["plugin"] == name for name, each in changes.items() for node in each["nodes"])
