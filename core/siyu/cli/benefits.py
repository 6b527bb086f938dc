"""Commands about what there is to give."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import BrandOption, Session, author, out, session
from siyu.flow import benefits
from siyu.flow.context import brand_by_slug

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Benefits: coupons and gifts that playbooks give, while there are any.")


@app.command("list")
def benefit_list(brand: BrandOption) -> None:
    """Show the benefits of a brand, and how many are given."""

    async def work(at_hand: Session) -> None:
        table = Table("benefit", "title", "given", "stock", "good for days")
        for each in await benefits.listed(await brand_by_slug(brand)):
            days = str(each.expires_days or "")
            table.add_row(each.key, escape(each.title), f"{each.given:,}", f"{each.stock:,}", days)
        out.print(table)

    session(work)


@app.command("set")
def benefit_set(
    key: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")],
    brand: BrandOption,
    stock: Annotated[int, typer.Option(help="How many there are in all, those that are given included.")],
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
    days: Annotated[int | None, typer.Option(help="For how many days one is good; without it for good.")] = None,
) -> None:
    """Set what there is of a benefit."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        made = await benefits.put(at_hand.ctx, target, key, stock=stock, title=title, expires_days=days, by=author())
        out.print(f"{made.given:,} of {made.stock:,} {made.key} are given.")

    session(work)
