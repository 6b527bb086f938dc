"""How segments are kept."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow import segments
from siyu.flow.tokens import Right
from siyu.store import models

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.filters import data_of
from siyu_graphql.mutations import mutation
from siyu_graphql.paging import one
from siyu_graphql.segment.queries import SEGMENTS, Name
from siyu_graphql.segment.types import SegmentPayload
from siyu_graphql.user.filters import UserFilter
from siyu_graphql.user.personal import require_personal

__all__ = ["SegmentMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
NewName = Annotated[
    str, strawberry.argument(description="Up to 80 lower-case letters, digits, - and _; the brand's for good.")
]
Kept = Annotated[UserFilter, strawberry.argument(description="What it keeps. Tags, stages and facts must be there.")]
OtherFilter = Annotated[UserFilter | None, strawberry.argument(description="Another filter; the same if left out.")]
Title = Annotated[str | None, strawberry.argument(description="The name for people; that for programs if left out.")]
OtherTitle = Annotated[str | None, strawberry.argument(description="Another title; the same if left out.")]


@strawberry.type
class SegmentMutations:
    @mutation(Right.SEGMENT, SegmentPayload, "Keep a filter of users under a name.")
    async def create_segment(
        self, info: Info, brand: BrandSlug, name: NewName, filter: Kept, title: Title = None
    ) -> SegmentPayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        await require_personal(info, found.id, filter.checked())
        made = await segments.create(info.context.ctx, found, name, data_of(filter), title=title or "", by=by)
        return await _payload(info, made)

    @mutation(Right.SEGMENT, SegmentPayload, "Give a segment another filter, another title, or both.")
    async def update_segment(
        self, info: Info, brand: BrandSlug, name: Name, filter: OtherFilter = None, title: OtherTitle = None
    ) -> SegmentPayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        data = data_of(filter) if filter is not None else None
        if filter is not None:
            await require_personal(info, found.id, filter.checked())
        changed = await segments.change(info.context.ctx, found, name, filter=data, title=title, by=by)
        return await _payload(info, changed)

    @mutation(Right.SEGMENT, SegmentPayload, "Delete a segment. It can be restored, and its name stays taken.")
    async def delete_segment(self, info: Info, brand: BrandSlug, name: Name) -> SegmentPayload | None:
        found = await visible_brand(info, brand)
        deleted = await segments.delete(found, name, by=info.context.access.by)
        return await _payload(info, deleted)

    @mutation(Right.SEGMENT, SegmentPayload, "Restore a segment that was deleted, as it was.")
    async def restore_segment(self, info: Info, brand: BrandSlug, name: Name) -> SegmentPayload | None:
        found = await visible_brand(info, brand)
        restored = await segments.restore(found, name, by=info.context.access.by)
        return await _payload(info, restored)


async def _payload(info: Info, row: models.Segment) -> SegmentPayload:
    segment = await one(info, SEGMENTS, row.brand_id, row.id)
    return SegmentPayload(segment=segment)
