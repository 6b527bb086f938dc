"""What a playbook will send is told beforehand, and then happens."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from siyu import InputError, NotFound
from siyu.flow import plugins
from siyu.flow.context import Context, zone
from siyu.flow.foresee import foresee
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on, daily
from siyu.flow.refresh import refresh
from siyu.store.models import Action, Brand, Enrolment, Occasion

from tests.core.flow.test_playbooks import DAY, NOON, NUMBERS, Birthday, Festival, Touch, happens, with_playbooks


@pytest.fixture
async def calls(house: Context, shop: Brand) -> Context:
    ctx = with_playbooks(house, Touch, Birthday, Festival)
    await plugins.enable(ctx, shop, "calls")
    return ctx


async def sent(brand: Brand) -> Counter[tuple[str, str]]:
    rows = await Action.filter(brand_id=brand.id)
    return Counter((f"{row.planned_at.astimezone(zone(brand.zone)):%m-%d}", row.step) for row in rows)


async def test_what_the_calendar_brings_is_what_then_comes(calls: Context, shop: Brand) -> None:
    birthdays = ["05-03", "05-03", "05-20", "06-01", "07-01", "02-29"]
    events = [
        IncomingEvent(f"b{n}", "profile.updated", {"member": f"m{n}"}, {"birthday": f"1992-{day}"}, NOON)
        for n, day in enumerate(birthdays)
    ]
    await record(calls, shop, events)
    await shop.refresh_from_db()
    await refresh(calls, shop.id)
    foreseen = await foresee(calls, shop, "calls.birthday", days=40)
    assert (foreseen.entering, foreseen.under_way) == (4, 0)
    told = {(f"{each.day:%m-%d}", each.step): each.messages for each in foreseen.expected}
    assert told == {("05-03", "wish"): 2, ("05-20", "wish"): 1, ("06-01", "wish"): 1}
    assert await Enrolment.filter(brand_id=shop.id).count() == 0
    for day in range(40):
        await daily(calls, shop.id, at=NOON + day * DAY)
        await carry_on(calls, shop.id, at=NOON + day * DAY)
    assert await sent(shop) == told
    assert (await foresee(calls, shop, "calls.birthday", days=40)).expected == (), "nobody has a second one this year"


async def test_who_is_under_way_is_moved_on_as_far_as_they_get(calls: Context, shop: Brand) -> None:
    await happens(calls, shop, "contact.added", NOON)
    await carry_on(calls, shop.id, at=NOON)
    foreseen = await foresee(calls, shop, "calls.touch", days=5)
    assert foreseen.under_way == 1
    # The one contact of the last four weeks has been in, and nobody else comes.
    assert foreseen.entering == 0
    assert [(f"{each.day:%m-%d}", each.step, each.messages) for each in foreseen.expected] == [
        ("05-01", "story", 1),
        ("05-02", "nudge", 1),
    ]


async def test_others_are_expected_as_they_came_lately(calls: Context, shop: Brand) -> None:
    events = [
        IncomingEvent(f"c{next(NUMBERS)}", "contact.added", {"member": f"m{n}"}, {}, NOON - timedelta(days=n % 28))
        for n in range(280)
    ]
    await record(calls, shop, events)
    await Occasion.filter(brand_id=shop.id).delete()
    await shop.refresh_from_db()
    foreseen = await foresee(calls, shop, "calls.touch", days=10)
    assert foreseen.entering == pytest.approx(100)
    by_step = Counter[str]()
    for each in foreseen.expected:
        by_step[each.step] += each.messages  # type: ignore[assignment]
    assert by_step["hello"] == pytest.approx(100)
    assert by_step["nudge"] == pytest.approx(90), "those of the last day are asked later"


@pytest.mark.parametrize(
    ("name", "days", "error"),
    [("calls.nothing", 30, NotFound), ("nothing.at_all", 30, NotFound), ("calls.touch", 0, InputError)],
)
async def test_what_cannot_be_foreseen_says_why(calls: Context, shop: Brand, name: str, days: int, error: Any) -> None:
    with pytest.raises(error) as refused:
        await foresee(calls, shop, name, days=days)
    assert refused.value.remedy
