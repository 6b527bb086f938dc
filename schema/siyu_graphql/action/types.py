"""Actions as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry
from siyu.flow.why import reasons
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import one
from siyu_graphql.user.personal import told

if TYPE_CHECKING:
    from siyu_graphql.playbook.types import Enrolment
    from siyu_graphql.user.types import User

__all__ = [
    "Action",
    "ActionMoment",
    "ActionStatus",
    "MessageInput",
    "MessageKind",
    "MessagePayload",
    "Purpose",
    "SettledPayload",
]


@strawberry.enum(description="How far an action is.")
class ActionStatus(Enum):
    PLANNED = strawberry.enum_value("planned", description="Waits for its moment.")
    HELD = strawberry.enum_value("held", description="Waits until `dueAt`: the guard says why in `reason`.")
    SUPPRESSED = strawberry.enum_value("suppressed", description="Is not carried out: the guard says why in `reason`.")
    LEASED = strawberry.enum_value("leased", description="Is being carried out.")
    SENT = strawberry.enum_value("sent", description="Was carried out.")
    DELIVERED = strawberry.enum_value("delivered", description="Reached the user.")
    OPENED = strawberry.enum_value("opened", description="Was opened.")
    CLICKED = strawberry.enum_value("clicked", description="A link in it was followed.")
    REPLIED = strawberry.enum_value("replied", description="Was answered.")
    FAILED = strawberry.enum_value("failed", description="Was not carried out; `detail` says why.")
    UNKNOWN = strawberry.enum_value(
        "unknown",
        description="Nobody knows whether it was carried out; it is never repeated. `settleActions` ends that.",
    )


@strawberry.enum(description="What a message is for, which is what consent is asked for.")
class Purpose(Enum):
    SERVICE = strawberry.enum_value("service", description="About something that the user ordered or asked.")
    CARE = strawberry.enum_value("care", description="Advice and greetings.")
    SALES = strawberry.enum_value("sales", description="Offers.")


@strawberry.enum(description="What kind of message it is.")
class MessageKind(Enum):
    TEXT = strawberry.enum_value("text", description="Words.")
    IMAGE = strawberry.enum_value("image", description="A picture, at `url`.")
    VIDEO = strawberry.enum_value("video", description="A video, at `url`.")
    MINI_PROGRAM = strawberry.enum_value("mini_program", description="A page of a mini program, at `url`.")
    LINK = strawberry.enum_value("link", description="A card that leads to `url`.")


@strawberry.input(description="A message. What it says are templates: `{{ name }}, your order has left`.")
class MessageInput:
    channel: str = strawberry.field(description="The key of the channel by which it goes.")
    purpose: Purpose = strawberry.field(description="What it is for, which is what consent is asked for.")
    text: str = strawberry.field(default="", description="What it says; empty where `template` says it.")
    template: str = strawberry.field(default="", description="A key of the brand's content library.")
    kind: MessageKind = strawberry.field(default=MessageKind.TEXT, description="What kind of message it is.")
    title: str = strawberry.field(default="", description="Its title, where the channel has one.")
    url: str = strawberry.field(default="", description="What it shows, or leads to.")
    because: str = strawberry.field(default="", description="Why they get it: its last line.")
    urgent: bool = strawberry.field(default=False, description="Whether it overtakes what is not urgent.")


@strawberry.type(description="What sendMessage returns.")
class MessagePayload(Payload):
    planned: int | None = strawberry.field(
        default=None, description="To how many it was newly planned; null where it was refused."
    )


@strawberry.type(description="What settleActions returns.")
class SettledPayload(Payload):
    settled: int | None = strawberry.field(default=None, description="How many; null where it was refused.")


@strawberry.type(description="A state that an action came into.")
class ActionMoment:
    at: datetime = strawberry.field(description="When, in the brand's time.")
    status: ActionStatus = strawberry.field(description="The state.")
    reason: str = strawberry.field(description="The code of the reason; empty where there is none.")
    meaning: str = strawberry.field(description="What that code means; empty where there is none.")
    detail: str = strawberry.field(description="The reason in words.")


@strawberry.type(description="Something to be done for a user, at most once.")
class Action(BrandNode):
    user_id: strawberry.Private[int]
    rulebook_id: strawberry.Private[int | None]
    enrolment_id: strawberry.Private[int | None]
    said: strawberry.Private[str]
    log: strawberry.Private[list[tuple[str, str, str, str]]]
    plugin: str = strawberry.field(description="The name of the plugin whose playbook planned it.")
    playbook: str = strawberry.field(description="The key of the playbook.")
    step: str = strawberry.field(description="The key of the step in the playbook; empty where it is of none.")
    channel: str = strawberry.field(description="The key of the channel by which it leaves the house.")
    purpose: Purpose = strawberry.field(description="What it is for.")
    because: str = strawberry.field(description="What set it off.")
    status: ActionStatus = strawberry.field(description="How far it is.")
    detail: str = strawberry.field(description="What became of it, in words; empty while nothing did.")
    reason: str = strawberry.field(description="The code of why it is held, suppressed or failed; empty otherwise.")
    key: str = strawberry.field(description="Its idempotency key: nothing is planned under the same one again.")
    asked_by: str = strawberry.field(description="Who asked for it; empty where a playbook did by itself.")
    urgent: bool = strawberry.field(description="Whether it overtakes what is not urgent.")
    attempts: int = strawberry.field(description="How often it was handed to the channel.")
    planned_at: datetime = strawberry.field(description="When it was planned.")
    due_at: datetime = strawberry.field(description="When it is to be carried out.")
    done_at: datetime | None = strawberry.field(description="When its outcome was noted.")

    @computed("What the user is told; what it quotes of personal data is masked as in `user.attributes`.")
    async def text(self, info: Info) -> str:
        return await told(info, self.brand_id, self.user_id, self.said)

    @computed("Its whole story, the earliest first: every state that it was in, since when, and why.")
    def story(self, info: Info) -> list[ActionMoment]:
        meant = reasons(info.context.ctx)
        return [
            ActionMoment(
                at=datetime.fromisoformat(at),
                status=ActionStatus(status),
                reason=reason,
                meaning=meant.get(reason, ""),
                detail=detail,
            )
            for at, status, reason, detail in self.log
        ]

    @computed("What the code in `reason` means; empty where there is none.")
    def meaning(self, info: Info) -> str:
        return reasons(info.context.ctx).get(self.reason, "")

    @computed("The version of the rulebook that stood when it was planned; null where no rule had a part in it.")
    async def rulebook_version(self, info: Info) -> str | None:
        if self.rulebook_id is None:
            return None
        return await info.context.loaders.load(_versions, self.brand_id, self.rulebook_id)

    @computed("The way through a playbook on which it was planned; null where it was on none.")
    async def enrolment(
        self, info: Info
    ) -> Annotated[Enrolment, strawberry.lazy("siyu_graphql.playbook.types")] | None:
        from siyu_graphql.playbook.queries import ENROLMENTS

        if self.enrolment_id is None:
            return None
        return await one(info, ENROLMENTS, self.brand_id, self.enrolment_id)

    @computed("Whom it is for.")
    async def user(self, info: Info) -> Annotated[User, strawberry.lazy("siyu_graphql.user.types")] | None:
        from siyu_graphql.user.queries import find_user

        return await find_user(info, self.brand_id, str(self.user_id))


async def _versions(connection: DatabaseConnection, brand_id: int, numbers: Sequence[int]) -> dict[int, str]:
    """Batch: versions of the rulebook by number."""
    rows = await connection.fetch(
        "SELECT id, version FROM rulebook_version WHERE brand_id = $1 AND id = ANY($2::bigint[])", brand_id, numbers
    )
    return {row["id"]: row["version"] for row in rows}
