"""The database: one pool, under Tortoise for rows and under asyncpg for bulk.

Tortoise serves where a person or a request touches a few rows; everything larger takes a connection here and speaks
SQL and COPY.
"""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import IntEnum
from io import BytesIO
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
import polars as pl
from tortoise.context import TortoiseContext
from tortoise.migrations.executor import MigrationExecutor

from siyu.contract.errors import InputError
from siyu.contract.events import MOMENT
from siyu.store import migrations
from siyu.store.readers import Readers, as_it_is
from siyu.store.signals import Signals
from siyu.telemetry import tracing

__all__ = [
    "AT_ONCE",
    "Connection",
    "Database",
    "Lock",
    "Rows",
    "copy_in",
    "copy_out",
    "fetch",
    "few",
    "give",
    "note_sizes",
]

AT_ONCE = 5_000
"""Up to so many rows go to a statement as arrays; more are staged by COPY."""
PIECE = 100_000
"""Rows that a COPY is handed at a time."""
MANY = 50
"""From so many rows on it pays to look whether a column has but one value."""
RECORDING = 8
"""Calls of a process that record at once. More would each open a connection in a rush, which takes longer than a call,
and be no sooner done."""

OLDEST = 18
"""The oldest PostgreSQL whose SQL is spoken here: it returns rows as they were before an update."""
END_SECONDS = 5.0
"""How long a COPY may go on that was given up, before its connection is."""

Connection: TypeAlias = asyncpg.Connection
Rows: TypeAlias = Sequence[tuple[Any, ...]]
"""A few rows. To make a frame of them takes longer than the statement that they go to."""
APPS = {
    "siyu": {
        "models": ["siyu.store.models"],
        "migrations": "siyu.store.migrations",
        "default_connection": "default",
    }
}
MIGRATION_LOCK = 0x51_59_55
APPLIED = "SELECT name FROM tortoise_migrations WHERE app = 'siyu'"
NAME = "SELECT i.id || '-' || d.oid FROM installation i, pg_database d WHERE d.datname = current_database()"


class Lock(IntEnum):
    """First keys of the advisory locks; the second is the brand."""

    EVENTS = 1  # shared by writers of events, exclusive to read how far the log is closed, and to merge users
    DECISIONS = 2  # one writer of decisions a brand
    REFRESH = 3  # one refresh a brand
    IDENTITIES = 4  # shared by writers of new users, exclusive to tie names together; taken after EVENTS
    ACTIONS = 5  # one writer of changes of actions a brand; taken last
    FILES = 6  # one process a brand makes its files
    PLAYBOOKS = 7  # one who takes users of a brand into playbooks
    GUARD = 8  # one who lets actions of a brand pass
    GUARD_LINE = 9  # one of those who are in no hurry to take GUARD; taken before it


class Database:
    """An open database. Make one with :meth:`open`; it is the Tortoise context of its process."""

    def __init__(self, context: TortoiseContext, readers: Readers) -> None:
        self._context = context
        self._migrated = False
        self._readers = readers
        self.signals = Signals()
        self.recording = asyncio.Semaphore(RECORDING)

    @classmethod
    async def open(cls, url: str, *, pool: int = 20) -> Database:
        """Connect to ``url`` (``postgresql://user:password@host:port/name``, or ``?host=/socket/folder``)."""
        context = TortoiseContext()
        default = _tortoise(url, pool)
        config = {"connections": {"default": default}, "apps": APPS}
        # Models look the context up by task while they are set up, and find the process-wide one ever after.
        with context:
            await context.init(config=config, _enable_global_fallback=True)
        return cls(context, Readers(default["credentials"]))

    async def close(self) -> None:
        """Close the pool."""
        await self.signals.close()
        await self._readers.close()
        await self._context.close_connections()

    async def migrate(self) -> None:
        """Bring the tables up to date; of several processes at once one does it and the others wait."""
        if await self._up_to_date():
            return  # Tortoise loads all migrations before it finds that there is nothing to do
        async with self.connection() as lock:
            if (version := lock.get_server_version().major) < OLDEST:
                raise InputError(
                    f"PostgreSQL {version} is too old",
                    field="DATABASE_URL",
                    remedy=f"name a PostgreSQL {OLDEST} or newer, or unset it to use the embedded one",
                )
            # Tortoise takes no lock of its own.
            await lock.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
            try:
                await MigrationExecutor(self._context.db(), APPS).migrate()
            finally:
                await lock.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)

    async def migrated(self) -> bool:
        """Whether the tables are up to date; once they are they stay so."""
        self._migrated = self._migrated or await self._up_to_date()
        return self._migrated

    async def _up_to_date(self) -> bool:
        async with self.connection() as connection:
            known = await connection.fetchval("SELECT to_regclass('tortoise_migrations')")
            applied = await connection.fetch(APPLIED) if known else []
        there = {module.name for module in pkgutil.iter_modules(migrations.__path__)}
        return there <= {row["name"] for row in applied}

    def connections(self) -> dict[str, int]:
        """How many connections this process has by state, and how many it may have."""
        pool = self._context.db()._pool
        size, idle, most = (pool.get_size(), pool.get_idle_size(), pool.get_max_size()) if pool else (0, 0, 0)
        return {"used": size - idle, "idle": idle, "allowed": most}

    async def name(self) -> str:
        """What tells this database from all others, copies of it on the same server included."""
        async with self.connection() as connection:
            return str(await connection.fetchval(NAME))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool. Locks of the session that are still held when it is given back end then."""
        async with self._acquired() as connection:
            try:
                yield connection
            finally:
                await _cleared(connection)

    @asynccontextmanager
    async def view(self) -> AsyncIterator[Connection]:
        """A connection that sees the database as of one moment, and cannot write."""
        async with self._acquired() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """A connection that only reads, from which moments come as JSON; see :mod:`siyu.store.readers`."""
        async with self._readers.connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection within a transaction, with which all ends that it has taken."""
        async with self._acquired() as connection, connection.transaction():
            yield connection

    def _acquired(self) -> AbstractAsyncContextManager[Connection]:
        acquired: AbstractAsyncContextManager[Connection] = self._context.db().acquire_connection()
        return acquired


async def _cleared(connection: Connection) -> None:
    """End what a session may have beyond its transactions. A connection of which that cannot be said is closed."""
    with suppress(asyncpg.InterfaceError):  # it is closed already
        try:
            await connection.reset()
        except BaseException:
            connection.terminate()
            raise


def _tortoise(url: str, pool: int) -> dict[str, Any]:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    credentials: dict[str, Any] = {
        "host": query.pop("host", None) or parts.hostname or "localhost",
        "port": parts.port or 5432,
        "user": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        "database": parts.path.lstrip("/") or "siyu",
        "minsize": 1,
        "maxsize": pool,
        # Of transactions, and of Tortoise's single statements, nothing is left: to ask for it would be one more each.
        "reset": as_it_is,
        # Random pages are nearly as cheap as others; without this PostgreSQL scans for the index of 1 % of the users.
        "server_settings": {
            "timezone": "UTC",
            "datestyle": "ISO",
            "application_name": "siyu",
            "random_page_cost": "1.1",
            "jit": "off",
            # A plan that was kept from when a table was empty reads it whole for each row ever after (seen: half a
            # minute for a thousand events). Planned for its brand, a statement also touches one partition, not eight.
            "plan_cache_mode": "force_custom_plan",
        },
    }
    if tracing.enabled():
        credentials["init"] = tracing.watch
    if mode := query.get("sslmode"):
        credentials["ssl"] = mode
    return {"engine": "tortoise.backends.asyncpg", "credentials": credentials}


async def note_sizes(connection: Connection) -> None:
    """Take the statistics of large tables that have none yet, as after an import: the server's own come a minute later,
    and until then a handful of users is met by reading all."""
    for row in await connection.fetch(_UNKNOWN):
        await connection.execute(f"ANALYZE {row['name']}")


# Of tables that are partitioned, the parts: they are what a statement about one brand reads.
_UNKNOWN = """
SELECT c.oid::regclass AS name FROM pg_class c
WHERE c.relispartition AND c.relkind = 'r' AND c.reltuples < 0 AND pg_relation_size(c.oid) > 2 ^ 20
"""


async def give(
    connection: Connection,
    name: str,
    columns: Mapping[str, str],
    rows: pl.DataFrame | Rows,
    *,
    first: int,
) -> tuple[str, list[Any]]:
    """``rows`` for statements that call them ``name``: what these begin with, and their arguments from ``$first`` on.

    ``columns`` are SQL types by name; rows that are no frame have them in this order. Many rows of a frame lie in the
    temporary table ``staged_name``.
    """
    if not isinstance(rows, pl.DataFrame):
        given, args = few(name, columns, rows, first=first)
        return f"WITH {given}", args
    if len(rows) <= AT_ONCE:
        given, args = _arrays(name, columns, [rows.get_column(column).to_list() for column in columns], first)
        return f"WITH {given}", args
    rows = rows.select(list(columns))
    table = f"staged_{name}"
    # One for the life of the connection: creating a table for each batch would bloat the catalog.
    await connection.execute(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {table} ({', '.join(f'{c} {kind}' for c, kind in columns.items())})"
        f" ON COMMIT DELETE ROWS; TRUNCATE {table}"
    )
    await copy_in(connection, table, rows)
    # Without statistics a handful of changes is met by a scan of everything. Nothing is joined by its long texts, which
    # would take most of the time.
    narrow = [column for column, kind in columns.items() if kind != "text"]
    await connection.execute(f"ANALYZE {table} ({', '.join(narrow or columns)})")
    return f"WITH {name} AS NOT MATERIALIZED (SELECT * FROM {table})", []


def few(name: str, columns: Mapping[str, str], rows: Rows, *, first: int) -> tuple[str, list[Any]]:
    """As :func:`give`, for a statement that is given several: without its WITH."""
    return _arrays(name, columns, list(map(list, zip(*rows, strict=True))) or [[] for _ in columns], first)


def _arrays(name: str, columns: Mapping[str, str], values: Sequence[list[Any]], first: int) -> tuple[str, list[Any]]:
    """The values of columns as an argument each: of one that is the same in many rows that one, of others all."""
    args: list[Any] = []
    selected: list[str] = []
    arrays: dict[str, str] = {}
    for number, ((column, kind), mine) in enumerate(zip(columns.items(), values, strict=True), first):
        # One of them has to say how many rows there are.
        others = arrays or number < first + len(columns) - 1
        if len(mine) >= MANY and others and mine.count(mine[0]) == len(mine):
            args.append(mine[0])
            selected.append(f"${number}::{kind}")
        else:
            args.append(mine)
            selected.append(column)
            arrays[column] = f"${number}::{kind}[]"
    rows_of = f"SELECT {', '.join(selected)} FROM unnest({', '.join(arrays.values())}) u ({', '.join(arrays)})"
    return f"{name} ({', '.join(columns)}) AS MATERIALIZED ({rows_of})", args


async def copy_in(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """COPY a frame into the columns of ``table`` that are named like its own."""
    if len(frame):
        await connection.copy_to_table(table, source=_pieces(frame), columns=frame.columns, format="csv")


async def _pieces(frame: pl.DataFrame) -> AsyncIterator[bytes]:
    """A frame as CSV, some of it at a time: the text of a million rows takes hundreds of megabytes."""
    for rows in frame.iter_slices(PIECE):
        buffer = BytesIO()
        # Off the event loop: writing so many takes a tenth of a second.
        # Null is nothing between the commas, on both sides: an empty text is quoted, and no text is mistaken for null.
        await asyncio.to_thread(rows.write_csv, buffer, include_header=False, quote_style="necessary")
        yield buffer.getvalue()


async def fetch(
    connection: Connection, query: str, *args: Any, schema: Mapping[str, pl.DataType], given: str = ""
) -> pl.DataFrame:
    """The rows of a query, which may begin with what is ``given`` (WITH ...), as a frame with ``schema``; for some
    thousands, where :func:`copy_out` takes longer to set out.

    They come as an array a column, and moments as numbers: rows of Python objects cost six times as much.
    """
    wanted = (_MICROSECONDS if dtype == MOMENT else "array_agg({})" for dtype in schema.values())
    arrays = ", ".join(array.format(f"c{number}") for number, array in enumerate(wanted))
    names = ", ".join(f"c{number}" for number in range(len(schema)))
    found = await connection.fetchrow(f"{given} SELECT {arrays} FROM ({query}) q ({names})", *args)
    return pl.DataFrame(
        [
            pl.Series(name, array or [], pl.Int64 if dtype == MOMENT else dtype)
            for (name, dtype), array in zip(schema.items(), found, strict=True)
        ]
    ).cast({name: dtype for name, dtype in schema.items() if dtype == MOMENT})


_MICROSECONDS = "array_agg((extract(epoch FROM {}) * 1000000)::bigint)"


async def _end(connection: Connection, copying: asyncio.Future[str]) -> None:
    """Let a COPY end that nobody waits for any more. asyncpg (0.32) does not survive that one is cancelled: between two
    pieces it loses count, and after the last it waits for ever to be told of an end that has been."""
    giving_up = asyncio.get_running_loop().call_later(END_SECONDS, connection.terminate)
    while not copying.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([copying])
    giving_up.cancel()
    copying.exception()  # which is of no interest, and asyncio wants somebody to have looked


async def copy_out(connection: Connection, query: str, *args: Any, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The rows of a query as a frame with ``schema``, by COPY."""
    buffer = BytesIO()

    async def keep(data: bytes) -> None:
        buffer.write(data)

    copying = asyncio.ensure_future(connection.copy_from_query(query, *args, output=keep, format="csv"))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        await _end(connection, copying)
        raise
    if not buffer.tell():
        return pl.DataFrame(schema=schema)
    buffer.seek(0)
    times = {name: dtype for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)}
    flags = {name for name, dtype in schema.items() if dtype == pl.Boolean}
    read = {name: pl.String if name in times or name in flags else dtype for name, dtype in schema.items()}
    frame = await asyncio.to_thread(pl.read_csv, buffer, has_header=False, new_columns=list(schema), schema=read)
    return frame.with_columns(
        *(pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit="us", time_zone="UTC") for name in times),
        *(pl.col(name) == "t" for name in flags),
    )
