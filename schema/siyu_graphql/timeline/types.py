"""Timelines as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.action.types import Action
from siyu_graphql.context import Info
from siyu_graphql.event.queries import EVENTS
from siyu_graphql.event.types import Event
from siyu_graphql.fields import computed
from siyu_graphql.paging import one
from siyu_graphql.reasons import MERGED, Decision, words
from siyu_graphql.stage.queries import stage_named
from siyu_graphql.stage.types import Stage
from siyu_graphql.tag.queries import TAGS
from siyu_graphql.tag.types import Tag

__all__ = ["TimelineEntry", "TimelineKind"]


@strawberry.enum(description="What an entry of a timeline is about.")
class TimelineKind(Enum):
    EVENT = strawberry.enum_value(1, description="Something happened: `event`.")
    TAG_GAINED = strawberry.enum_value(2, description="The user got a tag: `tag`, and `because`.")
    TAG_LOST = strawberry.enum_value(3, description="The user lost a tag: `tag`, and `because`.")
    STAGE_LEFT = strawberry.enum_value(4, description="The user left a stage: `stage`.")
    STAGE_ENTERED = strawberry.enum_value(5, description="The user entered a stage: `stage`, and `because`.")
    ACTION_PLANNED = strawberry.enum_value(6, description="Something was planned to be done: `action`.")
    ACTION_DONE = strawberry.enum_value(7, description="Its outcome was noted: `action`.")


@strawberry.type(description="One entry of a user's timeline. `kind` says which of the other fields it has.")
class TimelineEntry:
    brand_id: strawberry.Private[int]
    number: strawberry.Private[int]
    user_id: strawberry.Private[int]
    tag_id: strawberry.Private[int | None]
    in_track: strawberry.Private[str | None]
    in_stage: strawberry.Private[str | None]
    rulebook_id: strawberry.Private[int | None]
    why: strawberry.Private[str | None]
    merge: strawberry.Private[int | None]
    at: datetime = strawberry.field(description="When it was.")
    kind: TimelineKind = strawberry.field(description="What it is about.")

    @computed("The event, if it is one.")
    async def event(self, info: Info) -> Event | None:
        if self.kind is not TimelineKind.EVENT:
            return None
        return await one(info, EVENTS, self.brand_id, self.number)

    @computed("The action, if it is about one.")
    async def action(self, info: Info) -> Action | None:
        if self.kind not in (TimelineKind.ACTION_PLANNED, TimelineKind.ACTION_DONE):
            return None
        return await one(info, ACTIONS, self.brand_id, self.number)

    @computed("The tag, if it is about one.")
    async def tag(self, info: Info) -> Tag | None:
        if self.tag_id is None:
            return None
        return await one(info, TAGS, self.brand_id, self.tag_id)

    @computed("The stage, if it is about one.")
    async def stage(self, info: Info) -> Stage | None:
        if self.in_track is None or self.in_stage is None:
            return None
        return await stage_named(info, self.brand_id, self.in_track, self.in_stage)

    @computed(
        "Why the tag was gained or lost, or the stage entered, in words; or that users were merged. Null for what is no"
        " decision."
    )
    async def because(self, info: Info) -> str | None:
        if self.merge is not None:
            return MERGED
        if self.rulebook_id is None or self.why is None:
            return None
        tag = await self.tag(info)
        key = tag.key if tag else self.in_stage or ""
        decision = Decision(self.brand_id, self.rulebook_id, self.user_id, key, self.why, self.in_track or "")
        return await words(info, decision)
