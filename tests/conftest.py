"""Fixtures: real servers for the whole run, a database of its own for each test that wants one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from siyu.contract.manager import PluginManager
from siyu.flow.context import Context, open_context
from siyu.runtime import Addresses, Servers, Settings
from siyu.store.db import Database
from siyu.store.models import Brand

TEMPLATE = "siyu_template"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Embedded servers of this run."""
    home = tmp_path_factory.mktemp("siyu")
    with Servers(Settings.from_env({"SIYU_HOME": str(home), "SIYU_EMBEDDED_FSYNC": "off"})) as found:
        yield found


@pytest.fixture(scope="session")
async def template(addresses: Addresses) -> str:
    """A database with all tables and no rows."""
    await _execute(addresses, f"CREATE DATABASE {TEMPLATE}")
    db = await Database.open(database(addresses, TEMPLATE), pool=2)
    await db.migrate()
    await db.close()
    return TEMPLATE


@pytest.fixture
async def database_url(addresses: Addresses, template: str) -> AsyncIterator[str]:
    """The URL of a database of the test's own."""
    name = f"test_{next(_numbers)}"
    await _execute(addresses, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield database(addresses, name)
    await _execute(addresses, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    """All installed plugins."""
    return PluginManager.load()


@pytest.fixture
async def ctx(database_url: str, plugins: PluginManager, tmp_path: Path) -> AsyncIterator[Context]:
    """What the steps of the loop are given."""
    async with open_context(database_url, plugins, tmp_path) as opened:
        yield opened


@pytest.fixture
async def brand(ctx: Context) -> Brand:
    """A brand that lives at its newest event, with no plugin on."""
    return await Brand.create(slug="shop", name="Shop", replayed_to=datetime.fromtimestamp(0, UTC))


def database(addresses: Addresses, name: str) -> str:
    """The URL of another database of the same server."""
    return addresses.database_url.replace("/siyu?", f"/{name}?")


async def _execute(addresses: Addresses, sql: str) -> None:
    connection = await asyncpg.connect(addresses.database_url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
