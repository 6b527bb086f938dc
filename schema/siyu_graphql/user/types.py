"""Users as they are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import strawberry

from siyu_graphql.action.queries import actions_of_user
from siyu_graphql.action.types import Action
from siyu_graphql.benefit.queries import grants_of_user
from siyu_graphql.benefit.types import Grant
from siyu_graphql.consent.queries import consents_of_user
from siyu_graphql.consent.types import Consent
from siyu_graphql.context import Info
from siyu_graphql.cost import priced
from siyu_graphql.event.queries import events_of_user
from siyu_graphql.event.types import Event, Identity
from siyu_graphql.explanation.queries import explanation_of_user
from siyu_graphql.explanation.types import Explanation
from siyu_graphql.fact.queries import facts_of_user
from siyu_graphql.fact.types import UserFact
from siyu_graphql.fields import computed
from siyu_graphql.merge.queries import merges_of_user
from siyu_graphql.merge.types import UserMerge
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import Connection
from siyu_graphql.playbook.queries import enrolments_of_user
from siyu_graphql.playbook.types import Enrolment
from siyu_graphql.scalars import JSON
from siyu_graphql.stage.queries import stage_history, stages_of_user
from siyu_graphql.stage.types import PastStage, UserStage
from siyu_graphql.story.queries import story_of_user
from siyu_graphql.story.types import UserStory
from siyu_graphql.tag.queries import tag_history, tags_of_user
from siyu_graphql.tag.types import PastTag, UserTag
from siyu_graphql.task.queries import tasks_of_user
from siyu_graphql.task.types import Task
from siyu_graphql.timeline.queries import timeline_of_user
from siyu_graphql.timeline.types import TimelineEntry
from siyu_graphql.user.loaders import identities_of_users

__all__ = ["User", "UserConnection"]


ALL_EVENTS = 500
"""The cost of what reads all events of a user, or is read for each user by itself."""


@strawberry.type(
    description="A person, as the brand knows them. Several users who were merged are one, with all that they did."
)
class User(BrandNode):
    user_id: strawberry.Private[int]
    known: strawberry.Private[dict[str, str]]
    first_seen: datetime = strawberry.field(description="The moment of the first event.")
    last_seen: datetime = strawberry.field(description="The moment of the latest event.")

    @computed(
        "An object of the latest value of each attribute that events gave. Phone numbers, e-mail addresses and the"
        " like are masked (`138****5678`) unless the token may see personal data."
    )
    def attributes(self, info: Info) -> JSON:
        return JSON(info.context.personal.shown(self.brand_id, self.user_id, self.known))

    @computed("The names that the user goes by.")
    async def identities(self, info: Info) -> list[Identity]:
        names = await info.context.loaders.load(identities_of_users, self.brand_id, self.user_id) or []
        return [Identity(kind=kind, name=value, brand_id=self.brand_id, user_id=self.user_id) for kind, value in names]

    merges: list[UserMerge] = strawberry.field(
        resolver=merges_of_user, description="By which merges this one stands for others, too; the earliest first."
    )
    tags: list[UserTag] = strawberry.field(resolver=tags_of_user, description="The tags that the user has, by key.")
    stages: list[UserStage] = strawberry.field(
        resolver=stages_of_user, description="Where the user stands in each track."
    )
    tag_history: Connection[PastTag] = strawberry.field(
        resolver=tag_history, description="The tags that the user had and lost, the latest first."
    )
    stage_history: Connection[PastStage] = strawberry.field(
        resolver=stage_history, description="The stages that the user was in and left, the latest first."
    )
    enrolments: Connection[Enrolment] = strawberry.field(
        resolver=enrolments_of_user,
        description="Playbooks that the user is or was on the way through, the latest first.",
    )
    actions: Connection[Action] = strawberry.field(
        resolver=actions_of_user, description="What was and is to be done for the user, the latest planned first."
    )
    tasks: Connection[Task] = strawberry.field(
        resolver=tasks_of_user, description="What people are to do for the user, by deadline: the overdue first."
    )
    grants: Connection[Grant] = strawberry.field(
        resolver=grants_of_user, description="The benefits that the user was given, the latest first."
    )
    consents: Connection[Consent] = strawberry.field(
        resolver=consents_of_user,
        description="What the user said yes or no to, the latest first: once for each purpose and channel named.",
    )
    events: Connection[Event] = strawberry.field(
        resolver=events_of_user, description="What happened, the latest first."
    )
    timeline: Connection[TimelineEntry] = strawberry.field(
        resolver=timeline_of_user,
        description="All that happened, was decided and was done, in one list, the latest first.",
    )
    explain: Explanation | None = strawberry.field(
        resolver=explanation_of_user,
        description="Every tag and stage of the brand's rules tried for the user: held or not, and why."
        " Nothing is written. One costs as much as 500 objects.",
        metadata=priced(ALL_EVENTS),
    )
    why: UserStory | None = strawberry.field(
        resolver=story_of_user,
        description="Why the user was written to lately, or was not: what was planned and what became of it, where they"
        " are on their way, what they said, and what would set something off. One costs as much as 500 objects.",
        metadata=priced(ALL_EVENTS),
    )
    facts: list[UserFact] = strawberry.field(
        resolver=facts_of_user,
        description="The facts that the rules of the brand's plugins look at, by the names that the rules give them,"
        " computed now. Empty before the first event. Those of one user cost as much as 500 objects.",
        metadata=priced(ALL_EVENTS),
    )


@strawberry.type(description="A page of users, and how to go on.")
class UserConnection(Connection[User]):
    """As every connection, and as of when facts were computed."""

    selected: strawberry.Private[Callable[[], Awaitable[datetime | None]]]

    @computed("The moment that the facts in filter and order were computed for; null where they name none.")
    async def as_of(self) -> datetime | None:
        return await self.selected()
