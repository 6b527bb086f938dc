"""Changes of how a brand has set its plugins."""

from __future__ import annotations

import json
from datetime import datetime

import strawberry

from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import Listing, pages_of_brand
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


SETTING_CHANGES = Listing.of(
    "setting_change",
    SettingChange,
    ("plugin", "by", "at"),
    before=json.loads,
    after=json.loads,
    undoes=lambda number: None if number is None else strawberry.ID(str(number)),
)
changes_of_brand = pages_of_brand(SETTING_CHANGES)
