"""Tags that playbooks give: decided by events, as all that rules say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import AddTag, Field, HasTag, Manual, Params, Playbook, Send, TagGained, TagLost, Wait, When, hookimpl
from siyu.contract.errors import RuleError
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import Step
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.dispatch import carry_out
from siyu.flow.explain import explain
from siyu.flow.foresee import foresee
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import start
from siyu.flow.refresh import refresh
from siyu.store.models import Action, Brand, Enrolment, Event, Identity, Tag, TagAssignment, TagHistory
from siyu.testing import Story

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)


class Courtship(Playbook):
    """Whoever is courted is known as such for two days."""

    reentry = "always"

    class Params(Params):
        days: int = Field(2, ge=1)

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield When(
            HasTag("courts.known"),
            then=[Send("outbox", "again", key="again")],
            otherwise=[AddTag("courts.known", "认识", key="known")],
        )
        yield AddTag("courts.courted", "已关怀", days=p.days, key="courted")


class Gained(Playbook):
    """What follows of it."""

    reentry = "always"

    def trigger(self, p: Any) -> TagGained:
        return TagGained("courts.courted")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "courted", key="gained")


class Lost(Gained):
    """And of its end."""

    def trigger(self, p: Any) -> Any:
        return TagLost("courts.courted")

    def steps(self, p: Any) -> Iterable[Step]:
        yield AddTag("courts.known", "认识", key="known")
        yield Send("outbox", "no longer", "service", key="lost")


class Wrong(Gained):
    """Gives what is not its to give, in another way."""

    def steps(self, p: Any) -> Iterable[Step]:
        yield AddTag("pets.cat", "猫", key="cat")


class Torn(Gained):
    """Cannot make up its mind."""

    def steps(self, p: Any) -> Iterable[Step]:
        yield AddTag("courts.cat", "猫", key="cat")
        yield Wait(DAY)
        yield AddTag("courts.cat", "猫", days=3, key="cats")


def courts(*made: type[Playbook]) -> ModuleType:
    module = ModuleType("siyu_courts")
    vars(module).update(siyu_playbooks=hookimpl(lambda: made))
    return module


@pytest.fixture
async def ctx(house: Context, shop: Brand) -> Context:
    manager = PluginManager()
    manager.register("courts", courts(Courtship, Gained, Lost))
    manager.check()
    opened = replace(house, plugins=manager, programs={}, bound={}, playbooks={})
    await plugins.enable(opened, shop, "courts")
    return opened


async def tags(brand: Brand) -> dict[tuple[int, str], str]:
    keys = {row.id: row.key for row in await Tag.filter(brand_id=brand.id)}
    rows = await TagAssignment.filter(brand_id=brand.id).order_by("user_id")
    return {(row.user_id, keys[row.tag_id]): json.loads(row.why)[0] for row in rows}


async def at(ctx: Context, brand: Brand, moment: datetime) -> None:
    """Live on to that moment, and do what is due there."""
    await Brand.filter(id=brand.id).update(replayed_to=moment)
    for _ in range(3):
        await carry_out(ctx, brand.id, at=moment)
        while (await decide_users(ctx, brand.id)).users:
            pass


async def known(ctx: Context, brand: Brand, count: int = 2) -> list[int]:
    events = [IncomingEvent(f"c{n}", "contact.added", {"member": str(n)}, {}, NOON) for n in range(count)]
    await record(ctx, brand, events)
    await brand.refresh_from_db()
    await refresh(ctx, brand.id)
    return sorted([row.user_id for row in await Identity.filter(brand_id=brand.id)])


async def test_a_tag_is_given_for_a_while_explained_and_kept_through_refreshes(ctx: Context, shop: Brand) -> None:
    one, other = await known(ctx, shop)
    await start(ctx, shop, "courts.courtship", [one], occasion="a")
    await at(ctx, shop, NOON)
    by = "courts.courtship/"
    both = {(one, "courts.courted"): f"{by}courted", (one, "courts.known"): f"{by}known"}
    assert await tags(shop) == both
    await refresh(ctx, shop.id)
    assert await tags(shop) == both
    told = await explain(ctx, shop, one)
    said = {each.key: (each.title, each.held, each.because) for each in told.tags}
    assert said["courts.courted"] == ("已关怀", True, "given by courts.courtship/courted")
    assert not any(each.held for each in (await explain(ctx, shop, other)).tags)
    assert not told.gone

    await Brand.filter(id=shop.id).update(replayed_to=NOON + 2 * DAY)
    await refresh(ctx, shop.id)
    assert await tags(shop) == {(one, "courts.known"): f"{by}known"}
    [ended] = await TagHistory.filter(brand_id=shop.id)
    assert (ended.since, ended.until) == (NOON, NOON + 2 * DAY)
    await at(ctx, shop, NOON + 2 * DAY)
    steps = [row.step for row in await Action.filter(brand_id=shop.id, status="sent").order_by("id")]
    assert steps == ["known", "courted", "gained", "known", "lost"]


async def test_who_is_given_it_again_has_it_for_longer_and_the_same_step_gives_it_once(
    ctx: Context, shop: Brand
) -> None:
    one, _ = await known(ctx, shop)
    await start(ctx, shop, "courts.courtship", [one], occasion="a")
    await at(ctx, shop, NOON)
    # Whoever handed it over died before that was noted: it is handed over again.
    again = {"status": "leased", "leased_until": NOON - 1000 * DAY, "due_at": NOON}
    await Action.filter(brand_id=shop.id, channel="tags").update(**again)
    await at(ctx, shop, NOON)
    assert await Event.filter(brand_id=shop.id, kind="tag.added").count() == 2
    await at(ctx, shop, NOON + DAY)
    await start(ctx, shop, "courts.courtship", [one], occasion="b")
    await at(ctx, shop, NOON + DAY)
    await Brand.filter(id=shop.id).update(replayed_to=NOON + 2 * DAY)
    await refresh(ctx, shop.id)
    assert {key for _, key in await tags(shop)} == {"courts.courted", "courts.known"}
    assert await Action.filter(brand_id=shop.id, step="again").count() == 1, "a step sees the tags that were given"


async def test_a_plugin_that_is_off_takes_its_tags_with_it_and_brings_them_again(ctx: Context, shop: Brand) -> None:
    one, _ = await known(ctx, shop)
    await start(ctx, shop, "courts.courtship", [one], occasion="a")
    await at(ctx, shop, NOON)
    await plugins.disable(ctx, shop, "courts")
    await refresh(ctx, shop.id)
    assert await tags(shop) == {}
    await plugins.enable(ctx, shop, "courts")
    await refresh(ctx, shop.id)
    assert {key for _, key in await tags(shop)} == {"courts.courted", "courts.known"}


async def test_a_preview_counts_the_tags_that_are_given(ctx: Context, shop: Brand) -> None:
    one, _ = await known(ctx, shop)
    await start(ctx, shop, "courts.courtship", [one], occasion="a")
    await Enrolment.filter(brand_id=shop.id).update(status="active", ended_at=None)
    told = (await foresee(ctx, shop, "courts.courtship", days=2)).expected
    assert [(each.step, each.channel, each.passing) for each in told] == [("known", "tags", 1), ("courted", "tags", 1)]
    assert await tags(shop) == {}


def test_a_story_knows_them() -> None:
    story = Story(courts(Courtship, Gained, Lost), at="2026-05-01T10:00")
    story.start("courtship")
    assert story.tags() == {"courts.courted", "courts.known"}
    assert story.sent() == ["courtship.known", "courtship.courted", "gained.gained"]
    story.after(days=2)
    assert story.tags() == {"courts.known"}
    assert story.sent() == ["lost.known", "lost.lost"]


@pytest.mark.parametrize(
    ("made", "words"), [(Wrong, "the tag 'pets.cat' is another's"), (Torn, "two steps say different things")]
)
def test_a_tag_that_cannot_be_given_is_refused_when_the_plugin_is_loaded(made: type[Playbook], words: str) -> None:
    manager = PluginManager()
    manager.register("courts", courts(made))
    with pytest.raises(RuleError, match=words) as refused:
        manager.check()
    assert refused.value.remedy
    assert "courts." in str(refused.value.field)
