"""How changes are followed."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry
from siyu import InputError
from siyu.flow.changes import Page, follow_changes
from siyu.store.changes import Noun

from siyu_graphql.action.types import ActionStatus
from siyu_graphql.change.types import (
    ActionChange,
    ActionChanges,
    StageChange,
    StageChanges,
    TagChange,
    TagChanges,
    TaskChange,
    TaskChanges,
)
from siyu_graphql.context import Info, visible_brand
from siyu_graphql.fields import followed
from siyu_graphql.scalars import checked_text
from siyu_graphql.task.types import TaskStatus

__all__ = ["ChangeSubscriptions"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
TagKey = Annotated[str | None, strawberry.argument(description="Of this tag only, by key.")]
Track = Annotated[str | None, strawberry.argument(description="Of this track only: `lifecycle`.")]
StageKey = Annotated[str | None, strawberry.argument(description="Only to or from this stage, by key.")]
Status = Annotated[ActionStatus | None, strawberry.argument(description="Only those that come to this.")]
TaskCame = Annotated[TaskStatus | None, strawberry.argument(description="Only those that come to this.")]
After = Annotated[
    str | None,
    strawberry.argument(
        description="Go on after this `cursor`, without gap or repeat; from now on if left out. Seven days later it"
        " may be an `EXPIRED` one: read the list anew."
    ),
]

RESULTS = (
    " The first result comes at once, with the cursor to go on from: what is read after it misses nothing that is not"
    " told. Each holds up to 500 changes, as fast as the client reads them."
)


@strawberry.type
class ChangeSubscriptions:
    @followed("Who gains and loses tags." + RESULTS)
    async def tag_changes(
        self, info: Info, brand: BrandSlug, tag: TagKey = None, after: After = None
    ) -> AsyncGenerator[TagChanges]:
        async with aclosing(_followed(info, brand, "tag", after, key=_text(tag, "tag"))) as pages:
            async for brand_id, page in pages:
                yield TagChanges(
                    cursor=_cursor("tag", page.after),
                    changes=[
                        TagChange(
                            brand_id=brand_id,
                            user_id=user,
                            tag=each.after or each.before or "",
                            gained=each.after is not None,
                            at=each.at,
                        )
                        for each in page.changes
                        for user in each.ids
                    ],
                )

    @followed("Who enters and leaves stages." + RESULTS)
    async def stage_changes(
        self, info: Info, brand: BrandSlug, track: Track = None, stage: StageKey = None, after: After = None
    ) -> AsyncGenerator[StageChanges]:
        only = {"track": _text(track, "track"), "key": _text(stage, "stage")}
        async with aclosing(_followed(info, brand, "stage", after, **only)) as pages:
            async for brand_id, page in pages:
                yield StageChanges(
                    cursor=_cursor("stage", page.after),
                    changes=[
                        StageChange(
                            brand_id=brand_id,
                            user_id=user,
                            track=each.track or "",
                            before=each.before,
                            after=each.after,
                            at=each.at,
                        )
                        for each in page.changes
                        for user in each.ids
                    ],
                )

    @followed("Which actions are planned, and what becomes of them." + RESULTS)
    async def actions(
        self, info: Info, brand: BrandSlug, status: Status = None, after: After = None
    ) -> AsyncGenerator[ActionChanges]:
        async with aclosing(
            _followed(info, brand, "action", after, key=None if status is None else str(status.value))
        ) as pages:
            async for brand_id, page in pages:
                yield ActionChanges(
                    cursor=_cursor("action", page.after),
                    changes=[
                        ActionChange(brand_id=brand_id, action_id=action, status=ActionStatus(each.after), at=each.at)
                        for each in page.changes
                        for action in each.ids
                    ],
                )

    @followed("Which tasks are made, and what becomes of them." + RESULTS)
    async def tasks(
        self, info: Info, brand: BrandSlug, status: TaskCame = None, after: After = None
    ) -> AsyncGenerator[TaskChanges]:
        async with aclosing(
            _followed(info, brand, "task", after, key=None if status is None else str(status.value))
        ) as pages:
            async for brand_id, page in pages:
                yield TaskChanges(
                    cursor=_cursor("task", page.after),
                    changes=[
                        TaskChange(brand_id=brand_id, task_id=task, status=TaskStatus(each.after), at=each.at)
                        for each in page.changes
                        for task in each.ids
                    ],
                )


async def _followed(
    info: Info, slug: str, noun: Noun, after: str | None, *, track: str | None = None, key: str | None = None
) -> AsyncGenerator[tuple[int, Page]]:
    brand = await visible_brand(info, slug)
    number = None if after is None else _number(noun, after)
    async with aclosing(follow_changes(info.context.ctx, brand.id, noun, number, track=track, key=key)) as pages:
        async for page in pages:
            yield brand.id, page


def _text(value: str | None, field: str) -> str | None:
    return None if value is None else checked_text(value, field)


def _cursor(noun: Noun, number: int) -> str:
    return f"{noun}:{number}"


def _number(noun: Noun, cursor: str) -> int:
    found = re.fullmatch(rf"{noun}:([0-9]{{1,18}})", cursor, re.ASCII)
    if found is None:
        raise InputError(
            f"not a cursor of these changes: {cursor[:40]!r}", field="after", remedy="use the `cursor` of a result"
        )
    return int(found[1])
