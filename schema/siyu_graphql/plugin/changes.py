"""Changes of how a brand has set its plugins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import strawberry

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand
from siyu_graphql.scalars import JSON

__all__ = ["SETTING_CHANGES", "SettingChange", "changes_of_brand"]


@strawberry.type(description="A change of how a brand has set a plugin.")
class SettingChange(BrandNode):
    plugin: str = strawberry.field(description="The name of the plugin.")
    by: str = strawberry.field(description="Who made it: the name of a token, or its prefix.")
    at: datetime = strawberry.field(description="When it was made.")
    before: JSON = strawberry.field(
        description="What was set before: `enabled`, `params`; where for some users only, for what `percent`, and"
        " under `base` what for the others; and under `pinned` the rules that were kept to a state."
    )
    after: JSON = strawberry.field(description="What was set from then on.")
    undoes: strawberry.ID | None = strawberry.field(description="The number of the change that it takes back, if any.")


def _change(brand_id: int, row: Mapping[str, Any]) -> SettingChange:
    return SettingChange(
        brand_id=brand_id,
        number=row["id"],
        plugin=row["plugin"],
        by=row["by"],
        at=row["at"],
        before=json.loads(row["before"]),
        after=json.loads(row["after"]),
        undoes=None if row["undoes"] is None else strawberry.ID(str(row["undoes"])),
    )


SETTING_CHANGES = Listing("setting_change t", "t.id, t.plugin, t.by, t.at, t.before, t.after, t.undoes", _change)


async def changes_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[SettingChange]:
    return of_brand(info, brand.brand_id, SETTING_CHANGES, Window(first, after, last, before))
