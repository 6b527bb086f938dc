"""Changes as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.action.types import Action, ActionStatus
from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.paging import one
from siyu_graphql.task.queries import TASKS
from siyu_graphql.task.types import Task, TaskStatus
from siyu_graphql.user.queries import USERS
from siyu_graphql.user.types import User

__all__ = [
    "ActionChange",
    "ActionChanges",
    "StageChange",
    "StageChanges",
    "TagChange",
    "TagChanges",
    "TaskChange",
    "TaskChanges",
]

CURSOR = "Where this stands: `after` goes on from here, also days later."


@strawberry.type(description="A change of a user.")
class OfUser:
    """Base of the changes of users."""

    brand_id: strawberry.Private[int]
    user_id: strawberry.Private[int]

    @computed("The user, as they are now.")
    async def user(self, info: Info) -> User | None:
        return await one(info, USERS, self.brand_id, self.user_id)


@strawberry.type(description="A user gained or lost a tag.")
class TagChange(OfUser):
    tag: str = strawberry.field(description="The key of the tag.")
    gained: bool = strawberry.field(description="Whether it was gained; else it was lost.")
    at: datetime = strawberry.field(description="The moment that it was decided for.")


@strawberry.type(description="A user entered, left or changed the stage of a track.")
class StageChange(OfUser):
    track: str = strawberry.field(description="The track.")
    before: str | None = strawberry.field(description="The key of the stage that was left; null for the first.")
    after: str | None = strawberry.field(description="The key of the stage that was entered; null where there is none.")
    at: datetime = strawberry.field(description="The moment that it was decided for.")


@strawberry.type(description="An action was planned, or came further.")
class ActionChange:
    brand_id: strawberry.Private[int]
    action_id: strawberry.Private[int]
    status: ActionStatus = strawberry.field(description="What it came to by this change.")
    at: datetime = strawberry.field(description="When.")

    @computed("The action, as it is now.")
    async def action(self, info: Info) -> Action | None:
        return await one(info, ACTIONS, self.brand_id, self.action_id)


@strawberry.type(description="A task was made, or came further.")
class TaskChange:
    brand_id: strawberry.Private[int]
    task_id: strawberry.Private[int]
    status: TaskStatus = strawberry.field(description="What it came to by this change.")
    at: datetime = strawberry.field(description="When.")

    @computed("The task, as it is now.")
    async def task(self, info: Info) -> Task | None:
        return await one(info, TASKS, self.brand_id, self.task_id)


@strawberry.type(description="Changes of tags, in their order.")
class TagChanges:
    cursor: str = strawberry.field(description=CURSOR)
    changes: list[TagChange] = strawberry.field(description="The changes; none at first where nothing was missed.")


@strawberry.type(description="Changes of stages, in their order.")
class StageChanges:
    cursor: str = strawberry.field(description=CURSOR)
    changes: list[StageChange] = strawberry.field(description="The changes; none at first where nothing was missed.")


@strawberry.type(description="Changes of actions, in their order.")
class ActionChanges:
    cursor: str = strawberry.field(description=CURSOR)
    changes: list[ActionChange] = strawberry.field(description="The changes; none at first where nothing was missed.")


@strawberry.type(description="Changes of tasks, in their order.")
class TaskChanges:
    cursor: str = strawberry.field(description=CURSOR)
    changes: list[TaskChange] = strawberry.field(description="The changes; none at first where nothing was missed.")
