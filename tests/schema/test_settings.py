"""Plugins are switched and set over the API, and refreshes asked for."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow.decide import refresh
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import Brand, PluginSetting

PAYLOAD = "{ plugin { name enabled params changedBy tags { key users } } userErrors { code field message remedy } }"
ENABLE = f'mutation ($p: String!) {{ payload: enablePlugin(brand: "shop", plugin: $p) {PAYLOAD} }}'
DISABLE = f'mutation ($p: String!) {{ payload: disablePlugin(brand: "shop", plugin: $p) {PAYLOAD} }}'
CONFIGURE = f"""mutation ($p: String!, $to: JSON!) {{
  payload: configurePlugin(brand: "shop", plugin: $p, params: $to) {PAYLOAD} }}"""


async def change(api: Any, mutation: str, plugin: str, **variables: Any) -> Any:
    return (await api.data(mutation, p=plugin, **variables))["payload"]


async def tags(api: Any) -> dict[str, int]:
    data = await api.data('{ brand(slug: "shop") { users { nodes { tags { key } } } } }')
    found = [tag["key"] for user in data["brand"]["users"]["nodes"] for tag in user["tags"]]
    return {key: found.count(key) for key in found}


async def test_a_plugin_is_switched_on_and_off_and_a_refresh_asked_for(api: Any, brand: Brand) -> None:
    on = await change(api, ENABLE, "rfm")
    assert (on["plugin"]["enabled"], on["plugin"]["changedBy"], on["userErrors"]) == (True, "root", [])
    assert on["plugin"]["params"]["rfm"]["bins"] == 5
    off = await change(api, DISABLE, "rfm")
    assert off["plugin"]["enabled"] is False
    assert api.queue.pushed == [("refresh_brand", brand.id)] * 2
    await brand.refresh_from_db()
    assert brand.refresh_asked is not None


async def test_off_takes_the_tags_and_on_brings_them_back_and_history_tells(api: Any, brand: Brand) -> None:
    member = {"member": "1"}
    await change(api, ENABLE, "rfm")
    await record(api.ctx, brand, [IncomingEvent("a", "order.paid", member, {"amount": 5}, brand.replayed_to)])
    await refresh(api.ctx, brand.id)
    before = await tags(api)
    assert before
    await change(api, DISABLE, "rfm")
    await refresh(api.ctx, brand.id)
    assert await tags(api) == {}
    shown = await api.data('{ brand(slug: "shop") { tags { key } all: tags(includeInactive: true) { key active } } }')
    assert shown["brand"]["tags"] == []
    assert {tag["active"] for tag in shown["brand"]["all"]} == {False}
    await change(api, ENABLE, "rfm")
    await refresh(api.ctx, brand.id)
    assert await tags(api) == before
    data = await api.data(
        '{ brand(slug: "shop") { users { nodes { tagHistory { nodes { key because endedBecause } } } } } }'
    )
    [past] = data["brand"]["users"]["nodes"][0]["tagHistory"]["nodes"]
    assert past["key"] in before
    assert past["because"].startswith("last order")
    assert past["endedBecause"] == "the rulebook no longer has this rule"


async def test_parameters_are_set_whole(api: Any) -> None:
    await change(api, CONFIGURE, "lifecycle", to={"lifecycle": {"dormant_days": 20, "lost_days": 60}})
    done = await change(api, CONFIGURE, "lifecycle", to={"lifecycle": {"dormant_days": 25}})
    params = done["plugin"]["params"]["lifecycle"]
    assert (params["dormant_days"], params["lost_days"]) == (25, 90)
    assert done["plugin"]["enabled"] is False, "setting is not switching on"


@pytest.mark.parametrize(
    ("params", "field", "remedy"),
    [
        ({"lifecycle": {"dormant_days": 0}}, "lifecycle.dormant_days", "dormant_days"),
        ({"lifecycle": {"dormant": 5}}, "lifecycle.dormant", "dormant_days"),
        ({"lifecycle": 5}, "lifecycle", "dormant_days"),
        ({"life": {}}, "life", "lifecycle"),
        ([], "params", "object"),
        ({"lifecycle": {"variant": chr(0)}}, "params.lifecycle.variant", "Unicode"),
    ],
)
async def test_bad_parameters_name_the_field_and_the_remedy(api: Any, params: Any, field: str, remedy: str) -> None:
    refused = await change(api, CONFIGURE, "lifecycle", to=params)
    assert refused["plugin"] is None
    [error] = refused["userErrors"]
    assert error["field"] == field
    assert remedy in error["remedy"] or remedy == "object"
    assert error["code"] in ("INVALID_PLUGIN", "INVALID_INPUT")
    assert not await PluginSetting.exists()
    assert api.queue.pushed == []


@pytest.mark.parametrize("mutation", [ENABLE, DISABLE])
async def test_a_plugin_that_is_not_there_names_those_that_are(api: Any, mutation: str) -> None:
    [error] = (await change(api, mutation, "rmf"))["userErrors"]
    assert (error["code"], error["field"]) == ("NOT_FOUND", "plugin")
    assert "rfm" in error["remedy"]


async def test_parameters_that_are_no_longer_valid_cost_only_themselves(api: Any, brand: Brand) -> None:
    await PluginSetting.create(brand_id=brand.id, plugin="rfm", enabled=False, params={"rfm": {"bins": 1000}})
    answer = await api.ask('{ brand(slug: "shop") { plugins { name params } } }')
    shown = {plugin["name"]: plugin["params"] for plugin in answer["data"]["brand"]["plugins"]}
    assert shown["rfm"] is None
    assert shown["lifecycle"]
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_PLUGIN"


async def test_a_refresh_is_asked_for_even_while_the_queue_is_away(api: Any, brand: Brand) -> None:
    refresh_brand = 'mutation { refreshBrand(brand: "shop") { queued userErrors { code } } }'
    assert (await api.data(refresh_brand))["refreshBrand"] == {"queued": True, "userErrors": []}
    assert api.queue.pushed == [("refresh_brand", brand.id)]
    await Brand.filter(id=brand.id).update(refresh_asked=None)
    api.queue.away = True
    assert (await api.data(refresh_brand))["refreshBrand"]["queued"] is True
    shown = await api.data('{ brand(slug: "shop") { refreshAskedAt } }')
    assert shown["brand"]["refreshAskedAt"], "the sweep will find it"
