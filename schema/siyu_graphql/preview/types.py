"""Previews and replays as they are shown."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import strawberry
from siyu.engine import effects as engine
from siyu.flow import preview as core
from strawberry.relay import GlobalID

from siyu_graphql.plugin.status import UnknownTag

__all__ = ["PluginPreview", "Replay"]


@strawberry.type(description="How many of some users stand in a stage under today's rules.")
class InStage:
    track: str = strawberry.field(description="The track.")
    stage: str | None = strawberry.field(description="The key of the stage; null for those in none.")
    users: int = strawberry.field(description="How many.")


@strawberry.type(description="One of the users who would move.")
class MovedUser:
    user_id: GlobalID = strawberry.field(description="The user's `id`.")
    because: str = strawberry.field(description="Why, in words, by the rules proposed.")


@strawberry.type(description="Who would enter, or leave.")
class Moved:
    users: int = strawberry.field(description="How many.")
    by_stage: list[InStage] = strawberry.field(description="Where they stand today, in each track.")
    samples: list[MovedUser] = strawberry.field(description="Some of them.")

    @classmethod
    def of(cls, brand_id: int, it: engine.Moved) -> Moved:
        """As it is shown."""
        return cls(
            users=it.users,
            by_stage=[InStage(**asdict(each)) for each in it.by_stage],
            samples=[
                MovedUser(user_id=GlobalID("User", f"{brand_id}:{each.user_id}"), because=each.because)
                for each in it.samples
            ],
        )


@strawberry.type(description="What would become of a tag or a stage.")
class Effect:
    track: str | None = strawberry.field(description="The track of a stage; null of a tag.")
    key: str = strawberry.field(description="Its name for programs.")
    title: str = strawberry.field(description="Its name for people.")
    plugin: str = strawberry.field(description="The name of the plugin that decides it.")
    today: int = strawberry.field(description="How many users it has under today's rules.")
    proposed: int = strawberry.field(description="How many it would have under the proposed rules.")
    enter: Moved = strawberry.field(description="Who would enter.")
    leave: Moved = strawberry.field(description="Who would leave.")

    @classmethod
    def of(cls, brand_id: int, it: engine.Effect) -> Effect:
        """As it is shown."""
        return cls(
            track=it.track,
            key=it.key,
            title=it.title,
            plugin=it.plugin,
            today=it.today,
            proposed=it.proposed,
            enter=Moved.of(brand_id, it.enter),
            leave=Moved.of(brand_id, it.leave),
        )


@strawberry.type(description="How many actions playbooks would plan.")
class PreviewedActions:
    now: int = strawberry.field(description="How many the change would set off at once.")
    per_day_today: float = strawberry.field(description="The mean a day of the last 28 days, under today's rules.")
    per_day: float = strawberry.field(description="The mean a day of the last 28 days, under the proposed rules.")
    users: int = strawberry.field(
        description="Of how many users the means were counted, and scaled to all; 0 where no plugin has playbooks."
    )


@strawberry.type(
    description="What a change of a plugin would do. Both sides are evaluated at the same moment, so that only the"
    " change shows. Nothing is written."
)
class PluginPreview:
    at: datetime = strawberry.field(description="The moment that it is for.")
    users: int = strawberry.field(description="How many users were looked at.")
    today: str = strawberry.field(description="The version of the rulebook under today's settings.")
    proposed: str = strawberry.field(description="The version that it would have.")
    tags: list[Effect] = strawberry.field(description="Every tag of either rulebook.")
    stages: list[Effect] = strawberry.field(description="Every stage of either rulebook.")
    actions: PreviewedActions = strawberry.field(description="What playbooks would make of it.")
    unknown_tags: list[UnknownTag] = strawberry.field(
        description="Tags that would be asked for in vain: by the plugin, and by others because of the change."
    )

    @classmethod
    def of(cls, brand_id: int, it: core.Preview) -> PluginPreview:
        """As it is shown."""
        return cls(
            at=it.at,
            users=it.users,
            today=it.today,
            proposed=it.proposed,
            tags=[Effect.of(brand_id, effect) for effect in it.tags],
            stages=[Effect.of(brand_id, effect) for effect in it.stages],
            actions=PreviewedActions(**asdict(it.actions)),
            unknown_tags=[UnknownTag.of(each) for each in it.unknown_tags],
        )


@strawberry.type(description="How many users a tag or a stage would have had.")
class ReplayedSize:
    track: str | None = strawberry.field(description="The track of a stage; null of a tag.")
    key: str = strawberry.field(description="Its name for programs.")
    title: str = strawberry.field(description="Its name for people.")
    today: int = strawberry.field(description="Under today's rules.")
    proposed: int | None = strawberry.field(description="Under the proposed rules; null where none are proposed.")
    enter: int = strawberry.field(description="How many only the proposed rules put there.")
    leave: int = strawberry.field(description="How many only today's rules put there.")


@strawberry.type(description="How many would have gone from one stage to another since the moment before.")
class ReplayedMove:
    track: str = strawberry.field(description="The track.")
    before: str | None = strawberry.field(description="The stage that they left; null where they were in none.")
    after: str | None = strawberry.field(description="The stage that they came to; null where to none.")
    today: int = strawberry.field(description="Under today's rules.")
    proposed: int | None = strawberry.field(description="Under the proposed rules; null where none are proposed.")


@strawberry.type(description="One moment of a replay.")
class ReplayedMoment:
    at: datetime = strawberry.field(description="The moment.")
    users: int = strawberry.field(description="How many users the brand had.")
    tags: list[ReplayedSize] = strawberry.field(description="Every tag.")
    stages: list[ReplayedSize] = strawberry.field(description="Every stage.")
    moves: list[ReplayedMove] = strawberry.field(description="Who went from stage to stage.")

    @classmethod
    def of(cls, it: core.Point) -> ReplayedMoment:
        """As it is shown."""
        return cls(
            at=it.at,
            users=it.users,
            tags=[ReplayedSize(**asdict(size)) for size in it.tags],
            stages=[ReplayedSize(**asdict(size)) for size in it.stages],
            moves=[ReplayedMove(**asdict(move)) for move in it.moves],
        )


@strawberry.type(description="A rule that fails at moments of a replay. There it decides nothing.")
class FailingRule:
    plugin: str = strawberry.field(description="The name of the plugin.")
    rule: str = strawberry.field(description="The key of the rule.")
    error: str = strawberry.field(description="Why it failed the first time, with the remedy where siyu knows one.")
    at: datetime = strawberry.field(description="The first moment at which it fails.")
    moments: int = strawberry.field(description="At how many moments it fails.")


@strawberry.type(
    description="The brand's users as its rules would have put them, with minimum stays carried from moment to moment."
    " Nothing is written."
)
class Replay:
    moments: list[ReplayedMoment] = strawberry.field(description="The moments, the earliest first.")
    failing: list[FailingRule] = strawberry.field(
        description="The rules that fail at some of the moments. Those that are fenced are not asked, and one that has"
        " hung is not asked again."
    )

    @classmethod
    def of(cls, it: core.Replay) -> Replay:
        """As it is shown."""
        return cls(
            moments=[ReplayedMoment.of(point) for point in it.points],
            failing=[FailingRule(**asdict(each)) for each in it.failing],
        )
