"""Tags as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.freshness.queries import freshness_of_tag
from siyu_graphql.freshness.types import Freshness
from siyu_graphql.nodes import BrandNode
from siyu_graphql.reasons import MERGED, Decided, Decision, words

__all__ = ["PastTag", "Tag", "UserTag"]


@strawberry.type(description="A tag that the brand's plugins give.")
class Tag(BrandNode):
    key: str = strawberry.field(description="Its name for programs, beginning with its plugin's: `rfm.high_value`.")
    title: str = strawberry.field(description="Its name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that gives it.")
    users: int = strawberry.field(description="How many users have it, kept with every decision.")
    as_of: datetime | None = strawberry.field(
        description="The moment for which all users were last looked at. Null before the first refresh."
    )
    active: bool = strawberry.field(
        description="Whether the brand's rulebook gives it now. Others are kept for the sake of history."
    )
    freshness: Freshness = strawberry.field(
        resolver=freshness_of_tag, description="The last run that looked at all users, and what came of it."
    )


@strawberry.type(description="A tag that the user has.")
class UserTag(Decided):
    key: str = strawberry.field(description="The key of the tag.")
    title: str = strawberry.field(description="The tag's name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that gives it.")
    since: datetime = strawberry.field(description="Since when the user has it.")


@strawberry.type(description="A tag that the user had for a time.")
class PastTag(Decided):
    key: str = strawberry.field(description="The key of the tag.")
    title: str = strawberry.field(description="The tag's name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that gave it.")
    since: datetime = strawberry.field(description="Since when the user had it.")
    until: datetime = strawberry.field(description="When the user lost it.")
    ended: strawberry.Private[Decision]

    merge: strawberry.Private[int | None]

    @computed(
        "Why the user lost it: the reasons for which it is given, with the values at the end; or that they were merged."
    )
    async def ended_because(self, info: Info) -> str:
        return MERGED if self.merge is not None else await words(info, self.ended)
