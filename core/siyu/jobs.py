"""Background work on arq, and nowhere else: this module is all that knows it.

Jobs carry ids, not data; the database says what is due. A job that is lost with Redis is found again by the sweep,
one that is pushed twice finds nothing to do. The fast lane has short time-outs, because after a kill a job comes back
only when the longest time-out of its queue has passed. What is sent in bulk has a lane of its own, so that it neither
waits for a refresh nor keeps a greeting waiting.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from arq import cron, func
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker
from redis.exceptions import RedisError

from siyu.engine.days import window_start
from siyu.flow import decide, dispatch, files, playbooks, tasks
from siyu.flow.context import Context, ask_refresh, zone
from siyu.flow.refresh import AlreadyRunning, refresh
from siyu.store import counts
from siyu.store.changes import forget
from siyu.store.db import Lock
from siyu.store.models import Brand, Run
from siyu.store.signals import Signals
from siyu.telemetry import logs, tracing
from siyu.telemetry.metrics import CONNECTIONS, DECIDED, JOBS

__all__ = ["Job", "JobContext", "Queue", "run_worker", "watch_connections"]

Job = Literal["campaign", "decide", "dispatch", "files", "playbooks", "refresh_brand", "sweep"]

log = logging.getLogger("siyu.jobs")

FAST, BULK, SLOW = "siyu:fast", "siyu:bulk", "siyu:slow"
LANES: Mapping[Job, str] = {
    "campaign": BULK,
    "decide": FAST,
    "dispatch": FAST,
    "files": SLOW,
    "playbooks": FAST,
    "refresh_brand": SLOW,
    "sweep": FAST,
}
TIMEOUTS: Mapping[str, int] = {FAST: 60, BULK: 3 * 3600, SLOW: 3 * 3600}
NIGHT_MINUTE = 2
"""Brands are refreshed just after their own midnight: what time alone changes, it changes then. So between two nights
nobody needs to be woken."""
ASKED_MS = 5_000
"""How long a job that was asked for keeps others from asking, should it never begin."""
WORKING_SECONDS = 20.0
"""How long a job decides or plans before it makes room for others."""
ALONE: frozenset[Job] = frozenset({"decide", "playbooks"})
"""Jobs of which two for a brand would wait for each other, and meanwhile keep a greeting's place: one is at work in a
process, and looks once more for those who ask meanwhile."""
PACE_SECONDS = 0.01
"""From the beginning of a batch of decisions to that of the next, at least: it takes nearly as long for one user as for
three, and meanwhile keeps those waiting whose events are being recorded."""
GATHER_SECONDS = 1.0
"""How long decisions are gathered for playbooks that have just been asked to look: these take as long for one as for a
hundred, and decisions beside them twice as long. What follows an event itself is not gathered."""
MOVED_AT_ONCE = 2_000
"""Users moved on at a time: who waits for a greeting waits for that."""
FINISH_SECONDS = 10.0
"""How long jobs under way may go on when the worker is told to stop; those that last longer are given back."""
WATCH_SECONDS = 5.0
LOOK_SECONDS: Mapping[str, float] = {FAST: 0.5, BULK: 1.0, SLOW: 0.5}
"""How often a lane looks for jobs. Of the fast one's it is told, and looks for those that were given back, and for all
while the signals are away; in the others nobody waits, and in bulk several are taken together."""
NO_BRAND = 0


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()


class Queue:
    """Where work is asked for."""

    def __init__(self, redis: ArqRedis, signals: Signals) -> None:
        self._redis = redis
        self.signals = signals

    @classmethod
    async def open(cls, redis_url: str) -> Queue:
        """Connect to ``redis_url`` (``redis://``, ``rediss://`` or ``unix://``)."""
        redis = await create_pool(
            RedisSettings.from_dsn(redis_url), job_serializer=_encode, job_deserializer=json.loads
        )
        signals = Signals()
        signals.open(redis_url, "jobs")
        return cls(redis, signals)

    async def push(self, job: Job, brand_id: int) -> None:
        """Ask for a job. A queue that is away is no error: the sweep asks again when it is back.

        Of several who ask before it has begun one is heard. Who asks after that asks anew: it may have looked already.
        """
        try:
            if await self._redis.set(_asked(job, brand_id), 1, nx=True, px=ASKED_MS):
                job_id = f"{job}:{brand_id}:{uuid4().hex}"
                await self._redis.enqueue_job(job, brand_id, _job_id=job_id, _queue_name=LANES[job])
                if LANES[job] == FAST:
                    await self.signals.tell(NO_BRAND, "job")
        except (RedisError, OSError) as error:
            log.warning("could not queue %s of brand %s: %s", job, brand_id, error)

    async def begin(self, job: Job, brand_id: int) -> None:
        """Note that a job begins, before it looks at anything."""
        await self._redis.delete(_asked(job, brand_id))

    async def add(self, key: str, amount: int, seconds: int) -> int:
        """Add to a number that is forgotten after so many seconds, and return it."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.incrby(key, amount)
            pipeline.expire(key, seconds)
            total, _ = await pipeline.execute()
        return int(total)

    async def ping(self) -> None:
        """Raise where the queue does not answer."""
        await self._redis.ping()

    async def waiting(self) -> dict[str, int]:
        """How many jobs each lane has, those under way included."""
        return {lane.rpartition(":")[2]: int(await self._redis.zcard(lane)) for lane in (FAST, BULK, SLOW)}

    async def close(self) -> None:
        """Disconnect."""
        await self.signals.close()
        await self._redis.aclose()


def _asked(job: Job, brand_id: int) -> str:
    return f"siyu:asked:{job}:{brand_id}"


@dataclass(frozen=True)
class JobContext:
    """What jobs are given, in place of arq's dict. ``at_work`` are those of :data:`ALONE` that are under way here, and
    whether somebody has asked for them since; ``handed_over`` says when playbooks of a brand were last asked to look at
    what was decided, or will be (``handing_over``)."""

    ctx: Context
    queue: Queue
    at_work: dict[tuple[Job, int], bool] = field(default_factory=dict, repr=False, compare=False)
    handed_over: dict[int, float] = field(default_factory=dict, repr=False, compare=False)
    handing_over: set[asyncio.Task[None]] = field(default_factory=set, repr=False, compare=False)


async def decide_job(given: JobContext, brand_id: int) -> None:
    """Decide for the users with new events until there are none."""
    began = time.monotonic()
    end = began + WORKING_SECONDS
    while (done := await decide.decide_users(given.ctx, brand_id)).users:
        DECIDED.labels("events").inc(done.users)
        if done.occasions:
            await _gathered(given, brand_id)
        if time.monotonic() > end:
            await given.queue.push("decide", brand_id)
            return
        await asyncio.sleep(began + PACE_SECONDS - time.monotonic())
        began = time.monotonic()


async def _gathered(given: JobContext, brand_id: int) -> None:
    """Have playbooks look at what was decided: at once, or at all that is until they may be asked again."""
    now = time.monotonic()
    due = given.handed_over.get(brand_id, -math.inf)
    if due > now:
        return
    due = given.handed_over[brand_id] = max(now, due + GATHER_SECONDS)
    if due == now:
        await given.queue.push("playbooks", brand_id)
    else:
        task = asyncio.create_task(_hand_over(given, brand_id, due - now))
        given.handing_over.add(task)
        task.add_done_callback(given.handing_over.discard)


async def _hand_over(given: JobContext, brand_id: int, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await given.queue.push("playbooks", brand_id)


async def playbooks_job(given: JobContext, brand_id: int) -> None:
    """Take users into playbooks and move on those who are due, until nobody is."""
    end = time.monotonic() + WORKING_SECONDS
    while time.monotonic() < end:
        took = await playbooks.take(given.ctx, brand_id)
        await _handed_over(given, brand_id, took)
        moved = await playbooks.move_on(given.ctx, brand_id, limit=MOVED_AT_ONCE)
        await _handed_over(given, brand_id, moved)
        # What has come since somebody asks for.
        if took.occasions < playbooks.CHUNK and not moved.users:
            return
    await given.queue.push("playbooks", brand_id)


async def _handed_over(given: JobContext, brand_id: int, done: playbooks.Progress) -> None:
    """Have carried out what was planned."""
    if done.urgent:
        await given.queue.push("dispatch", brand_id)
    if done.actions > done.urgent:
        await given.queue.push("campaign", brand_id)


async def dispatch_job(given: JobContext, brand_id: int) -> None:
    """Carry out what is due and urgent until nothing is."""
    await dispatch.send_due(given.ctx, brand_id, urgent=True)


async def campaign_job(given: JobContext, brand_id: int) -> None:
    """Carry out what else is due until nothing is."""
    await dispatch.send_due(given.ctx, brand_id, urgent=False)


async def refresh_job(given: JobContext, brand_id: int) -> None:
    """Decide for the whole brand, if nobody has since it was asked for; a refresh under way already is as good."""
    if not await Brand.filter(id=brand_id).exclude(refresh_asked=None).exists():
        return
    with suppress(AlreadyRunning):
        await refresh(given.ctx, brand_id)
        await _handed_over(given, brand_id, await playbooks.daily(given.ctx, brand_id))
        await given.queue.push("playbooks", brand_id)


async def files_job(given: JobContext, brand_id: int) -> None:
    """Make the exports and take in the imports that wait."""
    await files.work(given.ctx, brand_id)


async def sweep_job(given: JobContext, _: int = 0) -> None:
    """Ask for all work that the database says is due, and close the rows of runs that died."""
    await tasks.escalate(given.ctx)
    async with given.ctx.db.connection() as connection:
        due = await connection.fetch(
            "SELECT id, 'decide' AS job FROM brand b WHERE EXISTS (SELECT FROM dirty_user WHERE brand_id = b.id)"
            " UNION ALL SELECT b.id, j.job FROM brand b, (VALUES ('dispatch', 0, 0), ('campaign', 1, 32767))"
            "   j (job, low, high) WHERE EXISTS (SELECT FROM action a WHERE a.brand_id = b.id"
            "   AND a.lane BETWEEN j.low AND j.high AND a.due_at <= COALESCE(b.replayed_to, now())"
            "   AND status IN ('planned', 'held', 'leased') AND (status <> 'leased' OR leased_until < now()))"
            " UNION ALL SELECT id, 'playbooks' FROM brand b WHERE EXISTS (SELECT FROM occasion WHERE brand_id = b.id)"
            "   OR EXISTS (SELECT FROM enrolment WHERE brand_id = b.id AND status = 'active'"
            "   AND due_at <= COALESCE(b.replayed_to, now()))"
            " UNION ALL SELECT id, 'refresh_brand' FROM brand WHERE refresh_asked IS NOT NULL"
            " UNION ALL SELECT DISTINCT brand_id, 'files' FROM file WHERE status = 'waiting'"
        )
        await _close_dead_runs(given.ctx, connection)
        await counts.fold(connection)
    for row in due:
        await given.queue.push(row["job"], row["id"])


async def nightly_job(given: JobContext) -> None:
    """Ask for a refresh of every live brand whose midnight has passed since its last one, and forget what is old."""
    now = datetime.now(UTC)
    async with given.ctx.db.connection() as connection:
        await forget(connection)
    await files.remove_old(given.ctx)
    await playbooks.listen_all(given.ctx)
    for brand in await Brand.filter(replayed_to=None):
        midnight = window_start(now, zone(brand.zone), 1)
        if brand.refreshed_at is None or brand.refreshed_at < midnight:
            async with given.ctx.db.connection() as connection:
                await ask_refresh(connection, brand.id)
            await given.queue.push("refresh_brand", brand.id)


async def _close_dead_runs(ctx: Context, connection: Any) -> None:
    for run in await Run.filter(status="running", kind="refresh"):
        # The server frees the lock of a process that died, so whoever can take it knows that nobody runs.
        if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", Lock.REFRESH, run.brand_id):
            try:
                await Run.filter(id=run.id, status="running").update(
                    status="failed", error="the process died", finished_at=datetime.now(UTC)
                )
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, run.brand_id)
            await ctx.db.signals.tell(run.brand_id, "run")


WORK: Mapping[Job, Callable[..., Any]] = {
    "campaign": campaign_job,
    "decide": decide_job,
    "dispatch": dispatch_job,
    "files": files_job,
    "playbooks": playbooks_job,
    "refresh_brand": refresh_job,
    "sweep": sweep_job,
}


@contextmanager
def _observed(job: str, about: Mapping[Any, Any], **further: Any) -> Iterator[None]:
    """Time a job, and say in the log which one it is."""
    outcome, began = "failed", time.perf_counter()
    span = tracing.span(f"job {job}", "consumer", attributes={"job_id": about["job_id"], **further})
    with logs.bound(job=job, job_id=about["job_id"], **further), span:
        try:
            yield
            outcome = "done"
        except asyncio.CancelledError:
            outcome = "given back"
            raise
        finally:
            seconds = time.perf_counter() - began
            JOBS.labels(job, outcome).observe(seconds)
            log.info("job", extra={"outcome": outcome, "seconds": round(seconds, 4)})


async def _once(name: Job, given: JobContext, brand_id: int) -> None:
    """Do a job; of one that is to be :data:`ALONE` only leave word where it is under way."""
    if name not in ALONE:
        await given.queue.begin(name, brand_id)
        await WORK[name](given, brand_id)
        return
    mine = name, brand_id
    if mine in given.at_work:
        # That it was asked for stays noted until the one at work heeds it: meanwhile nobody need ask again.
        given.at_work[mine] = True
        return
    asked, end = True, time.monotonic() + WORKING_SECONDS
    try:
        while asked and time.monotonic() < end:
            given.at_work[mine] = False
            try:
                await given.queue.begin(name, brand_id)
                await WORK[name](given, brand_id)
            finally:
                asked = given.at_work.pop(mine)
    finally:
        if asked:
            await given.queue.begin(name, brand_id)
    if asked:
        await given.queue.push(name, brand_id)


class _Worker(Worker):
    """A worker that looks for jobs when it is told of one, or one of its own ends, or it is time to."""

    told: asyncio.Event
    look: float

    async def heart_beat(self) -> None:
        """What arq does between two looks; and wait."""
        await super().heart_beat()
        ring = asyncio.ensure_future(self.told.wait())
        try:
            await asyncio.wait({ring, *self.tasks.values()}, timeout=self.look, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ring.cancel()
        self.told.clear()


def _worker(lane: str, given: JobContext, queue: Queue, told: asyncio.Event) -> Worker:
    def asked(name: Job) -> Callable[..., Any]:
        async def call(about: dict[Any, Any], brand_id: int) -> None:
            with _observed(name, about, brand_id=brand_id):
                await _once(name, given, brand_id)

        return call

    def timed(job: Callable[[JobContext], Awaitable[None]]) -> Callable[..., Any]:
        async def call(about: dict[Any, Any]) -> None:
            with _observed(job.__name__.removesuffix("_job"), about):
                await job(given)

        call.__qualname__ = job.__qualname__
        return call

    crons = [
        cron(timed(sweep_job), name="cron:sweep", second=set(range(0, 60, 10)), run_at_startup=True),
        cron(timed(nightly_job), name="cron:nightly", minute=set(range(NIGHT_MINUTE, 60, 15))),
    ]
    worker = _Worker(
        [func(asked(name), name=name, keep_result=0) for name in WORK if LANES[name] == lane],
        queue_name=lane,
        cron_jobs=crons if lane == FAST else None,
        redis_pool=queue._redis,
        handle_signals=False,
        # Each job may hold three connections of the pool; measured, fewer at once are no slower on two cores.
        max_jobs={FAST: 4, BULK: 2, SLOW: 1}[lane],
        job_timeout=TIMEOUTS[lane],
        max_tries=3,
        poll_delay=0,
        keep_result=0,
        job_serializer=_encode,
        job_deserializer=json.loads,
        log_results=False,
        timezone=UTC,
    )
    worker.told, worker.look = told, LOOK_SECONDS[lane]
    return worker


async def run_worker(ctx: Context, queue: Queue, stopping: asyncio.Event | None = None) -> None:
    """Work on all lanes until ``stopping`` is set or it is cancelled. A queue that goes away is waited for.

    Told to stop, it takes no more jobs, and gives back those that :data:`FINISH_SECONDS` later are not done.
    """
    given = JobContext(ctx, queue)
    await playbooks.listen_all(ctx)
    try:
        async with asyncio.TaskGroup() as group:
            for lane in (FAST, BULK, SLOW):
                group.create_task(_run_lane(lane, given, queue, stopping or asyncio.Event()))
    finally:
        # What is not handed over the sweep will find.
        await _ended(*given.handing_over)


async def watch_connections(ctx: Context) -> None:
    """Keep the figures of this process's connections to the database true, until cancelled."""
    while True:
        for state, number in ctx.db.connections().items():
            CONNECTIONS.labels(state).set(number)
        await asyncio.sleep(WATCH_SECONDS)


async def _run_lane(lane: str, given: JobContext, queue: Queue, stopping: asyncio.Event) -> None:
    with queue.signals.of(NO_BRAND, "job") as told:
        await _work(lambda: _worker(lane, given, queue, told if lane == FAST else asyncio.Event()), stopping)


async def _work(made: Callable[[], Worker], stopping: asyncio.Event) -> None:
    told = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            worker = made()
            running = asyncio.create_task(worker.async_run())
            try:
                await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.is_set():
                    worker.allow_pick_jobs = False
                    await _finished(worker, FINISH_SECONDS)
                else:
                    await running
            except (RedisError, OSError) as error:
                log.warning("the queue %s is away (%s); trying again", worker.queue_name, error)
                await asyncio.sleep(1)
            finally:
                # A job that is cancelled goes back to its lane.
                await _ended(running, worker.main_task, *worker.tasks.values())
    finally:
        told.cancel()


async def _finished(worker: Worker, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while worker.tasks:  # noqa: ASYNC110 (arq takes out those that are done when it looks)
                await asyncio.sleep(0.02)


async def _ended(*tasks: asyncio.Task[Any] | None) -> None:
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    await asyncio.gather(*there, return_exceptions=True)
