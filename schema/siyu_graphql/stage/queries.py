"""How stages are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Window, of_user
from siyu_graphql.reasons import Decision
from siyu_graphql.stage.types import PastStage, Stage, UserStage

__all__ = ["STAGES", "stage_history", "stage_named", "stages_of_brand", "stages_of_user"]

Track = Annotated[str | None, strawberry.argument(description="Only this track, e.g. `lifecycle`.")]
IncludeInactive = Annotated[
    bool, strawberry.argument(description="Also those that the brand's rulebook no longer has.")
]


def _stage(brand_id: int, row: Mapping[str, Any]) -> Stage:
    return Stage(
        brand_id=brand_id,
        number=row["id"],
        track=row["track"],
        key=row["key"],
        title=row["title"],
        plugin=row["plugin"],
        users=row["users"],
        as_of=row["as_of"],
        active=row["active"],
    )


STAGES = Listing(
    "stage t",
    "t.id, t.track, t.key, t.title, t.plugin, t.users, t.as_of, t.active, t.position",
    _stage,
    Order((("track", str), ("position", int), ("id", int))),
)


async def stages_of_brand(
    brand: strawberry.Parent[OfBrand], info: Info, track: Track = None, include_inactive: IncludeInactive = False
) -> list[Stage]:
    stages = await info.context.loaders.load(_all_stages, brand.brand_id, None) or []
    return [s for s in stages if track in (None, s.track) and (s.active or include_inactive)]


async def stage_named(info: Info, brand_id: int, track: str, key: str) -> Stage | None:
    """The stage of that track and key, whether the rulebook has it still or not."""
    stages = await info.context.loaders.load(_all_stages, brand_id, None) or []
    return next((stage for stage in stages if (stage.track, stage.key) == (track, key)), None)


async def stages_of_user(user: strawberry.Parent[OfUser], info: Info, track: Track = None) -> list[UserStage]:
    stages = await info.context.loaders.load(_stages_of_users, user.brand_id, user.user_id) or []
    return [stage for stage in stages if track in (None, stage.track)]


async def stage_history(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[PastStage]:
    return of_user(info, user.brand_id, user.user_id, PAST, Window(first, after, last, before))


async def _all_stages(connection: DatabaseConnection, brand_id: int, keys: Sequence[None]) -> dict[None, list[Stage]]:
    """Batch: the brand's stages, whole, in the order in which users pass through them."""
    rows = await connection.fetch(
        f"SELECT {STAGES.columns} FROM stage t WHERE t.brand_id = $1 ORDER BY {STAGES.order.sql}", brand_id
    )
    return {None: [_stage(brand_id, row) for row in rows]}


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
    found: dict[int, list[UserStage]] = {user: [] for user in users}
    for row in rows:
        stage = UserStage(
            track=row["track"],
            key=row["stage"],
            title=row["title"],
            plugin=row["plugin"],
            since=row["since"],
            decision=Decision(brand_id, row["rulebook_id"], row["user_id"], row["stage"], row["why"], row["track"]),
        )
        found[row["user_id"]].append(stage)
    return found


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
