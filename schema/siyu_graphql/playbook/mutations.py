"""How playbooks are started by hand."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow import playbooks
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.nodes import users_in
from siyu_graphql.playbook.queries import playbooks_now
from siyu_graphql.playbook.types import PlaybookPayload
from siyu_graphql.scalars import checked_text

__all__ = ["PlaybookMutations"]

MOST_USERS = 1_000


@strawberry.type
class PlaybookMutations:
    @mutation(
        Right.ACT,
        PlaybookPayload,
        "Take users into a playbook by hand. Who is in it stays as they are; the same occasion again takes nobody in.",
    )
    async def start_playbook(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        playbook: Annotated[str, strawberry.argument(description="Its plugin's name and its key: `care.first_touch`.")],
        users: Annotated[list[GlobalID], strawberry.argument(description=f"The users, by `id`: at most {MOST_USERS}.")],
        occasion: Annotated[
            str, strawberry.argument(description="Your name of this start, up to 80 letters: `618-2027`.")
        ],
    ) -> PlaybookPayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        numbers = users_in(users, found.id, MOST_USERS)
        name, occasion = checked_text(playbook, "playbook"), checked_text(occasion, "occasion")
        started = await playbooks.start(info.context.ctx, found, name, numbers, occasion=occasion, by=by)
        if started.urgent:
            await info.context.push("dispatch", found.id)
        if started.actions > started.urgent:
            await info.context.push("campaign", found.id)
        async with info.context.ctx.db.connection() as connection:
            shown = await playbooks_now(info.context.ctx, connection, found.id)
        return PlaybookPayload(playbook=next(each for each in shown if each.made.name == name), started=started.users)
