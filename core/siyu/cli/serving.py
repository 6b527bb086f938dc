"""Serving until told to stop: in this process, or in several that share a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn

from siyu.cli.session import Session, api, err, fail
from siyu.jobs import FINISH_SECONDS, Queue, run_worker, watch_connections
from siyu.runtime import ApiSettings, ServerError
from siyu.telemetry import metrics

__all__ = ["background", "listen", "serve_here", "serve_in_processes", "stopped"]

log = logging.getLogger("siyu.serve")

MOST_MESSAGE = 2 * 1024 * 1024
"""The largest message of a WebSocket, in bytes; uvicorn's own limit is 16 MB, also before anybody has a token."""
BACKLOG = 2048
REQUEST_SECONDS = 10
"""How long requests under way may go on once the socket is closed."""
KILL_SECONDS = REQUEST_SECONDS + FINISH_SECONDS + 5
"""After so long (and the drain) a process that was told to stop is killed."""
SHORT_LIFE = 10.0
LONGEST_PAUSE = 30.0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, or an error that names a remedy."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # asyncio does so only for sockets that it makes itself; without it an answer in two parts waits 40 ms for the
        # client to acknowledge the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        fail(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host")


@asynccontextmanager
async def stopped(parent: int | None = None) -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM and Ctrl-C set; the second time they cut short what is under way.

    ``parent`` is a pipe that ends with the process that started this one: that, too, says to stop.
    """
    told, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def heard() -> None:
        if told.is_set():
            task.cancel()
        told.set()

    def orphaned(pipe: int) -> None:
        loop.remove_reader(pipe)
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)
    if parent is not None:
        loop.add_reader(parent, orphaned, parent)
    try:
        yield told
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if parent is not None:
            loop.remove_reader(parent)


@asynccontextmanager
async def background(at_hand: Session, told: asyncio.Event, queue: Queue | None = None) -> AsyncIterator[None]:
    """What goes on beside: the servers are kept, figures noted and, with ``queue``, the background work done.

    Should one of them fail, the process is told to stop, rather than to go on without, and fails.
    """
    broken = []
    metrics.share(at_hand.servers.settings.home / "run" / "metrics")
    endless = [asyncio.create_task(_keep(at_hand)), asyncio.create_task(watch_connections(at_hand.ctx))]
    working = [asyncio.create_task(run_worker(at_hand.ctx, queue, told))] if queue else []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("the background work failed; ending", exc_info=error)
            broken.append(error)
            told.set()

    for task in (*endless, *working):
        task.add_done_callback(ended)
    try:
        yield
        await asyncio.gather(*working, return_exceptions=True)
    finally:
        for task in (*endless, *working):
            task.cancel()
        await asyncio.gather(*endless, *working, return_exceptions=True)
    if broken:
        fail(f"the background work failed ({type(broken[0]).__name__}); the log has more")


async def serve_here(at_hand: Session, listener: socket.socket, *, worker: bool, parent: int | None = None) -> None:
    """Serve in this process until told to stop; with ``worker``, do the background work, too.

    Told to stop, it is not ready any more; after the drain it closes the socket, tells streams to go, and lets
    requests under way end.
    """
    settings, limits = at_hand.servers.settings, ApiSettings.from_env()
    queue = await Queue.open(at_hand.addresses.redis_url)
    operations = api().Operations(metrics_token=settings.metrics_token)
    asgi = api().create_app(at_hand.ctx, queue, operations=operations, settings=limits)
    server = _Server(
        uvicorn.Config(
            asgi,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=REQUEST_SECONDS,
            ws_max_size=MOST_MESSAGE,
        )
    )
    try:
        async with stopped(parent) as told, background(at_hand, told, queue if worker else None):
            serving = asyncio.create_task(server.serve([listener]))
            waiting = asyncio.create_task(told.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            operations.ending.announced.set()
            await asyncio.sleep(settings.drain)
            operations.ending.leaving.set()
            server.should_exit = True
            await serving
    finally:
        await queue.close()


async def serve_in_processes(at_hand: Session, listener: socket.socket, workers: int, *, worker: bool) -> None:
    """Serve in ``workers`` processes that share the socket, and do the background work in one more.

    One that ends is replaced. All end with this one, however it ends.
    """
    ends, kept = os.pipe()
    passed = (listener.fileno(), ends)
    serving = ["serve", "--no-worker", "--listener", str(listener.fileno()), "--parent", str(ends)]
    commands = [serving] * workers + ([["worker", "--parent", str(ends)]] if worker else [])
    try:
        async with stopped() as told, background(at_hand, told):
            limit = at_hand.servers.settings.drain + KILL_SECONDS
            await asyncio.gather(*(_kept_running(command, passed, told, limit) for command in commands))
    finally:
        os.close(ends)
        os.close(kept)


async def _kept_running(command: Sequence[str], passed: Sequence[int], told: asyncio.Event, limit: float) -> None:
    pause = 1.0
    while not told.is_set():
        began = time.monotonic()
        # -P: what lies in the current directory is not to be imported. A session of its own: Ctrl-C is for the
        # parent, who ends it; whoever has only begun would break off with a traceback.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "siyu", *command, pass_fds=passed, start_new_session=True
        )
        ended, stop = asyncio.create_task(process.wait()), asyncio.create_task(told.wait())
        try:
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if told.is_set():
                await _end(process, limit)
                return
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            stop.cancel()
        pause = min(pause * 2, LONGEST_PAUSE) if time.monotonic() - began < SHORT_LIFE else 1.0
        log.error("process %s (siyu %s) ended with %s; another one begins", process.pid, command[0], process.returncode)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause / 2):
                await told.wait()


async def _end(process: asyncio.subprocess.Process, limit: float) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(limit):
            await process.wait()
    except TimeoutError:
        log.error("process %s did not end in %s s and is killed", process.pid, limit)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Server(uvicorn.Server):
    """uvicorn's, which leaves signals alone: its own handlers end the process before the jobs are done."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _keep(at_hand: Session) -> None:
    """Start the embedded servers again should they have gone."""
    while True:
        await asyncio.sleep(2)
        try:
            await asyncio.to_thread(at_hand.servers.ensure)
        except ServerError as error:
            err.print(f"[red]siyu:[/] {error}")
