"""One user after one event, and events without a pause: how soon, and how many.

    python -m benchmarks.latency --seconds 10

1. The rules of one user, all bundled plugins on: the generated Python function alone. Beside it the user's facts, from
   the rows of the log.
2. Events at 10 and 200 a second, whether or not the ones before are done (open loop), each of a returning user whose
   stage it changes. From the moment at which an event was to be sent to the commit of the decision, as PostgreSQL
   notes it (``track_commit_timestamp``). The floor, at the same rates: the same event and stage by one plain statement.
3. Calls of several hundred events as fast as they are taken, decided meanwhile, until nobody waits. The floor: the
   same events by plain INSERTs.

The worker is a process of its own (``siyu worker``); this one records and pushes, as the API does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np
import polars as pl
import psutil
from siyu.contract.manager import PluginManager
from siyu.engine.evaluate import Decider
from siyu.engine.facts_python import compute_few
from siyu.engine.rulebook import bind
from siyu.flow import plugins
from siyu.flow.context import Context, open_context, zone
from siyu.flow.ingest import IncomingEvent, load, record
from siyu.flow.refresh import refresh
from siyu.jobs import Queue
from siyu.runtime import Servers, Settings
from siyu.store.events import log_of, rows_by_table
from siyu.store.models import Brand, Identity

from benchmarks.measure import machine

RATES = (10, 200)
WARM_SECONDS = 2
SENDERS = 2
numbers = itertools.count()

FLOOR = """
CREATE TABLE plain_event (brand_id int NOT NULL, id bigserial, key varchar(200) NOT NULL, user_id bigint NOT NULL,
    kind varchar(80) NOT NULL, at timestamptz NOT NULL, payload jsonb NOT NULL, PRIMARY KEY (brand_id, id));
CREATE UNIQUE INDEX ON plain_event (brand_id, key);
CREATE INDEX ON plain_event (brand_id, user_id, at);
CREATE TABLE plain_stage (brand_id int, user_id bigint, track text, stage text, since timestamptz, why text,
    PRIMARY KEY (brand_id, user_id, track));
"""
ONE = """
WITH event AS (
    INSERT INTO plain_event (brand_id, key, user_id, kind, at, payload) VALUES (1, $1, $2, 'order.paid', now(), $3)
)
INSERT INTO plain_stage VALUES (1, $2, 'lifecycle', 'growth', now(), '[6, 0]')
ON CONFLICT (brand_id, user_id, track) DO UPDATE SET stage = excluded.stage, since = excluded.since
"""
MANY = """
INSERT INTO plain_event (brand_id, key, user_id, kind, at, payload)
SELECT 1, *, 'order.paid', now(), '{"amount": 1.5}' FROM unnest($1::text[], $2::bigint[])
"""


@dataclass(frozen=True)
class House:
    """What is measured: a brand, a worker in a process of its own, and a connection for looking on."""

    ctx: Context
    queue: Queue
    brand: Brand
    look: asyncpg.Connection
    pool: asyncpg.Pool
    worker: int

    async def waiting(self) -> bool:
        """Whether anybody waits to be decided, or to be sent something."""
        query = (
            "SELECT EXISTS (SELECT FROM dirty_user)"
            " OR EXISTS (SELECT FROM action WHERE status IN ('planned', 'leased'))"
        )
        return bool(await self.look.fetchval(query))

    async def settled(self) -> None:
        """Wait until nobody does."""
        while await self.waiting():
            await asyncio.sleep(0.01)

    async def record(self, events: Sequence[IncomingEvent]) -> None:
        """What ``recordEvents`` does."""
        done = await record(self.ctx, self.brand, events)
        if done.new != len(events):
            raise SystemExit(f"refused: {done}")
        await self.queue.push("decide", self.brand.id)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far of this process, the worker and PostgreSQL."""
        server = psutil.Process(self.look.get_server_pid()).parent()
        return {
            "record": _cpu(psutil.Process()),
            "worker": _cpu(psutil.Process(self.worker)),
            "postgres": sum(_cpu(process) for process in [server, *server.children()]),
        }

    @contextmanager
    def cost(self) -> Iterator[dict[str, float]]:
        """CPU seconds of each within the block."""
        spent: dict[str, float] = {}
        before = self.cpu()
        yield spent
        spent |= {name: seconds - before[name] for name, seconds in self.cpu().items()}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def house(users: int) -> AsyncIterator[House]:
    """A brand with every bundled plugin on and the history of ``users`` who have long been away."""
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        env = {**os.environ, "SIYU_HOME": str(home)}
        with Servers(Settings.from_env(env)) as addresses:
            look = await asyncpg.connect(addresses.database_url)
            await look.execute("ALTER SYSTEM SET track_commit_timestamp = on")
            await look.close()
        with Servers(Settings.from_env(env)) as addresses:
            async with open_context(addresses.database_url, PluginManager.load(), home) as ctx:
                brand = await Brand.create(slug="shop", name="Shop")
                for name in ctx.plugins.plugins:
                    await plugins.enable(ctx, brand, name)
                await load(ctx, brand, _history(users))
                await refresh(ctx, brand.id)
                command = [str(Path(sys.executable).with_name("siyu")), "worker"]
                worker = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
                queue = await Queue.open(addresses.redis_url)
                look = await asyncpg.connect(addresses.database_url)
                pool = await asyncpg.create_pool(addresses.database_url, min_size=SENDERS, max_size=20)
                await pool.execute(FLOOR)
                try:
                    yield House(ctx, queue, brand, look, pool, worker.pid)
                finally:
                    await pool.close()
                    await look.close()
                    await queue.close()
                    worker.terminate()
                    worker.wait()


def _history(users: int, each: int = 5) -> pl.DataFrame:
    """Orders of a year, the newest of a hundred days ago."""
    random = np.random.default_rng(7)
    size = users * each
    days = 100 + (random.random(size) * 265)
    now = datetime.now(UTC)
    return pl.DataFrame(
        {
            "key": [f"old{number}" for number in range(size)],
            "at": [now - timedelta(days=float(day)) for day in days],
            "identity": [str(number % users) for number in range(size)],
            "payload": [f'{{"amount": {cents / 100}}}' for cents in random.integers(100, 30_000, size)],
        }
    ).with_columns(pl.lit("order.paid").alias("kind"), pl.lit("member").alias("identity_kind"))


def order(member: int) -> IncomingEvent:
    """An order of a member, just now."""
    number = next(numbers)
    return IncomingEvent(f"e{number}", "order.paid", {"member": str(member)}, {"amount": number % 300 + 0.5})


async def rules(at_hand: House, users: int = 1000, rounds: int = 7) -> None:
    """The generated function, over the facts of real users, which are reckoned one by one."""
    ctx, brand = at_hand.ctx, at_hand.brand
    catalog, at, days = ctx.plugins.catalog, datetime.now(UTC), zone(brand.zone)
    async with ctx.db.connection() as connection:
        [everybody] = await plugins.cohorts(ctx, brand.id)
        [kept] = await plugins.kept_rulebooks(connection, brand.id)
        rulebook = bind(everybody.on, plugins.states_of(kept.content))
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM users ORDER BY id LIMIT $1", users)]
        logs = [await log_of(connection, brand.id, [user], catalog.kinds, 1000) for user in ids]
    row = Decider(rulebook, days).row
    facts, rules = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        known = [compute_few(rulebook.facts, catalog, rows_by_table(catalog, log or []), at, days) for log in logs]
        facts.append((time.perf_counter() - start) / users * 1e6)
        rows = [tuple(each.values()) for found in known for each in found.values()]
        start = time.perf_counter()
        for each in rows:
            row(each)
        rules.append((time.perf_counter() - start) / users * 1e6)
    stages = sum(len(track.stages) for track in rulebook.tracks)
    print(
        f"rules of one user: {statistics.median(rules):.1f} µs ({len(rulebook.facts)} facts, {len(rulebook.tags)} tags,"
        f" {stages} stages; aim ≤ 10 µs); their facts: {statistics.median(facts):.0f} µs"
    )


async def open_loop(rate: int, members: Sequence[int], send: Callable[[int], Awaitable[None]]) -> dict[int, float]:
    """Send for each member at its time, whatever became of the ones before; when each was to be sent."""
    due: dict[int, float] = {}
    start = time.time() + 0.2
    async with asyncio.TaskGroup() as group:
        for number, member in enumerate(members):
            due[member] = start + number / rate
            await asyncio.sleep(due[member] - time.time())
            group.create_task(send(member))
    return due


async def latency(at_hand: House, rate: int, members: Sequence[int]) -> None:
    """One rate: the floor, then siyu; before it, members whom nobody counts, until all connections are open."""
    warming, members = members[: rate * WARM_SECONDS], members[rate * WARM_SECONDS :]
    users = {int(row.value): row.user_id for row in await Identity.filter(value__in=[str(m) for m in members])}
    plain: dict[int, float] = {}
    taken: dict[int, float] = {}

    async def insert(member: int) -> None:
        await at_hand.pool.execute(ONE, f"p{next(numbers)}", users[member], '{"amount": 1.5}')
        plain[member] = time.time()

    async def event(member: int) -> None:
        await at_hand.record([order(member)])
        taken[member] = time.time()

    with at_hand.cost() as cost:
        due = await open_loop(rate, members, insert)
    _row(f"{rate:>6}/s  plain statement", [plain[member] - due[member] for member in members], cost)
    await open_loop(rate, warming, event)
    with at_hand.cost() as cost:
        due = await open_loop(rate, members, event)
        await at_hand.settled()
    rows = await at_hand.look.fetch(
        "SELECT user_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM user_stage"
        " WHERE brand_id = $1 AND user_id = ANY($2::bigint[]) AND track = 'lifecycle' AND stage = 'growth'",
        at_hand.brand.id,
        list(users.values()),
    )
    decided = {row["user_id"]: row["at"] for row in rows}
    _row(f"{rate:>6}/s  accepted", [taken[member] - due[member] for member in members], None)
    _row(f"{rate:>6}/s  decision stored", [decided[users[member]] - due[member] for member in members], cost)


def _row(name: str, seconds: Sequence[float], cost: dict[str, float] | None) -> None:
    took = sorted(second * 1000 for second in seconds)
    p50, p99, worst = (took[min(len(took) - 1, math.ceil(len(took) * share) - 1)] for share in (0.5, 0.99, 1))
    spent = "" if cost is None else "  " + ", ".join(f"{k} {v / len(took) * 1000:.2f}" for k, v in cost.items())
    print(f"{name:28} {p50:>8.1f} {p99:>8.1f} {worst:>8.1f}{spent}")


async def sustained(at_hand: House, users: int, size: int, seconds: float) -> None:
    """Calls of ``size`` events, one after another from each of a few senders."""
    dice = random.Random(7)

    async def repeat(send: Callable[[], Awaitable[None]]) -> int:
        end, calls = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            await send()
            calls += 1
        return calls * size

    async def insert() -> None:
        keys = [f"p{number}" for number in itertools.islice(numbers, size)]
        await at_hand.pool.execute(MANY, keys, [dice.randrange(users) for _ in keys])

    async def call() -> None:
        await at_hand.record([order(dice.randrange(users)) for _ in range(size)])

    with at_hand.cost() as cost:
        start = time.perf_counter()
        plain = sum(await asyncio.gather(*(repeat(insert) for _ in range(SENDERS))))
        floor = plain / (time.perf_counter() - start)
    _rate(f"{size} a call, plain INSERT", floor, floor, plain, cost)
    with at_hand.cost() as cost:
        start = time.perf_counter()
        done = sum(await asyncio.gather(*(repeat(call) for _ in range(SENDERS))))
        taken = time.perf_counter() - start
        await at_hand.settled()
        took = time.perf_counter() - start
    _rate(f"{size} a call, siyu", done / taken, done / took, done, cost)
    print(f"    {done:,} events; nobody waits {took - taken:.1f} s after the last call (aim ≥ 5,000 decided/s)")


def _rate(name: str, accepted: float, decided: float, done: int, cost: dict[str, float]) -> None:
    spent = ", ".join(f"{who} {seconds / done * 1e6:.0f}" for who, seconds in cost.items())
    print(f"{name:28} {accepted:>10,.0f} {decided:>10,.0f}  {spent}")


async def main(users: int, seconds: float, size: int) -> None:
    async with house(users) as at_hand:
        print(f"{machine()}; {users:,} users, {len(at_hand.ctx.plugins.plugins)} plugins, a worker of its own")
        await rules(at_hand)
        await at_hand.record([order(0)])  # the worker is up, and has seen one
        await at_hand.settled()
        members = iter(range(1, users))
        print(f"\n{'':28} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}  CPU ms an event")
        for rate in RATES:
            await latency(at_hand, rate, list(itertools.islice(members, int(rate * (seconds + WARM_SECONDS)))))
        print(f"\n{'':28} {'accepted/s':>10} {'decided/s':>10}  CPU µs an event")
        await sustained(at_hand, users, size, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--size", type=int, default=500, help="events a call of the sustained load")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.users, arguments.seconds, arguments.size))
