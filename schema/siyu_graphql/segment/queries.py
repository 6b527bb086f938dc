"""How segments are read."""

from __future__ import annotations

import json
from typing import Annotated

import strawberry
from siyu import NotFound

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Term, Where, Window, of_brand
from siyu_graphql.scalars import checked_text
from siyu_graphql.segment.types import Segment

__all__ = ["SEGMENTS", "segment_of_brand", "segments_of_brand"]

Name = Annotated[str, strawberry.argument(description="The name of the segment.")]
IncludeDeleted = Annotated[bool, strawberry.argument(description="Also those that were deleted and can be restored.")]


SEGMENTS = Listing.of(
    "segment",
    Segment,
    ("name", "title", "created_at", "created_by", "changed_at", "changed_by", "deleted_at"),
    Order((("name", str), ("id", int))),
    selection=json.loads,
)


async def segments_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    include_deleted: IncludeDeleted = False,
) -> Connection[Segment]:
    only = [] if include_deleted else [Term("t.deleted_at IS NULL")]
    return of_brand(info, brand.brand_id, SEGMENTS, Window(first, after, last, before), *only)


async def segment_of_brand(brand: strawberry.Parent[OfBrand], info: Info, name: Name) -> Segment | None:
    named = Where(brand.brand_id, Term("t.name = {} AND t.deleted_at IS NULL", (checked_text(name, "name"),)))
    async with info.context.loaders.connection(brand.brand_id) as connection:
        rows = await SEGMENTS.page(connection, named, 1)
    if not rows:
        raise NotFound(f"no segment {name!r}", field="name", remedy="`brand.segments` lists them")
    return SEGMENTS.node(brand.brand_id, rows[0])
