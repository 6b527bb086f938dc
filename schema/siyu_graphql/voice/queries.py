"""How voices are read."""

from __future__ import annotations

import strawberry
from siyu.flow.context import brand_by_id
from siyu.flow.voice import voice_of

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.voice.types import BrandVoice

__all__ = ["voice_of_brand"]


async def voice_of_brand(brand: strawberry.Parent[OfBrand], info: Info) -> BrandVoice:
    info.context.loaders.check(brand.brand_id)
    return BrandVoice.of(voice_of(await brand_by_id(brand.brand_id)))
