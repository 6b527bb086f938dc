"""Commands on data: import, refresh, status, outbox, receive."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.deciding import decide_anew
from siyu.cli.session import BrandOption, JsonOption, Session, bar, bars, fail, local, out, pair, print_json, session
from siyu.cli.show import print_brand, print_done, print_troubles
from siyu.flow import freshness, importing
from siyu.flow import refresh as refreshing
from siyu.flow.context import brand_by_slug, now
from siyu.flow.dispatch import carry_out
from siyu.flow.engines import ENGINES
from siyu.flow.playbooks import Progress
from siyu.flow.reports import MOST_RAW, came_back
from siyu.flow.runs import run
from siyu.store.models import Fence, OutboxMessage, Stage, Tag

__all__ = ["app"]

app = typer.Typer()

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h, which mail servers know."""


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines.", exists=True, dir_okay=False)],
    brand: BrandOption,
    user: Annotated[str, typer.Option(help="Identity of the user, KIND=COLUMN, e.g. member=customer_id.")],
    at: Annotated[str, typer.Option(help="Column with the moment.")],
    kind: Annotated[str, typer.Option(help="Kind of event.")] = "order.paid",
    at_format: Annotated[str | None, typer.Option(help="How it is written, e.g. %Y%m%d; without it ISO 8601.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--field", "-f", help="Payload, FIELD=COLUMN; repeat it.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", help="Column with the event's id; else made from the line.")
    ] = None,
    separator: Annotated[str | None, typer.Option(help="A character, or 'whitespace'; guessed if not given.")] = None,
    header: Annotated[bool, typer.Option(help="The first line has names; without, columns are 1, 2, 3, ...")] = True,
    file_format: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl or parquet; else by the name.")
    ] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where lines go that cannot be used.")] = None,
    refresh: Annotated[bool, typer.Option(help="Decide for the whole brand afterwards.")] = True,
) -> None:
    """Import a file as events. Lines that cannot be used are kept aside, each with its reason.

    siyu import log.txt -b shop --no-header --user member=1 --at 2 --at-format %Y%m%d -f quantity=3 -f amount=4
    """
    identity_kind, user_column = pair(user, "--user")
    if file_format not in (None, "csv", "jsonl", "parquet"):
        fail(f"--format {file_format}: use csv, jsonl or parquet")
    mapping = importing.ColumnMapping(
        user=user_column,
        identity_kind=identity_kind,
        at=at,
        fields=dict(pair(text, "--field") for text in fields or []),
        id=event_id,
        at_format=at_format,
    )
    aside = rejects or Path(f"{file.name}.rejects.csv")

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        with bars() as tell:
            async with run(at_hand.ctx, target.id, "import", now(target)):
                done = await importing.import_file(
                    at_hand.ctx,
                    target,
                    file,
                    kind,
                    mapping,
                    rejects=aside,
                    file_format=file_format,  # type: ignore[arg-type]
                    separator=separator,
                    header=header,
                    progress=lambda share: tell("import", share),
                )
            tell("import", 1.0)
            decided = (
                await decide_anew(at_hand.ctx, target.id, lambda _, share: tell("refresh", share)) if refresh else None
            )
            acted = await carry_out(at_hand.ctx, target.id) if refresh else Progress()
        out.print(
            f"{done.lines:,} lines: {done.new:,} new events, {done.duplicate:,} known already, "
            f"{done.rejected:,} refused"
        )
        if done.rejects:
            out.print(f"[yellow]Refused lines, with the reason for each: {done.rejects}[/]")
        if decided:
            print_done(decided, acted)
            await print_brand(target)

    session(work)


@app.command()
def refresh(
    brand: BrandOption,
    engine: Annotated[
        str | None, typer.Option(help="polars, duckdb or spark; else what SIYU_ENGINE says, or polars.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Decide for every user of a brand, now."""
    if engine not in (None, *ENGINES):
        fail(f"--engine {engine}: use {', '.join(ENGINES)}")

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        with bar(as_json) as progress:
            done = await refreshing.refresh(at_hand.ctx, target.id, progress=progress, engine=engine)
            acted = await carry_out(at_hand.ctx, target.id)
        if as_json:
            fences = await Fence.filter(brand_id=target.id).order_by("plugin", "rule").values("plugin", "rule", "error")
            print_json({"users": done.users, "changes": done.changes, "actions": acted.actions, "fences": fences})
        else:
            print_done(done, acted)
            await print_brand(target)
            await print_troubles(at_hand.ctx, target)

    session(work)


@app.command()
def status(brand: BrandOption) -> None:
    """Show how fresh each tag and stage is: when, by what run, who came and went, and why a rule fails."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        async with at_hand.ctx.db.connection() as connection:
            found = [await freshness.of_stages(connection, target.id), await freshness.of_tags(connection, target.id)]
        stages = await Stage.filter(brand_id=target.id, active=True).order_by("track", "position")
        tags = await Tag.filter(brand_id=target.id, active=True).order_by("key")
        table = Table("", "users", "as of", "lag", "run", "seconds", "looked at", "came", "went", "error")
        shown = [(row.title, f"{row.track}.{row.key}", row.users, found[0][row.id]) for row in stages]
        shown += [(row.title, row.key, row.users, found[1][row.id]) for row in tags]
        for title, name, users, each in shown:
            table.add_row(
                f"{escape(title)} [dim]{name}[/]",
                f"{users:,}",
                local(each.as_of, target) if each.as_of else "never",
                "" if each.lag is None else str(timedelta(seconds=round(each.lag))),
                str(each.run_id or ""),
                "" if each.seconds is None else f"{each.seconds:.1f}",
                f"{each.users:,}",
                f"{each.gained:,}",
                f"{each.lost:,}",
                f"[red]{escape(each.error)}[/]" if each.error else "",
            )
        out.print(table)

    session(work)


@app.command()
def outbox(brand: BrandOption, limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20) -> None:
    """Read the newest messages in the outbox."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        table = Table("at", "user", "text")
        for message in await OutboxMessage.filter(brand_id=target.id).order_by("-id").limit(limit):
            table.add_row(local(message.at, target), str(message.user_id), message.text)
        out.print(table)

    session(work)


@app.command("receive")
def receive_command(
    channel: Annotated[str, typer.Argument(help="The key of the channel: email.")], brand: BrandOption
) -> None:
    """Take in what came back to a channel, from standard input: a bounced mail, as a mail server pipes it.

    shop-bounces: "|siyu receive email -b shop"

    Ends with 75 where it could not be taken in: the mail server keeps it and tries again.
    """
    raw = sys.stdin.buffer.read(MOST_RAW + 1)

    async def work(at_hand: Session) -> None:
        received = await came_back(at_hand.ctx, await brand_by_slug(brand), channel, raw)
        out.print(f"{received.known} reports taken in")

    try:
        session(work)
    except typer.Exit as error:
        raise typer.Exit(TRY_AGAIN if error.exit_code else 0) from None
