"""How stages are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.loading import grouped
from siyu_graphql.paging import Listing, Order, pages_of_user, whole
from siyu_graphql.reasons import Decision
from siyu_graphql.stage.types import PastStage, Stage, UserStage

__all__ = ["STAGES", "stage_history", "stage_named", "stages_of_brand", "stages_of_user"]

Track = Annotated[str | None, strawberry.argument(description="Only this track, e.g. `lifecycle`.")]
IncludeInactive = Annotated[
    bool, strawberry.argument(description="Also those that the brand's rulebook no longer has.")
]


STAGES = Listing.of(
    "stage",
    Stage,
    ("track", "key", "title", "plugin", "users", "as_of", "active"),
    Order((("track", str), ("position", int), ("id", int))),
)


async def stages_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, track: Track = None, include_inactive: IncludeInactive = False
) -> list[Stage]:
    stages = await info.context.loaders.load(whole, brand.brand_id, None, STAGES) or []
    return [s for s in stages if track in (None, s.track) and (s.active or include_inactive)]


async def stage_named(info: Info, brand_id: int, track: str, key: str) -> Stage | None:
    """The stage of that track and key, whether the rulebook has it still or not."""
    stages = await info.context.loaders.load(whole, brand_id, None, STAGES) or []
    return next((stage for stage in stages if (stage.track, stage.key) == (track, key)), None)


async def stages_of_user(user: strawberry.Parent[OfUser], info: Info, track: Track = None) -> list[UserStage]:
    stages = await info.context.loaders.load(_stages_of_users, user.brand_id, user.user_id) or []
    return [stage for stage in stages if track in (None, stage.track)]


async def _stages_of_users(
    connection: DatabaseConnection, brand_id: int, users: Sequence[int]
) -> dict[int, list[UserStage]]:
    """Batch: where each user stands."""
    rows = await connection.fetch(
        "SELECT u.user_id, u.track, u.stage, u.since, u.rulebook_id, u.why, s.title, s.plugin FROM user_stage u"
        " JOIN stage s ON s.brand_id = u.brand_id AND s.track = u.track AND s.key = u.stage"
        " WHERE u.brand_id = $1 AND u.user_id = ANY($2::bigint[]) ORDER BY u.track",
        brand_id,
        users,
    )
    return grouped(users, ((row["user_id"], _stage(brand_id, row)) for row in rows))


def _stage(brand_id: int, row: Mapping[str, Any]) -> UserStage:
    return UserStage(
        track=row["track"],
        key=row["stage"],
        title=row["title"],
        plugin=row["plugin"],
        since=row["since"],
        decision=Decision(brand_id, row["rulebook_id"], row["user_id"], row["stage"], row["why"], row["track"]),
    )


def _past(brand_id: int, row: Mapping[str, Any]) -> PastStage:
    return PastStage(
        track=row["track"],
        key=row["stage"],
        title=row["title"],
        plugin=row["plugin"],
        since=row["since"],
        until=row["until"],
        decision=Decision(brand_id, row["rulebook_id"], row["person"], row["stage"], row["why"], row["track"]),
        merge=row["merge_id"],
    )


PAST = Listing(
    "stage_history t JOIN stage s ON s.brand_id = t.brand_id AND s.track = t.track AND s.key = t.stage",
    "t.id, t.track, t.stage, t.since, t.until, t.rulebook_id, t.why, t.merge_id, s.title, s.plugin",
    _past,
)
stage_history = pages_of_user(PAST)
