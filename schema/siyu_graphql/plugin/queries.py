"""How plugins are read."""

from __future__ import annotations

from typing import Any

import strawberry
from siyu.contract.manager import GUARD
from siyu.store.models import Brand, PluginSetting

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.plugin.types import Plugin

__all__ = ["find_plugin", "is_on", "plugin_of", "plugins_of_brand"]


async def plugins_of_brand(brand: strawberry.Parent[OfBrand], info: Info) -> list[Plugin]:
    settings = {row.plugin: row for row in await PluginSetting.filter(brand_id=brand.brand_id)}
    installed = info.context.ctx.plugins.plugins
    return [plugin_of(info, brand.brand_id, name, settings.get(name)) for name in sorted(installed)]


def plugin_of(info: Info, brand_id: int, name: str, setting: PluginSetting | None) -> Plugin:
    """An installed plugin as a brand has set it."""
    return Plugin(brand_id=brand_id, number=name, installed=info.context.ctx.plugins.get(name), setting=setting)


async def is_on(brand: Brand, plugin: str) -> bool:
    """Whether the brand has a plugin on, at least for a part of the users."""
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=plugin)
    return (row.enabled or bool(row.base and row.base["enabled"])) if row is not None else plugin == GUARD


async def find_plugin(info: Info, brand_id: int, name: str) -> Any:
    """The plugin of that name."""
    if name not in info.context.ctx.plugins.plugins:
        return None
    return plugin_of(info, brand_id, name, await PluginSetting.get_or_none(brand_id=brand_id, plugin=name))
