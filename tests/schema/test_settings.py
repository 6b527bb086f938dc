"""Plugins are switched and set over the API, and refreshes asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import siyu_rfm
from siyu import RuleError
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Fence, PluginSetting

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


STATUS = """{ brand(slug: "shop") { plugins { name
  status { state error since lastGood fences { rule error since lastGood } } } } }"""
RETRY = """mutation { retryPlugin(brand: "shop", plugin: "rfm") {
  plugin { status { state error fences { rule } } } userErrors { code } } }"""


async def status(api: Any) -> Any:
    plugins = (await api.data(STATUS))["brand"]["plugins"]
    return next(plugin["status"] for plugin in plugins if plugin["name"] == "rfm")


async def test_the_status_of_a_plugin_says_what_is_wrong_since_when_and_until_it_is_mended(
    api: Any, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: dict[str, Any] = {"error": None, "since": None, "lastGood": None, "fences": []}
    assert await status(api) == {"state": "OFF", **nothing}
    await refresh(api.ctx, brand.id)
    await change(api, ENABLE, "rfm")
    assert await status(api) == {"state": "ON", **nothing}
    await refresh(api.ctx, brand.id)
    well = await status(api)
    assert (well["state"], well["lastGood"] is None) == ("ON", False)

    def broken(self: Any, p: Any) -> Any:
        raise OverflowError("too much")

    monkeypatch.setattr(siyu_rfm.CustomerBase, "tags", broken)
    await refresh(api.ctx, brand.id)
    fenced = await status(api)
    assert (fenced["state"], fenced["error"]) == ("FENCED", "OverflowError: too much")
    [fence] = fenced["fences"]
    assert fence == {key: fenced[key] for key in ("error", "since", "lastGood")} | {"rule": "customer_base"}
    assert fence["lastGood"] == well["lastGood"] < fence["since"]
    api.queue.pushed.clear()
    still = (await api.data(RETRY))["retryPlugin"]["plugin"]["status"]
    assert (still["state"], [fence["rule"] for fence in still["fences"]]) == ("FENCED", ["customer_base"])

    monkeypatch.undo()
    mended = (await api.data(RETRY))["retryPlugin"]["plugin"]["status"]
    assert mended == {"state": "ON", "error": None, "fences": []}
    assert api.queue.pushed == [("refresh_brand", brand.id)] * 2


async def test_no_rule_was_good_in_a_refresh_that_its_fence_was_lifted_after(
    api: Any, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, *_: Any) -> Any:
        raise OverflowError("too much")

    await change(api, ENABLE, "rfm")
    await refresh(api.ctx, brand.id)
    well = await status(api)
    with monkeypatch.context() as patch:
        patch.setattr(siyu_rfm.CustomerBase, "tags", broken)
        patch.setattr(siyu_rfm.RFM, "tags", broken)
        await refresh(api.ctx, brand.id)
        fenced = await status(api)
    # As the refresh that follows finds it: of a rule that is fitted, only that one can tell.
    await Fence.filter(brand_id=brand.id).delete()
    lifted = await status(api)
    assert (lifted["state"], lifted["fences"]) == ("ON", [])
    assert well["lastGood"] <= lifted["lastGood"] < fenced["since"]
    await refresh(api.ctx, brand.id)
    assert (await status(api))["lastGood"] > fenced["since"]


async def test_a_plugin_that_cannot_be_loaded_is_shown_as_refused(
    api: Any, brand: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await change(api, ENABLE, "rfm")
    installed = api.ctx.plugins.plugins
    refused = replace(installed["rfm"], refused=RuleError("it raises", field="rfm", remedy="mend it"))
    monkeypatch.setitem(installed, "rfm", refused)
    await refresh(api.ctx, brand.id)
    shown = await status(api)
    assert (shown["state"], shown["error"], len(shown["fences"])) == ("REFUSED", "rfm: it raises (mend it)", 2)
    [error] = (await change(api, ENABLE, "rfm"))["userErrors"]
    assert (error["code"], error["remedy"]) == ("INVALID_PLUGIN", "mend it")
    off = await api.data('mutation { disablePlugin(brand: "shop", plugin: "rfm") { plugin { enabled } } }')
    assert off["disablePlugin"]["plugin"]["enabled"] is False


async def test_a_refresh_is_asked_for_even_while_the_queue_is_away(api: Any, brand: Brand) -> None:
    refresh_brand = 'mutation { refreshBrand(brand: "shop") { queued userErrors { code } } }'
    assert (await api.data(refresh_brand))["refreshBrand"] == {"queued": True, "userErrors": []}
    assert api.queue.pushed == [("refresh_brand", brand.id)]
    await Brand.filter(id=brand.id).update(refresh_asked=None)
    api.queue.away = True
    assert (await api.data(refresh_brand))["refreshBrand"]["queued"] is True
    shown = await api.data('{ brand(slug: "shop") { refreshAskedAt } }')
    assert shown["brand"]["refreshAskedAt"], "the sweep will find it"
