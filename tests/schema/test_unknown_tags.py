"""Tags that a brand's rules ask for in vain: on the plugin's page, in a preview, and in no one's way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from siyu import HasTag, Segmenter, Tag, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand
from siyu_graphql import hooks

from tests.schema.conftest import START

STATUS = """{ brand(slug: "shop") { plugins { name status { state unknownTags {
  plugin rule tag givenBy remedy } } } } }"""
PREVIEW = """query ($plugin: String!, $enabled: Boolean!) { brand(slug: "shop") {
  previewPlugin(plugin: $plugin, enabled: $enabled) { unknownTags { plugin rule tag givenBy } } } }"""


class Crossed(Segmenter):
    def tags(self, p: Any) -> Any:
        yield Tag("zoo.cat_lover", "猫", HasTag("pets.cat") & HasTag("rfm.high_value"))
        yield Tag("zoo.cat_lovers_friend", "友", HasTag("zoo.cat_lovr"))


@pytest.fixture
async def zoo(api: Any, brand: Brand) -> AsyncIterator[Any]:
    """The API where a plugin asks for tags of others, and for one of its own by a wrong name; it is on."""
    module = ModuleType("siyu_zoo")
    module.siyu_segmenters = hookimpl(lambda: [Crossed], specname="siyu_segmenters")  # type: ignore[attr-defined]
    manager = PluginManager.load(extra_specs=[hooks])
    manager.register("zoo", module)
    manager.check()
    ctx = Context(api.ctx.db, manager, api.ctx.home)
    client = type(api)(ctx, api.token)
    await plugins.enable(ctx, brand, "zoo")
    yield client
    await client.http.aclose()


async def unknown(client: Any) -> dict[str, str | None]:
    found = (await client.data(STATUS))["brand"]["plugins"]
    each = {plugin["name"]: plugin["status"] for plugin in found}
    assert each["zoo"]["state"] == "ON", "nothing fails for it"
    assert [name for name, status in each.items() if status["unknownTags"]] in ([], ["zoo"])
    return {tag["tag"]: tag["givenBy"] for tag in each["zoo"]["unknownTags"]}


async def test_the_plugins_page_names_the_tag_and_who_would_give_it(zoo: Any, brand: Brand) -> None:
    assert await unknown(zoo) == {"pets.cat": "pets", "rfm.high_value": "rfm", "zoo.cat_lovr": None}
    [misspelt] = [
        tag
        for plugin in (await zoo.data(STATUS))["brand"]["plugins"]
        for tag in plugin["status"]["unknownTags"]
        if tag["givenBy"] is None
    ]
    assert (misspelt["plugin"], misspelt["rule"]) == ("zoo", "crossed")
    assert misspelt["remedy"].startswith("like it are: zoo.cat_lover")
    await plugins.enable(zoo.ctx, brand, "pets", percent=20)
    await plugins.enable(zoo.ctx, brand, "rfm")
    assert await unknown(zoo) == {"zoo.cat_lovr": None}, "what is fitted first may yet give it"
    order = IncomingEvent("o1", "order.paid", {"member": "1"}, {"amount": 9}, START)
    await record(zoo.ctx, brand, [order])
    await refresh(zoo.ctx, brand.id)
    assert await unknown(zoo) == {"zoo.cat_lovr": None}


async def test_a_preview_names_those_of_the_plugin_and_those_that_it_would_make(zoo: Any, brand: Brand) -> None:
    await plugins.enable(zoo.ctx, brand, "pets")

    async def previewed(plugin: str, enabled: bool) -> set[tuple[str, str]]:
        found = (await zoo.data(PREVIEW, plugin=plugin, enabled=enabled))["brand"]["previewPlugin"]["unknownTags"]
        return {(tag["plugin"], tag["tag"]) for tag in found}

    assert await previewed("pets", False) == {("zoo", "pets.cat")}
    assert await previewed("beauty", True) == set()
    assert await previewed("zoo", True) == {("zoo", "rfm.high_value"), ("zoo", "zoo.cat_lovr")}
