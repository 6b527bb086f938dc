"""Stages as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.fields import computed
from siyu_graphql.freshness.queries import freshness_of_stage
from siyu_graphql.freshness.types import Freshness
from siyu_graphql.nodes import BrandNode
from siyu_graphql.reasons import MERGED, Decided

__all__ = ["PastStage", "Stage", "UserStage"]


@strawberry.type(description="A stage of one of the brand's tracks (lifecycle, relationship, membership, …).")
class Stage(BrandNode):
    track: str = strawberry.field(description="The track: `lifecycle`. A user stands in one stage of each.")
    key: str = strawberry.field(description="Its name for programs, unique in the track.")
    title: str = strawberry.field(description="Its name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that rules the track.")
    users: int = strawberry.field(description="How many users stand in it, kept with every decision.")
    as_of: datetime | None = strawberry.field(
        description="The moment for which all users were last looked at. Null before the first refresh."
    )
    active: bool = strawberry.field(
        description="Whether the brand's rulebook has it now. Others are kept for the sake of history."
    )
    freshness: Freshness = strawberry.field(
        resolver=freshness_of_stage, description="The last run that looked at all users, and what came of it."
    )


@strawberry.type(description="Where the user stands in a track.")
class UserStage(Decided):
    track: str = strawberry.field(description="The track.")
    key: str = strawberry.field(description="The key of the stage.")
    title: str = strawberry.field(description="The stage's name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that rules the track.")
    since: datetime = strawberry.field(description="Since when the user stands there.")


@strawberry.type(description="Where the user stood in a track for a time.")
class PastStage(Decided):
    track: str = strawberry.field(description="The track.")
    key: str = strawberry.field(description="The key of the stage.")
    title: str = strawberry.field(description="The stage's name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that ruled the track.")
    since: datetime = strawberry.field(description="Since when the user stood there.")
    until: datetime = strawberry.field(description="When the user left it.")
    merge: strawberry.Private[int | None]

    @computed("That the user was merged with another, if that is why they left it; else null.")
    async def ended_because(self) -> str | None:
        return MERGED if self.merge is not None else None
