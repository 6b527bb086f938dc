"""Changes are followed without gap or repeat, from wherever one stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from siyu.contract.events import MOMENT
from siyu.flow import changes as following
from siyu.flow import plugins
from siyu.flow.changes import PAGE, Page, follow_changes, follow_plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users, unmerge_users
from siyu.flow.refresh import refresh
from siyu.store.actions import JUDGED, SETTLED, claim, plan_actions, settle, write_judged
from siyu.store.changes import BATCH, Change, Expired, Noun, forget, note_decisions
from siyu.store.decisions import lock
from siyu.store.models import Action, Brand, ChangeBatch, Fence, Identity, Tag, TagAssignment, UserStage

from tests.core.conftest import new_brand
from tests.core.flow.test_decide import END, history

AT = datetime(2026, 1, 1, tzinfo=UTC)
Pages = AsyncGenerator[Page]


async def page(pages: Pages, seconds: float = 5) -> Page:
    async with asyncio.timeout(seconds):
        return await anext(pages)


async def told(ctx: Context, brand: Brand, noun: Noun, after: int = 0, **only: Any) -> tuple[list[Change], int]:
    """Everything after a number, read page by page and with a new follower each time, and where it ends."""
    found: list[Change] = []
    while True:
        async with aclosing(follow_changes(ctx, brand.id, noun, after, **only)) as pages:
            each = await page(pages)
        if not each.changes:
            return found, each.after
        found += each.changes
        assert each.after > after
        after = each.after


async def gained(ctx: Context, brand: Brand, users: Sequence[int], tag: str = "a", gained: bool = True) -> None:
    """Note that users gain a tag, or lose it, as a decision does."""
    tags = pl.DataFrame({"user_id": users, "tag": tag, "gained": gained})
    async with ctx.db.transaction() as connection:
        await lock(connection, brand.id)
        await note_decisions(connection, brand.id, tags, pl.DataFrame(), AT)
    await ctx.db.signals.tell(brand.id, "decision")


async def planned(ctx: Context, brand: Brand, *keys: str) -> None:
    rows = [
        {"key": key, "user_id": 1, "plugin": "p", "playbook": "p", "channel": "outbox"}
        | {"purpose": "care", "text": "t", "because": "b"}
        for key in keys
    ]
    async with ctx.db.transaction() as connection:
        await plan_actions(connection, brand.id, pl.DataFrame(rows), at=AT)


def users(changes: Sequence[Change]) -> list[int]:
    return [user for each in changes for user in each.ids]


async def test_what_is_told_adds_up_to_what_stands(house: Context, shop: Brand) -> None:
    """Through decisions of some and of all, settings that change and are undone, users who are merged and parted."""
    dice = random.Random(7)
    for name in ("rfm", "lifecycle"):
        await plugins.enable(house, shop, name)
    events = history(7)
    for start in range(0, len(events), 23):
        await record(house, shop, events[start : start + 23])
        await (refresh(house, shop.id) if dice.random() < 0.4 else decide_users(house, shop.id))
        await adds_up(house, shop)
    await refresh(house, shop.id)
    await plugins.configure(house, shop, "lifecycle", {"lifecycle": {"dormant_days": 20, "lost_days": 60}})
    await refresh(house, shop.id)
    await adds_up(house, shop)
    await plugins.disable(house, shop, "rfm")
    await refresh(house, shop.id)
    await adds_up(house, shop)
    for name in ("rfm", "lifecycle"):
        await plugins.undo(house, shop, name)
        await refresh(house, shop.id)
        await adds_up(house, shop)
    one, other = [row.user_id for row in await Identity.filter(brand_id=shop.id).order_by("user_id")][:2]
    merge = await merge_users(house, shop, one, other, by="test", force=True)
    await decide_users(house, shop.id)
    await adds_up(house, shop)
    await unmerge_users(house, shop, merge.id, by="test")
    await adds_up(house, shop)
    assert (await ChangeBatch.filter(brand_id=shop.id, noun="stage").count()) > 20


async def adds_up(house: Context, shop: Brand) -> None:
    tags: set[tuple[int, str]] = set()
    for each in (await told(house, shop, "tag"))[0]:
        for user in each.ids:
            if each.after is not None:
                assert (user, each.after) not in tags
                tags.add((user, each.after))
            else:
                tags.remove((user, str(each.before)))
    keys = {tag.id: tag.key for tag in await Tag.filter(brand_id=shop.id)}
    assert tags == {(row.user_id, keys[row.tag_id]) for row in await TagAssignment.filter(brand_id=shop.id)}
    stages: dict[tuple[int, Any], str] = {}
    for each in (await told(house, shop, "stage"))[0]:
        for user in each.ids:
            assert stages.pop((user, each.track), None) == each.before
            if each.after is not None:
                stages[user, each.track] = each.after
    assert stages == {(row.user_id, row.track): row.stage for row in await UserStage.filter(brand_id=shop.id)}


async def test_the_first_page_comes_at_once_and_says_where_to_go_on(house: Context, shop: Brand) -> None:
    await gained(house, shop, [1])
    async with aclosing(follow_changes(house, shop.id, "tag")) as pages:
        start = await page(pages)
        assert start.changes == []
    await gained(house, shop, [2, 3])
    async with aclosing(follow_changes(house, shop.id, "tag", start.after)) as pages:
        assert users((await page(pages)).changes) == [2, 3]
    assert users((await told(house, shop, "tag"))[0]) == [1, 2, 3]


async def test_a_change_of_many_comes_in_pages_and_can_be_left_at_any(house: Context, shop: Brand) -> None:
    many = list(range(1, 3 * PAGE + 8))
    await gained(house, shop, many)
    found, end = await told(house, shop, "tag")
    assert users(found) == many
    assert max(len(each.ids) for each in found) == BATCH
    async with aclosing(follow_changes(house, shop.id, "tag", 0)) as pages:
        sizes = [len(users((await page(pages)).changes)) for _ in range(4)]
    assert sizes == [PAGE, PAGE, PAGE, 7]
    for after in (0, found[3].number, found[-2].number, end):
        rest, again = await told(house, shop, "tag", after)
        assert (rest, again) == ([each for each in found if each.number > after], end)


async def test_what_happens_in_short_order_comes_together(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAUSE", 0.5)
    async with aclosing(follow_changes(house, shop.id, "tag")) as pages:
        await page(pages)
        for user in range(20):
            await gained(house, shop, [user])
        assert users((await page(pages)).changes) == list(range(20))


async def test_only_what_is_asked_for_is_told(house: Context, shop: Brand) -> None:
    other = await new_brand()
    await gained(house, other, [9])
    await gained(house, shop, [1, 2], "a")
    await gained(house, shop, [2], "b")
    await gained(house, shop, [1], "a", gained=False)
    stages = pl.DataFrame(
        {"user_id": [1, 2, 3], "track": ["t", "t", "u"], "before": ["x", None, "x"], "after": ["y", "x", None]}
    )
    async with house.db.transaction() as connection:
        await lock(connection, shop.id)
        await note_decisions(connection, shop.id, pl.DataFrame(), stages, AT)

    async def of(noun: Noun, **only: Any) -> list[int]:
        return users((await told(house, shop, noun, **only))[0])

    assert await of("tag") == [1, 2, 2, 1]
    assert await of("tag", key="a") == [1, 2, 1]
    assert await of("tag", key="nothing") == []
    assert await of("stage") == [1, 2, 3]
    assert await of("stage", track="t") == [1, 2]
    assert await of("stage", track="t", key="y") == [1]
    assert await of("stage", key="x") == [1, 2, 3]
    assert await of("action") == []


async def test_who_follows_something_rare_does_not_read_the_rest_again(house: Context, shop: Brand) -> None:
    for user in range(5):
        await gained(house, shop, [user], "common")
    newest = await ChangeBatch.filter(brand_id=shop.id).order_by("-id").first()
    assert newest is not None
    assert await told(house, shop, "tag", key="rare") == ([], newest.id)


async def test_of_writers_at_once_none_is_skipped(house: Context, shop: Brand) -> None:
    """Each holds its transaction open for a while after it has written; followers read all the time."""
    dice = random.Random(1)

    async def write(number: int) -> None:
        for turn in range(6):
            async with house.db.transaction() as connection:
                rows = [
                    {"key": f"{number}-{turn}", "user_id": 1, "plugin": "p", "playbook": "p", "channel": "c"}
                    | {"purpose": "care", "text": "t", "because": "b"}
                ]
                await plan_actions(connection, shop.id, pl.DataFrame(rows), at=AT)
                await asyncio.sleep(dice.random() / 50)
            await house.db.signals.tell(shop.id, "action")

    async def follow() -> list[int]:
        found: list[int] = []
        async with aclosing(follow_changes(house, shop.id, "action", 0)) as pages:
            while len(found) < 48:
                found += users((await page(pages)).changes)
        return found

    with patch.object(following, "PAUSE", 0):
        followers = [asyncio.create_task(follow()) for _ in range(3)]
        await asyncio.gather(*map(write, range(8)))
        read = await asyncio.gather(*followers)
    everything = sorted([row.id for row in await Action.filter(brand_id=shop.id)])
    assert len(everything) == 48
    for found in read:
        assert sorted(found) == everything


async def test_an_action_is_told_of_at_each_step(house: Context, shop: Brand) -> None:
    await planned(house, shop, "a", "b")
    await planned(house, shop, "a")  # which is there already
    async with house.db.transaction() as connection:
        one, two = (await claim(connection, shop.id, "outbox", AT, 10, None)).get_column("id").to_list()
        leased = [(number, "leased", "", "", None, None, None) for number in (one, two)]
        frame = pl.DataFrame(leased, schema=list(JUDGED), orient="row", schema_overrides={"due_at": MOMENT})
        await write_judged(connection, shop.id, frame, at=AT, touches=True)
    outcomes = [(one, 1, "sent", "", "", None), (two, 1, "failed", "", "no", None)]
    settled = pl.DataFrame(outcomes, schema=list(SETTLED), orient="row", schema_overrides={"due_at": MOMENT})
    for _ in range(2):  # of what is settled already nobody is told
        async with house.db.transaction() as connection:
            await settle(connection, shop.id, "outbox", settled, at=AT, day=AT.date())
    found, _ = await told(house, shop, "action")
    assert [(each.after, sorted(each.ids)) for each in found] == [
        ("planned", [one, two]),
        ("leased", [one, two]),
        ("sent", [one]),
        ("failed", [two]),
    ]
    assert users((await told(house, shop, "action", key="sent"))[0]) == [one]


async def aged(house: Context, brand: Brand, days: float) -> None:
    async with house.db.connection() as connection:
        await connection.execute(
            "UPDATE change_batch SET written_at = written_at - $2::interval WHERE brand_id = $1",
            brand.id,
            timedelta(days=days),
        )


async def test_what_is_old_is_forgotten_and_a_cursor_before_it_says_so(house: Context, shop: Brand) -> None:
    for user in range(4):
        await gained(house, shop, [user])
    start, end = await told(house, shop, "tag")
    await aged(house, shop, 8)
    await gained(house, shop, [7])
    async with house.db.connection() as connection:
        await forget(connection)
        await forget(connection)
    assert await ChangeBatch.filter(brand_id=shop.id).count() == 2
    assert users((await told(house, shop, "tag", end))[0]) == [7]
    for after in (0, start[0].number, start[-2].number):
        with pytest.raises(Expired, match="no longer known"):
            await told(house, shop, "tag", after)
    with pytest.raises(Expired, match="no such cursor"):
        await told(house, shop, "tag", 10**15)


async def test_plugins_are_told_of_when_they_stand_otherwise(house: Context, shop: Brand) -> None:
    async def soon(names: AsyncGenerator[list[str]]) -> list[str]:
        async with asyncio.timeout(5):
            return await anext(names)

    async with aclosing(follow_plugins(house, shop.id)) as names:
        assert await soon(names) == sorted(house.plugins.plugins)
        await plugins.enable(house, shop, "rfm")
        assert await soon(names) == ["rfm"]
        await Fence.create(brand_id=shop.id, plugin="beauty", rule="r", error="e", since=AT)
        await house.db.signals.tell(shop.id, "plugin")
        assert await soon(names) == ["beauty"]
        await record(house, shop, [IncomingEvent("1", "order.paid", {"member": "1"}, {"amount": 1}, END)])
        await refresh(house, shop.id)
        assert "rfm" in await soon(names)


async def test_who_is_told_nothing_looks_by_themselves(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATIENCE", "POLL"):
        monkeypatch.setattr(f"siyu.store.signals.{name}", 0.05)
    monkeypatch.setattr("siyu.store.signals.Signals._set", lambda *_: None)
    async with aclosing(follow_changes(house, shop.id, "tag")) as pages:
        await page(pages)
        await gained(house, shop, [5])
        assert users((await page(pages)).changes) == [5]
