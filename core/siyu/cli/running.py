"""Commands that run siyu: demo, serve, worker, doctor, schema."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from siyu import demo
from siyu.cli import serving
from siyu.cli.session import JsonOption, Session, api, bars, err, fail, installed_plugins, out, session
from siyu.cli.show import print_summary
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
            print(json.dumps(summary.to_json(), ensure_ascii=False, indent=2))
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
        await serving.serve_here(at_hand, listener, worker=True, query=demo.QUERY)

    listener = serving.listen(host, port) if serve else None
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
def schema() -> None:
    """Print the GraphQL schema (SDL)."""
    print(api().print_sdl())
