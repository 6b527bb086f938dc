"""The servers: each a process of its own, over the same PostgreSQL."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Server", "cpu", "started"]

HERE = Path(__file__).parent
PEERS = HERE / "peers"
NODE = PEERS / "node_modules" / ".bin" / "node"
"""PostGraphile needs a newer one than systems have."""
READY_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    url: str
    process: psutil.Process

    def cpu(self) -> float:
        """CPU seconds so far."""
        return cpu(self.process)


def cpu(process: psutil.Process) -> float:
    """CPU seconds so far of a process and those that it started, those that have ended included."""
    return sum(sum(each.cpu_times()[:4]) for each in [process, *process.children(recursive=True)])


def commands(port: int) -> Mapping[str, Sequence[str]]:
    """How each is started."""
    return {
        "bare": (sys.executable, "-m", "benchmarks.graphql.bare", str(port)),
        "siyu": (str(Path(sys.executable).with_name("siyu")), "serve", "--port", str(port), "--no-worker"),
        "naive": (sys.executable, "-m", "benchmarks.graphql.naive", str(port)),
        "postgraphile": (str(NODE), str(PEERS / "postgraphile.mjs"), str(port)),
        "mercurius": (str(NODE), str(PEERS / "mercurius.mjs"), str(port)),
    }


@contextmanager
def started(env: Mapping[str, str], *names: str) -> Iterator[dict[str, Server]]:
    """Those named, or all, by name; without those of npm where they are not installed."""
    with ExitStack() as stack:
        found = {}
        for name in names or commands(0):
            if name in ("postgraphile", "mercurius") and not NODE.exists():
                print(f"without {name}: `make bench-graphql` installs it")
                continue
            found[name] = stack.enter_context(_one(name, env))
        yield found


@contextmanager
def _one(name: str, env: Mapping[str, str]) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {**os.environ, **env, "GRAPHILE_ENV": "production", "NODE_ENV": "production"}
    process = subprocess.Popen(commands(port)[name], env=given, stdout=subprocess.DEVNULL)
    try:
        server = Server(name, f"http://127.0.0.1:{port}/graphql", psutil.Process(process.pid))
        _ready(server, port, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def _ready(server: Server, port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(READY_SECONDS * 10):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{server.name} does not answer")
