"""How files are read."""

from __future__ import annotations

import strawberry
from siyu.store import models

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.file.types import File
from siyu_graphql.nodes import number_of

__all__ = ["file_of", "files_of_brand", "find_file"]


def file_of(row: models.File) -> File:
    """The file of a row."""
    return File(brand_id=row.brand_id, number=row.id, row=row)


async def files_of_brand(brand: strawberry.Parent[OfBrand]) -> list[File]:
    rows = await models.File.filter(brand_id=brand.brand_id).order_by("-id").limit(100)
    return [file_of(row) for row in rows]


async def find_file(info: Info, brand_id: int, name: str) -> File | None:
    """The file of that number."""
    if (number := number_of(name)) is None:
        return None
    row = await models.File.get_or_none(brand_id=brand_id, id=number)
    return None if row is None else file_of(row)
