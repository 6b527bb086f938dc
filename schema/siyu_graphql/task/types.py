"""Tasks as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.action.types import Action
from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import one
from siyu_graphql.user.personal import told

if TYPE_CHECKING:
    from siyu_graphql.user.types import User

__all__ = ["Task", "TaskMoment", "TaskPayload", "TaskStatus"]


@strawberry.enum(description="How far a task is.")
class TaskStatus(Enum):
    OPEN = strawberry.enum_value("open", description="Nobody has it.")
    TAKEN = strawberry.enum_value("taken", description="Somebody has it: `assignee`.")
    ESCALATED = strawberry.enum_value(
        "escalated",
        description="Nobody has it, and it is another role's than at first: its deadline has passed, or"
        " somebody gave it on.",
    )
    DONE = strawberry.enum_value("done", description="Is done: `outcome` says what came of it.")


@strawberry.type(description="A change of a task.")
class TaskMoment:
    at: datetime = strawberry.field(description="When, in the brand's time.")
    status: TaskStatus = strawberry.field(description="What it came to.")
    by: str = strawberry.field(description="Who did it; empty where nobody did.")
    words: str = strawberry.field(description="What they said.")


@strawberry.type(description="Something that a person is to do for a user, by a deadline.")
class Task(BrandNode):
    user_id: strawberry.Private[int]
    action_id: strawberry.Private[int]
    called: strawberry.Private[str]
    said: strawberry.Private[str]
    log: strawberry.Private[list[tuple[str, str, str, str]]]
    role: str = strawberry.field(description="Whose it is: `adviser`, `operator`, `service`.")
    deadline: datetime = strawberry.field(description="By when; then it is `escalateTo`'s, once.")
    escalate_to: str = strawberry.field(description="Whose it becomes if nobody does it; empty: nobody else's.")
    status: TaskStatus = strawberry.field(description="How far it is.")
    assignee: str = strawberry.field(description="Who has it, or did it; empty while nobody has.")
    outcome: str = strawberry.field(description="What came of it, in words; empty until it is done.")
    made_at: datetime = strawberry.field(description="When it was made.")
    taken_at: datetime | None = strawberry.field(description="When somebody took it; null while nobody has.")
    escalated_at: datetime | None = strawberry.field(description="When it became another role's; null if it did not.")
    done_at: datetime | None = strawberry.field(description="When it was done.")

    @computed("What is to be done, in a line; what it quotes of personal data is masked as in `user.attributes`.")
    async def title(self, info: Info) -> str:
        return await told(info, self.brand_id, self.user_id, self.called)

    @computed("What is to be done; what it quotes of personal data is masked as in `user.attributes`.")
    async def text(self, info: Info) -> str:
        return await told(info, self.brand_id, self.user_id, self.said)

    @computed("Its whole story, the earliest first.")
    def story(self) -> list[TaskMoment]:
        return [
            TaskMoment(at=datetime.fromisoformat(at), status=TaskStatus(status), by=by, words=words)
            for at, status, by, words in self.log
        ]

    @computed("The action that made it.")
    async def action(self, info: Info) -> Action | None:
        return await one(info, ACTIONS, self.brand_id, self.action_id)

    @computed("For whom it is to be done.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))


@strawberry.type(description="The task after the change.")
class TaskPayload(Payload):
    task: Task | None = strawberry.field(default=None, description="The task; null where the change was refused.")

    def noted(self) -> dict[str, str] | None:
        return {"status": str(self.task.status.value), "assignee": self.task.assignee} if self.task else None
