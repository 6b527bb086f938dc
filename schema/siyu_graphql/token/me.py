"""Who asks."""

from __future__ import annotations

from datetime import datetime

import strawberry
from siyu.flow import tokens

from siyu_graphql.brand.types import Brand
from siyu_graphql.context import Info, visible_brands
from siyu_graphql.fields import computed
from siyu_graphql.token.types import Right, Role

__all__ = ["MeQueries"]


@strawberry.type(description="The bearer of the token.")
class Me:
    role: Role = strawberry.field(description="What the token allows.")
    rights: list[Right] = strawberry.field(description="The same, right by right.")
    name: str = strawberry.field(description="The token's name; empty if it was given none.")
    prefix: str = strawberry.field(description="The beginning of the token, to tell it from others.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null if it does not.")
    brand: Brand | None = strawberry.field(description="The only brand that it may see; null if it may see all.")


@strawberry.type
class MeQueries:
    @computed("Who asks: the bearer of the token.")
    async def me(self, info: Info) -> Me:
        access = info.context.access
        only = None if access.brand_id is None else next(iter(await visible_brands(info)), None)
        return Me(
            role=Role(access.role.value),
            rights=[right for right in Right if tokens.Right[right.name] in access.rights],
            name=access.name,
            prefix=access.prefix,
            expires_at=access.expires_at,
            brand=Brand.of(only) if only else None,
        )
