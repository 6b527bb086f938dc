"""Consents as they are shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from siyu_graphql.action.types import Purpose
from siyu_graphql.context import Info
from siyu_graphql.event.queries import EVENTS
from siyu_graphql.event.types import Event
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.paging import one

if TYPE_CHECKING:
    from siyu_graphql.user.types import User

__all__ = ["Consent", "ConsentPayload"]


@strawberry.type(
    description="A yes or no of a user to messages. Of all that is about a message, what was said last counts."
)
class Consent:
    brand_id: strawberry.Private[int]
    event_id: strawberry.Private[int | None]
    purpose: Purpose | None = strawberry.field(description="To messages of this purpose; null: of any.")
    channel: str | None = strawberry.field(description="By this channel, by key; null: by any.")
    given: bool = strawberry.field(description="Whether it was a yes; else it was a no.")
    at: datetime = strawberry.field(description="When it was said.")

    @computed("The event that told of it: how it was said is in its `payload`.")
    async def event(self, info: Info) -> Event | None:
        if self.event_id is None:
            return None
        return await one(info, EVENTS, self.brand_id, self.event_id)


@strawberry.type(description="What the user said.")
class ConsentPayload(Payload):
    user: Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None = strawberry.field(
        default=None, description="The user, with all that they said in `consents`; null where it was refused."
    )
