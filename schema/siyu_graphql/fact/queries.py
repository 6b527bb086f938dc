"""How facts are read: which there are, and those of a user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import strawberry
from siyu.engine.explain import worded
from siyu.engine.words import declared
from siyu.flow import columns, facts
from siyu.flow.context import Context, brand_by_id

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.fact.types import FactKind, NamedFact, UserFact

__all__ = ["facts_of_brand", "facts_of_user"]

At = Annotated[
    datetime | None, strawberry.argument(description="As of a past moment; the brand's present if left out.")
]
PluginName = Annotated[str | None, strawberry.argument(description="Of the rules of this plugin only: `rfm`.")]
Names = Annotated[
    list[str] | None, strawberry.argument(description="Those only that rules call so: `recency`. Others give nothing.")
]


async def facts_of_brand(brand: strawberry.Parent[OfBrand], info: Info) -> list[NamedFact]:
    info.context.loaders.check(brand.brand_id)
    return [
        NamedFact(plugin=plugin, rule=rule, name=name, fact=fact.name, words=declared(fact), kind=FactKind(fact.kind))
        for plugin, rule, name, fact in await columns.listed(info.context.ctx, brand.brand_id)
    ]


async def facts_of_user(
    user: strawberry.Parent[OfUser], info: Info, plugin: PluginName = None, names: Names = None, at: At = None
) -> list[UserFact]:
    loaders = info.context.loaders
    wanted = None if names is None else frozenset(names)
    found = await loaders.ask(_facts, user.brand_id, user.user_id, info.context.ctx, at, plugin, wanted)
    personal = info.context.personal
    return [
        UserFact.of(replace(each, value=value, text=str(worded(value))) if value != each.value else each)
        for each in found or ()
        for value in [personal.fact(user.brand_id, user.user_id, each.fact, each.value)]
    ]


async def _facts(
    brand_id: int,
    users: Sequence[int],
    ctx: Context,
    at: datetime | None,
    plugin: str | None,
    names: frozenset[str] | None,
) -> dict[int, list[facts.UserFact]]:
    """Batch: the facts of users computed together."""
    return await facts.facts_of_users(ctx, await brand_by_id(brand_id), users, at, plugin=plugin, names=names)
