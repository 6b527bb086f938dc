"""The example plugin that adds to the schema, as its author would test it: on the API itself."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import siyu_graphql
from siyu.contract.manager import PluginManager
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.tokens import create_token
from siyu.store.models import Brand
from siyu_graphql import hooks

SOURCE = Path(__file__).parents[2] / "examples/siyu-teahouse/siyu_teahouse.py"
TASTE = """mutation ($member: String!, $tea: String = "龙井", $stars: Int!, $brand: String! = "shop") {
  taste(brand: $brand, member: $member, tea: $tea, stars: $stars) {
    guest { member tastes { tea times stars } } userErrors { code field message remedy } } }"""
GUESTS = """query ($members: [String!]!, $brand: String! = "shop") {
  guests(brand: $brand, members: $members) { member tastes { tea times stars } } }"""


@pytest.fixture(scope="module")
def installed() -> PluginManager:
    spec = importlib.util.spec_from_file_location("siyu_teahouse", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["siyu_teahouse"] = module  # Strawberry looks there for what annotations name
    spec.loader.exec_module(module)
    loaded = PluginManager.load(extra_specs=[hooks])
    loaded.register("teahouse", module)
    loaded.check()
    assert siyu_graphql.build_schema(loaded).refused == {}
    return loaded


@pytest.fixture
async def house(api: Any, brand: Brand, installed: PluginManager) -> AsyncIterator[Any]:
    """The API with the plugin, which the brand has on."""
    await settings.enable(Context(api.ctx.db, installed, api.ctx.home), brand, "teahouse")
    client = type(api)(Context(api.ctx.db, installed, api.ctx.home), api.token)
    yield client
    await client.http.aclose()


async def test_what_a_guest_tastes_is_noted_and_decided(house: Any, brand: Brand) -> None:
    await house.data(TASTE, member="7", stars=5)
    await house.data(TASTE, member="7", stars=3, tea="普洱")
    done = (await house.data(TASTE, member="7", stars=4))["taste"]
    assert done["userErrors"] == []
    tastes = [{"tea": "龙井", "times": 2, "stars": 4.5}, {"tea": "普洱", "times": 1, "stars": 3.0}]
    assert done["guest"] == {"member": "7", "tastes": tastes}
    assert ("decide", brand.id) in house.queue.pushed
    events = 'query { brand(slug: "shop") { events(filter: {kind: ["teahouse.tasted"]}) { totalCount } } }'
    assert (await house.data(events))["brand"]["events"]["totalCount"] == 3


async def test_the_tastes_of_many_guests_are_read_at_once(house: Any, brand: Brand) -> None:
    for member in ("1", "2", "3"):
        await house.data(TASTE, member=member, stars=5)
    with house.statements() as sent:
        found = (await house.data(GUESTS, members=["3", "2", "9", "1"]))["guests"]
    assert [(each["member"], len(each["tastes"])) for each in found] == [("3", 1), ("2", 1), ("9", 0), ("1", 1)]
    assert len([each for each in sent if "teahouse.tasted" in each]) == 1


async def test_a_mistake_says_what_to_do(house: Any, brand: Brand) -> None:
    [error] = (await house.data(TASTE, member="7", stars=6))["taste"]["userErrors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", "payload.stars")
    assert "tea, stars" in error["remedy"]
    [error] = (await house.ask(GUESTS, members=[str(number) for number in range(101)]))["errors"]
    assert (error["extensions"]["field"], error["message"]) == ("members", "101 members")


async def test_where_it_is_off_nothing_is_shown_and_nothing_noted(house: Any, brand: Brand) -> None:
    await house.data(TASTE, member="7", stars=5)
    await settings.disable(house.ctx, brand, "teahouse")
    assert (await house.data(GUESTS, members=["7"]))["guests"] is None
    [error] = (await house.data(TASTE, member="7", stars=5))["taste"]["userErrors"]
    assert error["field"] == "brand"


async def test_another_brand_and_a_token_that_may_only_read_are_kept_out(house: Any, brand: Brand) -> None:
    await house.data(TASTE, member="7", stars=5)
    other = await Brand.create(slug="other", name="Other")
    await settings.enable(house.ctx, other, "teahouse")
    assert (await house.data(GUESTS, members=["7"], brand="other"))["guests"] == [{"member": "7", "tastes": []}]
    theirs = await create_token("admin", other, "theirs")
    [error] = (await house.ask(GUESTS, token=theirs, members=["7"]))["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    viewer = await create_token("viewer", brand, "viewer")
    [error] = (await house.ask(TASTE, token=viewer, member="7", stars=5))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
