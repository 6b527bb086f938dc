"""How brands are read."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from siyu.store import models

from siyu_graphql.brand.types import Brand
from siyu_graphql.context import Info, visible_brand, visible_brands
from siyu_graphql.fields import computed

__all__ = ["BrandQueries", "find_brand"]


@strawberry.type
class BrandQueries:
    @computed("A brand that the token may see: the door to everything of it.")
    async def brand(
        self,
        info: Info,
        slug: Annotated[str, strawberry.argument(description="The brand's name for programs, as `brands` lists it.")],
    ) -> Brand | None:
        return Brand.of(await visible_brand(info, slug, field="slug"))

    @computed("All brands that the token may see, by slug.")
    async def brands(self, info: Info) -> list[Brand]:
        return [Brand.of(row) for row in await visible_brands(info)]


async def find_brand(info: Info, brand_id: int, name: str) -> Any:
    """The brand of an id, which names nothing further."""
    row = await models.Brand.get_or_none(id=brand_id) if not name else None
    return Brand.of(row) if row else None
