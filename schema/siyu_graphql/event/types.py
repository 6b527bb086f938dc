"""Events as they are shown and reported."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.scalars import JSON

if TYPE_CHECKING:
    from siyu_graphql.user.types import User

__all__ = ["Event", "EventInput", "Identity", "IdentityInput", "RecordEventsPayload", "RejectedEvent", "Rejection"]


@strawberry.type(description="Something that happened to a user. Events are only ever appended.")
class Event(BrandNode):
    key: str = strawberry.field(description="The `id` under which its sender reported it.")
    kind: str = strawberry.field(description="What happened: `order.paid`.")
    at: datetime = strawberry.field(description="When it happened.")
    received_at: datetime = strawberry.field(description="When siyu was told.")
    user_id: strawberry.Private[int]
    known: strawberry.Private[dict[str, Any]]

    @computed(
        "What is known of it, in the shape of its kind; what is personal by its name is masked as in `user.attributes`."
    )
    def payload(self, info: Info) -> JSON:
        return JSON(info.context.personal.shown(self.brand_id, self.user_id, self.known))

    @computed("To whom it happened.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))


@strawberry.type(description="An event that was refused. It counts for nothing and is kept, so that it can be mended.")
class RejectedEvent(BrandNode):
    field: str | None = strawberry.field(description="Where it is wrong.")
    why: strawberry.Private[str]
    came: strawberry.Private[Any]
    received_at: datetime = strawberry.field(description="When it came.")

    @computed("What is wrong.")
    def reason(self, info: Info) -> str:
        return info.context.personal.told(self.brand_id, self._whose, self.came, self.why)

    @computed("The event as it came; what is personal by its name is masked as in `user.attributes`.")
    def received(self, info: Info) -> JSON:
        return JSON(info.context.personal.shown(self.brand_id, self._whose, self.came))

    @property
    def _whose(self) -> str:
        return f"rejected event {self.number}"  # nobody's yet


@strawberry.type(description="A name that the user goes by somewhere.")
class Identity:
    kind: str = strawberry.field(description="What kind of name: `member`, `openid`, `phone`, …")
    name: strawberry.Private[str]
    brand_id: strawberry.Private[int]
    user_id: strawberry.Private[int]

    @computed("The name; masked as in `user.attributes` where its kind is personal.")
    def value(self, info: Info) -> str:
        return str(info.context.personal.named(self.brand_id, self.user_id, self.kind, self.name))


@strawberry.input(description="A name that a user goes by somewhere: a member number, an openid, a phone, …")
class IdentityInput:
    kind: str = strawberry.field(description="What kind of name: `member`, `openid`, `phone`, …")
    value: str = strawberry.field(description="The name.")


@strawberry.input(description="Something that happened to a user.")
class EventInput:
    id: str = strawberry.field(
        description="The id that it has in your system, unique in the brand. It makes the call repeatable."
    )
    kind: str = strawberry.field(
        description="What happened: `order.paid`. One of an unknown kind is rejected with the kinds that there are."
    )
    user: list[IdentityInput] = strawberry.field(
        description="Whom: one or more names of the same user, at most one of a kind. A user who is new is made;"
        " users whom the names prove to be one person are merged."
    )
    at: datetime | None = strawberry.field(default=None, description="When it happened; the brand's `now` if left out.")
    payload: JSON | None = strawberry.field(
        default=None,
        description="What is known of it: an object in the shape of its kind, like `{ amount: 25.5 }` of"
        " an `order.paid`. One that does not fit is rejected with the fields that the kind has.",
    )


@strawberry.type(description="An event of the call that was refused, while the others were taken.")
class Rejection:
    index: int = strawberry.field(description="Its place in `events`, from 0.")
    field: str | None = strawberry.field(description="Where it is wrong.")
    message: str = strawberry.field(description="What is wrong.")
    remedy: str | None = strawberry.field(description="What to do about it.")


@strawberry.type(description="What became of the events of a call.")
class RecordEventsPayload(Payload):
    accepted: int = strawberry.field(default=0, description="How many were new and were appended.")
    duplicates: int = strawberry.field(default=0, description="How many were known already, by their id.")
    rejected: list[Rejection] = strawberry.field(
        default_factory=list, description="Those that were refused. They are kept in `brand.rejectedEvents`."
    )

    def noted(self) -> dict[str, int]:
        return {"accepted": self.accepted, "duplicates": self.duplicates, "rejected": len(self.rejected)}
