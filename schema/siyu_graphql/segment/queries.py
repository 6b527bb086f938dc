"""How segments are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry
from siyu import NotFound
from siyu.store import models

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Term, Window, of_brand
from siyu_graphql.scalars import checked_text
from siyu_graphql.segment.types import Segment

__all__ = ["SEGMENTS", "segment_of", "segment_of_brand", "segments_of_brand"]

SHOWN = ("name", "title", "created_at", "created_by", "changed_at", "changed_by", "deleted_at")

Name = Annotated[str, strawberry.argument(description="The name of the segment.")]
IncludeDeleted = Annotated[bool, strawberry.argument(description="Also those that were deleted and can be restored.")]


def _segment(brand_id: int, row: Mapping[str, Any]) -> Segment:
    return Segment(
        brand_id=brand_id,
        number=row["id"],
        kept=json.loads(row["selection"]),
        **{name: row[name] for name in SHOWN},
    )


SEGMENTS = Listing(
    "segment t",
    "t.id, t.selection, " + ", ".join(f"t.{name}" for name in SHOWN),
    _segment,
    Order((("name", str), ("id", int))),
)


def segment_of(row: models.Segment) -> Segment:
    """The segment of a row."""
    shown = {name: getattr(row, name) for name in SHOWN}
    return Segment(brand_id=row.brand_id, number=row.id, kept=row.selection, **shown)


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
    row = await models.Segment.get_or_none(brand_id=brand.brand_id, name=checked_text(name, "name"), deleted_at=None)
    if row is None:
        raise NotFound(f"no segment {name!r}", field="name", remedy="`brand.segments` lists them")
    return segment_of(row)
