"""GraphQL over WebSockets, by the protocol graphql-transport-ws. The token comes with ``connection_init``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from siyu.flow.context import Context
from siyu.flow.tokens import Access, Unauthenticated, authenticate, still
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import NonJsonMessageReceived, WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler

from siyu_graphql.context import Queue, RequestContext

__all__ = ["Adapter", "Handler", "Socket", "bearer"]


@dataclass
class Socket:
    """One WebSocket: whose it is, once it has said so."""

    ctx: Context
    queue: Queue
    access: Access | None = None

    async def request(self) -> RequestContext:
        """Each operation is a request of its own, with what the token allows when it begins."""
        if self.access is None:
            raise Unauthenticated("the connection has not said whose it is", remedy="send connection_init first")
        return RequestContext(self.ctx, self.queue, await still(self.access))


async def bearer(authorization: str) -> Access | None:
    """What the bearer may do of whose token an ``Authorization`` header speaks."""
    scheme, _, secret = authorization.partition(" ")
    return await authenticate(secret.strip()) if scheme.lower() == "bearer" else None


class Adapter(ASGIWebSocketAdapter):
    """Strawberry's, which sends bytes for text, and takes for a message whatever is JSON."""

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        async for message in super().iter_json(ignore_parsing_errors=ignore_parsing_errors):
            if not _well_formed(message):
                raise NonJsonMessageReceived
            yield message

    async def close(self, code: int, reason: str) -> None:
        # It may quote the client, and a close frame holds no more.
        await super().close(code, reason.encode(errors="replace")[:120].decode(errors="ignore"))

    async def send_json(self, message: Mapping[str, object]) -> None:
        try:
            await self.ws.send_text(self.view.encode_json_string(message))
        except WebSocketDisconnect:
            raise WebSocketDisconnected from None


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """Strawberry's, with our tokens."""

    async def handle_connection_init(self, message: Any) -> None:
        given = message.get("payload")
        found = {name.lower(): value for name, value in given.items()} if isinstance(given, dict) else {}
        self.context.access = await bearer(str(found.get("authorization", "")))
        if self.context.access is None:
            # Not Strawberry's 4403, after which clients try again.
            await self.websocket.close(4401, 'a valid access token is needed: {"Authorization": "Bearer siyu_…"}')
        else:
            await super().handle_connection_init(message)

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)


def _well_formed(message: object) -> bool:
    """Whether Strawberry, which looks at the names of fields only, can go on with it."""
    if not isinstance(message, dict) or not isinstance(message.get("id", ""), str):
        return False
    payload = message.get("payload")
    if message.get("type") != "subscribe":
        return True
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )
