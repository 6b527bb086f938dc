"""A campaign to all users of a brand, and greetings that overtake it.

    python -m benchmarks campaign --users 1000000

1. A playbook that is begun by hand for all: users come in, their actions are planned, judged, leased, handed to a
   channel that accepts at once, and noted. Messages a second; for how long each step is under way (they overlap), and
   the share of the queue.
2. New contacts at 50 a second: from the moment at which ``recordEvents`` is called to the greeting in the channel's
   hands, in a worker process of its own; first alone, then while that worker sends a campaign.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
from siyu import Channel, Happened, Manual, Message, Playbook, Receipt, Send, hookimpl
from siyu.contract.manager import PluginManager
from siyu.engine import guard as engine_guard
from siyu.flow import dispatch, guard, playbooks, plugins
from siyu.flow.context import Context, open_context
from siyu.flow.ingest import IncomingEvent, record
from siyu.jobs import Queue, run_worker
from siyu.runtime import Servers, Settings
from siyu.store import actions
from siyu.store.models import Brand, Identity
from siyu.telemetry.metrics import ACTIONS, JOBS

from benchmarks.measure import machine

RATE = 50
STAMPS = "SIYU_BENCH_STAMPS"


class Bulk(Channel):
    """Accepts at once."""

    repeatable = True
    batch = 1_000

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        return [Receipt(message.action_id, "sent") for message in messages]


class Stamp(Channel):
    """Notes when it was handed each message."""

    repeatable = True

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        file = os.open(os.environ[STAMPS], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, "".join(f"{message.user_id} {time.time()}\n" for message in messages).encode())
        os.close(file)
        return [Receipt(message.action_id, "sent") for message in messages]


class Campaign(Playbook):
    """A word to all."""

    reentry = "always"

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterator[Send]:
        yield Send("bulk", "A word from your shop", "care")


class Greeting(Playbook):
    """A word to whoever is new."""

    def trigger(self, p: Any) -> Happened:
        return Happened("contact.added")

    def steps(self, p: Any) -> Iterator[Send]:
        yield Send("stamp", "Welcome", "service", urgent=True)


@hookimpl
def siyu_channels() -> list[type[Channel]]:
    return [Bulk, Stamp]


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [Campaign, Greeting]


def manager() -> PluginManager:
    """All installed plugins, and that of this benchmark."""
    found = PluginManager.load()
    if "guard" not in found.plugins:
        found.register("guard", engine_guard)
    module = ModuleType("bench")
    vars(module).update(siyu_channels=siyu_channels, siyu_playbooks=siyu_playbooks)
    found.register("bench", module)
    found.check()
    return found


async def people(ctx: Context, brand: Brand, users: int) -> list[int]:
    """Users who have been there for a year."""
    async with ctx.db.transaction() as connection:
        await connection.execute(
            "WITH made AS (INSERT INTO users (brand_id, first_seen, last_seen)"
            " SELECT $1, now() - interval '1 year', now() FROM generate_series(1, $2::int) RETURNING id)"
            " INSERT INTO identity (brand_id, kind, value, user_id) SELECT $1, 'member', id::text, id FROM made",
            brand.id,
            users,
        )
        rows = await connection.fetch("SELECT id FROM users WHERE brand_id = $1 ORDER BY id", brand.id)
    async with ctx.db.connection() as connection:
        await connection.execute("ANALYZE users, identity")
    return [row["id"] for row in rows]


@contextmanager
def timed(owner: Any, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Add up how long calls of a function take."""
    real: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def call(*args: Any, **how: Any) -> Any:
        start = time.perf_counter()
        try:
            return await real(*args, **how)
        finally:
            spent[name] += time.perf_counter() - start

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, real)


@contextmanager
def cost(server: psutil.Process) -> Iterator[dict[str, float]]:
    """CPU seconds of this process and PostgreSQL within the block."""

    def now() -> dict[str, float]:
        both = {"siyu": [psutil.Process()], "postgres": [server, *server.children()]}
        return {name: sum(sum(p.cpu_times()[:2]) for p in some) for name, some in both.items()}

    spent: dict[str, float] = {}
    before = now()
    yield spent
    spent |= {name: seconds - before[name] for name, seconds in now().items()}


async def throughput(ctx: Context, queue: Queue, brand: Brand, users: list[int]) -> None:
    """A campaign as workers carry it out, in this process: some are planned for while others are written to."""
    async with ctx.db.connection() as connection:
        server = psutil.Process(connection.get_server_pid()).parent()
        assert server is not None
    a_job = await arq_cost(ctx, queue, brand)
    spent: dict[str, float] = defaultdict(float)
    stopping = asyncio.Event()
    before, already = jobs_done(), counted(ACTIONS, "_total", outcome="sent")
    with (
        cost(server) as cpu,
        timed(playbooks, "start", spent),
        timed(guard, "admit", spent),
        timed(Bulk, "deliver", spent),
        timed(actions, "settle", spent),
    ):
        began = time.perf_counter()
        worker = asyncio.create_task(run_worker(ctx, queue, stopping))
        starting = asyncio.create_task(playbooks.start(ctx, brand, "bench.campaign", users, occasion="first"))
        # Of what this process has sent: to count rows would cost as much as to write them.
        while counted(ACTIONS, "_total", outcome="sent") < already + len(users):
            await queue.push("campaign", brand.id)
            await asyncio.sleep(0.05)
        whole = time.perf_counter() - began
    stopping.set()
    await asyncio.gather(starting, worker)
    print(f"{len(users):,} messages in {whole:.1f} s: {len(users) / whole:,.0f}/s (aim ≥ 10,000)")
    for name, step in STEPS.items():
        print(f"  {step:32} {spent[name]:>7.1f} s {len(users) / spent[name]:>10,.0f}/s")
    print("  CPU µs a message: " + ", ".join(f"{who} {s / len(users) * 1e6:.0f}" for who, s in cpu.items()))
    jobs = jobs_done() - before
    print(f"  arq: {jobs} jobs, {a_job * 1000:.1f} ms each: {jobs * a_job / whole:.1%} of the time (aim < 2 %)")


STEPS = {
    "start": "users come in, and are planned for",
    "admit": "the guard judges and leases",
    "deliver": "the channel is handed them",
    "settle": "outcomes are noted",
}


def jobs_done() -> int:
    """How many jobs this process has done."""
    return counted(JOBS, "_count")


def counted(figure: Any, kind: str, **labels: str) -> int:
    """A figure of this process."""
    samples = [sample for metric in figure.collect() for sample in metric.samples if sample.name.endswith(kind)]
    return int(sum(sample.value for sample in samples if labels.items() <= sample.labels.items()))


async def arq_cost(ctx: Context, queue: Queue, brand: Brand) -> float:
    """Seconds that the queue takes for a job: of a brand to which nothing is due, less the work itself."""
    jobs = 200
    start = time.perf_counter()
    for _ in range(jobs):
        await dispatch.send_due(ctx, brand.id, urgent=True)
    work = time.perf_counter() - start
    stopping = asyncio.Event()
    for _ in range(jobs):
        await queue.push("dispatch", brand.id)
        await queue.begin("dispatch", brand.id)
    before = jobs_done()
    start = time.perf_counter()
    worker = asyncio.create_task(run_worker(ctx, queue, stopping))
    while jobs_done() < before + jobs:
        await asyncio.sleep(0.005)
    took = time.perf_counter() - start
    stopping.set()
    await worker
    return max(0.0, took - work) / jobs


async def greetings(
    ctx: Context, queue: Queue, brand: Brand, stamps: Path, seconds: float, numbers: Iterator[int]
) -> None:
    """New contacts at the rate, whether or not those before are greeted."""
    stamps.write_text("")
    began: dict[str, float] = {}

    async def add(member: str) -> None:
        event = IncomingEvent(f"added-{member}", "contact.added", {"member": member})
        recorded = await record(ctx, brand, [event])
        assert recorded.new == recorded.occasions == 1, recorded
        await queue.push("decide", brand.id)
        await queue.push("playbooks", brand.id)

    start = time.time() + 0.1
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * RATE)):
            member = f"new-{next(numbers)}"
            began[member] = start + number / RATE
            await asyncio.sleep(max(0.0, began[member] - time.time()))
            group.create_task(add(member))
    end = time.time() + 60
    while len(stamps.read_text().splitlines()) < len(began):
        if time.time() > end:
            raise SystemExit(f"{len(stamps.read_text().splitlines())} of {len(began)} were greeted")
        await asyncio.sleep(0.05)
    handed = {int(user): float(at) for user, at in map(str.split, stamps.read_text().splitlines())}
    names = {row.user_id: row.value for row in await Identity.filter(brand_id=brand.id, user_id__in=list(handed))}
    took = sorted((at - began[names[user]]) * 1000 for user, at in handed.items())
    p50, p99, worst = (took[math.ceil(len(took) * share) - 1] for share in (0.5, 0.99, 1))
    print(f"{p50:>10.0f} {p99:>8.0f} {worst:>8.0f}  of {len(took)}")


async def main(users: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        Path(folder).chmod(0o755)
        home, stamps = Path(folder) / "home", Path(folder) / "stamps"
        env = {**os.environ, "SIYU_HOME": str(home), STAMPS: str(stamps)}
        numbers = itertools.count()
        with Servers(Settings.from_env(env)) as addresses:
            async with open_context(addresses.database_url, manager(), home, redis_url=addresses.redis_url) as ctx:
                queue = await Queue.open(addresses.redis_url)
                print(f"{machine()}; {users:,} users, one worker")
                brand = await Brand.create(slug="shop", name="Shop")
                await plugins.enable(ctx, brand, "bench")
                # At any hour, and as often as this benchmark likes.
                awake = {"quiet": {"begin": "00:00", "end": "00:00"}, "cap": {"tiers": [], "most": 100}}
                await plugins.configure(ctx, brand, "guard", {**awake, "duplicate": {"days": 0}})
                known = await people(ctx, brand, users)
                await throughput(ctx, queue, brand, known)
                told = ("--work", addresses.database_url, addresses.redis_url, str(home))
                worker = subprocess.Popen([sys.executable, "-m", "benchmarks.campaign", *told], env=env)
                try:
                    print(f"\n{'ms to the greeting, 50/s':34} {'p50':>8} {'p99':>8} {'max':>8}")
                    await asyncio.sleep(3)
                    print(f"{'alone':32}", end="")
                    await greetings(ctx, queue, brand, stamps, seconds, numbers)
                    await playbooks.start(ctx, brand, "bench.campaign", known, occasion="second")
                    before = await sent(ctx, brand)
                    start = time.perf_counter()
                    await queue.push("campaign", brand.id)
                    print(f"{'while a campaign is dispatched':32}", end="")
                    await greetings(ctx, queue, brand, stamps, seconds, numbers)
                    under_way = await sent(ctx, brand) - before
                    rate = under_way / (time.perf_counter() - start)
                    print(f"  meanwhile {under_way:,} messages of the campaign were sent, {rate:,.0f}/s")
                finally:
                    worker.terminate()
                    worker.wait()
                await queue.close()


async def sent(ctx: Context, brand: Brand) -> int:
    """How many messages of campaigns were sent."""
    async with ctx.db.connection() as connection:
        query = "SELECT count(*) FROM action WHERE brand_id = $1 AND status = 'sent' AND channel = 'bulk'"
        return int(await connection.fetchval(query, brand.id))


async def work(database_url: str, redis_url: str, home: str) -> None:
    """A worker with the plugin of this benchmark, otherwise as `siyu worker` is one."""
    gc.collect()
    gc.freeze()
    async with open_context(database_url, manager(), Path(home), redis_url=redis_url) as ctx:
        await run_worker(ctx, await Queue.open(redis_url))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20, help="of greetings")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        asyncio.run(work(*arguments.work))
    else:
        asyncio.run(main(arguments.users, arguments.seconds))
