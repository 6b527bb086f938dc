"""Fixtures: real servers for the whole run, a database of its own for each test that wants one."""

from __future__ import annotations

import gc
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: where several processes share the tests, nobody waits in the end for one of them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


def pytest_collection_finish() -> None:
    """What has been loaded by now stays: looking through it for garbage again and again took a quarter of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_unconfigure() -> None:
    """What C extensions keep is told of as lost unless it is collected at the end."""
    gc.unfreeze()


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
    """The name of a database with all tables and no rows, to make others from."""
    await _execute(addresses.database_url, "CREATE DATABASE siyu_template")
    db = await Database.open(database(addresses, "siyu_template"), pool=2)
    await db.migrate()
    await db.close()
    return "siyu_template"


@pytest.fixture(scope="session")
async def shared_url(addresses: Addresses, template: str) -> str:
    """The URL of the database that tests use one after the other."""
    await _execute(addresses.database_url, f"CREATE DATABASE tests TEMPLATE {template}")
    return database(addresses, "tests")


@pytest.fixture
async def database_url(shared_url: str) -> AsyncIterator[str]:
    """The URL of a database without rows. It is emptied, not made anew: some hundred tables take half a second."""
    yield shared_url
    await _execute(shared_url, EMPTY)


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    """All installed plugins."""
    return PluginManager.load()


@pytest.fixture
async def ctx(
    addresses: Addresses, database_url: str, plugins: PluginManager, tmp_path: Path
) -> AsyncIterator[Context]:
    """What the steps of the loop are given."""
    async with open_context(database_url, plugins, tmp_path, redis_url=addresses.redis_url) as opened:
        yield opened


@pytest.fixture
async def brand(ctx: Context) -> Brand:
    """A brand that lives at its newest event, with no plugin on."""
    return await Brand.create(slug="shop", name="Shop", replayed_to=datetime.fromtimestamp(0, UTC))


EMPTY = """
DO $$ DECLARE name regclass; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    -- Without triggers: those of the audit log refuse to forget.
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR name IN SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND relname NOT IN ('tortoise_migrations', 'installation')
    LOOP EXECUTE format('DELETE FROM %s', name); END LOOP;
END $$
"""


def database(addresses: Addresses, name: str) -> str:
    """The URL of another database of the same server."""
    return addresses.database_url.replace("/siyu?", f"/{name}?")


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
