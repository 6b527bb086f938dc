"""What every command does: open everything, work, close, and show errors as a person reads them."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from types import ModuleType
from typing import Annotated, Any, NoReturn
from zoneinfo import ZoneInfo

import typer
import uvloop
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from siyu import __version__
from siyu.contract import budget
from siyu.contract.errors import PluginError, SiyuError
from siyu.contract.manager import PluginManager
from siyu.flow.context import Context, open_context, zone
from siyu.runtime import Addresses, ServerError, Servers, Settings, SettingsError
from siyu.store.models import Brand
from siyu.telemetry import logs, tracing

__all__ = [
    "BrandOption",
    "JsonOption",
    "Session",
    "api",
    "author",
    "bar",
    "bars",
    "err",
    "fail",
    "installed_plugins",
    "json_object",
    "local",
    "moment",
    "out",
    "pair",
    "print_json",
    "session",
]

API_GROUP = "siyu.api"
"""The entry point of the API: a module with ``create_app``, ``print_sdl`` and ``hooks``."""

BrandOption = Annotated[str, typer.Option("--brand", "-b", help="The brand's slug.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data, not a table.")]

out = Console()
err = Console(stderr=True)
COLUMNS = (
    TextColumn("{task.description:>10}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f}%"),
    TimeElapsedColumn(),
)


@dataclass(frozen=True)
class Session:
    """What a command has at hand."""

    ctx: Context
    servers: Servers
    addresses: Addresses


def session(work: Callable[[Session], Awaitable[None]]) -> None:
    """Start or join the servers, open everything, do ``work``, and close."""
    try:
        settings = Settings.from_env()
        logs.configure(settings.log_format, settings.log_level)
        finish = _traced()
        plugins = installed_plugins()
        servers = Servers(settings)
        with servers as addresses:

            async def opened() -> None:
                try:
                    async with open_context(
                        addresses.database_url, plugins, settings.home, settings.engine, redis_url=addresses.redis_url
                    ) as ctx:
                        await work(Session(ctx, servers, addresses))
                finally:
                    # Else a rule that hangs in a thread would hold up the end for as long as it may take.
                    budget.given_up.set()

            try:
                uvloop.run(opened())
            finally:
                budget.given_up.clear()
                finish()
    except (SiyuError, ServerError, SettingsError) as error:
        fail(str(error))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("[red]siyu:[/] interrupted")
        raise typer.Exit(130) from None


def _traced() -> Callable[[], None]:
    """Send spans if the environment asks for them; what is returned sends the last of them."""
    if not tracing.asked_for():
        return lambda: None
    try:
        return tracing.begin(__version__)
    except ImportError:
        fail(f"{' or '.join(tracing.ENDPOINTS)} is set, which needs pip install 'siyu[otel]'; or unset it")


def api() -> Any:
    """The API, found by its entry point: the core does not import it."""
    for entry in metadata.entry_points(group=API_GROUP):
        module: ModuleType = entry.load()
        return module
    raise PluginError("no API is installed", field=API_GROUP, remedy="reinstall siyu")


def author() -> str:
    """Who gives the command, as the history of what it changes names them."""
    try:
        return f"cli:{getpass.getuser()[:100]}"
    except (OSError, KeyError):  # a container may run as a number that has no name
        return "cli"


def installed_plugins() -> PluginManager:
    """The plugin manager with all that is installed."""
    return PluginManager.load([api().hooks])


def fail(message: str) -> NoReturn:
    """Say what is wrong and end."""
    err.print(f"[red]siyu:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(2)


def pair(text: str, option: str, form: str = "NAME=COLUMN") -> tuple[str, str]:
    """``NAME=VALUE`` of an option."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        fail(f"{option} {text}: write it as {form}")
    return name, value


def json_object(text: str, name: str = "params") -> dict[str, Any]:
    """The JSON object that an argument is."""
    try:
        value = json.loads(text)
        plain = json.dumps(value, ensure_ascii=False)
    except ValueError:
        value, plain = None, ""
    if not isinstance(value, dict):
        fail(f"{name}: {text!r} is not a JSON object; write one like " + """'{"lifecycle": {"dormant_days": 45}}'""")
    if "\\u0000" in plain or plain.encode(errors="replace").decode() != plain:
        fail(f"{name}: a text with a NUL or half a character; write whole Unicode characters")
    return value


def moment(text: str, option: str, zone: ZoneInfo) -> datetime:
    """The moment that an option names; a day begins in the brand's time zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} {text}: write a day like 2026-11-21 or a moment like 2026-11-21T09:30")
    return found if found.tzinfo else found.replace(tzinfo=zone)


def local(moment: datetime, brand: Brand) -> str:
    """A moment as the brand's clocks show it."""
    return f"{moment.astimezone(zone(brand.zone)):%Y-%m-%d %H:%M}"


def print_json(data: Any) -> None:
    """Print what a command has found as JSON."""
    print(json.dumps(to_jsonable_python(data), ensure_ascii=False))


@contextmanager
def bar(quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error that says what is being done."""
    with Progress(*COLUMNS, console=err, disable=quiet) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda phase, share: progress.update(task, description=phase, completed=share)


@contextmanager
def bars(quiet: bool = False) -> Iterator[Callable[[str, float], None]]:
    """Progress bars on standard error, one for each step that is told of."""
    with Progress(*COLUMNS, console=err, disable=quiet) as progress:
        tasks: dict[str, Any] = {}

        def tell(step: str, share: float) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=share)

        yield tell
