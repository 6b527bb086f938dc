"""How a token is looked at."""

from __future__ import annotations

import strawberry

from siyu_graphql.brand.types import Brand
from siyu_graphql.context import Info, visible_brands
from siyu_graphql.fields import computed
from siyu_graphql.token.types import Me, Role

__all__ = ["TokenQueries"]


@strawberry.type
class TokenQueries:
    @computed("Who asks: the bearer of the token.")
    async def me(self, info: Info) -> Me:
        access = info.context.access
        only = None if access.brand_id is None else next(iter(await visible_brands(info)), None)
        return Me(
            role=Role(access.role.value),
            name=access.name,
            prefix=access.prefix,
            expires_at=access.expires_at,
            brand=Brand.of(only) if only else None,
        )
