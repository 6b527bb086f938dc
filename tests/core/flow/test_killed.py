"""SIGKILL in the middle of the work, again and again: in the end nothing is lost and nothing is there twice."""

from __future__ import annotations

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
import polars as pl
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.importing import ColumnMapping, import_file
from siyu.flow.refresh import refresh
from siyu.store.actions import plan_actions
from siyu.store.models import Brand, Event, OutboxMessage, Run

LINES = 110_000
USERS = 6_000

# What the process that is killed does. It says when it begins and when it has ended.
WORK = """
import asyncio, os, sys
from pathlib import Path
from siyu import Channel, Receipt, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow.context import brand_by_slug, open_context
from siyu.flow.refresh import refresh
from siyu.flow.dispatch import dispatch
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

@hookimpl
def siyu_channels():
    return [Recorder, Repeater]

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
        else:
            while await dispatch(ctx, brand.id, limit=40):
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


async def test_dispatch_that_is_killed_sends_all_and_asks_no_channel_twice_that_must_not_be(
    house: Context, house_url: str, tmp_path: Path
) -> None:
    dice = random.Random(12)
    brand = await Brand.create(slug="posting", name="posting")
    keys = {channel: {f"{channel}-{n}" for n in range(300)} for channel in ("recorder", "repeater", "outbox")}
    rows = [
        {"key": key, "user_id": 1, "plugin": "post", "playbook": "p", "channel": channel}
        | {"purpose": "care", "text": key, "because": "b"}
        for channel, some in keys.items()
        for key in sorted(some)
    ]
    dice.shuffle(rows)
    async with house.db.transaction() as connection:
        await connection.execute(
            "INSERT INTO plugin_setting (brand_id, plugin, enabled, params, changed_at, changed_by)"
            " VALUES ($1, 'post', true, '{}', now(), '')",
            brand.id,
        )
        await plan_actions(connection, brand.id, pl.DataFrame(rows), at=datetime(2026, 1, 1, tzinfo=UTC))
    log = tmp_path / "delivered.txt"
    worker = Worker(house_url, house.home, brand, "dispatch", log)
    killed = 0
    for seconds in [dice.uniform(0.05, 0.4) for _ in range(4)]:
        killed += not await anyio.to_thread.run_sync(worker.run, seconds)
        await expire(house, brand)
    assert killed >= 2
    await worker.until_done([])

    async with house.db.connection() as connection:
        status = {
            row["key"]: row["status"]
            for row in await connection.fetch("SELECT key, status FROM action WHERE brand_id = $1", brand.id)
        }
    lines = [line.split() for line in log.read_text().splitlines()]
    asked = {channel: Counter(key for name, key in lines if name == channel) for channel in ("recorder", "repeater")}
    assert max(asked["recorder"].values()) == 1
    assert asked["repeater"].keys() == keys["repeater"]
    assert {key for key in keys["recorder"] if status[key] == "sent"} <= asked["recorder"].keys()
    assert {status[key] for key in keys["repeater"] | keys["outbox"]} == {"sent"}
    assert {status[key] for key in keys["recorder"]} <= {"sent", "unknown"}
    # Only what was in somebody's hands when he died is not known.
    assert sum(status[key] == "unknown" for key in keys["recorder"]) <= 40 * killed
    sent = await OutboxMessage.filter(brand_id=brand.id)
    assert sorted(message.text for message in sent) == sorted(keys["outbox"])


async def expire(house: Context, brand: Brand) -> None:
    """Let a minute pass."""
    async with house.db.connection() as connection:
        await connection.execute(
            "UPDATE action SET leased_until = now() WHERE brand_id = $1 AND status = 'leased'", brand.id
        )
