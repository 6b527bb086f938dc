"""How it is recorded what users say to messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from siyu import NotFound
from siyu.flow.consents import record_consent
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.action.types import Purpose
from siyu_graphql.consent.types import ConsentPayload
from siyu_graphql.context import Info, visible_brand
from siyu_graphql.event.mutations import follow_up
from siyu_graphql.filters import data_of
from siyu_graphql.mutations import mutation
from siyu_graphql.nodes import number_in
from siyu_graphql.user.queries import find_user

__all__ = ["ConsentMutations"]


@strawberry.type
class ConsentMutations:
    @mutation(
        Right.RECORD,
        ConsentPayload,
        "Record a yes or a no of a user to messages: to all of them, or of a purpose, by a channel, or both. It holds"
        " at once, also for what is planned already.",
    )
    async def record_consent(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        user: Annotated[GlobalID, strawberry.argument(description="Who said it, by `id`.")],
        given: Annotated[bool, strawberry.argument(description="Whether they said yes; else they want no more.")],
        purpose: Annotated[Purpose | None, strawberry.argument(description="Of this only; of any if left out.")] = None,
        channel: Annotated[
            str | None, strawberry.argument(description="By this one only, by key; by any if left out.")
        ] = None,
        source: Annotated[str | None, strawberry.argument(description="How they said it: `hotline`, `form`.")] = None,
        wording: Annotated[
            str | None, strawberry.argument(description="The version of the text that they agreed to.")
        ] = None,
        at: Annotated[datetime | None, strawberry.argument(description="When; the brand's `now` if left out.")] = None,
    ) -> ConsentPayload | None:
        found = await visible_brand(info, brand)
        number = number_in(user, "User", found.id)
        if number is None:
            raise NotFound("the brand has no such user", field="user", remedy="give the id of one of `users`")
        recorded = await record_consent(
            info.context.ctx,
            found,
            number,
            given=given,
            purpose=data_of(purpose),
            channel=channel,
            source=source,
            wording=wording,
            at=at,
        )
        await follow_up(info, found, recorded)
        return ConsentPayload(user=await find_user(info, found.id, str(number)))
