"""Commands about playbooks."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from siyu.cli.session import BrandOption, JsonOption, Session, author, json_object, out, pair, print_json, session
from siyu.contract.errors import InputError, NotFound
from siyu.contract.program import Program
from siyu.flow import playbooks, plugins, segments
from siyu.flow.calendar import MOST_DAYS, calendar
from siyu.flow.context import Context, brand_by_slug
from siyu.flow.dispatch import carry_out
from siyu.flow.foresee import foresee
from siyu.flow.identities import user_named
from siyu.flow.programs import by_name
from siyu.flow.selection import select
from siyu.store.enrolments import how_many
from siyu.store.models import Brand

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Playbooks: what is done for users, step by step.")

PASSING, DELAYED = ("", "passing"), ("", "delayed")

Name = Annotated[str, typer.Argument(help="PLUGIN.KEY, as siyu playbook list shows it.")]


async def _on(ctx: Context, brand: Brand) -> dict[str, Program]:
    return by_name(ctx, await plugins.cohorts(ctx, brand.id))


@app.command("list")
def playbook_list(brand: BrandOption, as_json: JsonOption = False) -> None:
    """Show the playbooks that are on, and how many users are under way."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        made = sorted((await _on(at_hand.ctx, target)).items())
        async with at_hand.ctx.db.connection() as connection:
            counts = {(name, status): number for name, status, number in await how_many(connection, target.id)}
        shown = [
            {
                "name": name,
                "title": each.title,
                "trigger": each.trigger_words,
                "steps": len(each.instructions),
                "under way": counts.get((name, "active"), 0),
                "reached": counts.get((name, "goal"), 0),
                "over": counts.get((name, "done"), 0) + counts.get((name, "ended"), 0),
            }
            for name, each in made
        ]
        if as_json:
            print_json(shown)
            return
        table = Table("playbook", "title", "set off by", "steps", "under way", "reached its goal", "over")
        for row in shown:
            table.add_row(*(escape(str(value)) for value in row.values()))
        out.print(table)

    session(work)


@app.command("show")
def playbook_show(
    name: Name,
    brand: BrandOption,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a graph, in the language of Mermaid.")] = False,
) -> None:
    """Show what a playbook does, step by step."""

    async def work(at_hand: Session) -> None:
        made = await _on(at_hand.ctx, await brand_by_slug(brand))
        if name not in made:
            names = ", ".join(sorted(made)) or "none"
            raise NotFound(f"no playbook {name!r} is on", field="playbook", remedy=f"on are: {names}")
        one = made[name]
        if mermaid:
            print(one.mermaid())
            return
        out.print(f"[bold]{escape(one.title)}[/]: {escape(one.trigger_words)}; for {escape(repr(one.audience))}")
        table = Table("step", "what it does", "then")
        steps = one.instructions
        for each in steps:
            ends = {way: steps[number].key if number < len(steps) else "end" for way, number in each.ways.items()}
            ways = ", ".join(f"{way}: {step}" if way else step for way, step in ends.items())
            table.add_row(each.key, escape(each.words), escape(ways))
        out.print(table)

    session(work)


@app.command("preview")
def playbook_preview(
    name: Name,
    brand: BrandOption,
    days: Annotated[int, typer.Option(min=1, max=90, help="How far to look ahead.")] = 30,
    params: Annotated[str, typer.Option(help="The parameters that the plugin would have, JSON.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show what a playbook would send in the days ahead, by day and channel, and what of it the guard would hold; send
    nothing."""
    values = json_object(params) if params else None

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        found = await foresee(at_hand.ctx, target, name, days=days, params=values)
        if as_json:
            print_json(found)
            return
        channels = sorted({each.channel for each in found.expected})
        reasons = sorted({reason for each in found.expected for reason in each.held})
        days_sum = {day: Counter[tuple[str, str]]() for day in sorted({each.day for each in found.expected})}
        for each in found.expected:
            sums = {("by", each.channel): each.messages, PASSING: each.passing, DELAYED: each.delayed}
            sums |= {("held", reason): number for reason, number in each.held.items()}
            days_sum[each.day].update(sums)
        shown = [*(("by", channel) for channel in channels), PASSING, DELAYED, *(("held", each) for each in reasons)]
        table = Table("day", *(Column(f"{kind} {name}".strip(), justify="right") for kind, name in shown))
        for day, mine in days_sum.items():
            table.add_row(f"{day:%Y-%m-%d}", *(f"{mine[each]:,.1f}" if mine[each] else "" for each in shown))
        out.print(table)
        total = sum(each.messages for each in found.expected)
        passing = sum(each.passing for each in found.expected)
        out.print(
            f"{found.under_way:,} users under way, {found.entering:,.1f} to come in, {total:,.1f} messages and tasks in"
            f" {days} days, if nothing happened to anybody; {passing:,.1f} pass the guard. Nothing was written."
        )

    session(work)


@app.command("calendar")
def playbook_calendar(
    brand: BrandOption,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How far to look ahead.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show what the days ahead have in plan: the calendar's days, and what those who are under way come to."""

    async def work(at_hand: Session) -> None:
        found = await calendar(at_hand.ctx, await brand_by_slug(brand), days=days)
        if as_json:
            print_json(found)
            return
        table = Table("day", "playbook", "step", "channel", "text", Column("users", justify="right"))
        for each in found:
            users = "" if each.users is None else f"{each.users:,}"
            table.add_row(f"{each.day:%Y-%m-%d}", each.playbook, each.step, each.channel, each.template, users)
        out.print(table)

    session(work)


@app.command("start")
def playbook_start(
    name: Name,
    occasion: Annotated[str, typer.Argument(help="Your name of this start: the same again takes nobody in twice.")],
    brand: BrandOption,
    segment: Annotated[str | None, typer.Option(help="For all users of this segment.")] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="For a user, KIND=VALUE, e.g. member=7; once for each.")
    ] = None,
) -> None:
    """Take users into a playbook by hand, and carry out what is due."""
    names = [pair(text, "--user", "KIND=VALUE") for text in user or ()]

    async def work(at_hand: Session) -> None:
        ctx, target = at_hand.ctx, await brand_by_slug(brand)
        if (segment is None) is (not names):
            raise InputError("whom?", field="user", remedy="give --segment, or --user once or more")
        if segment is None:
            users = [await user_named(target, *each) for each in names]
        else:
            selection = await select(ctx, target.id, segments.filter_in(await segments.find(target, segment)))
            async with ctx.db.connection() as connection:
                users = (await selection.ids(connection)).to_list()
        started = await playbooks.start(ctx, target, name, users, occasion=occasion, by=author())
        done = await carry_out(ctx, target.id)
        out.print(f"{started.users:,} users came in, {started.actions + done.actions:,} actions planned")

    session(work)
