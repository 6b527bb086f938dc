"""How a refresh is asked for."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow.context import ask_refresh
from siyu.flow.tokens import Right

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.run.types import RefreshBrandPayload

__all__ = ["RunMutations"]


@strawberry.type
class RunMutations:
    @mutation(Right.REFRESH, RefreshBrandPayload, "Decide anew for every user of a brand, in the background.")
    async def refresh_brand(
        self, info: Info, brand: Annotated[str, strawberry.argument(description="The slug of the brand.")]
    ) -> RefreshBrandPayload | None:
        found = await visible_brand(info, brand)
        async with info.context.ctx.db.connection() as connection:
            await ask_refresh(connection, found.id)
        await info.context.push("refresh_brand", found.id)
        return RefreshBrandPayload(queued=True)
