"""Segments as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry
from siyu.flow import filters
from siyu.flow.filters import filter_of
from siyu.flow.selection import counted

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import After, Before, First, Last, Window
from siyu_graphql.scalars import JSON
from siyu_graphql.user.filters import FACT_TEST
from siyu_graphql.user.personal import require_personal, shown_filter
from siyu_graphql.user.queries import Filter, OrderBy, users_who
from siyu_graphql.user.types import UserConnection

__all__ = ["Segment", "SegmentPayload", "SegmentSize"]

COUNTED = 500
"""The cost of counting all users that a filter finds."""


@strawberry.type(description="How many users a segment has.")
class SegmentSize:
    users: int = strawberry.field(description="How many.")
    as_of: datetime = strawberry.field(
        description="The brand's moment that they were counted at. A count is kept for a minute."
    )


@strawberry.type(description="A filter of users that is kept under a name. Whom it finds is looked up anew each time.")
class Segment(BrandNode):
    name: str = strawberry.field(description="Its name for programs, unique in the brand for good.")
    title: str = strawberry.field(description="Its name for people.")
    selection: strawberry.Private[Any]
    created_at: datetime = strawberry.field(description="When it was made.")
    created_by: str = strawberry.field(description="Who made it: the name of a token, or its prefix.")
    changed_at: datetime = strawberry.field(description="When it was last changed.")
    changed_by: str = strawberry.field(description="Who changed it last.")
    deleted_at: datetime | None = strawberry.field(description="When it was deleted; null where it stands.")

    @computed(
        "What it keeps, in the shape of `UserFilter`; values of what is personal are masked as in `user.attributes`."
    )
    async def filter(self, info: Info) -> JSON:
        return JSON(await shown_filter(info, self.brand_id, f"segment {self.number}", filter_of(self.selection)))

    @computed(
        "How many users it has, and as of when: cheaper to ask for often than `users { totalCount }`. One costs as much"
        " as 500 objects.",
        cost=COUNTED,
    )
    async def size(self, info: Info) -> SegmentSize:
        info.context.loaders.check(self.brand_id)
        found = await counted(info.context.ctx, self.brand_id, filter_of(self.selection))
        return SegmentSize(users=found.users, as_of=found.as_of)

    @computed(
        "Its users. They cost as much as 200 objects more, because the segment may look at facts.", cost=FACT_TEST
    )
    async def users(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Filter = None,
        order_by: OrderBy = None,
    ) -> UserConnection:
        wanted = filter_of(self.selection)
        if filter is not None:
            own = filter.checked()
            await require_personal(info, self.brand_id, own)
            wanted = filters.UserFilter(and_=(wanted, own))
        await require_personal(info, self.brand_id, by=order_by.checked() if order_by else None)
        return users_who(info, self.brand_id, wanted, Window(first, after, last, before), order_by)


@strawberry.type(description="The segment after the change.")
class SegmentPayload(Payload):
    segment: Segment | None = strawberry.field(
        default=None, description="The segment; null where the change was refused."
    )

    def noted(self) -> dict[str, str] | None:
        return {"title": self.segment.title} if self.segment else None
