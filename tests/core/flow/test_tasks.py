"""Tasks: what playbooks ask of people is made once, taken by one, done, or escalated when its deadline has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import Assign, Happened, InputError, Manual, NotFound, Playbook, Send, hookimpl
from siyu.contract.channels import Message
from siyu.contract.manager import PluginManager
from siyu.contract.params import Params
from siyu.contract.playbooks import Step
from siyu.flow import plugins
from siyu.flow.changes import follow_changes
from siyu.flow.context import Context
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.playbooks import carry_on, start
from siyu.flow.tasks import Status, Task, Tasks, done, escalate, escalate_now, find, give_back, listed, take
from siyu.store.models import Action, Brand, Event, Identity, OutboxMessage

from tests.core.conftest import new_brand

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Call(Playbook):
    """A complaint is answered by a person."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Assign("service", "给{{ name }}回电", "请在一小时内联系", "call", HOUR, "manager")


class Thanks(Playbook):
    """Thanks when it is done."""

    def trigger(self, p: Any) -> Happened:
        return Happened("task.done")

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "谢谢您的耐心", key="thanks")


@pytest.fixture
async def ctx(house: Context, shop: Brand) -> Context:
    module = ModuleType("care")
    vars(module).update(siyu_playbooks=hookimpl(siyu_playbooks))
    manager = PluginManager()
    manager.register("care", module)
    manager.check()
    opened = replace(house, plugins=manager, programs={})
    await plugins.enable(opened, shop, "care")
    return opened


def siyu_playbooks() -> list[type[Playbook]]:
    return [Call, Thanks]


async def user(ctx: Context, brand: Brand, name: str = "1", at: datetime = NOON) -> int:
    event = IncomingEvent(f"c-{name}", "contact.added", {"member": name}, {}, at)
    await record(ctx, brand, [event])
    await brand.refresh_from_db()
    return int((await Identity.get(brand_id=brand.id, kind="member", value=name)).user_id)


async def called(ctx: Context, brand: Brand, *names: str) -> list[Task]:
    """A task for each of these users."""
    users = [await user(ctx, brand, name) for name in names or ("1",)]
    await start(ctx, brand, "care.call", users, occasion="complaint")
    await carry_on(ctx, brand.id)
    await dispatch(ctx, brand.id)
    return list((await listed(ctx, brand)).tasks)


async def later(brand: Brand, by: timedelta) -> None:
    """The brand lives at a later moment."""
    await Brand.filter(id=brand.id).update(replayed_to=NOON + by)
    await brand.refresh_from_db()


async def test_a_step_for_a_person_becomes_a_task_with_a_deadline(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    assert (task.role, task.title, task.text, task.status) == ("service", "给朋友回电", "请在一小时内联系", "open")
    assert (task.deadline, task.escalate_to) == (NOON + HOUR, "manager")
    action = await Action.get(brand_id=shop.id)
    assert (action.status, action.channel, task.action_id) == ("sent", "tasks", action.id)
    assert [entry[1] for entry in task.log] == ["open"]


async def test_a_message_that_is_delivered_twice_makes_one_task(ctx: Context, shop: Brand) -> None:
    body = {"role": "service", "title": "call", "deadline": (NOON + HOUR).isoformat()}
    message = Message(7, "k", shop.slug, await user(ctx, shop), "text", "service", NOON, body=body)
    inbox = Tasks(ctx.db, shop.id)
    for _ in range(2):
        assert [receipt.outcome for receipt in await inbox.deliver([message], Params())] == ["sent"]
    assert len((await listed(ctx, shop)).tasks) == 1


async def test_a_task_is_taken_done_and_told_of(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    assert (await take(ctx, shop, task.id, "li")).assignee == "li"
    await later(shop, HOUR / 2)
    found = await done(ctx, shop, task.id, "li", "已退款")
    assert (found.status, found.outcome, found.done_at) == ("done", "已退款", NOON + HOUR / 2)
    assert [(entry[1], entry[2], entry[3]) for entry in found.log] == [
        ("open", "", ""),
        ("taken", "li", ""),
        ("done", "li", "已退款"),
    ]
    event = await Event.get(brand_id=shop.id, kind="task.done")
    made_by = {"plugin": "care", "playbook": "call", "step": "call"}
    assert event.payload == {**made_by, "role": "service", "outcome": "已退款", "by": "li"}
    await carry_on(ctx, shop.id)
    await dispatch(ctx, shop.id)
    assert [row.text for row in await OutboxMessage.filter(brand_id=shop.id)] == ["谢谢您的耐心"]
    assert (await listed(ctx, shop)).tasks == []
    assert [each.id for each in (await listed(ctx, shop, status=["done"])).tasks] == [task.id]


async def test_of_many_who_reach_for_a_task_one_gets_it(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    found = await asyncio.gather(*(take(ctx, shop, task.id, f"p{n}") for n in range(8)), return_exceptions=True)
    [got] = [each for each in found if isinstance(each, Task)]
    refused = [each for each in found if isinstance(each, InputError)]
    assert len(refused) == 7
    assert f"taken by {got.assignee}" in refused[0].message
    with pytest.raises(InputError, match="is taken by"):
        await done(ctx, shop, task.id, "somebody else")


async def test_a_task_that_is_given_back_is_anybodys_again(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    with pytest.raises(InputError, match="nobody's"):
        await give_back(ctx, shop, task.id, "li")
    await take(ctx, shop, task.id, "li")
    assert (await give_back(ctx, shop, task.id, "boss", "ill")).status == "open"
    await take(ctx, shop, task.id, "wang")
    await done(ctx, shop, task.id, "wang")
    with pytest.raises(InputError, match="done by wang"):
        await take(ctx, shop, task.id, "li")


async def test_a_task_past_its_deadline_escalates_once(ctx: Context, shop: Brand) -> None:
    first, second, third = await called(ctx, shop, "1", "2", "3")
    await take(ctx, shop, second.id, "li")
    await done(ctx, shop, third.id, "li")
    assert await escalate(ctx) == 0
    await later(shop, 2 * HOUR)
    assert await escalate(ctx) == 2
    assert await escalate(ctx) == 0
    for each in (first, second):
        found = await find(ctx, shop, each.id)
        assert (found.status, found.role, found.assignee) == ("escalated", "manager", "")
    assert (await find(ctx, shop, second.id)).log[-1][1:] == ["escalated", "", "li: service → manager"]
    await take(ctx, shop, first.id, "boss")
    assert (await give_back(ctx, shop, first.id, "boss")).status == "escalated"
    await done(ctx, shop, first.id, "boss")
    assert (await find(ctx, shop, third.id)).role == "service"


async def test_who_cannot_do_a_task_escalates_it_before_its_deadline(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    await take(ctx, shop, task.id, "li")
    with pytest.raises(InputError, match="taken by li"):
        await escalate_now(ctx, shop, task.id, "wang")
    found = await escalate_now(ctx, shop, task.id, "li", "she asks for the boss")
    assert (found.status, found.role, found.assignee, found.escalated_at) == ("escalated", "manager", "", NOON)
    assert found.log[-1][1:] == ["escalated", "li", "service → manager: she asks for the boss"]
    with pytest.raises(InputError, match="has escalated to manager"):
        await escalate_now(ctx, shop, task.id, "li")
    await later(shop, 2 * HOUR)
    assert await escalate(ctx) == 0
    body = {"role": "service", "title": "call", "deadline": (NOON + HOUR).isoformat()}
    message = Message(7, "k", shop.slug, task.user_id, "text", "service", NOON, body=body)
    await Tasks(ctx.db, shop.id).deliver([message], Params())
    [other] = (await listed(ctx, shop, role="service")).tasks
    with pytest.raises(InputError, match="escalates to nobody"):
        await escalate_now(ctx, shop, other.id, "li")


async def test_tasks_are_listed_by_deadline_page_by_page(ctx: Context, shop: Brand) -> None:
    inbox, people = Tasks(ctx.db, shop.id), [await user(ctx, shop, str(n)) for n in range(7)]
    for n, who in enumerate(people):
        body = {"role": "a" if n % 2 else "b", "title": str(n), "deadline": (NOON - n * HOUR).isoformat()}
        await inbox.deliver([Message(n, f"k{n}", shop.slug, who, "", "service", NOON, body=body)], Params())
    seen: list[str] = []
    after = None
    while True:
        page = await listed(ctx, shop, first=3, after=after)
        seen += [each.title for each in page.tasks]
        if (after := page.after) is None:
            break
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]
    assert [each.title for each in (await listed(ctx, shop, role="a")).tasks] == ["5", "3", "1"]
    await take(ctx, shop, (await listed(ctx, shop)).tasks[0].id, "li")
    assert [each.title for each in (await listed(ctx, shop, assignee="li")).tasks] == ["6"]


async def test_one_brands_tasks_are_not_anothers(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    other = await new_brand()
    assert (await listed(ctx, other)).tasks == []
    for change in (take(ctx, other, task.id, "li"), done(ctx, other, task.id, "li"), find(ctx, other, task.id)):
        with pytest.raises(NotFound):
            await change
    assert (await find(ctx, shop, task.id)).status == "open"


async def test_what_cannot_be_is_refused_by_name(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    wrong: Status = "gone"  # type: ignore[assignment]
    for change, field in [
        (take(ctx, shop, task.id, " "), "by"),
        (done(ctx, shop, task.id, "li", "x" * 4001), "outcome"),
        (done(ctx, shop, task.id, "li", "\x00"), "outcome"),
        (listed(ctx, shop, status=[wrong]), "status"),
        (listed(ctx, shop, first=0), "first"),
        (listed(ctx, shop, after="x"), "after"),
    ]:
        with pytest.raises(InputError) as caught:
            await change
        assert caught.value.field == field
        assert caught.value.remedy


async def test_what_becomes_of_tasks_can_be_followed(ctx: Context, shop: Brand) -> None:
    [task] = await called(ctx, shop)
    following = follow_changes(ctx, shop.id, "task", 0)
    seen = [(change.after, list(change.ids)) for change in (await anext(following)).changes]
    assert seen == [("open", [task.id])]
    await take(ctx, shop, task.id, "li")
    assert [(change.after, list(change.ids)) for change in (await anext(following)).changes] == [("taken", [task.id])]
    await following.aclose()
