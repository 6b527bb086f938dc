"""How users are merged and parted by hand."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu import NotFound
from siyu.flow.merging import merge_users, unmerge_users
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.merge.queries import MERGES
from siyu_graphql.merge.types import UserMerge
from siyu_graphql.mutations import Payload, mutation
from siyu_graphql.nodes import number_in
from siyu_graphql.paging import one
from siyu_graphql.scalars import checked_text
from siyu_graphql.user.queries import find_user
from siyu_graphql.user.types import User

__all__ = ["MergeMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]


@strawberry.type(description="Two users as one.")
class MergeUsersPayload(Payload):
    merge: UserMerge | None = strawberry.field(default=None, description="The merge, by whose `id` it can be undone.")
    user: User | None = strawberry.field(
        default=None, description="The one who stands for both. What they are is decided in a moment."
    )


@strawberry.type(description="Two users who are no longer one.")
class UnmergeUsersPayload(Payload):
    merge: UserMerge | None = strawberry.field(default=None, description="The merge that was undone.")
    users: list[User] = strawberry.field(
        default_factory=list, description="Whom the two count as now. What has changed is decided in a moment."
    )


@strawberry.type
class MergeMutations:
    @mutation(
        Right.MERGE,
        MergeUsersPayload,
        "Say that two users are one person. Events whose names prove it do so by themselves.",
    )
    async def merge_users(
        self,
        info: Info,
        brand: BrandSlug,
        user: Annotated[GlobalID, strawberry.argument(description="The `id` of the one.")],
        other: Annotated[GlobalID, strawberry.argument(description="The `id` of the other.")],
        reason: Annotated[str, strawberry.argument(description="Why, for people; at most 500 letters.")] = "",
        force: Annotated[
            bool,
            strawberry.argument(
                description="Also where each has a name of a kind of which a person has one, like two member numbers."
            ),
        ] = False,
    ) -> MergeUsersPayload | None:
        found = await visible_brand(info, brand)
        first, second = (_number(id, found.id, field) for id, field in ((user, "user"), (other, "other")))
        row = await merge_users(
            info.context.ctx,
            found,
            first,
            second,
            by=info.context.access.by,
            reason=checked_text(reason, "reason"),
            force=force,
        )
        await info.context.push("decide", found.id)
        merge = await one(info, MERGES, found.id, row.id)
        return MergeUsersPayload(merge=merge, user=await find_user(info, found.id, str(first)))

    @mutation(
        Right.MERGE,
        UnmergeUsersPayload,
        "Undo a merge, whatever came after it: names and events are again those of the users that they came to, the"
        " decisions that it ended are given back, and no event merges the two again.",
    )
    async def unmerge_users(
        self,
        info: Info,
        brand: BrandSlug,
        merge: Annotated[GlobalID, strawberry.argument(description="The `id` of the merge.")],
    ) -> UnmergeUsersPayload | None:
        found = await visible_brand(info, brand)
        number = number_in(merge, "UserMerge", found.id)
        if number is None:
            raise NotFound("the brand has no such merge", field="merge", remedy="`brand.merges` lists them")
        parted = await unmerge_users(info.context.ctx, found, number, by=info.context.access.by)
        await info.context.push("decide", found.id)
        users = [await find_user(info, found.id, str(user)) for user in parted.users]
        undone = await one(info, MERGES, found.id, number)
        return UnmergeUsersPayload(merge=undone, users=[user for user in users if user])


def _number(id: GlobalID, brand_id: int, field: str) -> int:
    number = number_in(id, "User", brand_id)
    if number is None:
        raise NotFound("the brand has no such user", field=field)
    return number
