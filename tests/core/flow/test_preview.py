"""A preview is what then happens, a replay what would have happened, and neither leaves a trace."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import siyu
from siyu import (
    Count,
    DaysSince,
    Field,
    InputError,
    Lifecycle,
    NotFound,
    Playbook,
    PluginError,
    Segmenter,
    Send,
    SiyuError,
    Stage,
    StageChanged,
    Tag,
    hookimpl,
)
from siyu.contract.manager import PluginManager
from siyu.engine.effects import Effect
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on
from siyu.flow.preview import Preview, preview, replay
from siyu.flow.refresh import refresh
from siyu.store.models import Action, Brand, RulebookVersion, Run, StageHistory, TagAssignment, UserStage
from siyu.store.models import Tag as TagRow

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Calls(Segmenter):
    class Params(siyu.Params):
        days: int = Field(20, ge=1)

    silent = DaysSince("order.paid")

    def tags(self, p: Params) -> Any:
        yield Tag("calls.quiet", "安静", self.silent >= p.days, "silent for {silent} days; quiet from {days}")


class Warmth(Lifecycle):
    class Params(siyu.Params):
        hot: int = Field(2, ge=1)
        stay: int = Field(10, ge=0)

    orders = Count("order.paid", days=30)

    def stages(self, p: Params) -> Any:
        yield Stage("hot", "热", self.orders >= p.hot, "{orders} orders", stay=p.stay)
        yield Stage("cold", "冷", because="only {orders} orders")


class Greet(Playbook):
    reentry = "always"

    def trigger(self, p: Any) -> StageChanged:
        return StageChanged("warmth", after=frozenset({"hot"}))

    def steps(self, p: Any) -> Any:
        yield Send("outbox", "hello")
        yield Send("outbox", "again")


@pytest.fixture(scope="module")
def plugins_with_calls() -> PluginManager:
    """All installed plugins, and one with a tag, a track of two stages and a playbook of two steps."""
    manager = PluginManager.load()
    module = SimpleNamespace(
        __doc__="Calls",
        siyu_segmenters=hookimpl(lambda: [Calls]),
        siyu_lifecycles=hookimpl(lambda: [Warmth]),
        siyu_playbooks=hookimpl(lambda: [Greet]),
    )
    for name in ("siyu_segmenters", "siyu_lifecycles", "siyu_playbooks"):
        getattr(module, name).__name__ = name
    manager.register("calls", module)
    manager.check()
    return manager


@pytest.fixture
def shop(ctx: Context, plugins_with_calls: PluginManager) -> Context:
    return Context(ctx.db, plugins_with_calls, ctx.home)


def order(key: str, member: int, day: float, amount: int = 10) -> IncomingEvent:
    at = START + timedelta(days=day)
    return IncomingEvent(key, "order.paid", {"member": str(member)}, {"amount": amount}, at)


async def history(ctx: Context, brand: Brand, seed: int, members: int = 40, days: int = 120) -> None:
    """Orders of members over some months; the brand then lives at the last of them."""
    rng = random.Random(seed)
    orders = [
        order(f"{seed}-{n}", rng.randrange(members), rng.random() ** 0.7 * days, rng.randrange(1, 90))
        for n in range(members * 4)
    ]
    await record(ctx, brand, orders)
    await brand.refresh_from_db()


Held = dict[tuple[str | None, str], set[int]]


async def held(brand: Brand) -> Held:
    """Who has what, by (track, key)."""
    tags = {row.id: row.key for row in await TagRow.filter(brand_id=brand.id)}
    found: Held = {}
    for tag in await TagAssignment.filter(brand_id=brand.id):
        found.setdefault((None, tags[tag.tag_id]), set()).add(tag.user_id)
    for stage in await UserStage.filter(brand_id=brand.id):
        found.setdefault((stage.track, stage.stage), set()).add(stage.user_id)
    return found


def told(found: Preview, side: str) -> Held:
    return {
        (effect.track, effect.key): {sample.user_id for sample in getattr(effect, side).samples}
        for effect in (*found.tags, *found.stages)
        if getattr(effect, side).users
    }


def gone(one: Held, other: Held) -> Held:
    """What is in the one and not in the other."""
    return {key: rest for key, users in one.items() if (rest := users - other.get(key, set()))}


CHANGES: list[tuple[str, bool | None, Mapping[str, Any] | None]] = [
    ("lifecycle", None, {"lifecycle": {"dormant_days": 12, "lost_days": 25, "mature_orders": 4}}),
    ("lifecycle", None, {"lifecycle": {"variant": "four", "stay_days": 0}}),
    ("lifecycle", False, None),
    ("rfm", None, {"rfm": {"bins": 3, "high_from": 2, "sleeping_days": 40}}),
    ("rfm", False, None),
    ("calls", True, None),
    ("calls", True, {"calls": {"days": 5}, "warmth": {"hot": 1}}),
]


@pytest.mark.usefixtures("one_day")
@pytest.mark.parametrize(("seed", "change"), list(itertools.product((1, 2), CHANGES)), ids=str)
async def test_a_preview_is_what_then_happens(shop: Context, brand: Brand, seed: int, change: Any) -> None:
    name, on, params = change
    for each in ("lifecycle", "rfm"):
        await plugins.enable(shop, brand, each)
    await history(shop, brand, seed)
    # Stages of several ages, so that minimum stays differ.
    for back in (30, 9, 3, 0):
        await refresh(shop, brand.id, at=(brand.replayed_to or START) - timedelta(days=back))
        await carry_on(shop, brand.id)
    before = await held(brand)
    foreseen = await preview(shop, brand, name, enabled=on, params=params, samples=1000)
    if on is not None:
        await (plugins.enable if on else plugins.disable)(shop, brand, name)
    if params is not None:
        await plugins.configure(shop, brand, name, params)
    done = await refresh(shop, brand.id)
    after = await held(brand)
    assert told(foreseen, "enter") == gone(after, before)
    assert told(foreseen, "leave") == gone(before, after)
    assert done.changes > 0
    assert (foreseen.users, foreseen.actions.now) == (done.users, (await carry_on(shop, brand.id)).actions)
    await brand.refresh_from_db()
    rulebook = await RulebookVersion.get(id=brand.rulebooks[0][1])
    assert foreseen.proposed == rulebook.version != foreseen.today
    for effect in (*foreseen.tags, *foreseen.stages):
        key = (effect.track, effect.key)
        assert (effect.today, effect.proposed) == (len(before.get(key, ())), len(after.get(key, ())))
        for moved in (effect.enter, effect.leave):
            assert all(sample.because for sample in moved.samples)
            for track in {each.track for each in moved.by_stage}:
                assert sum(each.users for each in moved.by_stage if each.track == track) == moved.users


async def test_who_moves_is_counted_by_where_they_stand_and_told_why(shop: Context, brand: Brand) -> None:
    await plugins.enable(shop, brand, "lifecycle")
    await record(shop, brand, [order("a", 1, 0), order("b", 2, 20), order("c", 3, 38), order("d", 3, 40)])
    await brand.refresh_from_db()
    found = await preview(shop, brand, "calls", enabled=True, samples=1)
    quiet = effect(found, "calls.quiet")
    assert (quiet.today, quiet.proposed, quiet.enter.users, quiet.leave.users) == (0, 2, 2, 0)
    of = {(each.stage, each.users) for each in quiet.enter.by_stage if each.track == "lifecycle"}
    assert of == {("dormant", 1), ("growth", 1)}
    [sample] = quiet.enter.samples
    assert sample.because == "silent for 40 days; quiet from 20"
    assert found.actions.now == 2, "two steps for the one who is hot"
    dormant = effect(await preview(shop, brand, "lifecycle", params={"lifecycle": {"dormant_days": 20}}), "dormant")
    assert (dormant.today, dormant.proposed) == (1, 2)
    assert dormant.enter.samples[0].because == "last interaction 20 days ago; dormant from 20"


def effect(found: Preview, key: str) -> Effect:
    [one] = [each for each in (*found.tags, *found.stages) if each.key == key]
    return one


async def test_actions_a_day_are_those_that_daily_refreshes_would_plan(shop: Context, brand: Brand) -> None:
    await history(shop, brand, 5)
    foreseen = await preview(shop, brand, "calls", enabled=True)
    assert foreseen.actions.per_day_today == 0
    assert foreseen.actions.users == foreseen.users
    await plugins.enable(shop, brand, "calls")
    end = brand.replayed_to or START
    await refresh(shop, brand.id, at=end - timedelta(days=28))
    await carry_on(shop, brand.id, at=end - timedelta(days=28))
    planned = []
    for day in range(27, -1, -1):
        await refresh(shop, brand.id, at=end - timedelta(days=day))
        planned.append((await carry_on(shop, brand.id, at=end - timedelta(days=day))).actions)
    assert foreseen.actions.per_day == pytest.approx(sum(planned) / 28)
    assert sum(planned) > 0


async def test_of_a_large_brand_a_sample_stands_for_all(
    shop: Context, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await history(shop, brand, 5, members=200)
    whole = (await preview(shop, brand, "calls", enabled=True)).actions
    monkeypatch.setattr("siyu.flow.preview.SAMPLE", 50)
    some = (await preview(shop, brand, "calls", enabled=True)).actions
    assert some.users == 50 < whole.users
    assert some.now == whole.now
    assert some.per_day == pytest.approx(whole.per_day, rel=0.6)


# -- no trace -----------------------------------------------------------------------------------------------------


async def traces(ctx: Context) -> dict[str, Any]:
    """All that is kept: rows of every table, sequences, and files with their contents and times."""
    found = files(ctx.home)
    async with ctx.db.connection() as connection:
        for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            rows = f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {row['tablename']} t"
            found[row["tablename"]] = await connection.fetchval(rows)
        found["sequences"] = await connection.fetch("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1")
    return found


def files(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.md5(path.read_bytes()).hexdigest()) if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.usefixtures("one_day")
@pytest.mark.parametrize("lake", ["sealed", "tail", "lost"])
async def test_preview_and_replay_write_nothing(shop: Context, brand: Brand, lake: str) -> None:
    await plugins.enable(shop, brand, "rfm")
    await history(shop, brand, 3)
    await refresh(shop, brand.id, seal_from=1)
    if lake == "tail":
        await record(shop, brand, [order(f"new-{n}", n, 121) for n in range(30)])
        await brand.refresh_from_db()
    expected = await preview(shop, brand, "calls", enabled=True)
    if lake == "lost":
        shutil.rmtree(shop.home / "lake")
    before = await traces(shop)
    assert await Run.all().count() == 1
    found = await preview(shop, brand, "calls", enabled=True)
    assert len((await replay(shop, brand, "rfm", enabled=False, since=START + timedelta(days=100))).points) > 2
    assert await traces(shop) == before
    assert found == expected


# -- replay -------------------------------------------------------------------------------------------------------


async def test_the_last_moment_of_a_replay_is_a_refresh_at_that_moment(shop: Context, brand: Brand) -> None:
    await history(shop, brand, 4)
    for each in ("lifecycle", "calls"):
        await plugins.enable(shop, brand, each)
    params = {"calls": {"days": 8}, "warmth": {"hot": 1, "stay": 25}}
    since, until = START + timedelta(days=40), START + timedelta(days=110)
    found = await replay(shop, brand, "calls", params=params, since=since, until=until, every=timedelta(days=10))
    today = await replay(shop, brand, since=since, until=until, every=timedelta(days=10))
    assert [point.at for point in found.points] == [since + timedelta(days=10) * n for n in range(8)]
    assert await Action.all().count() == 0
    for sides, now in ((found, "proposed"), (today, "today")):
        if now == "proposed":
            await plugins.configure(shop, brand, "calls", params)
        else:
            await plugins.configure(shop, brand, "calls", {})
        await _forget(shop)
        for point in sides.points:
            before = await held(brand)
            done = await refresh(shop, brand.id, at=point.at)
            after = await held(brand)
            assert done.users == point.users
            for size in (*point.tags, *point.stages):
                assert getattr(size, now) == len(after.get((size.track, size.key), ())), (size, point.at)
            flows = {(move.track, move.before, move.after): getattr(move, now) for move in point.moves}
            for (track, key), users in after.items():
                if track is not None:
                    came = users - before.get((track, key), set())
                    assert sum(n for (t, _, to), n in flows.items() if (t, to) == (track, key)) == len(came)
    assert await StageHistory.all().count() > 0, "some moved"
    last, lone = found.points[-1], today.points[-1]
    assert [size.today for size in last.stages] == [size.today for size in lone.stages]
    assert {size.proposed for size in lone.stages} == {None}
    quiet = next(size for size in last.tags if size.key == "calls.quiet")
    assert quiet.proposed == quiet.today + quiet.enter - quiet.leave
    assert quiet.enter > 0


async def _forget(ctx: Context) -> None:
    """As if nothing had ever been decided."""
    async with ctx.db.connection() as connection:
        for table in ("tag_assignment", "tag_history", "user_stage", "stage_history"):
            await connection.execute(f"DELETE FROM {table}")
    shutil.rmtree(ctx.home / "lake", ignore_errors=True)


async def test_a_replay_begins_where_users_then_stood(shop: Context, brand: Brand) -> None:
    await plugins.enable(shop, brand, "calls")
    await record(shop, brand, [order("a", 1, 0), order("b", 1, 1), order("c", 2, 60)])
    await brand.refresh_from_db()
    await refresh(shop, brand.id, at=START + timedelta(days=25))
    await refresh(shop, brand.id, at=START + timedelta(days=60))
    [point] = (await replay(shop, brand, since=(day := START + timedelta(days=32)), until=day)).points
    assert [(size.key, size.today) for size in point.stages] == [("cold", 0), ("hot", 1)], "kept for ten days from 25"


# -- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asked", "kind", "says"),
    [
        ("nothing", {"enabled": True}, NotFound, "installed are"),
        ("lifecycle", {}, InputError, "nothing would change"),
        ("lifecycle", {"params": {"lifecycle": {"dormant_days": 0}}}, PluginError, "lifecycle.dormant_days"),
        ("lifecycle", {"params": {"life": {}}}, PluginError, "grouped under"),
        ("guard", {"enabled": False}, PluginError, "around the guard"),
        ("lifecycle", {"enabled": True, "at": datetime(1, 1, 1, tzinfo=UTC)}, InputError, "before 1970"),
        ("lifecycle", {"enabled": True, "at": datetime(2026, 1, 1)}, InputError, "time zone"),  # noqa: DTZ001
    ],
)
async def test_what_cannot_be_set_cannot_be_previewed(
    shop: Context, brand: Brand, name: str, asked: Any, kind: type[SiyuError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        await preview(shop, brand, name, **asked)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"since": START, "until": START - timedelta(days=1)}, "later than until"),
        ({"since": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"since": START, "until": START, "every": timedelta(0)}, "a day or more"),
        ({"since": START, "until": START + timedelta(days=1000), "every": timedelta(days=1)}, "1,001 moments"),
        ({"since": START, "until": START, "enabled": True}, "name the plugin"),
    ],
)
async def test_a_replay_without_sense_is_refused(shop: Context, brand: Brand, asked: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        await replay(shop, brand, **asked)


async def test_a_brand_without_events_or_plugins_is_previewed_too(shop: Context, brand: Brand) -> None:
    found = await preview(shop, brand, "calls", enabled=True)
    assert (found.users, found.actions.now, found.actions.per_day) == (0, 0, 0)
    assert {(effect.key, effect.proposed) for effect in (*found.tags, *found.stages)} == {
        ("calls.quiet", 0), ("hot", 0), ("cold", 0)
    }  # fmt: skip
    until = brand.replayed_to or START
    [point] = (await replay(shop, brand, since=until)).points
    assert (point.users, point.tags, point.stages) == (0, (), ())
