"""Commands about what people are to do."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import BrandOption, JsonOption, Session, out, print_json, session
from siyu.flow import tasks
from siyu.flow.context import brand_by_slug, now, zone

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Tasks: what playbooks ask of people, by when.")

Number = Annotated[int, typer.Argument(help="The number of the task, as siyu task list shows it.")]
ByOption = Annotated[str, typer.Option(help="Who it is.")]


@app.command("list")
def task_list(
    brand: BrandOption,
    role: Annotated[str | None, typer.Option(help="Of this role only: adviser, service, ...")] = None,
    assignee: Annotated[str | None, typer.Option(help="Only those that somebody has taken.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="open, taken, escalated, done; repeat it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=tasks.MOST_LISTED, help="How many.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on from there.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show tasks by their deadline, the overdue ones first; those that are done only if asked for."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        wanted = cast("list[tasks.Status] | None", status or None)
        found = await tasks.listed(
            at_hand.ctx, target, role=role, assignee=assignee, status=wanted, first=limit, after=after
        )
        if as_json:
            print_json(found)
            return
        table = Table("task", "deadline", "role", "status", "user", "title")
        for each in found.tasks:
            deadline = f"{each.deadline.astimezone(zone(target.zone)):%Y-%m-%d %H:%M}"
            late = each.status != "done" and each.deadline < now(target)
            state = f"{each.status} {each.assignee}".strip()
            words = "\n".join(filter(None, (each.title, each.outcome)))
            when = f"[red]{deadline}[/]" if late else deadline
            table.add_row(str(each.id), when, each.role, escape(state), str(each.user_id), escape(words))
        out.print(table)
        if found.after:
            out.print(f"[dim]More: --after {found.after}[/]", soft_wrap=True)

    session(work)


@app.command("take")
def task_take(number: Number, brand: BrandOption, by: ByOption = "cli") -> None:
    """Take a task that nobody has."""

    async def work(at_hand: Session) -> None:
        found = await tasks.take(at_hand.ctx, await brand_by_slug(brand), number, by)
        out.print(f"{found.assignee} has task {number}: {escape(found.title)}")

    session(work)


@app.command("back")
def task_back(
    number: Number, brand: BrandOption, why: Annotated[str, typer.Option(help="Why.")] = "", by: ByOption = "cli"
) -> None:
    """Give a task back that somebody has taken."""

    async def work(at_hand: Session) -> None:
        found = await tasks.give_back(at_hand.ctx, await brand_by_slug(brand), number, by, why)
        out.print(f"Task {number} is {found.status}.")

    session(work)


@app.command("escalate")
def task_escalate(
    number: Number, brand: BrandOption, why: Annotated[str, typer.Option(help="Why.")] = "", by: ByOption = "cli"
) -> None:
    """Give a task to whom it escalates to, before its deadline."""

    async def work(at_hand: Session) -> None:
        found = await tasks.escalate_now(at_hand.ctx, await brand_by_slug(brand), number, by, why)
        out.print(f"Task {number} is the {escape(found.role)}'s now.")

    session(work)


@app.command("done")
def task_done(
    number: Number,
    brand: BrandOption,
    outcome: Annotated[str, typer.Argument(help="What came of it.")] = "",
    by: ByOption = "cli",
) -> None:
    """Note that a task is done, and what came of it."""

    async def work(at_hand: Session) -> None:
        await tasks.done(at_hand.ctx, await brand_by_slug(brand), number, by, outcome)
        out.print(f"Task {number} is done.")

    session(work)
