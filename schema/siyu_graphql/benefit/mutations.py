"""How it is said what there is to give."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow import benefits
from siyu.flow.tokens import Right

from siyu_graphql.benefit.queries import BENEFITS
from siyu_graphql.benefit.types import BenefitPayload
from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation

__all__ = ["BenefitMutations"]


@strawberry.type
class BenefitMutations:
    # The core keeps what it was before in the audit log, too.
    @mutation(
        Right.CONFIGURE,
        BenefitPayload,
        "Say how many there are of a benefit, and for how long one is good. What is given already stays as it is.",
        noted=False,
    )
    async def set_benefit(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        key: Annotated[str, strawberry.argument(description="Up to 80 lower-case letters, digits and _.")],
        stock: Annotated[
            int, strawberry.argument(description="How many there are in all, those that are given included.")
        ],
        title: Annotated[str, strawberry.argument(description="What people call it; the key if left out.")] = "",
        days: Annotated[
            int | None, strawberry.argument(description="For how many days one is good; for good if left out.")
        ] = None,
    ) -> BenefitPayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        made = await benefits.put(info.context.ctx, found, key, stock=stock, title=title, expires_days=days, by=by)
        return BenefitPayload(benefit=BENEFITS.node(found.id, vars(made)))
