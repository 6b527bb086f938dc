"""The inbox of people: tasks that playbooks assign to a role, each with a deadline.

Somebody of the role takes a task, does it and says what came of it, or gives it back. One that nobody has done by its
deadline, or that somebody cannot do, becomes another role's, once.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from siyu.contract.channels import Channel, Message, Receipt
from siyu.contract.errors import InputError, NotFound
from siyu.contract.params import Params
from siyu.contract.playbooks import TASKS
from siyu.flow.context import Context, now
from siyu.flow.happening import happened
from siyu.store import tasks as store
from siyu.store.changes import note
from siyu.store.db import Connection, Database
from siyu.store.keyset import Term, Where
from siyu.store.models import Brand

__all__ = [
    "Listed",
    "Status",
    "Task",
    "Tasks",
    "done",
    "escalate",
    "escalate_now",
    "find",
    "give_back",
    "listed",
    "take",
    "terms",
]

Status: TypeAlias = Literal["open", "taken", "escalated", "done"]
MOST_LISTED = 200
MOST_WORDS = 4_000
AT_ONCE = 1_000
"""Tasks that are escalated in one transaction."""


@dataclass(frozen=True)
class Task:
    """Something that a person is to do for a user. ``log`` is its story: moment, status, by whom, words."""

    id: int
    action_id: int
    user_id: int
    role: str
    title: str
    text: str
    deadline: datetime
    escalate_to: str
    status: Status
    assignee: str
    outcome: str
    made_at: datetime
    taken_at: datetime | None
    escalated_at: datetime | None
    done_at: datetime | None
    log: Sequence[Sequence[str]]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Task:
        """The task of a row."""
        values = {name: row[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "log": json.loads(values["log"])})


class Tasks(Channel):
    """The channel of what people are to do: a message becomes a task."""

    key = TASKS
    title = "任务"
    repeatable = True
    counts = False

    def __init__(self, db: Database, brand_id: int) -> None:
        self._db = db
        self._brand_id = brand_id

    async def deliver(self, messages: Sequence[Message], p: Params) -> Sequence[Receipt]:
        async with self._db.transaction() as connection:
            await store.make(connection, self._brand_id, [_asked(message) for message in messages])
        await self._db.signals.tell(self._brand_id, "task")
        return [Receipt(message.action_id, "sent") for message in messages]


def _asked(message: Message) -> tuple[Any, ...]:
    body = message.body
    deadline = datetime.fromisoformat(body["deadline"]) if "deadline" in body else message.at
    title = body.get("title") or message.text.partition("\n")[0]
    role, other = body.get("role", ""), body.get("escalate_to", "")
    return message.action_id, message.user_id, role, title, message.text, deadline, other, message.at


# -- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """A page of tasks; ``after`` goes on from there, None at the end."""

    tasks: Sequence[Task]
    after: str | None


def terms(
    *, role: str | None = None, assignee: str | None = None, status: Sequence[Status] | None = None
) -> list[Term]:
    """Conditions on tasks (``t``), for whoever reads a list of them; without a ``status`` those that are not done."""
    if unknown := set(status or ()) - set(get_args(Status)):
        remedy = f"statuses are: {', '.join(get_args(Status))}"
        raise InputError(f"the status {min(unknown)!r}", field="status", remedy=remedy)
    found = [Term("t.role = {}", (role,))] if role is not None else []
    found += [Term("t.assignee = {}", (assignee,))] if assignee is not None else []
    # What is not done is found by an index of its own.
    wanted = tuple(each for each in get_args(Status) if each != "done") if status is None else tuple(status)
    found += [Term("t.status <> 'done'")] if "done" not in wanted else []
    return [*found, Term("t.status = ANY({}::text[])", (wanted,))]


async def listed(
    ctx: Context,
    brand: Brand,
    *,
    role: str | None = None,
    assignee: str | None = None,
    status: Sequence[Status] | None = None,
    first: int = 50,
    after: str | None = None,
) -> Listed:
    """Tasks by their deadline, those that are overdue first; without a ``status`` those that are not done."""
    if not 0 < first <= MOST_LISTED:
        raise InputError(f"{first} tasks", field="first", remedy=f"ask for 1 to {MOST_LISTED}")
    where = Where(brand.id, *terms(role=role, assignee=assignee, status=status))
    if after is not None:
        where.narrow(store.ORDER.beyond(store.ORDER.key(after)))
    async with ctx.db.connection() as connection:
        rows = await store.page(connection, where, first + 1)
    more = len(rows) > first
    return Listed([Task.of(row) for row in rows[:first]], store.ORDER.cursor(rows[first - 1]) if more else None)


async def find(ctx: Context, brand: Brand, task_id: int) -> Task:
    """The task of that number, or :class:`NotFound`."""
    async with ctx.db.connection() as connection:
        rows = await store.page(connection, Where(brand.id, Term("t.id = {}", (task_id,))), 1)
    if not rows:
        raise NotFound(
            f"{brand.slug} has no task {task_id}",
            field="task",
            remedy="tasks are listed by `siyu task list`, `brand.tasks`",
        )
    return Task.of(rows[0])


# -- changing -----------------------------------------------------------------------------------------------------


async def take(ctx: Context, brand: Brand, task_id: int, by: str) -> Task:
    """Take a task that nobody has."""
    _who(by)
    return await _change(ctx, brand, task_id, store.take, by)


async def give_back(ctx: Context, brand: Brand, task_id: int, by: str, why: str = "") -> Task:
    """Let a task that somebody has taken be anybody's of its role again."""
    _who(by)
    return await _change(ctx, brand, task_id, store.give_back, by, _words(why, "why"))


async def done(ctx: Context, brand: Brand, task_id: int, by: str, outcome: str = "") -> Task:
    """Note that ``by`` has done a task, and what came of it: an event ``task.done`` of the user."""
    _who(by)
    return await _change(ctx, brand, task_id, store.done, by, _words(outcome, "outcome"))


async def escalate_now(ctx: Context, brand: Brand, task_id: int, by: str, why: str = "") -> Task:
    """Give a task that nobody else has to whom it escalates to, before its deadline."""
    _who(by)
    there = await find(ctx, brand, task_id)
    if there.escalated_at is not None or not there.escalate_to:
        words = f"has escalated to {there.role}" if there.escalated_at is not None else "escalates to nobody"
        raise InputError(f"task {task_id} {words}", field="task", remedy="give it back, and let another take it")
    return await _change(ctx, brand, task_id, store.escalate_now, by, _words(why, "why"))


async def escalate(ctx: Context) -> int:
    """Give the tasks of all brands whose deadline has passed to whom they escalate to; returns how many."""
    count = 0
    while True:
        async with ctx.db.transaction() as connection:
            rows = await store.escalate(connection, AT_ONCE)
        for brand_id in {row["brand_id"] for row in rows}:
            await ctx.db.signals.tell(brand_id, "task")
        count += len(rows)
        if len(rows) < AT_ONCE:
            return count


async def _change(
    ctx: Context, brand: Brand, task_id: int, step: Callable[..., Awaitable[Any]], by: str, *words: str
) -> Task:
    async with ctx.db.transaction() as connection:
        row = await step(connection, brand.id, task_id, by, now(brand), *words)
        if row is not None:
            if row["status"] == "done":
                await _happened(connection, brand, row)
            await note(connection, brand.id, {row["status"]: [task_id]}, now(brand), noun="task")
    if row is None:
        raise _refusal(await find(ctx, brand, task_id))
    await ctx.db.signals.tell(brand.id, "task")
    return Task.of(row)


def _refusal(there: Task) -> InputError:
    match there.status:
        case "done":
            words, remedy = f"is done by {there.assignee}", "take another"
        case "taken":
            words, remedy = f"is taken by {there.assignee}", "let them do it, or give it back first"
        case _:
            words, remedy = "is nobody's", "take it first"
    return InputError(f"task {there.id} {words}", field="task", remedy=remedy)


async def _happened(connection: Connection, brand: Brand, row: Any) -> None:
    # Not its title, which may say of the user what not everybody who reads events may see.
    action = await connection.fetchrow(
        "SELECT plugin, playbook, step FROM action WHERE brand_id = $1 AND id = $2", brand.id, row["action_id"]
    )
    payload = {**dict(action or {}), "role": row["role"], "outcome": row["outcome"], "by": row["assignee"]}
    await happened(connection, brand, row["user_id"], f"task/{row['id']}", "task.done", payload, row["done_at"])


def _who(by: str) -> None:
    if not by.strip() or len(by) > 200 or not by.isprintable():
        raise InputError(f"{by[:50]!r} is nobody", field="by", remedy="say who it is, in up to 200 letters")


def _words(text: str, field: str) -> str:
    if len(text) > MOST_WORDS or "\x00" in text or text.encode(errors="replace").decode() != text:
        raise InputError("words that cannot be kept", field=field, remedy=f"use at most {MOST_WORDS:,} letters of text")
    return text
