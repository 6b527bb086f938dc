"""The same lists from several GraphQL servers, over one database, in turns.

    python -m benchmarks graphql --users 200000 --seconds 5 --rounds 3

* *bare*: a Starlette route that sends finished JSON from one SQL, without tokens: the floor
* *siyu*: ``siyu serve``, one process
* *naive*: Strawberry with Tortoise models and DataLoaders
* *postgraphile*: PostGraphile 5 over siyu's tables, with the connection-filter plugin
* *mercurius*: Mercurius with JIT, its data by the SQL of the bare route

Each is one process with up to 10 connections to the database; those in Python run on uvloop and httptools. Before
anything is timed their answers are compared, and afterwards again. ``wrk`` sends the load over 16 connections from one
thread of the same machine. Two cores are shared by it, the server and PostgreSQL, so the CPU that a request takes of
the last two stands beside the rate. ``recordEvents``: ``python -m benchmarks ingest``; large brands: ``pages``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
from siyu.contract.manager import PluginManager
from siyu.flow.context import open_context
from siyu.flow.tokens import create_token
from siyu.runtime import Servers, Settings

from benchmarks.graphql.data import fill
from benchmarks.graphql.queries import QUERIES, Query, plain
from benchmarks.graphql.servers import Server, cpu, started
from benchmarks.measure import machine

CONCURRENCY = 16


@dataclass(frozen=True)
class Measured:
    """One round of one server."""

    rate: float
    p50: float
    p99: float
    cpu: float
    database: float


def body(query: Query, server: str) -> dict[str, Any]:
    """The question as that server understands it."""
    text = query.postgraphile if server == "postgraphile" else query.ours
    return {"query": text, "variables": {k: v for k, v in query.variables.items() if f"${k}" in text}}


async def compare(query: Query, servers: list[Server], token: str) -> None:
    """All must say the same; asked three times, as siyu plans what comes again."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        said = {}
        for server in servers:
            for _ in range(3):
                response = await client.post(server.url, json=body(query, server.name))
                answer = response.json()
                if answer.get("errors"):
                    raise SystemExit(f"{server.name}: {answer['errors']}")
                said[server.name] = plain(answer)
    first = said[servers[0].name]
    for name, answer in said.items():
        if answer != first or not answer:
            raise SystemExit(f"{query.name}: {name} answers {str(answer)[:500]}\n{servers[0].name} {str(first)[:500]}")


def measure(query: Query, server: Server, database: psutil.Process, token: str, seconds: int) -> Measured:
    """Load one server for so long."""
    env = {**os.environ, "TOKEN": token, "BODY": json.dumps(body(query, server.name))}
    script = str(Path(__file__).with_name("load.lua"))
    before = server.cpu(), cpu(database)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONCURRENCY}", f"-d{seconds}s", "--latency", "-s", script, server.url],
        env=env, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    spent = [after - then for after, then in zip((server.cpu(), cpu(database)), before, strict=True)]
    found = json.loads(done.stdout.partition("RESULT ")[2])
    if found["failed"]:
        raise SystemExit(f"{server.name}: {found['failed']} of {found['requests']} failed")
    requests = found["requests"]
    return Measured(
        requests / found["seconds"], found["p50"], found["p99"], *(seconds / requests * 1000 for seconds in spent)
    )


def report(query: Query, rounds: dict[str, list[Measured]]) -> None:
    """The medians of the rounds, and the ratio to the first server, round by round."""
    floor = next(iter(rounds))
    heads = f"{'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8} {'database':>8}"
    print(f"\n{query.name:28} {'requests/s':>10} {f'÷ {floor}':>14} {heads}")
    for name, measured in rounds.items():
        ratio = statistics.median(m.rate / f.rate for m, f in zip(measured, rounds[floor], strict=True))
        rate, p50, p99, own, database = (
            statistics.median(getattr(each, what) for each in measured) for what in Measured.__annotations__
        )
        print(f"  {name:26} {rate:>10,.0f} {ratio:>14.2f} {p50:>8.1f} {p99:>8.1f} {own:>8.2f} {database:>8.2f}")


async def prepare(settings: Settings, database_url: str, users: int) -> tuple[str, psutil.Process]:
    """The data, a token, and the server of the database."""
    async with open_context(database_url, PluginManager.load(), settings.home) as ctx:
        brand = await fill(ctx, users)
        async with ctx.db.connection() as connection:
            backend = psutil.Process(connection.get_server_pid())
        return await create_token("viewer", brand), backend.parent()


def main(users: int, seconds: int, rounds: int) -> None:
    if not shutil.which("wrk"):
        raise SystemExit("wrk is needed (Debian, Ubuntu: apt-get install wrk)")
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        Path(folder).chmod(0o755)
        env = {"SIYU_HOME": f"{folder}/home", "SIYU_COST_PER_MINUTE": "0"}  # nobody else is to be left something
        settings = Settings.from_env(env)
        with Servers(settings) as addresses:
            token, database = asyncio.run(prepare(settings, addresses.database_url, users))
            print(f"{machine()}; {users:,} users; {CONCURRENCY} connections, {rounds} rounds of {seconds} s")
            with started({**env, "DATABASE_URL": addresses.database_url}) as servers:
                for query in QUERIES:
                    asked = [servers[name] for name in query.servers if name in servers]
                    asyncio.run(compare(query, asked, token))
                    for server in asked:
                        measure(query, server, database, token, 1)
                    found: dict[str, list[Measured]] = {server.name: [] for server in asked}
                    for _ in range(rounds):
                        for server in asked:
                            found[server.name].append(measure(query, server, database, token, seconds))
                    # What is refused comes with status 200, too.
                    asyncio.run(compare(query, asked, token))
                    report(query, found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.users, arguments.seconds, arguments.rounds)
