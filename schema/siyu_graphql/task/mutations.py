"""How tasks are taken, given back, given on and done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import strawberry
from siyu import NotFound
from siyu.flow import tasks
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.nodes import number_in
from siyu_graphql.paging import one
from siyu_graphql.task.queries import TASKS
from siyu_graphql.task.types import TaskPayload

__all__ = ["TaskMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
TaskId = Annotated[GlobalID, strawberry.argument(description="The `id` of the task.")]
By = Annotated[
    str | None,
    strawberry.argument(
        description="Who it is, where that is not the bearer of the token, whom the audit log names: whoever somebody"
        " assigns it to, or whom an application speaks for."
    ),
]
Why = Annotated[str, strawberry.argument(description="Why, for people; up to 4,000 letters.")]


@strawberry.type
class TaskMutations:
    @mutation(Right.ACT, TaskPayload, "Take a task that nobody has; of several who reach for it one gets it.")
    async def take_task(self, info: Info, brand: BrandSlug, task: TaskId, by: By = None) -> TaskPayload | None:
        return await _changed(info, brand, task, tasks.take, by)

    @mutation(Right.ACT, TaskPayload, "Give a task back that somebody has: it is anybody's of its role again.")
    async def give_back_task(
        self, info: Info, brand: BrandSlug, task: TaskId, why: Why = "", by: By = None
    ) -> TaskPayload | None:
        return await _changed(info, brand, task, tasks.give_back, by, why)

    @mutation(
        Right.ACT,
        TaskPayload,
        "Give a task of one's own, or that nobody has, to whom it escalates to, before its deadline; once.",
    )
    async def escalate_task(
        self, info: Info, brand: BrandSlug, task: TaskId, why: Why = "", by: By = None
    ) -> TaskPayload | None:
        return await _changed(info, brand, task, tasks.escalate_now, by, why)

    @mutation(
        Right.ACT,
        TaskPayload,
        "Note that a task of one's own, or that nobody has, is done, and what came of it: an event `task.done`.",
    )
    async def finish_task(
        self,
        info: Info,
        brand: BrandSlug,
        task: TaskId,
        outcome: Annotated[str, strawberry.argument(description="What came of it; up to 4,000 letters.")] = "",
        by: By = None,
    ) -> TaskPayload | None:
        done = await _changed(info, brand, task, tasks.done, by, outcome)
        if done.task is not None:
            await info.context.push("decide", done.task.brand_id)
            await info.context.push("playbooks", done.task.brand_id)
        return done


async def _changed(
    info: Info, brand: str, task: GlobalID, change: Callable[..., Awaitable[Any]], by: str | None, *words: str
) -> TaskPayload:
    found = await visible_brand(info, brand)
    number = number_in(task, "Task", found.id)
    if number is None:
        raise NotFound("the brand has no such task", field="task", remedy="`brand.tasks` lists them")
    await change(info.context.ctx, found, number, info.context.access.by if by is None else by, *words)
    changed = await one(info, TASKS, found.id, number)
    return TaskPayload(task=changed)
