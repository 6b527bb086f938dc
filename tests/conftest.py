"""Fixtures: real servers for the whole run, a database of its own for each test that wants one."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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


def pytest_sessionstart() -> None:
    """What is loaded stays: looking through it for garbage again and again took a quarter of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is some."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


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
    # It comes by when it likes, and what the planner knows then is another thing each time.
    await _execute(addresses.database_url, "ALTER SYSTEM SET autovacuum = off")
    await _execute(addresses.database_url, "SELECT pg_reload_conf()")
    await _execute(addresses.database_url, "CREATE DATABASE siyu_template")
    db = await Database.open(database(addresses, "siyu_template"), pool=2)
    await db.migrate()
    await db.close()
    return "siyu_template"


@pytest.fixture(scope="session")
async def databases(addresses: Addresses, template: str) -> AsyncIterator[Databases]:
    """Databases as good as new, to be borrowed."""
    lender = Databases(addresses, template)
    yield lender
    await lender.close()


@pytest.fixture(scope="session")
async def shared_url(databases: Databases) -> AsyncIterator[str]:
    """The URL of the database that tests use one after the other."""
    async with databases.borrowed() as url:
        yield url


@pytest.fixture
async def database_url(databases: Databases, shared_url: str) -> AsyncIterator[str]:
    """The URL of a database without rows."""
    yield shared_url
    await databases.empty(shared_url, small=1 << 16)


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


@pytest.fixture
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview counts actions a day over one day before, not over 28: where all else that it says is looked at."""
    monkeypatch.setattr("siyu.flow.preview.DAYS", 1)


class Databases:
    """Databases are emptied and lent again, not made anew: one is two thousand files. Whoever empties one stays
    connected to it; a new connection first reads about all its tables, which takes longer than to empty them."""

    def __init__(self, addresses: Addresses, template: str) -> None:
        self._addresses = addresses
        self._template = template
        self._made: dict[str, asyncpg.Connection] = {}
        self._free: list[str] = []

    @asynccontextmanager
    async def borrowed(self) -> AsyncIterator[str]:
        """The URL of one that nobody else uses meanwhile."""
        url = self._free.pop() if self._free else await self._another()
        yield url
        await self.empty(url)
        self._free.append(url)

    async def empty(self, url: str, *, small: int = 0) -> None:
        """Truncate what was used: it is as if nobody had seen it, the planner included. Of tables of up to ``small``
        bytes the rows are deleted, which is quicker."""
        await self._made[url].execute(EMPTY.replace("SMALL", str(small)))

    async def _another(self) -> str:
        name = f"tests_{len(self._made)}"
        admin, url = self._addresses.database_url, database(self._addresses, name)
        await _execute(admin, f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        self._made[url] = await asyncpg.connect(url)
        return url

    async def close(self) -> None:
        for connection in self._made.values():
            await connection.close()


EMPTY = """
DO $$ DECLARE found record; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    -- Without triggers: those of the audit log refuse to forget.
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR found IN SELECT string_agg(oid::regclass::text, ', ') AS names, small FROM (
            SELECT oid, reltuples < 0 AND pg_relation_size(oid) <= SMALL AS small FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                AND (pg_relation_size(oid) > 0 OR reltuples >= 0)
                AND relname NOT IN ('tortoise_migrations', 'installation')) used GROUP BY small
    LOOP
        IF found.small THEN EXECUTE 'DELETE FROM ' || replace(found.names, ', ', '; DELETE FROM ');
        ELSE EXECUTE 'TRUNCATE ' || found.names || ' CASCADE';
        END IF;
    END LOOP;
    IF SMALL = 0 THEN
        -- As it was made: no statistics, and numbers from one on, which decide what lies in one partition.
        DELETE FROM pg_statistic USING pg_class c WHERE starelid = c.oid AND c.relnamespace = 'public'::regnamespace;
        UPDATE pg_class SET reltuples = -1, relpages = 0
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'p' AND reltuples >= 0;
        PERFORM setval(c.oid::regclass, s.seqstart, false) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
            WHERE c.relnamespace = 'public'::regnamespace;
    END IF;
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
