"""Flows between stages."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated

import strawberry
from siyu import InputError
from siyu.flow.context import brand_by_id, now, zone
from siyu.store.moves import moves

from siyu_graphql.context import Info, OfBrand, TooLarge
from siyu_graphql.fields import computed
from siyu_graphql.scalars import checked_text
from siyu_graphql.stage.queries import stage_named
from siyu_graphql.stage.types import Stage

__all__ = ["StageFlow", "flows_of_brand"]

MOST_DAYS = 366
MOST_FLOWS = 5_000

Track = Annotated[str, strawberry.argument(description="The track: `lifecycle`.")]
Since = Annotated[datetime, strawberry.argument(description="From this moment on.")]
Until = Annotated[
    datetime | None, strawberry.argument(description="Before this moment; all there is until now if left out.")
]
Daily = Annotated[bool, strawberry.argument(description="Each day by itself, as the brand's time zone has them.")]


@strawberry.type(description="Users who went from one stage of a track to another.")
class StageFlow:
    brand_id: strawberry.Private[int]
    track: strawberry.Private[str]
    before: strawberry.Private[str | None]
    after: strawberry.Private[str | None]
    day: date | None = strawberry.field(description="The day; null where days are taken together.")
    users: int = strawberry.field(description="How often it happened: a user who goes twice counts twice.")

    @computed("Where they came from; null for those who were in no stage of the track yet.", name="from")
    async def from_(self, info: Info) -> Stage | None:
        return await self._stage(info, self.before)

    @computed("Where they went; null for those who left the track.")
    async def to(self, info: Info) -> Stage | None:
        return await self._stage(info, self.after)

    async def _stage(self, info: Info, key: str | None) -> Stage | None:
        return None if key is None else await stage_named(info, self.brand_id, self.track, key)


async def flows_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    track: Track,
    since: Since,
    until: Until = None,
    daily: Daily = False,
) -> list[StageFlow]:
    row = await brand_by_id(brand.brand_id)
    # What was decided at the present moment has happened, too.
    end = until or now(row) + timedelta(microseconds=1)
    if not timedelta() <= end - since <= timedelta(days=MOST_DAYS):
        raise InputError(
            f"from {since} to {end}", field="since", remedy=f"ask for up to {MOST_DAYS} days, the beginning first"
        )
    async with info.context.loaders.connection(brand.brand_id) as connection:
        found = await moves(
            connection,
            brand.brand_id,
            checked_text(track, "track"),
            since,
            end,
            days=zone(row.zone) if daily else None,
            limit=MOST_FLOWS + 1,
        )
    if len(found) > MOST_FLOWS:
        raise TooLarge(f"more than {MOST_FLOWS} flows", field="daily", remedy="ask for fewer days, or for all together")
    return [
        StageFlow(
            brand_id=brand.brand_id,
            track=track,
            before=each["before"],
            after=each["after"],
            day=each["day"],
            users=each["users"],
        )
        for each in found
    ]
