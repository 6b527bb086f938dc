"""How stories of users are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import strawberry
from siyu.flow import why
from siyu.flow.context import brand_by_id

from siyu_graphql.action.queries import ACTIONS
from siyu_graphql.consent.queries import CONSENTS
from siyu_graphql.context import Info, OfUser
from siyu_graphql.paging import Listing, rows_by_id
from siyu_graphql.playbook.queries import ENROLMENTS
from siyu_graphql.story.types import PlaybookTrigger, UserStory

__all__ = ["story_of_user"]

T = TypeVar("T")
Days = Annotated[int, strawberry.argument(description="How many days to look back, 1 to 90.")]


async def story_of_user(user: strawberry.Parent[OfUser], info: Info, days: Days = 7) -> UserStory | None:
    info.context.loaders.check(user.brand_id)
    found = await why.of_user(info.context.ctx, await brand_by_id(user.brand_id), user.user_id, days=days)
    return UserStory(
        since=found.since,
        actions=await _all(info, ACTIONS, user.brand_id, [each.action.id for each in found.actions]),
        enrolments=await _all(info, ENROLMENTS, user.brand_id, [each.id for each in found.on_the_way]),
        consents=[CONSENTS.node(user.brand_id, vars(each)) for each in found.consents],
        triggers=[PlaybookTrigger(playbook=playbook, trigger=trigger) for playbook, trigger in found.triggers],
    )


async def _all(info: Info, listing: Listing[T], brand_id: int, numbers: Sequence[int]) -> list[T]:
    async with info.context.loaders.connection(brand_id) as connection:
        found = await rows_by_id(connection, brand_id, numbers, listing)
    return [found[number] for number in numbers if number in found]
