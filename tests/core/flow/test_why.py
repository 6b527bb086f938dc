"""Why: of every action the whole story is known, and of every user why they were sent nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import Happened, NotFound, Playbook, Send, Wait, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.dispatch import carry_out
from siyu.flow.identities import user_named
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.why import of_action, of_user
from siyu.store.models import Action, Brand

NIGHT = datetime(2026, 6, 10, 23, tzinfo=UTC) - timedelta(hours=8)


class Welcome(Playbook):
    """Two words to whoever is new."""

    def trigger(self, p: Any) -> Happened:
        return Happened("contact.added")

    def steps(self, p: Any) -> Iterable[Send | Wait]:
        yield Send("outbox", "hello", "care", key="hello")
        yield Wait(timedelta(days=3))
        yield Send("outbox", "are you well?", "care", key="again")


@hookimpl
def siyu_playbooks() -> Iterable[type[Playbook]]:
    return [Welcome]


@pytest.fixture
async def mail(house: Context, shop: Brand) -> Context:
    module = ModuleType("mail")
    module.siyu_playbooks = siyu_playbooks  # type: ignore[attr-defined]
    manager = PluginManager()
    manager.register("mail", module)
    ctx = replace(house, plugins=manager)
    await plugins.enable(ctx, shop, "mail")
    return ctx


def event(key: str, kind: str, member: str, at: datetime) -> IncomingEvent:
    return IncomingEvent(key, kind, {"member": member}, {}, at)


async def test_the_story_of_an_action_names_what_set_it_off_and_all_that_held_it(mail: Context, shop: Brand) -> None:
    await record(mail, shop, [event("a", "contact.added", "1", NIGHT)])
    for hours in (0, 8, 9):
        await carry_out(mail, shop.id, at=NIGHT + timedelta(hours=hours))
    action = await Action.get(brand_id=shop.id)
    story = await of_action(mail, shop, action.id)
    assert [(entry.at, entry.status, entry.reason, entry.meaning) for entry in story.entries] == [
        (NIGHT, "planned", "", ""),
        (NIGHT, "held", "quiet", "安静时段"),
        (NIGHT + timedelta(hours=9), "leased", "", ""),
        (NIGHT + timedelta(hours=9), "sent", "", ""),
    ]
    assert story.action.because == "contact.added 2026-06-10 15:00"
    way = story.enrolment
    assert way is not None
    assert (way.playbook, way.status, way.step) == ("mail.welcome", "active", "again")
    assert way.due_at == NIGHT + timedelta(days=3)
    with pytest.raises(NotFound, match="no action 0"):
        await of_action(mail, shop, 0)
    other = await Brand.create(slug=f"{shop.slug}-other", name="Other")
    with pytest.raises(NotFound):
        await of_action(mail, other, action.id)


async def test_of_a_user_it_is_told_what_was_sent_what_was_not_and_what_could_be(mail: Context, shop: Brand) -> None:
    noon = NIGHT - timedelta(hours=11)
    await record(
        mail,
        shop,
        [
            event("a", "contact.added", "1", noon),
            IncomingEvent("b", "group.message", {"member": "2"}, {"text": "hi"}, noon),
            event("c", "contact.added", "3", noon),
            event("d", "consent.withdrawn", "3", noon),
        ],
    )
    await carry_out(mail, shop.id, at=noon)

    sent = await of_user(mail, shop, await user_named(shop, "member", "1"))
    assert [(s.action.step, s.action.status) for s in sent.actions] == [("hello", "sent")]
    assert [way.playbook for way in sent.on_the_way] == ["mail.welcome"]

    refused = await of_user(mail, shop, await user_named(shop, "member", "3"))
    assert [(s.action.status, s.entries[-1].meaning) for s in refused.actions] == [("suppressed", "用户已退订")]
    assert [(each.given, each.purpose, each.channel) for each in refused.consents] == [(False, "", "")]

    nothing = await of_user(mail, shop, await user_named(shop, "member", "2"))
    assert (nothing.actions, nothing.on_the_way) == ([], [])
    assert nothing.triggers == [("mail.welcome", "Happened(event='contact.added')")]
