"""Actions as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.nodes import BrandNode

if TYPE_CHECKING:
    from siyu_graphql.user.types import User

__all__ = ["Action", "ActionStatus", "Purpose"]


@strawberry.enum(description="How far an action is.")
class ActionStatus(Enum):
    PLANNED = strawberry.enum_value("planned", description="Waits for its moment.")
    LEASED = strawberry.enum_value("leased", description="Is being carried out.")
    SENT = strawberry.enum_value("sent", description="Was carried out.")
    FAILED = strawberry.enum_value("failed", description="Was not carried out; `detail` says why.")
    UNKNOWN = strawberry.enum_value(
        "unknown", description="Nobody knows whether it was carried out. A person decides; it is never repeated."
    )


@strawberry.enum(description="What a message is for, which is what consent is asked for.")
class Purpose(Enum):
    SERVICE = strawberry.enum_value("service", description="About something that the user ordered or asked.")
    CARE = strawberry.enum_value("care", description="Advice and greetings.")
    SALES = strawberry.enum_value("sales", description="Offers.")


@strawberry.type(description="Something to be done for a user, at most once.")
class Action(BrandNode):
    user_id: strawberry.Private[int]
    plugin: str = strawberry.field(description="The name of the plugin whose playbook planned it.")
    playbook: str = strawberry.field(description="The key of the playbook.")
    channel: str = strawberry.field(description="The key of the channel by which it leaves the house.")
    purpose: Purpose = strawberry.field(description="What it is for.")
    text: str = strawberry.field(description="What the user is told.")
    because: str = strawberry.field(description="What set it off.")
    status: ActionStatus = strawberry.field(description="How far it is.")
    detail: str = strawberry.field(description="What became of it, in words; empty while nothing did.")
    attempts: int = strawberry.field(description="How often it was handed to the channel.")
    planned_at: datetime = strawberry.field(description="When it was planned.")
    due_at: datetime = strawberry.field(description="When it is to be carried out.")
    done_at: datetime | None = strawberry.field(description="When its outcome was noted.")

    @computed("Whom it is for.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))
