"""How plugins are followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry
from siyu.flow.changes import follow_plugins
from siyu.store.models import PluginSetting

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.fields import followed
from siyu_graphql.plugin.queries import plugin_of
from siyu_graphql.plugin.types import Plugin

__all__ = ["PluginSubscriptions"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]


@strawberry.type
class PluginSubscriptions:
    @followed(
        "The brand's plugins as they stand, then those of them that were set otherwise, or whose status is another:"
        " a rule fails or is well again, a refresh has ended."
    )
    async def plugin_status(self, info: Info, brand: BrandSlug) -> AsyncGenerator[list[Plugin]]:
        found = await visible_brand(info, brand)
        async with aclosing(follow_plugins(info.context.ctx, found.id)) as changes:
            async for names in changes:
                settings = {row.plugin: row for row in await PluginSetting.filter(brand_id=found.id)}
                yield [plugin_of(info, found.id, name, settings.get(name)) for name in names]
