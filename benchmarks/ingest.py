"""Events a second through ``recordEvents`` over HTTP, beside plain INSERTs of the same rows in the same run.

    python -m benchmarks.ingest --seconds 5

The server is a process of its own (``siyu serve``, worker included, so that it decides while it takes in); the
client is this one, 8 requests at a time. The floor is one connection that inserts the same rows, ready-made, into
a table with the same keys.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import httpx2
from siyu.runtime import Servers, Settings

from benchmarks.measure import machine

CONCURRENCY = 8
MUTATION = """mutation Record($events: [EventInput!]!) {
  recordEvents(brand: "shop", events: $events) { accepted duplicates userErrors { message } }
}"""
FLOOR = """
CREATE TABLE plain (brand_id int NOT NULL, id bigserial, key varchar(200) NOT NULL, user_id bigint NOT NULL,
    kind varchar(80) NOT NULL, at timestamptz NOT NULL, payload jsonb NOT NULL, PRIMARY KEY (brand_id, id));
CREATE UNIQUE INDEX ON plain (brand_id, key);
CREATE INDEX ON plain (brand_id, user_id, at);
"""
numbers = itertools.count()


def _events(size: int) -> list[dict[str, object]]:
    return [
        {
            "id": f"e{number}",
            "kind": "order.paid",
            "user": [{"kind": "member", "value": str(number * 7919 % 50_000)}],
            "payload": {"amount": number % 300 + 0.5, "store": "s1"},
        }
        for number in itertools.islice(numbers, size)
    ]


async def through_graphql(url: str, token: str, size: int, seconds: float) -> tuple[float, list[float]]:
    """Events a second, and the milliseconds of each request."""
    took: list[float] = []
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        end = time.perf_counter() + seconds

        async def work() -> int:
            done = 0
            while time.perf_counter() < end:
                body = {"query": MUTATION, "variables": {"events": _events(size)}}
                start = time.perf_counter()
                answer = (await client.post(url, json=body)).json()
                took.append((time.perf_counter() - start) * 1000)
                accepted = answer["data"]["recordEvents"]["accepted"]
                if accepted != size:
                    raise SystemExit(f"refused: {answer}")
                done += accepted
            return done

        start = time.perf_counter()
        done = sum(await asyncio.gather(*(work() for _ in range(CONCURRENCY))))
        return done / (time.perf_counter() - start), took


async def plain_inserts(database_url: str, size: int, seconds: float) -> float:
    """Events a second by INSERT of ready rows."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"DROP TABLE IF EXISTS plain; {FLOOR}")
        statement = await connection.prepare(
            "INSERT INTO plain (brand_id, key, user_id, kind, at, payload)"
            " SELECT 1, *, 'order.paid', now(), '{\"amount\": 1.5}' FROM unnest($1::text[], $2::bigint[])"
        )
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            rows = list(itertools.islice(numbers, size))
            await statement.fetch([f"e{number}" for number in rows], [number * 7919 % 50_000 for number in rows])
            done += size
        return done / (time.perf_counter() - start)
    finally:
        await connection.close()


def _siyu(env: dict[str, str], *words: str) -> str:
    command = [str(Path(sys.executable).with_name("siyu")), *words]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder, socket.socket() as free:
        Path(folder).chmod(0o755)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        env = {**os.environ, "SIYU_HOME": f"{folder}/home"}
        with Servers(Settings.from_env(env)) as addresses:
            _siyu(env, "brand", "create", "shop", "--enable", "rfm", "--enable", "lifecycle")
            found = re.search(r"siyu_\S+", _siyu(env, "token", "create", "--role", "admin"))
            assert found
            command = [str(Path(sys.executable).with_name("siyu")), "serve", "--port", str(port)]
            server = subprocess.Popen(command, env=env)
            try:
                url = f"http://127.0.0.1:{port}"
                await _wait(url)
                print(f"{machine()}; {CONCURRENCY} requests at a time, {seconds:g} s each")
                print(" events a call   events/s  plain INSERT  ratio   p50 ms   p99 ms")
                for size in (1, 100, 1000):
                    floor = await plain_inserts(addresses.database_url, size, seconds)
                    rate, took = await through_graphql(f"{url}/graphql", found[0], size, seconds)
                    p99 = statistics.quantiles(took, n=100)[98]
                    row = f"{size:>14} {rate:>10,.0f} {floor:>13,.0f} {rate / floor:>6.2f}"
                    print(f"{row} {statistics.median(took):>8.1f} {p99:>8.1f}")
                print(json.dumps({"decided": await _waiting(addresses.database_url)}))
            finally:
                server.terminate()
                server.wait()


async def _wait(url: str) -> None:
    async with httpx2.AsyncClient() as client:
        for _ in range(200):
            try:
                if (await client.get(f"{url}/healthz")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise SystemExit("the server does not answer")


async def _waiting(database_url: str) -> dict[str, int]:
    """How many events have been decided on, and how many users still wait."""
    connection = await asyncpg.connect(database_url)
    try:
        events = await connection.fetchval("SELECT count(*) FROM event")
        waiting = await connection.fetchval("SELECT count(DISTINCT user_id) FROM dirty_user")
        return {"events": events, "users waiting": waiting}
    finally:
        await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    asyncio.run(main(parser.parse_args().seconds))
