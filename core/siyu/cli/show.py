"""Tables that people read."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from siyu.cli.session import local, out
from siyu.demo import Summary
from siyu.flow.context import Context
from siyu.flow.decide import Decided
from siyu.flow.playbooks import Progress
from siyu.flow.unknown_tags import unknown_tags
from siyu.store.models import Brand, Fence, Stage, Tag

__all__ = ["print_brand", "print_done", "print_summary", "print_troubles"]


def print_summary(summary: Summary) -> None:
    """The demo in one screen."""
    out.print(
        f"\n[bold]Complete Journey[/]: {summary.users:,} households, {summary.orders:,} orders of "
        f"{summary.items:,} items, {summary.events:,} events, {summary.days[0]} to {summary.days[1]}\n"
    )
    _counted("stage", [(row["title"], row["key"], row["users"]) for row in summary.stages])
    _counted("tag", [(row["title"], row["key"], row["users"]) for row in summary.tags])
    table = Table("user", "stage, tags", "since", "because", title="One user of each stage", title_justify="left")
    shown = ""
    for row in summary.examples:
        new = row["user"] != shown
        table.add_row(*map(escape, (row["user"] if new else "", row["title"], row["since"], row["because"])))
        shown = row["user"]
    out.print(table)
    acted = ", ".join(f"{count:,} {status}" for status, count in summary.actions.items()) or "none"
    if summary.held_back:
        acted += f" (held back for: {', '.join(f'{why} {count:,}' for why, count in summary.held_back.items())})"
    took = ", ".join(f"{step} {seconds:g} s" for step, seconds in summary.seconds.items())
    out.print(f"actions: {acted}   [dim]{took}[/]")


def print_done(done: Decided, acted: Progress) -> None:
    """What a refresh, and what playbooks made of it, came to."""
    out.print(f"{done.users:,} users decided, {done.changes:,} changes, {acted.actions:,} actions planned")


async def print_troubles(ctx: Context, brand: Brand) -> None:
    """The rules that fail, since when and why, and the tags that are asked for in vain."""
    for fence in await Fence.filter(brand_id=brand.id).order_by("plugin", "rule"):
        since = local(fence.since, brand)
        out.print(f"[red]{fence.plugin}.{fence.rule}[/] fails since {since}: {escape(fence.error)}", soft_wrap=True)
    for unknown in await unknown_tags(ctx, brand.id):
        out.print(f"[yellow]![/] {escape(str(unknown))}", soft_wrap=True)


async def print_brand(brand: Brand) -> None:
    """How many users have each stage and tag."""
    stages = await Stage.filter(brand_id=brand.id, active=True).order_by("track", "position")
    tags = await Tag.filter(brand_id=brand.id, active=True).order_by("id")
    _counted("stage", [(row.title, row.key, row.users) for row in stages])
    _counted("tag", [(row.title, row.key, row.users) for row in tags])


def _counted(what: str, rows: list[tuple[str, str, int]]) -> None:
    if not rows:
        return
    most = max(1, *(users for _, _, users in rows))
    table = Table(what, "", "users", "", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for title, key, users in rows:
        table.add_row(escape(title), f"[dim]{key}[/]", f"{users:,}", "[cyan]" + "█" * round(30 * users / most) + "[/]")
    out.print(table)
    out.print()
