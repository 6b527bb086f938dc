"""How a brand sets its plugins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import strawberry
from siyu.flow import fences, plugins
from siyu.flow.tokens import Right
from siyu.store.models import PluginSetting

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.plugin.queries import find_plugin, plugin_of
from siyu_graphql.plugin.types import PluginPayload
from siyu_graphql.scalars import JSON, checked_json

__all__ = ["PluginMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
PluginName = Annotated[str, strawberry.argument(description="The name of the plugin: `rfm`.")]
Params = Annotated[
    JSON,
    strawberry.argument(description="All its parameters, as in `paramsSchema`; what is left out takes its default."),
]
RuleKey = Annotated[str, strawberry.argument(description="The key of the rule, as `plugin.fitted` has it.")]
Version = Annotated[str, strawberry.argument(description="The version of the rulebook that had the state.")]
Percent = Annotated[
    int,
    strawberry.argument(
        description="For how many of 100 users the change holds, always the same ones; the others keep what they have."
    ),
]

# The settings keep a history of their own.
_setting = partial(mutation, Right.CONFIGURE, PluginPayload, noted=False)


@strawberry.type
class PluginMutations:
    @_setting("Switch a plugin on for a brand, with the parameters that it had or the defaults, and refresh the brand.")
    async def enable_plugin(
        self, info: Info, brand: BrandSlug, plugin: PluginName, percent: Percent = 100
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.enable, plugin, percent=percent)

    @_setting(
        "Switch a plugin off for a brand. The refresh takes back its tags and stages; history and parameters are kept."
    )
    async def disable_plugin(
        self, info: Info, brand: BrandSlug, plugin: PluginName, percent: Percent = 100
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.disable, plugin, percent=percent)

    @_setting("Set the parameters of a plugin for a brand, and refresh the brand.")
    async def configure_plugin(
        self, info: Info, brand: BrandSlug, plugin: PluginName, params: Params, percent: Percent = 100
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.configure, plugin, checked_json(params, "params"), percent=percent)

    @_setting(
        "Let the change of a plugin that is being rolled out hold for more users, or fewer, and refresh the brand. With"
        " 100 it holds for all."
    )
    async def roll_out_plugin(
        self, info: Info, brand: BrandSlug, plugin: PluginName, percent: Percent
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.roll_out, plugin, percent)

    @_setting(
        "Take back the newest change of a plugin's setting that stands, and refresh the brand; again, the one before."
        " The refresh gives back the decisions that the change took away, since when included. Refused while a rule"
        " fails under what would be given back."
    )
    async def undo_plugin(self, info: Info, brand: BrandSlug, plugin: PluginName) -> PluginPayload | None:
        return await _changed(info, brand, plugins.undo, plugin)

    @_setting(
        "Restore a state that a rule had (`plugin.fitted.states`), and refresh the brand: the rule is kept to it, and"
        " not fitted, until it is released. Refused where the plugin cannot go on with that state."
    )
    async def pin_state(
        self, info: Info, brand: BrandSlug, plugin: PluginName, rule: RuleKey, version: Version
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.pin, plugin, rule, version)

    @_setting("Fit a rule again that is kept to a state, and refresh the brand.")
    async def release_state(
        self, info: Info, brand: BrandSlug, plugin: PluginName, rule: RuleKey
    ) -> PluginPayload | None:
        return await _changed(info, brand, plugins.release, plugin, rule)

    @mutation(
        Right.REFRESH,
        PluginPayload,
        "Ask the rules of a plugin that fail for a brand again, now. Those that answer are fenced no longer; the"
        " refresh that follows brings their decisions up to date. What is learnt from all users is tried by it.",
    )
    async def retry_plugin(self, info: Info, brand: BrandSlug, plugin: PluginName) -> PluginPayload | None:
        found = await visible_brand(info, brand)
        await fences.retry(info.context.ctx, found, plugin)
        await info.context.push("refresh_brand", found.id)
        return PluginPayload(plugin=await find_plugin(info, found.id, plugin))


async def _changed(
    info: Info,
    brand: str,
    change: Callable[..., Awaitable[PluginSetting]],
    plugin: str,
    *values: object,
    **options: object,
) -> PluginPayload:
    found = await visible_brand(info, brand)
    setting = await change(info.context.ctx, found, plugin, *values, by=info.context.access.by, **options)
    await info.context.push("refresh_brand", found.id)
    return PluginPayload(plugin=plugin_of(info, found.id, setting.plugin, setting))
