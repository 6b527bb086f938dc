"""How a user is explained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry
from siyu.flow import explain
from siyu.flow.context import Context, brand_by_id

from siyu_graphql.context import Info, OfUser
from siyu_graphql.explanation.types import Explanation

__all__ = ["explanation_of_user"]

At = Annotated[
    datetime | None,
    strawberry.argument(description="As of a past moment, beside what stood then; the brand's present if left out."),
]


async def explanation_of_user(user: strawberry.Parent[OfUser], info: Info, at: At = None) -> Explanation | None:
    loaders = info.context.loaders
    found = await loaders.ask(_explained, user.brand_id, user.user_id, info.context.ctx, at)
    if found is None:
        return None
    tried = [tag.facts for tag in found.tags] + [stage.facts for track in found.tracks for stage in track.stages]
    facts = [(fact.fact, fact.value) for each in tried for fact in each]
    return Explanation.of(info.context.personal.explained(user.brand_id, user.user_id, facts, found))


async def _explained(
    brand_id: int, users: Sequence[int], ctx: Context, at: datetime | None
) -> dict[int, explain.Explanation]:
    """Batch: users explained together."""
    return await explain.explain_users(ctx, await brand_by_id(brand_id), users, at)
