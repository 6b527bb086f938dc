"""Whether the process lives, whether it is ready, and its figures."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from siyu.flow.backlog import Backlog, backlog
from siyu.flow.context import Context
from siyu.telemetry import metrics
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from siyu_graphql.context import Queue
from siyu_graphql.ops.leaving import Ending

__all__ = ["Operations", "routes"]

log = logging.getLogger("siyu.ops")

READY_SECONDS = 2.0
"""How long a look at a server may take."""


@dataclass(frozen=True)
class Operations:
    """How the API is run: who may read ``/metrics`` from elsewhere, and how far its end has come."""

    metrics_token: str | None = field(default=None, repr=False)
    ending: Ending = field(default_factory=Ending)


def routes(ctx: Context, queue: Queue, operations: Operations) -> list[Route]:
    """The routes, which ask for no access token."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if operations.ending.announced.is_set():
            return JSONResponse({"status": "stopping"}, 503)
        looks: dict[str, Callable[[], Awaitable[bool]]] = {
            "postgresql": lambda: _database_answers(ctx),
            "migrations": ctx.db.migrated,
            "valkey": lambda: _queue_answers(queue),
        }
        found = dict(zip(looks, await asyncio.gather(*map(_within_time, looks.items())), strict=True))
        if set(found.values()) == {"ok"}:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", **found}, 503)

    async def figures(request: Request) -> Response:
        if not _may_read(request, operations.metrics_token):
            how = "with Authorization: Bearer and the SIYU_METRICS_TOKEN of the server"
            if operations.metrics_token is None:
                how = "from the server's own machine, unless it has a SIYU_METRICS_TOKEN"
            return PlainTextResponse(f"/metrics can be read {how}\n", 403)
        now = await _backlog(ctx, queue)
        accept = request.headers.get("accept", "")
        body, content_type = await asyncio.to_thread(metrics.exposition, accept, _Now(now))
        return Response(body, media_type=content_type)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", figures)]


def _may_read(request: Request, token: str | None) -> bool:
    if token is not None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _database_answers(ctx: Context) -> bool:
    async with ctx.db.connection() as connection:
        return bool(await connection.fetchval("SELECT true"))


async def _queue_answers(queue: Queue) -> bool:
    await queue.ping()
    return True


async def _within_time(look: tuple[str, Callable[[], Awaitable[bool]]]) -> str:
    name, found = look
    try:
        async with asyncio.timeout(READY_SECONDS):
            return "ok" if await found() else "missing"
    except Exception as error:
        log.warning("not ready: %s does not answer (%s)", name, type(error).__name__)
        return "no answer"


async def _backlog(ctx: Context, queue: Queue) -> Backlog | None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return await backlog(ctx, await queue.waiting())
    except Exception as error:
        log.warning("no figures of what waits (%s)", type(error).__name__)
        return None


class _Now:
    """What waits at this moment, the same whichever process is asked."""

    def __init__(self, now: Backlog | None) -> None:
        self._now = now

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("siyu_up", "Whether PostgreSQL and Valkey answered.", value=self._now is not None)
        if self._now is None:
            return
        lanes = GaugeMetricFamily("siyu_jobs_waiting", "Jobs asked for and not done.", labels=["lane"])
        for lane, number in self._now.jobs.items():
            lanes.add_metric([lane], number)
        actions = GaugeMetricFamily("siyu_actions_waiting", "Actions that are not done yet.", labels=["state"])
        for state, number in self._now.actions.items():
            actions.add_metric([state], number)
        runs = GaugeMetricFamily("siyu_runs_under_way", "Runs under way.", labels=["kind"])
        for kind, number in self._now.runs.items():
            runs.add_metric([kind], number)
        yield from (lanes, actions, runs)
        yield GaugeMetricFamily(
            "siyu_users_waiting", "Users with events that no decision has seen.", value=self._now.users
        )
        yield GaugeMetricFamily(
            "siyu_users_waiting_seconds", "How long the first of them has waited.", value=self._now.seconds
        )
