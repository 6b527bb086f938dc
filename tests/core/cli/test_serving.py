"""Serving as it is run: real processes, told to stop by signals, killed, and replaced."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
import typer
from siyu.cli.serving import background
from siyu.cli.session import Session
from siyu.flow.context import Context
from siyu.jobs import Queue
from siyu.runtime import Addresses, Servers, Settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

SIYU = Path(sys.executable).with_name("siyu")
FOLLOW = 'subscription { runProgress(brand: "shop") { id } }'


class House:
    """A home with a brand, and whatever serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "SIYU_HOME": str(folder / "home"), "SIYU_EMBEDDED_FSYNC": "off"}
        self.started: list[Serving] = []

    @cached_property
    def token(self) -> str:
        return self.run("token", "create", "--role", "admin").strip()

    def run(self, *words: str) -> str:
        return subprocess.run(
            [SIYU, *words], env=self.env, cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout

    def serve(self, *words: str, **env: str) -> Serving:
        serving = Serving(self, words, env)
        self.started.append(serving)
        serving.until(lambda: serving.get("/readyz").status_code == 200)
        return serving


class Serving:
    """`siyu serve` on a port of its own, in a group of its own as in a terminal."""

    def __init__(self, house: House, words: tuple[str, ...], env: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = house.folder / f"{self.address}.log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [SIYU, "serve", "--port", self.address.split(":")[1], *words],
                env={**house.env, **env},
                cwd=house.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.token = house.token
        self.headers = {"authorization": f"Bearer {self.token}"}

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://{self.address}{path}", timeout=5)

    def ask(self, query: str) -> Any:
        response = httpx2.post(f"http://{self.address}/graphql", json={"query": query}, headers=self.headers)
        return response.json()["data"]

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def figure(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def until(self, holds: Callable[[], Any], seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has taken note of yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("serving"))
    with Servers(Settings.from_env(house.env)):
        house.run("brand", "create", "shop", "--replay", "--enable", "lifecycle")
        yield house


@pytest.fixture
def house(home: House) -> Iterator[House]:
    yield home
    for started in home.started:
        if started.process.poll() is None:
            started.process.terminate()
            started.process.wait(40)
    home.started.clear()


def test_several_processes_answer_as_one_the_dead_are_replaced_and_ctrl_c_ends_all(house: House) -> None:
    serving = house.serve("--workers", "2")
    serving.until(lambda: len(serving.children()) == 3)
    event = '{id: "1", kind: "order.paid", user: [{kind: "member", value: "1"}], payload: {amount: 5}}'
    assert serving.ask(f'mutation {{ recordEvents(brand: "shop", events: [{event}]) {{ accepted }} }}')
    decided = 'siyu_users_decided_total{by="events"}'
    serving.until(lambda: serving.figure(decided) == 1)

    name = 'siyu_graphql_operation_seconds_count{operation="Hi",type="query"}'
    for _ in range(20):
        assert serving.ask("query Hi { version }")
    assert serving.figure(name) == 20, "whichever process answers, all are counted"

    first = serving.children()
    for victim in (first[0], first[2]):  # one that answers, and the one that works
        os.kill(victim, signal.SIGKILL)
        assert serving.ask("{ version }"), "the other one answers meanwhile"
    serving.until(lambda: len(set(serving.children()) - set(first)) == 2)
    assert serving.log.read_text().count("ended with -9; another one begins") == 2
    assert serving.figure(name) == 20, "what the dead had counted stays"

    children = serving.children()
    os.killpg(serving.process.pid, signal.SIGINT)
    assert serving.process.wait(20) == 0, serving.log.read_text()
    assert all(map(gone, children))
    assert "Traceback" not in serving.log.read_text()


def test_none_is_left_when_the_first_one_is_killed(house: House) -> None:
    serving = house.serve("--workers", "2")
    children = serving.children()
    assert len(children) == 3
    serving.process.kill()
    serving.process.wait(5)
    serving.until(lambda: all(map(gone, children)), 20)


def test_told_to_stop_it_is_not_ready_then_tells_streams_to_go_and_ends_requests(house: House) -> None:
    serving = house.serve(SIYU_DRAIN_SECONDS="2")
    host, port = serving.address.split(":")
    body = json.dumps({"query": "query Slow { version }"}).encode()
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: {serving.address}\r\nAuthorization: Bearer {serving.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    url = f"ws://{serving.address}/graphql"
    stream = {**serving.headers, "accept": "text/event-stream"}
    with (
        socket.create_connection((host, int(port)), timeout=20) as slow,
        connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws,
        httpx2.Client(timeout=20) as client,
        client.stream("POST", f"http://{serving.address}/graphql", json={"query": FOLLOW}, headers=stream) as sse,
    ):
        slow.sendall(head + body[:5])
        ws.send(json.dumps({"type": "connection_init", "payload": serving.headers}))
        assert json.loads(ws.recv(10)) == {"type": "connection_ack"}
        ws.send(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": FOLLOW}}))
        serving.process.terminate()
        serving.until(lambda: serving.get("/readyz").status_code == 503, 2)
        assert serving.get("/readyz").json() == {"status": "stopping"}
        assert serving.ask("{ version }"), "who comes before the balancer has noticed is answered"

        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(20)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
        told = "".join(sse.iter_text())
        assert "UNAVAILABLE" in told
        assert told.endswith("event: complete\r\ndata: \r\n\r\n")
        with pytest.raises(httpx2.TransportError):
            serving.get("/readyz")
        slow.sendall(body[5:])
        answer = b""
        while part := slow.recv(4096):
            answer += part
        assert b'"version"' in answer
    assert serving.process.wait(20) == 0, serving.log.read_text()
    assert serving.log.read_text().count("\n") == 1, serving.log.read_text()


def test_a_port_that_is_taken_is_an_error_with_a_remedy(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words: list[str | Path] = [SIYU, "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(words, env=house.env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_worker_ends_when_it_is_told_to(house: House) -> None:
    worker = subprocess.Popen(
        [SIYU, "worker"], env=house.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert worker.stdout
    assert "Working" in worker.stdout.readline()
    time.sleep(0.5)
    worker.terminate()
    rest, _ = worker.communicate(timeout=20)
    assert (worker.returncode, rest) == (0, "")


async def test_a_process_whose_background_work_breaks_stops_and_fails(ctx: Context, addresses: Addresses) -> None:
    at_hand = Session(ctx, Servers(Settings.from_env({"SIYU_HOME": str(ctx.home)})), addresses)
    told = asyncio.Event()
    queue = await Queue.open(addresses.redis_url)
    shared = patch("siyu.telemetry.metrics.share")  # for life, and this process has other tests to run
    broken = patch("siyu.cli.serving.run_worker", side_effect=RuntimeError("no"))
    with shared, broken, pytest.raises(typer.Exit) as ended:
        async with background(at_hand, told, queue), asyncio.timeout(5):
            await told.wait()
    await queue.close()
    assert ended.value.exit_code == 2
