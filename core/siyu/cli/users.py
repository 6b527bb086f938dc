"""Commands on users: merge two who are one person, undo it, and show what was merged."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import BrandOption, Session, author, local, out, pair, session
from siyu.flow.context import brand_by_slug
from siyu.flow.decide import decide_users
from siyu.flow.identities import user_named
from siyu.flow.merging import merge_users, unmerge_users
from siyu.store.models import UserMerge

__all__ = ["user"]

user = typer.Typer(no_args_is_help=True, help="Users who are one person: merge them, undo it, show what was merged.")

Named = Annotated[str, typer.Argument(help="A name of the user, KIND=VALUE, e.g. member=7.")]


@user.command("merge")
def user_merge(
    one: Named,
    other: Named,
    brand: BrandOption,
    why: Annotated[str, typer.Option(help="Why, for people.")] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if each has a member number of their own."),
    ] = False,
) -> None:
    """Say that two users are one person. The one who was known first stands for both."""
    names = [pair(text, "USER", "KIND=VALUE") for text in (one, other)]

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        users = [await user_named(target, *name) for name in names]
        made = await merge_users(at_hand.ctx, target, users[0], users[1], by=author(), reason=why, force=force)
        await decide_users(at_hand.ctx, target.id)
        out.print(f"Merged. To undo it: siyu user unmerge {made.id} -b {brand}")

    session(work)


@user.command("unmerge")
def user_unmerge(
    number: Annotated[int, typer.Argument(help="The number of the merge, as siyu user merges shows it.")],
    brand: BrandOption,
) -> None:
    """Undo a merge: each user has their own names, events and decisions again."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        parted = await unmerge_users(at_hand.ctx, target, number, by=author())
        await decide_users(at_hand.ctx, target.id)
        out.print(f"Users {parted.users[0]} and {parted.users[1]} are two again.")

    session(work)


@user.command("merges")
def user_merges(
    brand: BrandOption, limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20
) -> None:
    """Show which users were merged: when, by whom, by which names, and whether it was undone; the latest first."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        table = Table("merge", "users", "at", "by", "why", "undone")
        for row in await UserMerge.filter(brand_id=target.id).order_by("-id").limit(limit):
            names = ", ".join(f"{kind}={value}" for kind, value in row.names)
            undone = f"{local(row.undone_at, target)} by {row.undone_by}" if row.undone_at else ""
            table.add_row(
                str(row.id),
                f"{row.user_id}, {row.other_id}",
                local(row.at, target),
                escape(row.by),
                escape(row.reason or names),
                escape(undone),
            )
        out.print(table)

    session(work)
