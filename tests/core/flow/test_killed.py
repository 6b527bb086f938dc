"""SIGKILL in the middle of the work, again and again: in the end nothing is lost and nothing is there twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import Redis
from redis.exceptions import RedisError
from siyu.contract.manager import PluginManager
from siyu.flow import plugins
from siyu.flow.context import Context, open_context
from siyu.flow.importing import ColumnMapping, import_file
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.runtime import Servers, Settings
from siyu.store.models import Brand, Event, OutboxMessage, Run

LINES = 110_000
USERS = 6_000

# What the process that is killed does. It says when it begins and when it has ended.
WORK = """
import asyncio, os, sys
from pathlib import Path
from siyu import Channel, Happened, Playbook, Receipt, Send, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow.context import brand_by_slug, open_context
from siyu.flow.refresh import refresh
from siyu.flow import playbooks
from siyu.jobs import Queue, run_worker
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.importing import ColumnMapping, import_file

url, home, slug, work, path = sys.argv[1:]

class Recorder(Channel):
    async def deliver(self, messages, p):
        for message in messages:
            file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.write(file, f"{self.key} {message.key}\\n".encode())
            os.close(file)
            await asyncio.sleep(0.002)
        return [Receipt(message.action_id, "sent") for message in messages]

class Repeater(Recorder):
    repeatable = True

class Welcome(Playbook):
    def trigger(self, p):
        return Happened("contact.added")

    def steps(self, p):
        for channel in ("recorder", "repeater", "outbox"):
            yield Send(channel, channel, "service", urgent=channel == "repeater")

@hookimpl
def siyu_channels():
    return [Recorder, Repeater]

@hookimpl
def siyu_playbooks():
    return [Welcome]

async def main():
    manager = PluginManager.load()
    manager.register("post", sys.modules["__main__"])
    async with open_context(url, manager, Path(home)) as ctx:
        brand = await brand_by_slug(slug)
        print("begun", flush=True)
        if work == "import":
            mapping = ColumnMapping("1", "member", "2", {"amount": "3"})
            await import_file(ctx, brand, Path(path), "order.paid", mapping, rejects=Path(path + ".no"), header=False)
        elif work == "refresh":
            await refresh(ctx, brand.id, seal_from=1)
        elif work == "worker":
            await run_worker(ctx, await Queue.open(os.environ["REDIS_URL"]))
        else:
            while (
                (await playbooks.take(ctx, brand.id, limit=40)).occasions
                or (await playbooks.move_on(ctx, brand.id, limit=40)).users
                or await dispatch(ctx, brand.id, limit=40)
            ):
                pass
    print("ended", flush=True)

asyncio.run(main())
"""


class Worker:
    """A process that does one work on one brand."""

    def __init__(self, url: str, home: Path, brand: Brand, work: str, path: Path) -> None:
        self._arguments = [url, str(home), brand.slug, work, str(path)]

    def run(self, seconds: float | None) -> bool:
        """Let it work, and kill it so many seconds after it has begun; whether it had ended by then."""
        env = {**os.environ, "POLARS_MAX_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORK, *self._arguments], stdout=subprocess.PIPE, env=env, text=True
        )
        assert process.stdout is not None
        with process, process.stdout as said:
            assert said.readline() == "begun\n"
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            ended = said.readline() == "ended\n"
        assert ended or process.returncode == -signal.SIGKILL
        return ended

    async def until_done(self, kills: list[float]) -> int:
        """Kill it at these moments of so many lives, then let it finish; how often it was killed."""
        killed = 0
        for seconds in kills:
            if await anyio.to_thread.run_sync(self.run, seconds):
                return killed
            killed += 1
        assert await anyio.to_thread.run_sync(self.run, None)
        return killed


async def decisions(house: Context, brand: Brand) -> list[Any]:
    """All that stands, by member."""
    async with house.db.connection() as connection:
        rows = await connection.fetch(
            "SELECT i.value, t.key, a.why, a.since FROM tag_assignment a JOIN tag t ON t.id = a.tag_id"
            " JOIN identity i ON i.brand_id = a.brand_id AND i.user_id = a.user_id WHERE a.brand_id = $1"
            " UNION ALL SELECT i.value, s.stage, s.why, s.since FROM user_stage s"
            " JOIN identity i ON i.brand_id = s.brand_id AND i.user_id = s.user_id WHERE s.brand_id = $1 ORDER BY 1, 2",
            brand.id,
        )
        counters = await connection.fetch(
            "SELECT key, users FROM tag WHERE brand_id = $1 UNION ALL SELECT key, users FROM stage WHERE brand_id = $1"
            " ORDER BY 1",
            brand.id,
        )
    return [tuple(row) for row in (*rows, *counters)]


async def new_brand(house: Context, slug: str) -> Brand:
    brand = await Brand.create(slug=slug, name=slug, replayed_to=datetime.fromtimestamp(0, UTC))
    for name in ("rfm", "lifecycle"):
        await plugins.enable(house, brand, name)
    return brand


async def test_import_and_refresh_that_are_killed_end_as_if_they_had_not_been(
    house: Context, house_url: str, tmp_path: Path
) -> None:
    dice = random.Random(11)
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        for _ in range(LINES):
            # Some lines are the same.
            user, month, day = dice.randrange(USERS), dice.randrange(1, 13), dice.randrange(1, 29)
            file.write(f"{user},2026-{month:02d}-{day:02d},{dice.randrange(5)}\n")
    calm, killed = await new_brand(house, "calm"), await new_brand(house, "killed")
    mapping = ColumnMapping("1", "member", "2", {"amount": "3"})
    await import_file(house, calm, log, "order.paid", mapping, rejects=tmp_path / "no", header=False)
    importing = Worker(house_url, house.home, killed, "import", log)
    assert await importing.until_done([dice.uniform(0.2, 2.5) for _ in range(3)]) >= 2
    async with house.db.connection() as connection:
        difference = await connection.fetchval(
            "SELECT count(*) FROM (SELECT key, kind, at, payload FROM event WHERE brand_id = $1"
            " EXCEPT ALL SELECT key, kind, at, payload FROM event WHERE brand_id = $2) d",
            calm.id,
            killed.id,
        )
    assert difference == 0
    assert await Event.filter(brand_id=killed.id).count() == LINES

    await refresh(house, calm.id)
    refreshing = Worker(house_url, house.home, killed, "refresh", log)
    assert await refreshing.until_done([dice.uniform(0.0, 0.7) for _ in range(4)]) >= 2
    found = await decisions(house, killed)
    assert len(found) > 2 * USERS
    assert found == await decisions(house, calm)
    assert (await refresh(house, killed.id)).changes == 0
    assert "done" in {run.status for run in await Run.filter(brand_id=killed.id, kind="refresh")}


async def test_a_loop_that_is_killed_sends_all_and_asks_no_channel_twice_that_must_not_be(
    house: Context, house_url: str, tmp_path: Path
) -> None:
    await sent_in_the_end(house, house_url, tmp_path, users=150, kills=5, seed=12)


async def sent_in_the_end(house: Context, url: str, folder: Path, *, users: int, kills: int, seed: int) -> None:
    """New contacts, of whom every tenth has said no, are greeted by workers that are killed again and again."""
    dice = random.Random(seed)
    brand = await contacts(house, f"posting-{seed}", users)
    log = folder / "delivered.txt"
    log.touch()
    worker = Worker(url, house.home, brand, "loop", log)
    killed = 0
    for _ in range(kills):
        killed += not await anyio.to_thread.run_sync(worker.run, dice.uniform(0.05, 0.5))
        await expire(house, brand)
    assert killed >= kills / 2
    await worker.until_done([])
    unknown = await balanced(house, brand, users, log)
    # Only what was in somebody's hands when he died is not known.
    assert unknown <= 40 * killed


async def contacts(house: Context, slug: str, users: int) -> Brand:
    """A brand with the channels on, and new contacts, of whom every tenth wants nothing."""
    brand = await Brand.create(slug=slug, name="posting")
    async with house.db.connection() as connection:
        await connection.execute(
            "INSERT INTO plugin_setting (brand_id, plugin, enabled, params, changed_at, changed_by)"
            " VALUES ($1, 'post', true, '{}', now(), '')",
            brand.id,
        )
        await connection.execute('UPDATE brand SET listens = \'{"event": ["contact.added"]}\' WHERE id = $1', brand.id)
    brand = await Brand.get(id=brand.id)
    added = [IncomingEvent(f"a{n}", "contact.added", {"member": f"{n}"}) for n in range(users)]
    against = [IncomingEvent(f"w{n}", "consent.withdrawn", {"member": f"{n}"}) for n in range(0, users, 10)]
    assert (await record(house, brand, [*added, *against])).occasions == users
    return brand


async def balanced(house: Context, brand: Brand, users: int, log: Path) -> int:
    """Everybody was sent everything once who is to be, and nobody else anything; returns of how many it is unknown."""
    async with house.db.connection() as connection:
        rows = await connection.fetch("SELECT key, channel, status FROM action WHERE brand_id = $1", brand.id)
    lines = [line.split() for line in (await anyio.Path(log).read_text()).splitlines()]
    asked = {channel: Counter(key for name, key in lines if name == channel) for channel in ("recorder", "repeater")}
    found = {channel: Counter(row["status"] for row in rows if row["channel"] == channel) for channel in CHANNELS}
    no = len(range(0, users, 10))
    assert found["repeater"] == found["outbox"] == {"sent": users - no, "suppressed": no}
    assert found["recorder"]["suppressed"] == no
    assert found["recorder"]["sent"] + found["recorder"]["unknown"] == users - no
    assert max(asked["recorder"].values()) == 1
    sent = {row["key"]: row["channel"] for row in rows if row["status"] == "sent"}
    assert asked["repeater"].keys() == {key for key, channel in sent.items() if channel == "repeater"}
    assert {key for key, channel in sent.items() if channel == "recorder"} <= asked["recorder"].keys()
    outbox = await OutboxMessage.filter(brand_id=brand.id)
    assert len({message.user_id for message in outbox}) == len(outbox) == users - no
    return found["recorder"]["unknown"]


CHANNELS = ("recorder", "repeater", "outbox")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_workers_valkey_and_postgresql_die_and_in_the_end_all_is_sent(tmp_path: Path, seed: int) -> None:
    users, dice = 1_500, random.Random(seed)
    home = tmp_path / "home"
    log, said = tmp_path / "delivered.txt", tmp_path / "said.txt"
    log.touch()
    manager = PluginManager.load()
    servers = Servers(Settings.from_env({"SIYU_HOME": str(home)}))
    with servers as addresses:
        async with open_context(addresses.database_url, manager, home) as ctx:
            brand = await contacts(ctx, "posting", users)
        arguments = [addresses.database_url, str(home), brand.slug, "worker", str(log)]
        env = {**os.environ, "POLARS_MAX_THREADS": "1", "REDIS_URL": addresses.redis_url}

        def worker() -> subprocess.Popen[bytes]:
            with said.open("a") as file:
                return subprocess.Popen([sys.executable, "-c", WORK, *arguments], env=env, stdout=file, stderr=file)

        workers = [worker(), worker()]
        killed = Counter[str]()
        for _ in range(30):
            await anyio.sleep(dice.uniform(0.5, 2.5))
            what = dice.choices(["worker", "valkey", "postgres"], [6, 2, 1])[0]
            killed[what] += 1
            if what == "worker":
                dice.choice(workers).kill()
            elif what == "valkey":
                with contextlib.suppress(RedisError):
                    Redis.from_url(addresses.redis_url).flushall()
            else:
                # Without a file it is just being started.
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    state = json.loads(await anyio.Path(home / "run" / "postgres" / "state.json").read_text())
                    os.kill(state["pid"], signal.SIGKILL)
            # One that was killed too often is given up by who looks after it.
            await anyio.to_thread.run_sync(servers.ensure)
            # Those that ended by themselves, as the database was away, too.
            for n, process in enumerate(workers):
                if process.poll() is not None:
                    workers[n] = worker()
        for process in workers:
            process.kill()
            process.wait()
        assert min(killed[each] for each in ("worker", "valkey", "postgres")) > 0
        async with open_context(addresses.database_url, manager, home) as ctx:
            await expire(ctx, brand)
            last = worker()
            try:
                async with ctx.db.connection() as connection:
                    while await connection.fetchval(WAITING, brand.id):
                        assert last.poll() is None
                        await anyio.sleep(0.5)
            finally:
                last.terminate()
                last.wait()
            unknown = await balanced(ctx, brand, users, log)
            assert unknown <= 200 * (killed["worker"] + 2 * killed["postgres"])


WAITING = """
SELECT EXISTS (SELECT FROM occasion WHERE brand_id = $1)
    OR EXISTS (SELECT FROM enrolment WHERE brand_id = $1 AND status = 'active')
    OR EXISTS (SELECT FROM action WHERE brand_id = $1 AND status IN ('planned', 'held', 'leased'))
"""


async def expire(house: Context, brand: Brand) -> None:
    """Let a minute pass."""
    async with house.db.connection() as connection:
        await connection.execute(
            "UPDATE action SET leased_until = now() WHERE brand_id = $1 AND status = 'leased'", brand.id
        )
