"""Figures for Prometheus.

Each long-running process of a data directory writes its own into one folder (prometheus-client's multiprocess mode),
so that whichever is asked answers for all of them. The folder is emptied by the first process to come. Short commands
and tests keep theirs in memory.

Every figure has a label: those without are made when this module is imported, before anybody can say where.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

__all__ = ["ACTIONS", "CONNECTIONS", "DECIDED", "EVENTS", "JOBS", "REGISTRY", "RUNS", "exposition", "share"]

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
REGISTRY = CollectorRegistry()

EVENTS = Counter("siyu_events", "Events that came in one by one.", ["outcome"], registry=REGISTRY)
DECIDED = Counter("siyu_users_decided", "Users decided, after events or in a refresh.", ["by"], registry=REGISTRY)
RUNS = Counter("siyu_runs", "Refreshes, imports and replays that have ended.", ["kind", "outcome"], registry=REGISTRY)
ACTIONS = Counter(
    "siyu_actions", "Actions that a channel was given, by what became of them.", ["outcome"], registry=REGISTRY
)
JOBS = Histogram(
    "siyu_job_seconds",
    "Background jobs.",
    ["job", "outcome"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000),
    registry=REGISTRY,
)
CONNECTIONS = Gauge(
    "siyu_database_connections",
    "Connections to PostgreSQL of all processes.",
    ["state"],
    multiprocess_mode="livesum",
    registry=REGISTRY,
)


def share(folder: Path) -> None:
    """Write this process's figures to ``folder`` from now on, together with those of others."""
    global _lock
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in folder.glob("*.db"):
            file.unlink()
    fcntl.flock(lock, fcntl.LOCK_SH)
    _lock = lock
    os.environ[VARIABLE] = str(folder)
    # As the library does when it is imported with the variable set: figures look it up when they are first used.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


_lock: int | None = None
"""Held for the life of the process: while it is, nobody empties the folder."""


def exposition(accept: str, *further: Collector) -> tuple[bytes, str]:
    """All figures and those that ``further`` collect now, in the form that ``accept`` asks for, and its type."""
    registry = CollectorRegistry()
    if _lock is None:
        registry.register(REGISTRY)
    else:
        _forget_the_dead(Path(os.environ[VARIABLE]))
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in further:
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _forget_the_dead(folder: Path) -> None:
    """Gauges of processes that have gone are no longer so; counters of theirs stay."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
