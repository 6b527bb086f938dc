"""Commands that run siyu: demo, serve, worker, doctor, schema."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from siyu import demo
from siyu.cli.session import JsonOption, Session, api, bars, err, fail, installed_plugins, out, session
from siyu.cli.show import print_summary
from siyu.contract.errors import SiyuError
from siyu.flow import tokens
from siyu.flow.context import brand_by_slug
from siyu.jobs import Queue, run_worker
from siyu.runtime import ServerError, Settings, SettingsError
from siyu.store.models import AccessToken

__all__ = ["app"]

app = typer.Typer()

MOST_MESSAGE = 2 * 1024 * 1024
"""The largest message of a WebSocket, in bytes; uvicorn's own limit is 16 MB, also before anybody has a token."""
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
        if not serve:
            return
        await AccessToken.filter(name="demo", revoked_at=None).update(revoked_at=datetime.now(UTC))
        secret = await tokens.create_token("admin", await brand_by_slug(demo.SLUG), name="demo")
        console = err if as_json else out
        console.print(f"\n[bold]GraphiQL[/]  http://{host}:{port}/graphql#token={secret}", soft_wrap=True)
        console.print(f"[bold]Token[/]     {secret}", soft_wrap=True)
        home = at_hand.servers.settings.home
        console.print(f"[dim]Ctrl-C ends it. What was imported stays in {home}.[/]", soft_wrap=True)
        await _serve(at_hand, host, port, worker=True, query=demo.QUERY)

    session(work)


@app.command()
def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    worker: Annotated[bool, typer.Option(help="Work in this process, too.")] = True,
) -> None:
    """Serve the GraphQL API (and do the background work)."""
    session(lambda at_hand: _serve(at_hand, host, port, worker=worker))


@app.command()
def worker() -> None:
    """Do the background work: decide, dispatch, refresh, sweep."""

    async def work(at_hand: Session) -> None:
        queue = await Queue.open(at_hand.addresses.redis_url)
        out.print("Working. Ctrl-C ends it.")
        await asyncio.gather(run_worker(at_hand.ctx, queue), _keep(at_hand))

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


async def _serve(at_hand: Session, host: str, port: int, *, worker: bool, query: str = "") -> None:
    """Serve until interrupted; with ``worker``, do the background work in this process."""
    import uvicorn

    queue = await Queue.open(at_hand.addresses.redis_url)
    asgi = api().create_app(at_hand.ctx, queue, page=api().Page(query=query))
    server = uvicorn.Server(
        uvicorn.Config(
            asgi, host=host, port=port, log_level="warning", timeout_graceful_shutdown=10, ws_max_size=MOST_MESSAGE
        )
    )
    background = [asyncio.create_task(_keep(at_hand))]
    if worker:
        background.append(asyncio.create_task(run_worker(at_hand.ctx, queue)))
    try:
        await server.serve()
        if not server.started:
            fail(f"cannot listen on {host}:{port}; choose another --port")
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await queue.close()


async def _keep(at_hand: Session) -> None:
    """Start the embedded servers again should they have gone."""
    while True:
        await asyncio.sleep(2)
        try:
            await asyncio.to_thread(at_hand.servers.ensure)
        except ServerError as error:
            err.print(f"[red]siyu:[/] {error}")
