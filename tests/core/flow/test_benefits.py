"""Benefits: given once an action, never more than there are, and the texts that follow say the code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import Grant, InputError, Manual, Playbook, Send, hookimpl
from siyu.contract.channels import Message
from siyu.contract.manager import PluginManager
from siyu.contract.params import Params
from siyu.contract.playbooks import Step
from siyu.flow import plugins
from siyu.flow.benefits import Benefits, listed, put
from siyu.flow.context import Context
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on, start
from siyu.store.models import Action, AuditEntry, Brand, Granted, Identity, OutboxMessage

from tests.core.conftest import new_brand

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)


class Gift(Playbook):
    """A gift, and its code."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Grant("old_friend", key="gift")
        yield Send("outbox", "券码 {{ benefit.old_friend | default('已领完') }}", key="code")


def siyu_playbooks() -> list[type[Playbook]]:
    return [Gift]


@pytest.fixture
async def ctx(house: Context, shop: Brand) -> Context:
    module = ModuleType("gifts")
    vars(module).update(siyu_playbooks=hookimpl(siyu_playbooks))
    manager = PluginManager()
    manager.register("gifts", module)
    manager.check()
    opened = replace(house, plugins=manager, programs={})
    await plugins.enable(opened, shop, "gifts")
    return opened


def asked(*numbers: int, key: str = "old_friend") -> list[Message]:
    return [Message(n, f"k{n}", "shop", n, key, "care", NOON) for n in numbers]


async def test_a_gift_is_given_and_its_code_is_said(ctx: Context, shop: Brand) -> None:
    await put(ctx, shop, "old_friend", stock=1, title="老朋友券", expires_days=14, by="me")
    added = [IncomingEvent(f"c{n}", "contact.added", {"member": str(n)}, {}, NOON) for n in (1, 2)]
    await record(ctx, shop, added)
    await shop.refresh_from_db()
    users = [row.user_id for row in await Identity.filter(brand_id=shop.id)]
    await start(ctx, shop, "gifts.gift", users, occasion="x")
    await carry_on(ctx, shop.id)
    await dispatch(ctx, shop.id)
    [given] = await Granted.filter(brand_id=shop.id)
    assert given.expires_at == given.at + timedelta(days=14)
    told = {row.user_id: row.text for row in await OutboxMessage.filter(brand_id=shop.id)}
    other = next(user for user in users if user != given.user_id)
    assert told == {given.user_id: f"券码 {given.code}", other: "券码 已领完"}
    await Action.filter(brand_id=shop.id, user_id=given.user_id, step="code").update(
        text="", status="planned", touched_at=None
    )
    await Granted.filter(brand_id=shop.id).update(expires_at=NOON - timedelta(hours=1))
    await dispatch(ctx, shop.id)
    assert (await Action.get(brand_id=shop.id, user_id=given.user_id, step="code")).text == "券码 已领完"
    states = {row.user_id: (row.status, row.detail) for row in await Action.filter(brand_id=shop.id, step="gift")}
    assert states == {given.user_id: ("sent", given.code), other: ("failed", "sold_out")}


async def test_what_says_a_code_waits_while_another_worker_gives_it(ctx: Context, shop: Brand) -> None:
    await put(ctx, shop, "old_friend", stock=1)
    await record(ctx, shop, [IncomingEvent("c", "contact.added", {"member": "1"}, {}, NOON)])
    await shop.refresh_from_db()
    user = await Identity.get(brand_id=shop.id)
    await start(ctx, shop, "gifts.gift", [user.user_id], occasion="x")
    await carry_on(ctx, shop.id)
    gift = Action.filter(brand_id=shop.id, step="gift")
    await gift.update(status="leased", attempts=1, leased_until=datetime.now(UTC) + timedelta(minutes=1))
    assert await dispatch(ctx, shop.id) == 0
    await gift.update(leased_until=datetime.now(UTC))
    assert await dispatch(ctx, shop.id) == 2
    [given] = await Granted.filter(brand_id=shop.id)
    assert (await OutboxMessage.get(brand_id=shop.id)).text == f"券码 {given.code}"


async def test_workers_at_once_never_give_more_than_there_are_nor_twice(ctx: Context, shop: Brand) -> None:
    await put(ctx, shop, "old_friend", stock=30)
    channels = [Benefits(ctx.db, shop.id) for _ in range(8)]
    # Each action is handed over twice, by different workers.
    batches = [asked(*range(start, start + 10)) for start in range(0, 80, 10)]
    found = await asyncio.gather(
        *(each.deliver(batches[(n + shift) % 8], Params()) for shift in (0, 3) for n, each in enumerate(channels))
    )
    sent = {receipt.action_id for some in found for receipt in some if receipt.outcome == "sent"}
    rows = await Granted.filter(brand_id=shop.id)
    assert (len(rows), len({row.code for row in rows}), {row.action_id for row in rows}) == (30, 30, sent)
    [benefit] = await listed(shop)
    assert (benefit.given, benefit.stock) == (30, 30)


async def test_a_gift_that_is_handed_over_again_is_the_same(ctx: Context, shop: Brand) -> None:
    await put(ctx, shop, "old_friend", stock=1)
    inbox = Benefits(ctx.db, shop.id)
    [first], [again], [other] = [await inbox.deliver(asked(n), Params()) for n in (1, 1, 2)]
    assert first == again
    assert (other.outcome, other.detail) == ("failed", "sold_out")
    [nothing] = await inbox.deliver(asked(3, key="no_such"), Params())
    assert (nothing.outcome, nothing.detail) == ("failed", "the brand has no benefit 'no_such'")
    elsewhere = Benefits(ctx.db, (await new_brand()).id)
    assert [each.outcome for each in await elsewhere.deliver(asked(4), Params())] == ["failed"]


async def test_what_there_is_can_be_changed_but_not_below_what_is_given(ctx: Context, shop: Brand) -> None:
    await put(ctx, shop, "old_friend", stock=2)
    await Benefits(ctx.db, shop.id).deliver(asked(1, 2), Params())
    with pytest.raises(InputError, match="more than 1 are given"):
        await put(ctx, shop, "old_friend", stock=1)
    assert (await put(ctx, shop, "old_friend", stock=3, by="me")).given == 2
    [first, second] = await AuditEntry.filter(brand_id=shop.id, what="setBenefit").order_by("id")
    assert (first.before, second.before["stock"], second.after["stock"]) == (None, 2, 3)  # type: ignore[index]
    for key, stock, days, field in [
        ("Old", 1, None, "key"),
        ("x", -1, None, "stock"),
        ("x", 10**9, None, "stock"),
        ("x", 1, 0, "days"),
    ]:
        with pytest.raises(InputError) as caught:
            await put(ctx, shop, key, stock=stock, expires_days=days)
        assert caught.value.field == field
