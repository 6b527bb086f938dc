"""Merges as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.event.types import Identity
from siyu_graphql.nodes import BrandNode

__all__ = ["UserMerge"]


@strawberry.type(
    description="Two users were found to be one person. The one who was known first stands for both until it is undone."
)
class UserMerge(BrandNode):
    user_ids: list[strawberry.ID] = strawberry.field(
        description="The ids of the two. `node` and `brand.user` find whom each of them counts as now."
    )
    at: datetime = strawberry.field(description="When they were merged.")
    by: str = strawberry.field(description="Who merged them: the event that named both, or the bearer of a token.")
    reason: str = strawberry.field(description="Why, in the words of who did it by hand.")
    identities: list[Identity] = strawberry.field(
        description="The names that proved it, one of each user; none where it was done by hand."
    )
    undone_at: datetime | None = strawberry.field(description="When it was undone; null while it stands.")
    undone_by: str | None = strawberry.field(description="Who undid it.")
