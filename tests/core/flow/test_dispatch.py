"""Step 5: each action goes out once, and of each it is known what became of it, or that this is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from siyu import Channel, InputError, Message, Playbook, Receipt, Send, StageChanged, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import dispatch as dispatching
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.reports import settle
from siyu.store.actions import plan_actions
from siyu.store.models import Action, Brand, ChannelUse, OutboxMessage

PAST = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 6, 1, 4, tzinfo=UTC)
"""In Shanghai, where the brand is."""
Deliver = Callable[[Sequence[Message]], Awaitable[Any]]


class Carrier(Channel):
    """A channel that does what the test says."""

    key = "carrier"
    does: Deliver

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        found: Sequence[Receipt] = await type(self).does(messages)
        return found


class Patient(Carrier):
    """The same, and may be asked twice."""

    key = "patient"
    repeatable = True


class Greeting(Playbook):
    """A note to whoever wakes up."""

    reentry = "always"

    def trigger(self, p: Any) -> StageChanged:
        return StageChanged("lifecycle", before=frozenset({"dormant"}))

    def steps(self, p: Any) -> Iterable[Send]:
        yield Send("carrier", "hello", "service")
        yield Send("outbox", "again")


def plugin(**hooks: list[Any]) -> ModuleType:
    made = ModuleType("made")
    for name, found in hooks.items():

        def give(found: list[Any] = found) -> list[Any]:
            return found

        give.__name__ = name
        setattr(made, name, hookimpl(give))
    return made


@pytest.fixture
async def post(house: Context, shop: Brand) -> Context:
    """The house with the channels of this module on."""
    manager = PluginManager()
    manager.register("post", plugin(siyu_channels=[Carrier, Patient], siyu_playbooks=[Greeting]))
    manager.register("mail", plugin(siyu_playbooks=[Greeting]))
    manager.check()
    ctx = replace(house, plugins=manager)
    await plugins.enable(ctx, shop, "post")
    return ctx


async def planned(ctx: Context, brand: Brand, *actions: tuple[str, str], at: datetime | None = None) -> list[int]:
    """Plan actions of (key, channel), each for a user of its own; returns the users."""
    async with ctx.db.transaction() as connection:
        users = [
            row["id"]
            for row in await connection.fetch(
                "INSERT INTO users (brand_id, first_seen, last_seen)"
                " SELECT $1, $2, $2 FROM generate_series(1, $3::int) RETURNING id",
                brand.id,
                PAST,
                len(actions),
            )
        ]
        rows = [
            {"key": key, "user_id": user, "plugin": "post", "playbook": "p", "channel": channel}
            | {"purpose": "service", "text": f"to {key}", "because": "b"}
            for (key, channel), user in zip(actions, users, strict=True)
        ]
        await plan_actions(connection, brand.id, pl.DataFrame(rows), at=at or NOON)
    return users


async def dispatch(ctx: Context, brand_id: int, **how: Any) -> int:
    return await dispatching.dispatch(ctx, brand_id, **{"at": NOON, **how})


async def state(brand: Brand) -> dict[str, tuple[str, str]]:
    return {row.key: (row.status, row.detail) for row in await Action.filter(brand_id=brand.id)}


async def expire(ctx: Context, brand: Brand) -> None:
    """Let a minute pass."""
    async with ctx.db.connection() as connection:
        await connection.execute(
            "UPDATE action SET leased_until = now() - interval '1 s' WHERE brand_id = $1 AND leased_until IS NOT NULL",
            brand.id,
        )


async def test_each_message_is_handed_over_once_with_all_that_it_says(post: Context, shop: Brand) -> None:
    seen: list[Message] = []

    async def does(messages: Sequence[Message]) -> list[Receipt]:
        seen.extend(messages)
        return [Receipt(m.action_id, "failed" if m.key == "b" else "sent", f"of {m.key}") for m in messages]

    Carrier.does = staticmethod(does)
    [one, other, _] = await planned(post, shop, ("a", "carrier"), ("b", "carrier"), ("c", "outbox"))
    assert await dispatch(post, shop.id) == 3
    assert await dispatch(post, shop.id) == 0
    assert [(m.key, m.text, m.brand, m.user_id, m.purpose, m.at) for m in seen] == [
        ("a", "to a", shop.slug, one, "service", NOON),
        ("b", "to b", shop.slug, other, "service", NOON),
    ]
    assert await state(shop) == {"a": ("sent", "of a"), "b": ("failed", "of b"), "c": ("sent", "")}
    [message] = await OutboxMessage.filter(brand_id=shop.id)
    assert message.text == "to c"


class Odd:
    """No receipt at all."""


async def _raises(_: Sequence[Message]) -> None:
    raise ConnectionError("the line\x00 is \ud800 dead")


async def _nothing(_: Sequence[Message]) -> None:
    return None


async def _odd(_: Sequence[Message]) -> list[Any]:
    return [Odd()]


async def _bounced(messages: Sequence[Message]) -> list[Any]:
    return [Receipt(m.action_id, "returned to the sender", "x\x00") for m in messages]  # type: ignore[arg-type]


async def _wordless(messages: Sequence[Message]) -> list[Any]:
    return [Receipt(m.action_id, "sent", None) for m in messages]  # type: ignore[arg-type]


async def _forgets(messages: Sequence[Message]) -> list[Any]:
    return [Receipt(messages[0].action_id, "sent"), Receipt(-1, "sent")]


@pytest.mark.parametrize(
    ("does", "first", "second", "says"),
    [
        (_raises, ("unknown", "held"), ("unknown", "held"), "the line"),
        (_nothing, ("unknown", "held"), ("unknown", "held"), "NoneType"),
        (_odd, ("unknown", "held"), ("unknown", "held"), "action_id"),
        (_bounced, ("unknown", "held"), ("unknown", "held"), "returned to the sender"),
        (_wordless, ("sent", "sent"), ("sent", "sent"), ""),
        (_forgets, ("sent", "sent"), ("unknown", "held"), "no receipt"),
    ],
)
async def test_a_channel_that_misbehaves_stops_nobody_else(
    post: Context, shop: Brand, does: Deliver, first: tuple[str, str], second: tuple[str, str], says: str
) -> None:
    Carrier.does = staticmethod(does)
    keys = [(f"{channel}{n}", channel) for n in (1, 2) for channel in ("carrier", "patient")]
    await planned(post, shop, *keys, ("z", "outbox"))
    assert await dispatch(post, shop.id) == 5
    found = await state(shop)
    assert (found["carrier1"][0], found["patient1"][0]) == first
    assert (found["carrier2"][0], found["patient2"][0]) == second
    assert says in found["carrier2"][1]
    assert found["z"] == ("sent", "")
    assert await dispatch(post, shop.id) == 0


async def test_an_action_for_a_channel_that_is_not_there_fails_by_name(post: Context, shop: Brand) -> None:
    await planned(post, shop, ("a", "pigeon"))
    await plugins.disable(post, shop, "post")
    await planned(post, shop, ("b", "carrier"))
    assert await dispatch(post, shop.id) == 2
    assert await state(shop) == {
        "a": ("failed", "品牌没有渠道 pigeon"),
        "b": ("failed", "品牌没有渠道 carrier"),
    }


async def test_after_a_lease_that_ran_out_only_a_repeatable_channel_is_asked_again(post: Context, shop: Brand) -> None:
    asked: list[str] = []
    under_way = asyncio.Event()

    async def hangs(messages: Sequence[Message]) -> list[Receipt]:
        asked.extend(m.key for m in messages)
        under_way.set()
        await asyncio.sleep(60)
        return []

    async def works(messages: Sequence[Message]) -> list[Receipt]:
        asked.extend(m.key for m in messages)
        return [Receipt(m.action_id, "sent") for m in messages]

    for channel in ("carrier", "patient"):
        Carrier.does = staticmethod(hangs)
        await planned(post, shop, (channel, channel))
        under_way.clear()
        dying = asyncio.create_task(dispatch(post, shop.id))
        await under_way.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        Carrier.does = staticmethod(works)
        assert await dispatch(post, shop.id) == 0  # the lease has not run out
        await expire(post, shop)
        await dispatch(post, shop.id)
    assert asked == ["carrier", "patient", "patient"]
    found = await state(shop)
    assert (found["carrier"][0], found["patient"][0]) == ("unknown", "sent")
    assert [row.attempts for row in await Action.filter(brand_id=shop.id).order_by("key")] == [1, 2]


async def test_a_person_says_what_became_of_what_nobody_knows(post: Context, shop: Brand) -> None:
    other = await Brand.create(slug="other", name="Other")
    Carrier.does = staticmethod(_raises)
    await planned(post, shop, ("a", "carrier"), ("b", "carrier"), ("c", "outbox"))
    await dispatch(post, shop.id)
    number = {row.key: row.id for row in await Action.filter(brand_id=shop.id)}
    for wrong in ([number["a"], number["c"]], []):
        with pytest.raises(InputError) as error:
            await settle(post, shop, wrong, sent=True, by="ann")
        assert error.value.field == "actions"
    with pytest.raises(InputError, match="of 1 actions 0"):
        await settle(post, other, [number["a"]], sent=True, by="ann")
    assert (await state(shop))["a"][0] == "unknown"
    used = await ChannelUse.get(brand_id=shop.id, channel="carrier")
    assert used.used == 2

    assert await settle(post, shop, [number["a"]], sent=True, by="ann", why="in their chat\x00") == 1
    assert await settle(post, shop, [number["b"], number["b"]], sent=False, by="ann") == 1
    found = {row.key: row for row in await Action.filter(brand_id=shop.id)}
    assert (found["a"].status, found["a"].reason, found["a"].detail) == ("sent", "settled", "ann: in their chat\ufffd")
    assert (found["b"].status, found["b"].detail, found["b"].touched_at) == ("failed", "ann", None)
    assert found["a"].touched_at is not None
    assert [entry[1] for entry in found["b"].log] == ["planned", "leased", "unknown", "failed"]
    await used.refresh_from_db()
    assert used.used == 1
    with pytest.raises(InputError, match="unknown"):
        await settle(post, shop, [number["a"]], sent=False, by="ann")


async def test_a_receipt_that_comes_after_the_lease_is_believed(post: Context, shop: Brand) -> None:
    asked: list[str] = []

    async def slow(messages: Sequence[Message]) -> list[Receipt]:
        asked.extend(m.key for m in messages)
        await expire(post, shop)
        assert await dispatch(post, shop.id) == 1
        assert (await state(shop))["a"][0] == "unknown"
        return [Receipt(m.action_id, "sent", "late") for m in messages]

    Carrier.does = staticmethod(slow)
    await planned(post, shop, ("a", "carrier"))
    await dispatch(post, shop.id)
    assert await state(shop) == {"a": ("sent", "late")}
    assert asked == ["a"]


async def test_workers_at_once_never_hand_over_the_same_action(post: Context, shop: Brand) -> None:
    asked: list[str] = []

    async def does(messages: Sequence[Message]) -> list[Receipt]:
        asked.extend(m.key for m in messages)
        await asyncio.sleep(0.01)
        return [Receipt(m.action_id, "sent") for m in messages]

    Carrier.does = staticmethod(does)
    await planned(post, shop, *((str(n), "carrier") for n in range(100)))
    await planned(post, shop, ("later", "carrier"), at=NOON + timedelta(hours=1))

    async def worker() -> None:
        while taken := await dispatch(post, shop.id, limit=7):
            assert taken <= 7

    await asyncio.gather(*(worker() for _ in range(5)))
    assert sorted(asked, key=int) == [str(n) for n in range(100)]
    assert (await state(shop))["later"] == ("planned", "")


async def test_what_is_planned_together_for_somebody_is_to_leave_in_that_order(house: Context, shop: Brand) -> None:
    users = await planned(house, shop, *((f"first-{n}", "outbox") for n in range(40)))
    rows = [
        {"key": f"{step}/{user}", "user_id": user, "plugin": "post", "playbook": "p", "channel": "outbox", "step": step}
        | {"purpose": "service", "because": "b"}
        for step in ("c", "a", "b")
        for user in reversed(users)
    ]
    async with house.db.transaction() as connection:
        await plan_actions(connection, shop.id, pl.DataFrame(rows), at=NOON)
    for user in users:
        made = await Action.filter(brand_id=shop.id, user_id=user).exclude(step="").order_by("id")
        assert [each.step for each in made] == ["c", "a", "b"]
