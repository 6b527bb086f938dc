"""What the guard would hold is told beforehand, and then it is held."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from siyu import Assign, Channel, Happened, Manual, Message, OnDate, Params, Playbook, Receipt, Send, Wait, hookimpl
from siyu.contract.playbooks import Step
from siyu.engine import guard
from siyu.flow import foresee as foreseeing
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.dispatch import carry_out, send_due
from siyu.flow.foresee import foresee
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on, start
from siyu.flow.refresh import refresh
from siyu.store.actions import plan_actions
from siyu.store.models import Action, Brand, Occasion, User

from tests.core.flow.test_playbooks import DAY, HOUR, NOON, with_playbooks


class Feast(Playbook):
    """The first of May."""

    def trigger(self, p: Any) -> OnDate:
        return OnDate(5, 1)

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "a feast", key="care")
        yield Assign("adviser", "call", key="call")
        yield Wait(HOUR)
        yield Send("outbox", "an offer", "sales", key="offer")
        yield Wait(10 * HOUR)
        yield Send("outbox", "good night", key="night")
        yield Send("outbox", "your order", "service", key="service")


class Arrival(Playbook):
    """Whoever comes."""

    def trigger(self, p: Any) -> Happened:
        return Happened("contact.added")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "hello", key="hello")
        yield Send("outbox", "an offer", "sales", key="offer")
        yield Wait(DAY)
        yield Send("outbox", "more", key="more")
        yield Send("outbox", "and more", key="and_more")


class Elsewhere(Feast):
    """By a way that the brand may not have."""

    class Params(Params):
        channel: str = "outbox"

    def trigger(self, p: Any) -> OnDate:
        return OnDate(5, 20)

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send(p.channel, "coo", key="coo")


class Gallery(Playbook):
    """Pictures, pictures, and a film."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        for number in range(4):
            yield Send("outbox", "look", "sales", kind="image", key=f"picture_{number}")
            yield Wait(DAY)
        yield Send("outbox", "watch", "sales", kind="video", key="film")


class Pigeon(Channel):
    """Of a plugin that is installed, and off."""

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        raise AssertionError


@hookimpl
def siyu_channels() -> Iterable[type[Channel]]:
    return [Pigeon]


@pytest.fixture
async def feast(house: Context, shop: Brand) -> Context:
    ctx = with_playbooks(house, Feast, Arrival, Elsewhere, Gallery)
    ctx.plugins.register("guard", guard)
    birds = ModuleType("birds")
    birds.siyu_channels = siyu_channels  # type: ignore[attr-defined]
    ctx.plugins.register("birds", birds)
    ctx.plugins.check()
    await plugins.enable(ctx, shop, "calls")
    return ctx


async def some(ctx: Context, brand: Brand, seed: int, count: int = 120) -> None:
    """Users of all sorts: new and old, written to lately or not, some with a yes, some with a no."""
    dice = random.Random(seed)
    events = []
    for n in range(count):
        who = {"member": f"{n}"}
        events.append(
            IncomingEvent(f"seen{n}", "profile.updated", who, {}, NOON - dice.choice([2, 6, 200]) * DAY - HOUR)
        )
        for kind in ("consent.given", "consent.withdrawn"):
            if dice.random() < 0.3:
                about = {"purpose": dice.choice(["sales", "care"])} if dice.random() < 0.8 else {}
                events.append(IncomingEvent(f"{kind}{n}", kind, who, about, NOON - dice.random() * DAY))
    events.append(IncomingEvent("now", "profile.updated", {"member": "0"}, {}, NOON))
    assert not (await record(ctx, brand, events)).rejected
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    users = [row.id for row in await User.filter(brand_id=brand.id)]
    usual = {"plugin": "other", "playbook": "p", "channel": "outbox", "purpose": "care", "text": "t", "because": "b"}
    for days in (6, 3):
        rows = [{**usual, "user_id": u, "step": "s", "key": f"{days}/{u}"} for u in users if dice.random() < 0.4]
        async with ctx.db.transaction() as connection:
            await plan_actions(connection, brand.id, pl.DataFrame(rows), at=NOON - days * DAY)
        await send_due(ctx, brand.id, at=NOON - days * DAY)


async def came_of_it(brand: Brand) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for row in await Action.filter(brand_id=brand.id, plugin="calls"):
        found.setdefault(row.step, Counter())["" if row.status == "sent" else row.reason] += 1
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_what_it_says_passes_and_is_held_is_what_then_is_sent_and_is_not(
    feast: Context, shop: Brand, seed: int
) -> None:
    await some(feast, shop, seed)
    await plugins.configure(
        feast,
        shop,
        "guard",
        {"hold_out": {"percent": 10}, "budget": {"quotas": [{"channel": "outbox", "per_day": 90}]}},
    )
    before = await Action.filter(brand_id=shop.id).count()
    told = (await foresee(feast, shop, "calls.feast", days=3)).expected
    assert await Action.filter(brand_id=shop.id).count() == before, "nothing is written"
    for each in told:
        assert each.passing + sum(each.held.values()) == each.messages == 120
    assert {reason for each in told for reason in each.held} >= {"opt_out", "no_consent", "hold_out", "cap"}
    assert any(each.delayed for each in told)
    for hour in range(72):
        await carry_out(feast, shop.id, at=NOON + hour * HOUR)
    sent = await came_of_it(shop)
    tasks = sent.pop("call")
    assert tasks == {"": 120}
    assert {each.step: {"": each.passing, **each.held} for each in told if each.channel != "tasks"} == sent


async def test_the_same_kind_of_offer_over_and_over_is_held_and_another_is_not(feast: Context, shop: Brand) -> None:
    who = {"member": "1"}
    said = [IncomingEvent("c", "contact.added", who, {}, NOON), IncomingEvent("y", "consent.given", who, {}, NOON)]
    await record(feast, shop, said)
    await Occasion.filter(brand_id=shop.id).delete()
    await shop.refresh_from_db()
    loose = {"cap": {"most": 100, "tiers": []}, "mix": {"share": 1}, "trust": {"days": 0}}
    await plugins.configure(feast, shop, "guard", loose)
    user = await User.get(brand_id=shop.id)
    await start(feast, shop, "calls.gallery", [user.id], occasion="x")
    await send_due(feast, shop.id, at=NOON)
    told = (await foresee(feast, shop, "calls.gallery", days=7)).expected
    for day in range(1, 7):
        await carry_on(feast, shop.id, at=NOON + day * DAY)
        await send_due(feast, shop.id, at=NOON + day * DAY)
    sent = await came_of_it(shop)
    assert sent.pop("picture_0") == {"": 1}, "it was sent before the preview"
    assert sent == {each.step: {"": each.passing} if each.passing else each.held for each in told}
    assert {step for step, fates in sent.items() if fates == {"variety": 1}} == {"picture_3"}


async def test_who_comes_is_as_others_were_when_they_came(feast: Context, shop: Brand) -> None:
    events = [
        IncomingEvent(f"c{n}", "contact.added", {"member": f"m{n}"}, {}, NOON - timedelta(days=n % 28))
        for n in range(56)
    ]
    events += [
        IncomingEvent(f"y{n}", "consent.given", {"member": f"m{n}"}, {}, NOON - timedelta(days=n % 28))
        for n in range(56)
    ]
    await record(feast, shop, events)
    await Occasion.filter(brand_id=shop.id).delete()
    await shop.refresh_from_db()
    told = (await foresee(feast, shop, "calls.arrival", days=10)).expected
    sums: dict[str, Counter[str]] = {}
    for each in told:
        assert each.passing + sum(each.held.values()) == pytest.approx(each.messages, abs=0.05)
        sums.setdefault(each.step, Counter()).update({"": each.passing, **each.held})
    assert +sums["hello"] == {"": pytest.approx(20)}
    assert +sums["offer"] == {"trust": pytest.approx(20)}, "that they are known for weeks by now says nothing of others"
    # Two a week.
    assert +sums["more"] == {"": pytest.approx(18)}
    assert +sums["and_more"] == {"cap": pytest.approx(18)}


async def test_of_very_many_some_stand_for_all(feast: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
    await some(feast, shop, 7)
    quotas = {"quotas": [{"channel": "outbox", "per_day": 30}]}
    await plugins.configure(feast, shop, "guard", {"budget": quotas, "stale": {"hours": 2}})
    exact = (await foresee(feast, shop, "calls.feast", days=3)).expected
    monkeypatch.setattr(foreseeing, "MOST_JUDGED", 60)
    about = (await foresee(feast, shop, "calls.feast", days=3)).expected
    assert [(each.step, each.messages) for each in about] == [(each.step, each.messages) for each in exact]
    for one, other in zip(about, exact, strict=True):
        assert one.passing + sum(one.held.values()) == pytest.approx(120, abs=0.05)
        assert one.passing == pytest.approx(other.passing, abs=24)
    passing = sum(each.passing for each in about if each.step in ("care", "offer"))
    assert passing == pytest.approx(30, abs=2), "a budget is for all of them together"


async def test_a_channel_that_the_brand_does_not_have_takes_nothing(feast: Context, shop: Brand) -> None:
    await some(feast, shop, 1)
    params = {"elsewhere": {"channel": "pigeon"}}
    [told] = (await foresee(feast, shop, "calls.elsewhere", params=params)).expected
    assert (told.messages, told.passing, told.held) == (120, 0, {"no_channel": 120})
