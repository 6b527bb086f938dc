"""How the calendar of content is read."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import strawberry
from siyu.flow.calendar import calendar
from siyu.flow.context import brand_by_id

from siyu_graphql.action.types import Purpose
from siyu_graphql.context import Info, OfBrand

__all__ = ["CalendarEntry", "calendar_of_brand"]

Days = Annotated[int, strawberry.argument(description="How far to look ahead, 1 to 90.")]


@strawberry.type(description="What a step of a playbook says on a day ahead.")
class CalendarEntry:
    day: date = strawberry.field(description="The day, in the brand's zone.")
    playbook: str = strawberry.field(description="The playbook: its plugin's name and its key, `care.first_touch`.")
    title: str = strawberry.field(description="What the playbook is, in a line.")
    step: str = strawberry.field(description="The key of the step.")
    channel: str = strawberry.field(description="The key of the channel; of tasks `tasks`.")
    purpose: Purpose = strawberry.field(description="What it is for.")
    template: str = strawberry.field(
        description="The key of what it says, as `templates` has it; empty where it gives a benefit."
    )
    users: int | None = strawberry.field(
        description="How many at most are on their way there; null where the day itself will bring them."
    )


async def calendar_of_brand(brand: strawberry.Parent[OfBrand], info: Info, days: Days = 30) -> list[CalendarEntry]:
    info.context.loaders.check(brand.brand_id)
    found = await calendar(info.context.ctx, await brand_by_id(brand.brand_id), days=days)
    return [
        CalendarEntry(
            day=each.day,
            playbook=each.playbook,
            title=each.title,
            step=each.step,
            channel=each.channel,
            purpose=Purpose(each.purpose),
            template=each.template,
            users=each.users,
        )
        for each in found
    ]
