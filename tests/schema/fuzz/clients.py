"""Clients of the application without a server between: what they get is all that was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.schema.fuzz.asking import Asked

ACCEPTED = {"sse": "text/event-stream", "multipart": "multipart/mixed;subscriptionSpec=1.0, application/json"}
PATIENCE = 0.3
"""How long a stream is listened to that may have nothing to tell yet."""
END_SECONDS = 10.0
"""How long the application may go on when the client has gone."""

Message = MutableMapping[str, Any]


@dataclass
class Answered:
    """What came: a status (0 of a WebSocket), and answers as they were sent."""

    status: int = 0
    answers: list[Any] = field(default_factory=list)


async def ask(app: Any, asked: Asked, token: str) -> Answered:
    """What the application answers to a request, of a stream the first answer."""
    return await (_talk if asked.way == "socket" else _call)(app, asked, token)


def _scope(**more: Any) -> dict[str, Any]:
    given = {"asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("siyu", 80), "client": ("here", 1)}
    return {**given, "path": "/graphql", "raw_path": b"/graphql", "root_path": "", "query_string": b"", **more}


async def _call(app: Any, asked: Asked, token: str) -> Answered:
    streamed = asked.way in ACCEPTED
    headers = [
        (b"host", b"siyu"),
        (b"authorization", f"Bearer {token}".encode()),
        (b"content-type", asked.type.encode()),
        (b"accept", ACCEPTED.get(asked.way, "application/json").encode()),
    ]
    get = asked.way == "get"
    sent = [{"type": "http.request", "body": b"" if get else asked.body, "more_body": False}]
    found, body, enough = Answered(), bytearray(), asyncio.Event()

    async def receive() -> Message:
        if sent:
            return sent.pop()
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        found.status = message.get("status", found.status)
        body.extend(message.get("body", b""))
        if streamed and _parts(body):
            enough.set()

    query = asked.body if get else b""
    more = {"type": "http", "scheme": "http", "method": "GET" if get else "POST", "query_string": query}
    task = asyncio.create_task(app(_scope(headers=headers, **more), receive, send))
    if streamed:
        listening = asyncio.create_task(enough.wait())
        await asyncio.wait([task, listening], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        enough.set()
        await asyncio.wait_for(task, END_SECONDS)
    await task
    found.answers = [json.loads(body)] if body.startswith((b"{", b"[")) else _parts(body)
    return found


def _parts(body: bytearray) -> list[Any]:
    """The answers in a stream of either kind; heartbeats are none."""
    lines = (line.removeprefix("data: ") for line in body.decode().split("\r\n"))
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [each.get("payload") or each for each in found if each]


async def _talk(app: Any, asked: Asked, token: str) -> Answered:
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    found, acknowledged, told = Answered(), asyncio.Event(), asyncio.Event()
    frames = asked.body.split(b"\n")
    awaited = {id for frame in frames if isinstance(id := _id(frame), str)}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            said = json.loads(message["text"])
            if said["type"] == "connection_ack":
                acknowledged.set()
            elif said["type"] in ("next", "error", "complete"):
                payload = said.get("payload")
                found.answers += [payload] if said["type"] == "next" else [{"errors": payload}] if payload else []
                awaited.discard(said["id"])
            if not awaited:
                told.set()
        elif message["type"] == "websocket.close":
            found.answers.append({"closed": message.get("code"), "reason": message.get("reason")})
            acknowledged.set()
            told.set()

    def text(frame: bytes) -> Message:
        return {"type": "websocket.receive", "text": frame.decode(errors="replace")}

    protocol = "graphql-transport-ws"
    headers = [(b"host", b"siyu"), (b"sec-websocket-protocol", protocol.encode())]
    more = {"type": "websocket", "scheme": "ws", "subprotocols": [protocol]}
    task = asyncio.create_task(app(_scope(headers=headers, **more), inbox.get, send))
    inbox.put_nowait({"type": "websocket.connect"})
    hello = {"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}
    inbox.put_nowait(text(json.dumps(hello).encode()))
    async with asyncio.timeout(END_SECONDS):
        await acknowledged.wait()
    for frame in frames:
        inbox.put_nowait(text(frame))
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await told.wait()
    inbox.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": ""})
    await asyncio.wait_for(task, END_SECONDS)
    return found


def _id(frame: bytes) -> Any:
    """The id of the operation that a message begins, if it does."""
    try:
        message = json.loads(frame)
        return message["id"] if message["type"] == "subscribe" else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
