"""The calendar of content: what the days ahead have in plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import Assign, Count, Grant, InputError, Manual, OnDate, Playbook, Send, Wait, When, hookimpl
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import Step
from siyu.flow import plugins
from siyu.flow.calendar import Entry, calendar
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import start
from siyu.store.models import Brand, Identity

NOON = datetime(2026, 6, 10, 4, tzinfo=UTC)


class MidYear(Playbook):
    """年中"""

    bought = Count("order.paid", days=30)

    def trigger(self, p: Any) -> OnDate:
        return OnDate(6, 18)

    def steps(self, p: Any) -> Iterable[Step]:
        yield Wait(until=time(10))
        yield Send("outbox", "6.18!", "sales", key="day", template="mid_year")
        yield Wait(
            timedelta(days=2),
            event="order.paid",
            heard=[Send("outbox", "thank you", key="thanks")],
            silent=[Grant("old_friend", key="gift")],
        )
        yield When(self.bought > 3, then=[Assign("adviser", "call", key="call")])
        yield Send("outbox", "see you", key="bye")


class Letter(Playbook):
    """A letter, and another a week later."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "one", key="one")
        yield Wait(timedelta(days=7))
        yield Send("outbox", "two", key="two")


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [MidYear, Letter]


@pytest.fixture
async def ctx(house: Context, shop: Brand) -> Context:
    module = ModuleType("care")
    vars(module).update(siyu_playbooks=siyu_playbooks)
    manager = PluginManager()
    manager.register("care", module)
    manager.check()
    opened = replace(house, plugins=manager, programs={})
    await plugins.enable(opened, shop, "care")
    return opened


async def users(ctx: Context, brand: Brand, count: int) -> list[int]:
    await record(
        ctx, brand, [IncomingEvent(str(n), "contact.added", {"member": str(n)}, {}, NOON) for n in range(count)]
    )
    await brand.refresh_from_db()
    return [row.user_id for row in await Identity.filter(brand_id=brand.id).order_by("id")]


def shown(entries: list[Entry]) -> list[tuple[date, str, int | None]]:
    return [(each.day, each.step, each.users) for each in entries]


async def test_a_day_of_the_calendar_shows_with_all_that_follows_from_it(ctx: Context, shop: Brand) -> None:
    await users(ctx, shop, 1)
    found = await calendar(ctx, shop, days=30)
    assert shown(found) == [
        (date(2026, 6, 18), "day", None),
        (date(2026, 6, 20), "bye", None),
        (date(2026, 6, 20), "call", None),
        (date(2026, 6, 20), "gift", None),
    ]
    assert [(each.template, each.channel, each.purpose) for each in found] == [
        ("mid_year", "outbox", "sales"),
        ("care.mid_year.bye", "outbox", "care"),
        ("care.mid_year.call", "tasks", "service"),
        ("", "benefits", "care"),
    ]
    assert {(each.playbook, each.title) for each in found} == {("care.mid_year", "年中")}
    assert shown(await calendar(ctx, shop, days=8)) == [(date(2026, 6, 18), "day", None)]
    assert await calendar(ctx, shop, days=7) == []


async def test_who_is_under_way_shows_where_they_come_to(ctx: Context, shop: Brand) -> None:
    await start(ctx, shop, "care.letter", await users(ctx, shop, 3), occasion="june")
    assert shown(await calendar(ctx, shop, days=7)) == [(date(2026, 6, 17), "two", 3)]
    assert await calendar(ctx, shop, days=6) == []


@pytest.mark.parametrize("days", [0, 91])
async def test_the_calendar_is_of_days_that_are_few(ctx: Context, shop: Brand, days: int) -> None:
    with pytest.raises(InputError) as caught:
        await calendar(ctx, shop, days=days)
    assert (caught.value.field, bool(caught.value.remedy)) == ("days", True)
