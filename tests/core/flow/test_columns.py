"""A fact of everybody is what it is for each user by themselves, also while a change is rolled out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from siyu import InputError
from siyu.engine.cohorts import bucket
from siyu.flow import plugins
from siyu.flow.columns import Column, columns
from siyu.flow.context import Context
from siyu.flow.facts import facts_of_users
from siyu.flow.filters import FactFilter, FactName, filter_of
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.selection import counted, select
from siyu.store.models import Brand, Identity

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = [("rfm", "recency"), ("customer_base", "frequency"), ("customer_base", "monetary")]


async def lived(ctx: Context, shop: Brand, users: int = 40) -> list[int]:
    """Orders of users, and the users."""
    await record(
        ctx,
        shop,
        [
            IncomingEvent(
                f"{user}-{order}",
                "order.paid",
                {"member": f"{user}"},
                {"amount": user},
                START + timedelta(days=7 * order),
            )
            for user in range(users)
            for order in range(user % 4)
        ]
        + [IncomingEvent(f"{user}", "contact.added", {"member": f"{user}"}, {}, START) for user in range(users)],
    )
    return sorted([row.user_id for row in await Identity.filter(brand_id=shop.id)])


async def column(ctx: Context, shop: Brand, name: str, rule: str | None = None) -> Column:
    [found] = await columns(ctx, shop.id, [("fact", FactName(plugin="rfm", rule=rule, name=name))])
    return found


async def test_a_column_is_the_fact_of_each_user(house: Context, shop: Brand) -> None:
    users = await lived(house, shop)
    await plugins.enable(house, shop, "rfm")
    for rule, name in NAMES:
        values = dict((await column(house, shop, name, rule)).values.iter_rows())
        each = await facts_of_users(house, await Brand.get(id=shop.id), users, plugin="rfm", names=[name])
        assert values == {user: next(f.value for f in facts if f.rule == rule) for user, facts in each.items()}
        assert None in values.values() or name == "frequency"


async def test_who_does_not_have_the_plugin_yet_has_no_value(house: Context, shop: Brand) -> None:
    users = await lived(house, shop)
    await plugins.enable(house, shop, "rfm", percent=50)
    found = await column(house, shop, "frequency", "customer_base")
    assert {user for user, value in found.values.iter_rows() if value is not None} == {
        user for user in users if bucket(user) < 50
    }
    assert found.missing.to_list() == [user for user in users if bucket(user) >= 50] != []
    await plugins.roll_out(house, shop, "rfm", 100)
    assert (await column(house, shop, "frequency", "customer_base")).missing.is_empty(), "as it is set now"


async def test_the_next_day_has_a_column_of_its_own(house: Context, shop: Brand) -> None:
    await lived(house, shop)
    await plugins.enable(house, shop, "rfm")
    before = await column(house, shop, "recency", "rfm")
    at = before.at + timedelta(days=3)
    await record(house, await Brand.get(id=shop.id), [IncomingEvent("late", "contact.added", {"member": "1"}, {}, at)])
    after = await column(house, shop, "recency", "rfm")
    assert after.at == at
    moved = {user: value + 3 for user, value in before.values.drop_nulls().iter_rows()}
    assert dict(after.values.drop_nulls().iter_rows()) == moved


async def test_of_a_plugin_that_is_off_there_are_no_facts(house: Context, shop: Brand) -> None:
    await lived(house, shop)
    with pytest.raises(InputError, match="no facts of a plugin 'rfm'") as caught:
        await column(house, shop, "recency")
    assert caught.value.field == "fact.plugin"


async def test_who_passes_is_counted_however_tests_are_put_together(house: Context, shop: Brand) -> None:
    users = await lived(house, shop)
    await plugins.enable(house, shop, "rfm")
    bought = {"fact": [{"plugin": "rfm", "rule": "rfm", "name": "frequency", "gte": 1}]}
    for filter, wanted in (
        (bought, 30),
        ({"NOT": bought}, 10),
        ({"OR": [bought, {"identity": ["member"]}]}, 40),
        ({"OR": []} | bought, 0),
    ):
        assert (await counted(house, shop.id, filter_of(filter))).users == wanted
    assert len(users) == 40


async def test_a_value_of_another_kind_is_refused_with_the_kind(house: Context, shop: Brand) -> None:
    await lived(house, shop)
    await plugins.enable(house, shop, "rfm")
    test = FactFilter(plugin="rfm", rule="rfm", name="recency", gte="long")
    with pytest.raises(InputError, match="'long' where a number is"):
        await select(house, shop.id, filter_of({"fact": [test.model_dump(by_alias=True, exclude_none=True)]}))
