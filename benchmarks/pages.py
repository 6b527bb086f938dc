"""Pages and counts of a brand of 5 million users, beside one of 200,000 in the same database and the same run.

    python -m benchmarks pages --users 5000000

One request at a time to ``siyu serve``, the two brands in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from siyu.contract.manager import PluginManager
from siyu.flow.context import open_context
from siyu.flow.tokens import create_token
from siyu.runtime import Servers, Settings
from siyu.store.keyset import Order
from siyu.store.models import Brand

from benchmarks.graphql.servers import started
from benchmarks.measure import machine

SMALL = 200_000
REQUESTS = 200
FIRST_SEEN = datetime.fromisoformat("2020-01-01T00:00:00+08:00")
FILL = (
    """INSERT INTO users (brand_id, id, attributes, first_seen, last_seen)
    SELECT {brand}, n, '{{}}', at, at FROM generate_series(1, {users}) n,
        LATERAL (SELECT timestamptz '2020-01-01 00:00+08' + n * interval '30 seconds' AS at) m""",
    """INSERT INTO tag (brand_id, key, title, plugin, active, users)
    VALUES ({brand}, 'bench.tenth', '十分之一', 'bench', true, {users} / 10)""",
    """INSERT INTO tag_assignment (brand_id, user_id, tag_id, since, rulebook_id, why)
    SELECT {brand}, n, (SELECT id FROM tag WHERE brand_id = {brand}), now(), 1, '[]'
    FROM generate_series(10, {users}, 10) n""",
)
PAGE = """query Page($slug: String!, $first: Int, $last: Int, $after: String, $order: UserOrder, $filter: UserFilter) {
  brand(slug: $slug) { users(first: $first, last: $last, after: $after, orderBy: $order, filter: $filter) {
    pageInfo { endCursor hasNextPage } nodes { id lastSeen tags { key } } } } }"""
COUNT = """query Count($slug: String!, $filter: UserFilter) {
  brand(slug: $slug) { users(first: 0, filter: $filter) { totalCount } } }"""
BY_ID, BY_MOMENT = Order((("id", int),)), Order((("last_seen", datetime), ("id", int)))
TENTH = {"tag": ["bench.tenth"]}


def asked(users: int) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """What is asked of a brand of so many."""
    deep = users * 3 // 5
    row = {"id": deep, "last_seen": FIRST_SEEN + timedelta(seconds=30 * deep)}
    by_moment = {"field": "LAST_SEEN", "direction": "ASC"}
    return {
        "the first page": (PAGE, {"first": 50}),
        "a page after three fifths": (PAGE, {"first": 50, "after": BY_ID.cursor(row)}),
        "the same, by moment": (PAGE, {"first": 50, "after": BY_MOMENT.cursor(row), "order": by_moment}),
        "the last page": (PAGE, {"last": 50}),
        "a page after three fifths, of a tenth": (PAGE, {"first": 50, "after": BY_ID.cursor(row), "filter": TENTH}),
        "totalCount": (COUNT, {}),
        "totalCount of a tenth": (COUNT, {"filter": TENTH}),
    }


async def fill(settings: Settings, database_url: str, brands: Mapping[str, int]) -> str:
    """The brands, and a token."""
    async with open_context(database_url, PluginManager.load(), settings.home) as ctx:
        for slug, users in brands.items():
            brand = await Brand.create(slug=slug, name=slug)
            async with ctx.db.connection() as connection:
                for statement in FILL:
                    await connection.execute(statement.format(brand=brand.id, users=users))
        async with ctx.db.connection() as connection:
            await connection.execute("VACUUM ANALYZE")
        return await create_token("viewer", None)


async def measure(url: str, token: str, brands: Mapping[str, int]) -> None:
    """Ask, and print how long it took."""
    print(f"{'':40} {'p50 ms':>8} {'p99 ms':>8} {'p50 ms':>8} {'p99 ms':>8}  ratio")
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        for name in asked(SMALL):
            took: dict[str, list[float]] = {slug: [] for slug in brands}
            for number in range(REQUESTS + 20):
                for slug, users in brands.items():
                    query, variables = asked(users)[name]
                    body = {"query": query, "variables": {"slug": slug, **variables}}
                    began = time.perf_counter()
                    answer = (await client.post(url, json=body)).json()
                    if number >= 20:
                        took[slug].append((time.perf_counter() - began) * 1000)
                check(name, users, answer)
            small, large = (statistics.median(each) for each in took.values())
            row = "".join(f"{value:>9.1f}" for each in took.values() for value in quantiles(each))
            print(f"{name:40}{row} {large / small:>6.2f}")


def quantiles(took: list[float]) -> tuple[float, float]:
    """Their p50 and p99."""
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def check(name: str, users: int, answer: Any) -> None:
    """What was answered is what is there."""
    found = (answer.get("data") or {"brand": {"users": {}}})["brand"]["users"]
    wanted = users // 10 if "tenth" in name else users
    if found.get("totalCount") != wanted and len(found.get("nodes", ())) != 50:
        raise SystemExit(f"{name}: {str(answer)[:500]}")


def main(users: int) -> None:
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        Path(folder).chmod(0o755)
        env = {"SIYU_HOME": f"{folder}/home", "SIYU_COST_PER_MINUTE": "0"}
        settings, brands = Settings.from_env(env), {"small": SMALL, "large": users}
        with Servers(settings) as addresses:
            token = asyncio.run(fill(settings, addresses.database_url, brands))
            print(f"{machine()}; {SMALL:,} users beside {users:,}; {REQUESTS} requests, one at a time")
            with started({**env, "DATABASE_URL": addresses.database_url}, "siyu") as servers:
                asyncio.run(measure(servers["siyu"].url, token, brands))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000_000)
    main(parser.parse_args().users)
