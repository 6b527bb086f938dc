"""Messages that somebody asks for: once to each, in their own words, past the guard like all others."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from siyu import InputError, NotFound, Send
from siyu.flow import why
from siyu.flow.content import set_text
from siyu.flow.context import Context
from siyu.flow.dispatch import send_due
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.sending import send
from siyu.store.models import Action, Brand, Identity, OutboxMessage

from tests.core.conftest import new_brand

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
SHIPPED = Send("outbox", "{{ name }}，您的订单已发出", "service")


async def people(ctx: Context, brand: Brand, *names: str) -> list[int]:
    events = [
        IncomingEvent(f"p-{name}", "profile.updated", {"member": name}, {"nickname": name, "phone": "139"}, NOON)
        for name in names
    ]
    assert not (await record(ctx, brand, events)).rejected
    await brand.refresh_from_db()
    rows = {row.value: row.user_id for row in await Identity.filter(brand_id=brand.id, kind="member")}
    return [rows[name] for name in names]


async def test_each_is_told_once_however_often_it_is_asked_for(house: Context, shop: Brand) -> None:
    users = await people(house, shop, "安", "宁")
    assert await send(house, shop, users, SHIPPED, key="order-771", by="shop backend") == 2
    assert await send(house, shop, users, SHIPPED, key="order-771", by="shop backend") == 0
    assert await send(house, shop, users[:1], SHIPPED, key="order-772", by="shop backend") == 1
    await send_due(house, shop.id, at=NOON)
    told = Counter(row.text for row in await OutboxMessage.filter(brand_id=shop.id))
    assert told == {"安，您的订单已发出": 2, "宁，您的订单已发出": 1}
    action = await Action.get(brand_id=shop.id, key=f"by/order-771/{users[0]}")
    assert (action.status, action.asked_by) == ("sent", "shop backend")
    assert [entry.status for entry in (await why.of_action(house, shop, action.id)).entries] == [
        "planned",
        "leased",
        "sent",
    ]


async def test_the_guard_holds_it_back_as_any_other(house: Context, shop: Brand) -> None:
    users = await people(house, shop, "new")
    await send(house, shop, users, Send("outbox", "今日特价", "sales"), key="offer", by="an operator")
    await send_due(house, shop.id, at=NOON)
    assert (await Action.get(brand_id=shop.id)).status == "suppressed"
    assert not await OutboxMessage.filter(brand_id=shop.id).exists()


async def test_a_text_of_the_library_is_sent_as_it_stands_there(house: Context, shop: Brand) -> None:
    users = await people(house, shop, "安")
    await set_text(house, shop, "spring", "{{ name }}，春茶到了", purpose="care")
    await send(house, shop, users, Send("outbox", "", "care", template="spring"), key="spring", by="an operator")
    await send_due(house, shop.id, at=NOON)
    assert (await OutboxMessage.get(brand_id=shop.id)).text == "安，春茶到了"


async def test_what_one_of_them_cannot_be_told_nobody_is(house: Context, shop: Brand) -> None:
    users = await people(house, shop, "安", "宁")
    other = await new_brand()
    [stranger] = await people(house, other, "安")
    here = users[0]
    for mistake, field, asked, to, key in (
        (InputError, "text", Send("outbox", "{{ adviser.name }}在{{ user.birthday }}", "care"), [here], "k"),
        (InputError, "text", Send("outbox", "{{ user.password }}", "care"), [here], "k"),
        (InputError, "text", Send("outbox", "{% for x in y %}{% endfor %}", "care"), [here], "k"),
        (InputError, "text", Send("outbox", "x" * 30_000, "care"), [here], "k"),
        (NotFound, "template", Send("outbox", "", "care", template="none"), [here], "k"),
        (NotFound, "channel", Send("tasks", "hi", "care"), [here], "k"),
        (NotFound, "channel", Send("pigeon", "hi", "care"), [here], "k"),
        (NotFound, "users", SHIPPED, [here, stranger], "k"),
        (InputError, "users", SHIPPED, [], "k"),
        (InputError, "users", SHIPPED, [here] * 1_001, "k"),
        (InputError, "key", SHIPPED, [here], " "),
        (InputError, "key", SHIPPED, [here], "k" * 81),
    ):
        with pytest.raises(mistake) as caught:
            await send(house, shop, to, asked, key=key, by="")
        assert caught.value.field == field, caught.value
        assert caught.value.remedy
    assert await Action.filter(brand_id=shop.id).count() == 0


async def test_an_urgent_one_overtakes_what_is_not(house: Context, shop: Brand) -> None:
    users = await people(house, shop, "安")
    await send(house, shop, users, SHIPPED, key="slow", by="")
    await send(house, shop, users, Send("outbox", "验证码", "service", urgent=True), key="fast", by="")
    await send_due(house, shop.id, at=NOON + timedelta(minutes=1), urgent=True)
    [told] = await OutboxMessage.filter(brand_id=shop.id)
    assert told.text == "验证码"
