"""Commands about segments."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import BrandOption, JsonOption, Session, author, json_object, local, out, print_json, session
from siyu.flow import segments
from siyu.flow.context import brand_by_slug
from siyu.flow.selection import counted

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Segments: filters of users that are kept under a name.")


@app.command("list")
def segment_list(brand: BrandOption, as_json: JsonOption = False) -> None:
    """Show the segments of a brand and what they keep."""

    async def work(at_hand: Session) -> None:
        found = await segments.listed(await brand_by_slug(brand))
        if as_json:
            print_json([{"name": each.name, "title": each.title, "filter": each.selection} for each in found])
            return
        table = Table("segment", "title", "filter", "changed by")
        for each in found:
            filter = json.dumps(each.selection, ensure_ascii=False)
            table.add_row(each.name, escape(each.title), escape(filter), escape(each.changed_by))
        out.print(table)

    session(work)


@app.command("create")
def segment_create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    filter: Annotated[str, typer.Argument(help='JSON in the shape of UserFilter, e.g. \'{"tag": ["rfm.sleeping"]}\'.')],
    brand: BrandOption,
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
) -> None:
    """Keep a filter under a name."""
    wanted = json_object(filter)

    async def work(at_hand: Session) -> None:
        made = await segments.create(at_hand.ctx, await brand_by_slug(brand), name, wanted, title=title, by=author())
        out.print(f"Segment {made.name} made. Count it: siyu segment count {made.name} -b {brand}")

    session(work)


@app.command("count")
def segment_count(
    name: Annotated[str, typer.Argument(help="As siyu segment list shows it.")],
    brand: BrandOption,
    as_json: JsonOption = False,
) -> None:
    """Count the users of a segment, now."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        size = await counted(at_hand.ctx, target.id, segments.filter_in(await segments.find(target, name)))
        if as_json:
            print_json({"users": size.users, "asOf": size.as_of.isoformat()})
            return
        out.print(f"{size.users:,} users as of {local(size.as_of, target)}")

    session(work)
