"""How messages are asked for that belong to no playbook, and how it is said what became of some."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry
from siyu import Send
from siyu.contract.playbooks import MessageKind, Purpose
from siyu.contract.templates import template
from siyu.flow import reports, sending
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.action.types import MessageInput, MessagePayload, SettledPayload
from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.nodes import numbers_in, users_in
from siyu_graphql.scalars import checked_text

__all__ = ["ActionMutations"]


@strawberry.type
class ActionMutations:
    @mutation(
        Right.ACT,
        MessagePayload,
        "Send a message to some users: planned at once, and let pass or held back by the guard as any other. The same "
        "`key` again sends it to nobody twice. If one of them cannot be told it, nobody is.",
    )
    async def send_message(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        key: Annotated[str, strawberry.argument(description="Your own name of it, up to 80 letters: `order-771`.")],
        users: Annotated[
            list[GlobalID], strawberry.argument(description=f"The users, by `id`: at most {sending.MOST_USERS}.")
        ],
        message: Annotated[MessageInput, strawberry.argument(description="What they are told, and how.")],
    ) -> MessagePayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        wanted = Send(
            checked_text(message.channel, "channel"),
            checked_text(message.text, "text"),
            cast("Purpose", message.purpose.value),
            kind=cast("MessageKind", message.kind.value),
            title=checked_text(message.title, "title"),
            url=checked_text(message.url, "url"),
            because=checked_text(message.because, "because"),
            template=checked_text(message.template, "template"),
            urgent=message.urgent,
        )
        for part in ("text", "title", "url", "because"):
            # What it says could tell whoever asks: the answer stands in the ledger.
            for name in template(getattr(message, part)).names:
                if name.startswith("user."):
                    info.context.personal.asked(found.id, name.removeprefix("user."), f"message.{part}")
        numbers = users_in(users, found.id, sending.MOST_USERS)
        planned = await sending.send(info.context.ctx, found, numbers, wanted, key=checked_text(key, "key"), by=by)
        if planned:
            await info.context.push("dispatch" if message.urgent else "campaign", found.id)
        return MessagePayload(planned=planned)

    @mutation(
        Right.ACT,
        SettledPayload,
        "Say what became of actions that are `UNKNOWN`, once a person has found out: all of them were carried out, or"
        " failed.",
    )
    async def settle_actions(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        actions: Annotated[
            list[GlobalID],
            strawberry.argument(description=f"The actions, by `id`: at most {reports.MOST_SETTLED:,}."),
        ],
        sent: Annotated[bool, strawberry.argument(description="Whether they were carried out.")],
        why: Annotated[str, strawberry.argument(description="How it is known, for people; up to 500 letters.")] = "",
    ) -> SettledPayload | None:
        found = await visible_brand(info, brand)
        numbers = numbers_in(actions, "Action", found.id, reports.MOST_SETTLED)
        by, words = info.context.access.by, checked_text(why, "why")
        done = await reports.settle(info.context.ctx, found, numbers, sent=sent, by=by, why=words)
        return SettledPayload(settled=done)
