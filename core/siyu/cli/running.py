"""Commands that run siyu: demo, seed, serve, worker, doctor, schema."""

from __future__ import annotations

import asyncio
import gc
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu import demo, seed
from siyu.cli import serving
from siyu.cli.admin import check_slug
from siyu.cli.session import JsonOption, Session, api, bars, err, fail, installed_plugins, out, print_json, session
from siyu.cli.show import print_brand, print_summary
from siyu.contract.errors import SiyuError
from siyu.flow import tokens
from siyu.flow.context import brand_by_slug
from siyu.jobs import Queue
from siyu.runtime import Settings, SettingsError
from siyu.store.models import AccessToken

__all__ = ["app"]

app = typer.Typer()

InheritedOption = Annotated[int | None, typer.Option(hidden=True, help="A descriptor, of the process that began it.")]
HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]


@app.command("demo")
def demo_command(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    serve: Annotated[bool, typer.Option(help="Serve the API after the summary.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Import a year of real purchases, replay it, show what came out, and serve the API."""

    async def work(at_hand: Session) -> None:
        with bars(as_json) as bar:
            summary = await demo.prepare(at_hand.ctx, bar)
        if as_json:
            print_json(summary)
        else:
            print_summary(summary)
        if listener is None:
            return
        await AccessToken.filter(name="demo", revoked_at=None).update(revoked_at=datetime.now(UTC))
        secret = await tokens.create_token("admin", await brand_by_slug(demo.SLUG), name="demo")
        console = err if as_json else out
        console.print(f"\n[bold]GraphiQL[/]  http://{host}:{port}/graphql#token={secret}", soft_wrap=True)
        console.print(f"[bold]Token[/]     {secret}", soft_wrap=True)
        home = at_hand.servers.settings.home
        console.print(f"[dim]Ctrl-C ends it. What was imported stays in {home}.[/]", soft_wrap=True)
        await serving.serve_here(at_hand, listener, worker=True)

    listener = serving.listen(host, port) if serve else None
    session(work)


@app.command("seed")
def seed_command(
    brand: Annotated[str, typer.Option("--brand", "-b", help="The slug that it gets.")] = "mock",
    as_json: JsonOption = False,
) -> None:
    """Make a small brand of invented users to build pages with, and a token for it. The same every time."""

    async def work(at_hand: Session) -> None:
        made = await seed.seed(at_hand.ctx, check_slug(brand))
        await AccessToken.filter(name="seed", brand_id=made.id, revoked_at=None).update(revoked_at=datetime.now(UTC))
        secret = await tokens.create_token("admin", made, name="seed")
        if as_json:
            print_json({"brand": made.slug, "token": secret})
            return
        await print_brand(made)
        out.print(f"[bold]Brand[/]  {made.slug}\n[bold]Token[/]  {secret}", soft_wrap=True)
        out.print(f"[dim]siyu serve[/]; then http://127.0.0.1:8000/graphql#token={secret}", soft_wrap=True)

    session(work)


@app.command()
def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    worker: Annotated[bool, typer.Option(help="Do the background work, too.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer; one more does the work.")] = 1,
    listener: InheritedOption = None,
    parent: InheritedOption = None,
) -> None:
    """Serve the GraphQL API (and do the background work)."""
    at = socket.socket(fileno=listener) if listener is not None else serving.listen(host, port)

    async def work(at_hand: Session) -> None:
        if listener is None:
            out.print(f"Serving on http://{host}:{port}/graphql. Ctrl-C ends it.", soft_wrap=True)
        if workers == 1:
            await serving.serve_here(at_hand, at, worker=worker, parent=parent)
        else:
            await serving.serve_in_processes(at_hand, at, workers, worker=worker)

    session(work)


@app.command()
def worker(parent: InheritedOption = None) -> None:
    """Do the background work: decide, dispatch, refresh, sweep."""

    async def work(at_hand: Session) -> None:
        queue = await Queue.open(at_hand.addresses.redis_url)
        if parent is None:
            out.print("Working. Ctrl-C ends it.")
        # As the API does: to go through all that is there from the start stops greetings for 50 ms each time.
        gc.collect()
        gc.freeze()
        async with serving.stopped(parent) as told, serving.background(at_hand, told, queue):
            await told.wait()

    session(work)


@app.command()
def doctor() -> None:
    """Look whether everything is there that siyu needs, and works."""
    from siyu.runtime.doctor import Check, examine

    async def installed(_: Settings) -> Check:
        try:
            found = installed_plugins().plugins
        except SiyuError as error:
            return Check("plugins", False, error.message, str(error))
        wrong = "; ".join(f"{name}: {plugin.refused}" for name, plugin in found.items() if plugin.refused)
        return Check("plugins", not wrong, ", ".join(found) or "none", wrong)

    try:
        checks = asyncio.run(examine(Settings.from_env(), installed))
    except SettingsError as error:
        fail(str(error))
    table = Table("", "", "", box=None, show_header=False)
    for check in checks:
        table.add_row(
            "[green]✓[/]" if check.ok else "[red]✗[/]",
            check.name,
            check.detail + (f"\n[yellow]{check.remedy}[/]" if check.remedy else ""),
        )
    out.print(table)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


@app.command()
def schema(
    against: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="An older one: name what breaks its queries, and end with 1."),
    ] = None,
) -> None:
    """Print the GraphQL schema (SDL), or what has changed since an older one."""
    sdl = api().print_sdl()
    if against is None:
        print(sdl)
        return
    try:
        found = api().changes(against.read_text(encoding="utf-8"), sdl)
    except (SiyuError, UnicodeDecodeError) as error:
        fail(f"{against}: {error}")
    for change in found.breaking:
        out.print(f"[red]breaking[/]  {escape(change)}", soft_wrap=True, highlight=False)
    for change in found.dangerous:
        out.print(f"[yellow]dangerous[/] {escape(change)}", soft_wrap=True, highlight=False)
    out.print(f"{len(found.breaking)} breaking changes, {len(found.dangerous)} dangerous ones.")
    raise typer.Exit(1 if found.breaking else 0)
