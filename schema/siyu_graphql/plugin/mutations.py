"""How a brand sets its plugins."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow import plugins
from siyu.flow.tokens import Right
from siyu.store.models import Brand, PluginSetting

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.plugin.queries import plugin_of
from siyu_graphql.plugin.types import PluginPayload
from siyu_graphql.scalars import JSON, checked_json

__all__ = ["PluginMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
PluginName = Annotated[str, strawberry.argument(description="The name of the plugin: `rfm`.")]
Params = Annotated[
    JSON,
    strawberry.argument(description="All its parameters, as in `paramsSchema`; what is left out takes its default."),
]


@strawberry.type
class PluginMutations:
    @mutation(
        Right.CONFIGURE,
        PluginPayload,
        "Switch a plugin on for a brand, with the parameters that it had or the defaults, and refresh the brand.",
    )
    async def enable_plugin(self, info: Info, brand: BrandSlug, plugin: PluginName) -> PluginPayload | None:
        found = await visible_brand(info, brand)
        return await _changed(
            info, found, await plugins.enable(info.context.ctx, found, plugin, by=info.context.access.by)
        )

    @mutation(
        Right.CONFIGURE,
        PluginPayload,
        "Switch a plugin off for a brand. The refresh takes back its tags and stages; history and parameters are kept.",
    )
    async def disable_plugin(self, info: Info, brand: BrandSlug, plugin: PluginName) -> PluginPayload | None:
        found = await visible_brand(info, brand)
        return await _changed(
            info, found, await plugins.disable(info.context.ctx, found, plugin, by=info.context.access.by)
        )

    @mutation(
        Right.CONFIGURE,
        PluginPayload,
        "Take back the newest change of a plugin's setting that stands, and refresh the brand; again, the one before.",
    )
    async def undo_plugin(self, info: Info, brand: BrandSlug, plugin: PluginName) -> PluginPayload | None:
        found = await visible_brand(info, brand)
        return await _changed(
            info, found, await plugins.undo(info.context.ctx, found, plugin, by=info.context.access.by)
        )

    @mutation(Right.CONFIGURE, PluginPayload, "Set the parameters of a plugin for a brand, and refresh the brand.")
    async def configure_plugin(
        self, info: Info, brand: BrandSlug, plugin: PluginName, params: Params
    ) -> PluginPayload | None:
        found = await visible_brand(info, brand)
        checked = checked_json(params, "params")
        return await _changed(
            info, found, await plugins.configure(info.context.ctx, found, plugin, checked, by=info.context.access.by)
        )


async def _changed(info: Info, brand: Brand, setting: PluginSetting) -> PluginPayload:
    await info.context.push("refresh_brand", brand.id)
    return PluginPayload(plugin=plugin_of(info, brand.id, setting.plugin, setting))
