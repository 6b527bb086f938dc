"""How tags are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.loading import grouped
from siyu_graphql.paging import Listing, Order, pages_of_user, whole
from siyu_graphql.reasons import Decision
from siyu_graphql.tag.types import PastTag, Tag, UserTag

__all__ = ["TAGS", "tag_history", "tags_of_brand", "tags_of_user"]


TAGS = Listing.of(
    "tag", Tag, ("key", "title", "plugin", "users", "as_of", "active"), Order((("key", str), ("id", int)))
)

IncludeInactive = Annotated[
    bool,
    strawberry.argument(description="Also those that the brand's rulebook no longer has, e.g. of plugins now off."),
]


async def tags_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, include_inactive: IncludeInactive = False
) -> list[Tag]:
    tags = await info.context.loaders.load(whole, brand.brand_id, None, TAGS) or []
    return [tag for tag in tags if tag.active or include_inactive]


async def tags_of_user(user: strawberry.Parent[OfUser], info: Info) -> list[UserTag]:
    return await info.context.loaders.load(_tags_of_users, user.brand_id, user.user_id) or []


async def _tags_of_users(
    connection: DatabaseConnection, brand_id: int, users: Sequence[int]
) -> dict[int, list[UserTag]]:
    """Batch: the tags of each user."""
    rows = await connection.fetch(
        "SELECT a.user_id, a.since, a.rulebook_id, a.why, t.key, t.title, t.plugin FROM tag_assignment a"
        " JOIN tag t ON t.brand_id = a.brand_id AND t.id = a.tag_id"
        " WHERE a.brand_id = $1 AND a.user_id = ANY($2::bigint[]) ORDER BY t.key",
        brand_id,
        users,
    )
    return grouped(users, ((row["user_id"], _tag(brand_id, row)) for row in rows))


def _tag(brand_id: int, row: Mapping[str, Any]) -> UserTag:
    return UserTag(
        key=row["key"],
        title=row["title"],
        plugin=row["plugin"],
        since=row["since"],
        decision=Decision(brand_id, row["rulebook_id"], row["user_id"], row["key"], row["why"]),
    )


def _past(brand_id: int, row: Mapping[str, Any]) -> PastTag:
    return PastTag(
        key=row["key"],
        title=row["title"],
        plugin=row["plugin"],
        since=row["since"],
        until=row["until"],
        decision=Decision(brand_id, row["rulebook_id"], row["person"], row["key"], row["why"]),
        ended=Decision(brand_id, row["ended_rulebook_id"], row["person"], row["key"], row["ended_why"]),
        merge=row["merge_id"],
    )


PAST = Listing(
    "tag_history t JOIN tag g ON g.brand_id = t.brand_id AND g.id = t.tag_id",
    "t.id, t.since, t.until, t.rulebook_id, t.why, t.ended_rulebook_id, t.ended_why, t.merge_id,"
    " g.key, g.title, g.plugin",
    _past,
)
tag_history = pages_of_user(PAST)
