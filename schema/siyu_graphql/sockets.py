"""GraphQL over WebSockets, by the protocol graphql-transport-ws. The token comes with ``connection_init``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError
from siyu import SiyuError
from siyu.flow.tokens import Access, Unauthenticated, still
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import MissingQueryError
from strawberry.http.exceptions import NonJsonMessageReceived, WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler

from siyu_graphql.context import RECHECK_SECONDS, RequestContext
from siyu_graphql.errors import presented
from siyu_graphql.meter import TooMany
from siyu_graphql.service import Service

__all__ = ["SHAPES", "Adapter", "Handler", "Socket"]

SHAPES = {"query": str, "variables": dict, "operationName": str, "extensions": dict, "documentId": str}
"""What an operation is asked with, each or nothing."""


@dataclass
class Socket:
    """One WebSocket: whose it is, once it has said so."""

    service: Service
    access: Access | None = None

    async def request(self) -> RequestContext:
        """Each operation is a request of its own, with what the token allows when it begins."""
        if self.access is None:
            raise Unauthenticated("the connection has not said whose it is", remedy="send connection_init first")
        return self.service.request(await still(self.access))


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
    """Strawberry's, with our tokens and documents."""

    _watching: asyncio.Task[None] | None = None
    _slot: ExitStack | None = None

    async def handle_connection_init(self, message: Any) -> None:
        given = message.get("payload")
        found = {name.lower(): value for name, value in given.items()} if isinstance(given, dict) else {}
        service, access = self.context.service, await self.context.service.bearer(str(found.get("authorization", "")))
        if access is None:
            # Not Strawberry's 4403, after which clients try again.
            await self.websocket.close(4401, 'a valid access token is needed: {"Authorization": "Bearer siyu_…"}')
            return
        if self._slot is None:
            self._slot = ExitStack()
            try:
                self._slot.enter_context(service.slots.one(access.key))
            except TooMany as error:
                await self.websocket.close(4429, str(error))
                return
            self._watching = asyncio.create_task(self._end_with(access))
        self.context.access = access
        await super().handle_connection_init(message)

    async def handle_subscribe(self, message: Any) -> None:
        if not self.connection_acknowledged:
            await super().handle_subscribe(message)
            return
        payload = message["payload"]
        try:
            text = await self.context.service.documents.text(
                payload.get("query"), payload.get("documentId"), payload.get("extensions")
            )
            if text is None:
                raise MissingQueryError
        except (SiyuError, MissingQueryError) as error:
            refused = presented(GraphQLError(str(error), original_error=error), "")
            await self.send_message({"id": message["id"], "type": "error", "payload": [refused.formatted]})
            return
        payload["query"] = text
        await super().handle_subscribe(message)

    async def shutdown(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().shutdown()
        if self._slot is not None:
            self._slot.close()

    async def _end_with(self, access: Access) -> None:
        """Close a connection, also one on which nothing happens, when its token has ended."""
        try:
            while True:
                await asyncio.sleep(RECHECK_SECONDS)
                access = await still(access)
        except Unauthenticated:
            with suppress(Exception):  # it may be closed already
                await self.websocket.close(4401, "the access token has ended")

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            await super().handle_task_exception(error)


def _well_formed(message: object) -> bool:
    """Whether Strawberry, which looks at the names of fields only, can go on with it."""
    if not isinstance(message, dict) or not isinstance(message.get("id", ""), str):
        return False
    if message.get("type") != "subscribe":
        return True
    payload = message.get("payload")
    return isinstance(payload, dict) and all(
        isinstance(payload.get(name), shape | None) for name, shape in SHAPES.items()
    )
