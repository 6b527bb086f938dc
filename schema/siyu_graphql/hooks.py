"""The hook by which plugins add to the GraphQL schema.

    import strawberry
    from siyu import hookimpl
    from siyu_graphql import Contribution, Info, computed, visible_brand

    @strawberry.type
    class BeautyQueries:
        @computed("The shades of a brand.")
        async def shades(self, info: Info, brand: str) -> list[str]:
            return await shades_of(await visible_brand(info, brand))

    @hookimpl
    def siyu_graphql_types():
        return Contribution(query=BeautyQueries)

The specification is added to the manager by ``PluginManager.load(extra_specs=[siyu_graphql.hooks])``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siyu import hookspec

__all__ = ["Contribution", "siyu_graphql_types"]


@dataclass(frozen=True)
class Contribution:
    """What a plugin adds: Strawberry types whose fields become fields of ``Query`` and ``Mutation``, and further types
    that no field names (implementations of an interface).

    Fields of ``mutation`` are made with :func:`siyu_graphql.mutation`, which asks for a right; resolvers reach a brand
    through :func:`siyu_graphql.visible_brand` only.
    """

    query: type | None = None
    mutation: type | None = None
    types: Sequence[type] = ()


@hookspec
def siyu_graphql_types() -> Contribution:  # type: ignore[empty-body]
    """GraphQL types, fields and mutations beyond the declared ones.

    Called once, without arguments, when the schema is built. What is returned is part of the schema for every brand,
    whether the plugin is on there or not; where it is off, return null. Where a field or type is there already,
    all that the plugin adds is left out, and ``plugin.status`` names both who add it; the rest of the plugin goes on.
    """
