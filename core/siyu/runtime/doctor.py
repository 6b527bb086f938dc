"""Is everything there that siyu needs, and does it work?"""

import asyncio
import os
import platform
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from . import postgres, valkey
from .errors import ANOTHER_HOME, ServerError, owner
from .service import Service
from .settings import Settings, masked

SECONDS = 5.0
LEAST_FREE = 1 << 30


@dataclass(frozen=True)
class Check:
    """What one look found."""

    name: str
    ok: bool
    detail: str
    remedy: str | None = None
    """What to do about it; None if all is well."""


Examination = Callable[[Settings], Awaitable[Check]]
"""Looks at one thing. It says what is wrong in its `Check` and does not raise."""


async def examine(settings: Settings, *further: Examination) -> list[Check]:
    """Look at Python, the home and both servers, and at whatever `further` looks at.

    Embedded servers are started (or joined) for as long as the look takes: the only proof that they start.
    """
    return [await look(settings) for look in (python, home, database, redis, *further)]


async def python(settings: Settings) -> Check:
    """The interpreter."""
    detail = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    old = sys.version_info < (3, 11)
    return Check("python", not old, detail, "install Python 3.11 or newer" if old else None)


async def home(settings: Settings) -> Check:
    """The data directory: writable, and with room to grow."""
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    state = f"belongs to {owner(place)}" if place == settings.home else "made at the first start"
    detail = f"{settings.home} ({state}), {free / 2**30:.1f} GiB free"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Check("home", False, f"{detail}; {place} cannot be written to", ANOTHER_HOME)
    if free < LEAST_FREE:
        return Check("home", False, detail, "free some space on that disk")
    return Check("home", True, detail)


async def database(settings: Settings) -> Check:
    """PostgreSQL."""
    if settings.database_url:
        return await _own("postgres", "DATABASE_URL", settings.database_url, _ask_postgres)
    return await _embedded(postgres.service(settings), _ask_postgres)


async def redis(settings: Settings) -> Check:
    """Valkey or Redis."""
    if settings.redis_url:
        return await _own("redis", "REDIS_URL", settings.redis_url, _ask_redis)
    return await _embedded(valkey.service(settings), _ask_redis)


Ask = Callable[[str], Awaitable[str]]


async def _own(name: str, variable: str, url: str, ask: Ask) -> Check:
    try:
        return Check(name, True, f"{await ask(url)}, your own at {masked(url)}")
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError) as error:
        problem = f"{masked(url)}: {str(error) or type(error).__name__}"
        remedy = f"start that server or correct {variable}; unset it to use the embedded one"
        return Check(name, False, problem, remedy)


async def _embedded(service: Service, ask: Ask) -> Check:
    name = service.place.name
    try:
        url = await asyncio.to_thread(service.attach)
        return Check(name, True, f"{await ask(url)}, embedded in {service.place.data}")
    except ServerError as error:
        return Check(name, False, error.problem, error.remedy)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError) as error:
        return Check(name, False, str(error) or type(error).__name__, f"see {service.place.log}")
    finally:
        if service.release():
            await asyncio.to_thread(service.wait_until_ended)


async def _ask_postgres(url: str) -> str:
    connection = await asyncpg.connect(url, timeout=SECONDS)
    try:
        version = await connection.fetchval("SHOW server_version")
        began = time.perf_counter()
        await connection.fetchval("SELECT 1", timeout=SECONDS)
        return f"PostgreSQL {version}, {(time.perf_counter() - began) * 1000:.2f} ms"
    finally:
        await connection.close(timeout=SECONDS)


async def _ask_redis(url: str) -> str:
    client = Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
    try:
        info = await client.info("server")
        began = time.perf_counter()
        await client.ping()
        milliseconds = (time.perf_counter() - began) * 1000
        kind = "valkey" if "valkey_version" in info else "redis"
        return f"{kind.title()} {info[f'{kind}_version']}, {milliseconds:.2f} ms"
    finally:
        await client.aclose()
