"""How tags are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Where, Window, of_user
from siyu_graphql.reasons import Decision
from siyu_graphql.tag.types import PastTag, Tag, UserTag

__all__ = ["TAGS", "tag_history", "tags_of_brand", "tags_of_user"]


def _tag(brand_id: int, row: Mapping[str, Any]) -> Tag:
    return Tag(
        brand_id=brand_id,
        number=row["id"],
        key=row["key"],
        title=row["title"],
        plugin=row["plugin"],
        users=row["users"],
        as_of=row["as_of"],
        active=row["active"],
    )


TAGS = Listing("tag t", "t.id, t.key, t.title, t.plugin, t.users, t.as_of, t.active", _tag, Order((("id", int),)))

IncludeInactive = Annotated[
    bool,
    strawberry.argument(description="Also those that the brand's rulebook no longer has, e.g. of plugins now off."),
]


async def tags_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, include_inactive: IncludeInactive = False
) -> list[Tag]:
    tags = await info.context.loaders.load(_all_tags, brand.brand_id, None) or []
    return [tag for tag in tags if tag.active or include_inactive]


async def tags_of_user(user: strawberry.Parent[OfUser], info: Info) -> list[UserTag]:
    return await info.context.loaders.load(_tags_of_users, user.brand_id, user.user_id) or []


async def tag_history(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[PastTag]:
    return of_user(info, user.brand_id, user.user_id, PAST, Window(first, after, last, before))


async def _all_tags(connection: DatabaseConnection, brand_id: int, keys: Sequence[None]) -> dict[None, list[Tag]]:
    """Batch: the brand's tags, whole."""
    rows = await connection.fetch(
        f"SELECT {TAGS.columns} FROM tag t WHERE {(where := Where(brand_id)).sql} ORDER BY t.key", *where.values
    )
    return {None: [_tag(brand_id, row) for row in rows]}


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
    found: dict[int, list[UserTag]] = {user: [] for user in users}
    for row in rows:
        tag = UserTag(
            key=row["key"],
            title=row["title"],
            plugin=row["plugin"],
            since=row["since"],
            decision=Decision(brand_id, row["rulebook_id"], row["user_id"], row["key"], row["why"]),
        )
        found[row["user_id"]].append(tag)
    return found


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
