"""Work in the background: what the database says is due is done, whatever became of the queue."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis
from siyu import jobs
from siyu.flow import decide, plugins
from siyu.flow.context import Context, ask_refresh
from siyu.flow.decide import Decided
from siyu.flow.ingest import IncomingEvent, record
from siyu.jobs import BULK, FAST, SLOW, JobContext, Queue, run_worker
from siyu.runtime import Addresses
from siyu.store.db import Lock
from siyu.store.models import Action, Brand, DirtyUser, OutboxMessage, Run, Task, UserStage

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def redis(addresses: Addresses) -> AsyncIterator[Redis]:
    """The queue's server, with nothing in it."""
    client: Redis = Redis.from_url(addresses.redis_url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def queue(addresses: Addresses, redis: Redis) -> AsyncIterator[Queue]:
    opened = await Queue.open(addresses.redis_url)
    yield opened
    await opened.close()


@asynccontextmanager
async def worker(ctx: Context, queue: Queue) -> AsyncIterator[None]:
    task = asyncio.create_task(run_worker(ctx, queue))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so, but not for ever."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 (the other side is a database)
            await asyncio.sleep(0.02)


async def waiting(redis: Redis) -> set[tuple[str, int]]:
    """The jobs that are asked for, each with its brand."""
    found = set()
    for lane in (FAST, BULK, SLOW):
        for name in await redis.zrange(lane, 0, -1):
            if not name.startswith(b"cron:"):
                job, brand, _ = name.decode().rsplit(":", 2)
                found.add((job, int(brand)))
    return found


def order(key: str, day: int) -> IncomingEvent:
    return IncomingEvent(key, "order.paid", {"member": "1"}, {"amount": "10"}, START + timedelta(days=day))


async def test_an_event_is_decided_and_what_follows_is_sent(ctx: Context, brand: Brand, queue: Queue) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    async with worker(ctx, queue):
        # Nobody pushed a refresh: the sweep at the start finds that one was asked for.
        await until(lambda: Run.filter(brand_id=brand.id, status="done").exists())
        await record(ctx, brand, [order("a", 0)])
        await queue.push("decide", brand.id)
        await until(lambda: UserStage.filter(brand_id=brand.id, stage="growth").exists())
        other = IncomingEvent("b", "order.paid", {"member": "2"}, {"amount": "1"}, START + timedelta(days=40))
        await record(ctx, brand, [other])
        async with ctx.db.connection() as connection:
            await ask_refresh(connection, brand.id)
        await queue.push("refresh_brand", brand.id)
        await until(lambda: UserStage.filter(brand_id=brand.id, stage="dormant").exists())
        await record(ctx, brand, [order("c", 41)])
        await queue.push("decide", brand.id)
        await until(lambda: Action.filter(brand_id=brand.id, status="sent").exists())
    assert await OutboxMessage.filter(brand_id=brand.id).count() == 1
    assert (await Brand.get(id=brand.id)).refresh_asked is None


async def test_who_asks_for_what_is_under_way_takes_no_place_and_is_not_forgotten(
    ctx: Context, brand: Brand, queue: Queue, redis: Redis
) -> None:
    begun, over = asyncio.Semaphore(0), asyncio.Event()
    looks = 0

    async def long(given: JobContext, brand_id: int) -> None:
        nonlocal looks
        looks += 1
        begun.release()
        await over.wait()

    with patch.dict(jobs.WORK, playbooks=long, decide=long):
        async with worker(ctx, queue):
            await queue.push("playbooks", brand.id)
            await asyncio.wait_for(begun.acquire(), 10)
            for _ in range(5):
                await queue.push("playbooks", brand.id)
                await until(lambda: at_most_one(redis, "playbooks"))
            # Another job has a place although five more asked for the first than there are places.
            await queue.push("decide", brand.id)
            await asyncio.wait_for(begun.acquire(), 10)
            assert looks == 2
            over.set()
            # Once more for all who asked meanwhile.
            await asyncio.wait_for(begun.acquire(), 10)
            await until(lambda: nothing_left(redis))
    assert looks == 3


async def test_a_job_that_fails_keeps_nobody_from_asking_again(
    ctx: Context, brand: Brand, queue: Queue, redis: Redis
) -> None:
    begun, over = asyncio.Semaphore(0), asyncio.Event()

    async def failing(given: JobContext, brand_id: int) -> None:
        begun.release()
        await over.wait()
        raise ValueError("out of order")

    with patch.dict(jobs.WORK, decide=failing):
        async with worker(ctx, queue):
            await queue.push("decide", brand.id)
            await asyncio.wait_for(begun.acquire(), 10)
            await queue.push("decide", brand.id)
            await until(lambda: at_most_one(redis, "decide"))
            over.set()
            await until(lambda: nothing_left(redis))
            await queue.push("decide", brand.id)
            await asyncio.wait_for(begun.acquire(), 1)
            await until(lambda: nothing_left(redis))


@pytest.mark.parametrize(("seconds", "asked"), [(0.0, 5), (0.2, 2)])
async def test_what_playbooks_wait_for_is_gathered_once_they_have_been_asked_to_look(
    ctx: Context, queue: Queue, seconds: float, asked: int
) -> None:
    left = [3, 2, 4, 1, 2]
    pushed: list[float] = []

    async def decided(*_: object) -> Decided:
        return Decided(users, users, users) if (users := left.pop() if left else 0) else Decided()

    async def push(job: jobs.Job, brand_id: int) -> None:
        assert (job, brand_id) == ("playbooks", 7)
        pushed.append(time.monotonic())

    given = JobContext(ctx, queue)
    with (
        patch.object(decide, "decide_users", decided),
        patch.object(queue, "push", push),
        patch.object(jobs, "GATHER_SECONDS", seconds),
    ):
        await jobs.decide_job(given, 7)
        assert pushed, "the first look is at once"
        await asyncio.gather(*given.handing_over)
        left += [1]
        await jobs.decide_job(given, 7)
        assert len(pushed) == (asked + 1 if seconds == 0 else asked), "the job has ended, and they have just looked"
        await asyncio.gather(*given.handing_over)
    assert len(pushed) == asked + 1
    assert all(two - one >= 0.9 * seconds for one, two in pairwise(pushed))


async def test_decisions_that_follow_each_other_are_made_together(ctx: Context, queue: Queue) -> None:
    began: list[float] = []

    async def decided(*_: object) -> Decided:
        began.append(time.monotonic())
        return Decided(1) if len(began) < 4 else Decided()

    with patch.object(decide, "decide_users", decided), patch.object(jobs, "PACE_SECONDS", 0.05):
        await jobs.decide_job(JobContext(ctx, queue), 7)
    assert len(began) == 4
    assert all(two - one >= 0.049 for one, two in pairwise(began))


async def test_what_playbooks_wait_for_is_handed_over_though_the_next_decision_fails(
    ctx: Context, queue: Queue, redis: Redis
) -> None:
    results = iter([Decided(1, 1, 1)])

    async def decided(*_: object) -> Decided:
        return next(results)

    with patch.object(decide, "decide_users", decided), pytest.raises(RuntimeError):
        await jobs.decide_job(JobContext(ctx, queue), 7)
    assert await waiting(redis) == {("playbooks", 7)}


async def at_most_one(redis: Redis, job: str) -> bool:
    """Whether all that were asked for but one have ended."""
    return len([name for name in await redis.zrange(FAST, 0, -1) if name.startswith(job.encode())]) <= 1


async def test_a_job_begins_as_soon_as_it_is_asked_for(ctx: Context, queue: Queue, redis: Redis) -> None:
    begun = asyncio.Event()
    asked: list[jobs.Job] = ["decide", "dispatch", "playbooks"]

    async def work(given: JobContext, brand_id: int) -> None:
        begun.set()

    with patch.dict(jobs.WORK, decide=work, dispatch=work, playbooks=work), nobody_looks():
        async with worker(ctx, queue):
            await until(lambda: listening(redis))
            for number in range(9):
                await queue.push(asked[number % 3], number)
                await asyncio.wait_for(begun.wait(), 5)
                begun.clear()
            await until(lambda: nothing_left(redis))


async def test_a_job_that_found_no_place_begins_when_another_ends(ctx: Context, queue: Queue, redis: Redis) -> None:
    done = asyncio.Semaphore(0)
    brands: list[int] = []

    async def slow(given: JobContext, brand_id: int) -> None:
        brands.append(brand_id)
        await done.acquire()

    with patch.dict(jobs.WORK, dispatch=slow), nobody_looks():
        async with worker(ctx, queue):
            await until(lambda: listening(redis))
            for number in range(6):  # the lane has four places
                await queue.push("dispatch", number)
            await until(lambda: has(brands, 4))
            for number in (5, 6):
                done.release()
                await until(partial(has, brands, number))
            for _ in range(4):
                done.release()
            await until(lambda: nothing_left(redis))
    assert sorted(brands) == [*range(6)]


async def has(these: list[int], many: int) -> bool:
    """Whether there are exactly so many."""
    return len(these) == many


def nobody_looks() -> Any:
    """No worker looks by itself before the test is over."""
    return patch.object(jobs, "LOOK_SECONDS", dict.fromkeys((FAST, BULK, SLOW), 3600.0))


async def test_a_worker_looks_from_time_to_time_though_nobody_is_told(ctx: Context, queue: Queue, redis: Redis) -> None:
    begun = asyncio.Event()

    async def work(given: JobContext, brand_id: int) -> None:
        begun.set()

    async def deaf(*_: object) -> None: ...

    with patch.dict(jobs.WORK, decide=work), patch.object(queue.signals, "tell", deaf):
        async with worker(ctx, queue):
            await until(lambda: listening(redis))
            await queue.push("decide", 7)
            await asyncio.wait_for(begun.wait(), 5)
            await until(lambda: nothing_left(redis))


async def listening(redis: Redis) -> bool:
    """Whether a worker hears what is asked for."""
    return bool(await redis.client_list(_type="pubsub"))


async def nothing_left(redis: Redis) -> bool:
    """Whether nothing that was asked for is under way."""
    return not await waiting(redis)


async def test_work_is_found_again_after_the_queue_was_emptied(
    ctx: Context, brand: Brand, queue: Queue, redis: Redis
) -> None:
    await plugins.enable(ctx, brand, "lifecycle")
    await record(ctx, brand, [order("a", 0)])
    for job in ("decide", "refresh_brand"):
        await queue.push(job, brand.id)
    await redis.flushall()
    assert await waiting(redis) == set()
    await jobs.sweep_job(JobContext(ctx, queue))
    assert await waiting(redis) == {("decide", brand.id), ("refresh_brand", brand.id)}
    async with worker(ctx, queue):

        async def done() -> bool:
            await brand.refresh_from_db()
            return brand.refresh_asked is None and not await DirtyUser.filter(brand_id=brand.id).exists()

        await until(done)
    await redis.flushall()
    await jobs.sweep_job(JobContext(ctx, queue))
    assert await waiting(redis) == set()


async def test_the_sweep_escalates_the_tasks_of_all_brands_that_nobody_has_done(
    ctx: Context, brand: Brand, queue: Queue
) -> None:
    live = await Brand.create(slug="live", name="Live")
    now = datetime.now(UTC)
    for number, (of, deadline) in enumerate([(live, now - HOUR), (live, now + HOUR), (brand, START)]):
        task: dict[str, Any] = {
            "user_id": 1,
            "role": "service",
            "title": "call",
            "escalate_to": "manager",
            "made_at": START,
        }
        await Task.create(brand_id=of.id, action_id=number, deadline=deadline, **task)
    await jobs.sweep_job(JobContext(ctx, queue))
    # The other brand lives at its newest event, long before the deadline.
    assert [task.role for task in await Task.all().order_by("action_id")] == ["manager", "service", "service"]


async def test_what_is_asked_for_twice_at_once_is_asked_for_once_and_is_json(queue: Queue, redis: Redis) -> None:
    for _ in range(5):
        await queue.push("decide", 7)
    [key] = [key async for key in redis.scan_iter("arq:job:*")]
    value = await redis.get(key)
    assert value is not None
    assert json.loads(value)["a"] == [7]


async def test_who_asks_once_a_job_has_begun_is_not_mistaken_for_those_before(queue: Queue, redis: Redis) -> None:
    await queue.push("decide", 7)
    await queue.push("decide", 8)
    await queue.begin("decide", 7)
    for _ in range(3):
        await queue.push("decide", 7)
        await queue.push("decide", 8)
    assert await redis.zcard(FAST) == 3
    # A job that never begins keeps nobody from asking for long.
    marks = [await redis.pttl(key) async for key in redis.scan_iter("siyu:asked:*")]
    assert len(marks) == 2
    assert all(0 < left <= jobs.ASKED_MS for left in marks)


async def test_a_queue_that_is_away_is_no_error(addresses: Addresses, redis: Redis) -> None:
    lost = await Queue.open(addresses.redis_url)
    await redis.config_set("maxclients", 1)
    try:
        await redis.client_kill_filter(_type="normal", skipme=True)
        await lost.push("decide", 7)
    finally:
        await redis.config_set("maxclients", 1000)
    await lost.close()


async def test_a_run_whose_process_died_is_closed_and_one_that_goes_on_is_not(
    ctx: Context, brand: Brand, queue: Queue
) -> None:
    other = await Brand.create(slug="other", name="Other")
    for each in (brand, other):
        await Run.create(brand_id=each.id, kind="refresh", at=START)
    async with ctx.db.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock($1, $2)", Lock.REFRESH, other.id)
        await jobs.sweep_job(JobContext(ctx, queue))
        dead, alive = await Run.get(brand_id=brand.id), await Run.get(brand_id=other.id)
        assert (dead.status, dead.error, dead.finished_at is None) == ("failed", "the process died", False)
        assert (alive.status, alive.finished_at) == ("running", None)
        await connection.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, other.id)


async def test_each_brand_is_refreshed_after_its_own_midnight(ctx: Context, queue: Queue, redis: Redis) -> None:
    expected = set()
    for zone in ("Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "UTC"):
        local = datetime.now(ZoneInfo(zone))
        night = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for name, refreshed, due in (
            ("never", None, True),
            ("before", night - timedelta(seconds=1), True),
            ("after", night, False),
        ):
            slug = f"{name}-{zone.lower().replace('/', '-')}"
            brand = await Brand.create(slug=slug, name=slug, zone=zone, refreshed_at=refreshed)
            if due:
                expected.add(("refresh_brand", brand.id))
    await Brand.create(slug="replayed", name="Replayed", replayed_to=START)
    await jobs.nightly_job(JobContext(ctx, queue))
    assert await waiting(redis) == expected


async def test_told_to_stop_a_worker_ends_its_jobs_and_begins_no_other(
    ctx: Context, queue: Queue, redis: Redis
) -> None:
    done: list[int] = []
    begun, stopping = asyncio.Event(), asyncio.Event()

    async def slow(_: JobContext, brand_id: int) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        done.append(brand_id)

    with patch.dict(jobs.WORK, {"refresh_brand": slow}):
        for brand_id in (7, 8):
            await queue.push("refresh_brand", brand_id)
        working = asyncio.create_task(run_worker(ctx, queue, stopping))
        await begun.wait()
        stopping.set()
        async with asyncio.timeout(5):
            await working
    assert len(done) == 1
    assert {brand for _, brand in await waiting(redis)} == {7, 8} - set(done)


async def test_a_job_that_lasts_too_long_for_a_worker_that_stops_is_given_back(
    ctx: Context, queue: Queue, redis: Redis
) -> None:
    begun, stopping = asyncio.Event(), asyncio.Event()

    async def endless(_: JobContext, brand_id: int) -> None:
        begun.set()
        await asyncio.sleep(600)

    with patch.dict(jobs.WORK, {"refresh_brand": endless}), patch.object(jobs, "FINISH_SECONDS", 0.1):
        await queue.push("refresh_brand", 7)
        for _ in range(2):  # the next worker has it at once
            working = asyncio.create_task(run_worker(ctx, queue, stopping))
            async with asyncio.timeout(5):
                await begun.wait()
                stopping.set()
                await working
            begun.clear()
            stopping.clear()
            assert await waiting(redis) == {("refresh_brand", 7)}
