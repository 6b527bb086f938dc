"""How tasks are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu.flow import tasks
from siyu.flow.filters import limited
from siyu.store.keyset import Term
from siyu.store.tasks import ORDER

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.filters import DateTimeRange, data_of, moments
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand, of_user
from siyu_graphql.scalars import checked_text
from siyu_graphql.task.types import Task, TaskStatus

__all__ = ["TASKS", "tasks_of_brand", "tasks_of_user", "tasks_where"]

SHOWN = (
    *("role", "deadline", "escalate_to", "assignee", "outcome"),
    *("made_at", "taken_at", "escalated_at", "done_at"),
)


def _task(brand_id: int, row: Mapping[str, Any]) -> Task:
    return Task(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["user_id"],
        action_id=row["action_id"],
        called=row["title"],
        said=row["text"],
        status=TaskStatus(row["status"]),
        log=json.loads(row["log"]),
        **{name: row[name] for name in SHOWN},
    )


COLUMNS = ", ".join(f"t.{name}" for name in ("id", "user_id", "action_id", "title", "text", "status", *SHOWN))
TASKS = Listing("task t", f"{COLUMNS}, t.log::text AS log", _task, ORDER)

Role = Annotated[str | None, strawberry.argument(description="Only this role's: `adviser`, `operator`, `service`.")]
Assignee = Annotated[
    str | None, strawberry.argument(description="Only those that this one has, or did; empty: that nobody has.")
]
Status = Annotated[
    list[TaskStatus] | None,
    strawberry.argument(description="Only those that are so far; all that are not done if left out."),
]
Deadline = Annotated[DateTimeRange | None, strawberry.argument(description="Only those that are due then.")]


async def tasks_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    role: Role = None,
    assignee: Assignee = None,
    status: Status = None,
    deadline: Deadline = None,
) -> Connection[Task]:
    window = Window(first, after, last, before)
    return of_brand(info, brand.brand_id, TASKS, window, *tasks_where(role, assignee, status, deadline))


async def tasks_of_user(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    role: Role = None,
    assignee: Assignee = None,
    status: Status = None,
    deadline: Deadline = None,
) -> Connection[Task]:
    window = Window(first, after, last, before)
    terms = tasks_where(role, assignee, status, deadline)
    return of_user(info, user.brand_id, user.user_id, TASKS, window, *terms)


def tasks_where(
    role: str | None = None,
    assignee: str | None = None,
    status: Sequence[TaskStatus] | None = None,
    deadline: DateTimeRange | None = None,
) -> tuple[Term, ...]:
    """Which tasks, as conditions."""
    limited(data_of(status), "status")
    terms = tasks.terms(
        role=None if role is None else checked_text(role, "role"),
        assignee=None if assignee is None else checked_text(assignee, "assignee"),
        status=data_of(status),
    )
    return (*terms, *moments("deadline", deadline))
