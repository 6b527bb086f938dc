"""The end of a process, as those see it who follow something."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from siyu_graphql.errors import error_body

__all__ = ["Ending", "Streams"]


@dataclass
class Ending:
    """How far the end of the process has come: it is announced, so that nobody new is sent here, and then it leaves."""

    announced: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """Ends streams over HTTP when the process leaves; the server closes WebSockets with 1012 (service restart).

    A stream that is waited for to end would hold the process up, and one that is cut off looks like a fault.
    """

    def __init__(self, app: ASGIApp, leaving: asyncio.Event) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _may_stream(Headers(scope=scope).get("accept", "")):
            await self._app(scope, receive, send)
            return
        asked = told = ended = False
        stream = ""

        async def receive_until_leaving() -> Message:
            nonlocal asked, told
            if not asked:
                message = await receive()
                asked = not message.get("more_body", False)
                return message
            # Whoever answers with a stream listens here for the client to go.
            gone = asyncio.ensure_future(receive())
            leaving = asyncio.ensure_future(self._leaving.wait())
            try:
                await asyncio.wait({gone, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return gone.result()
                told = True
                return {"type": "http.disconnect"}
            finally:
                gone.cancel()
                leaving.cancel()

        async def send_noted(message: Message) -> None:
            nonlocal stream, ended
            if message["type"] == "http.response.start":
                stream = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0]
            elif message["type"] == "http.response.body":
                ended = not message.get("more_body", False)
            await send(message)

        await self._app(scope, receive_until_leaving, send_noted)
        if told and stream and not ended:
            await send({"type": "http.response.body", "body": _goodbye(stream).encode(), "more_body": False})


def _may_stream(accept: str) -> bool:
    return "text/event-stream" in accept or "multipart/" in accept


def _goodbye(stream: str) -> str:
    answer = json.dumps({"data": None, **error_body("UNAVAILABLE", "the server is being restarted: subscribe again")})
    if stream == "text/event-stream":
        return f"event: next\r\ndata: {answer}\r\n\r\nevent: complete\r\ndata: \r\n\r\n"
    return f'\r\n--graphql\r\nContent-Type: application/json\r\n\r\n{{"payload": {answer}}}\r\n--graphql--\r\n'
