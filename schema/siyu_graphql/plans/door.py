"""The way ahead of the view: requests whose documents have a plan are answered here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from siyu import SiyuError
from siyu.flow.tokens import Access
from starlette.requests import Request
from starlette.responses import Response
from strawberry import Schema
from strawberry.asgi import GraphQL

from siyu_graphql.plans.recent import Recent
from siyu_graphql.plans.runner import FRESH_SECONDS, Asked, Plans
from siyu_graphql.service import Service

__all__ = ["Door"]

MOST_BYTES = 100_000
"""The largest body that is looked at: documents are short, and what is long is data that is sent."""


SHAPES: Mapping[str, type] = {
    "query": str,
    "operationName": str,
    "variables": dict,
    "extensions": dict,
    "documentId": str,
}


class Door:
    """Answers what it can before ``view`` is asked. Closed, it leaves everything to the view."""

    def __init__(self, service: Service, view: GraphQL[Any, Any], schema: Schema) -> None:
        self.schema = schema
        self.plans = Plans(service.ctx.db, schema)
        self.open = True
        self._service = service
        self._view = view
        self._bearers: Recent[str, Access | None] = Recent(service.bearer, FRESH_SECONDS)

    async def respond(self, request: Request, ordinary: Callable[[Request], Awaitable[Response]]) -> Response:
        """The response, from a plan or else from ``ordinary``."""
        if not (self.open and _plain(request)):
            return await ordinary(request)
        access = await self._bearers.get(request.headers.get("authorization", ""))
        if access is None:
            return await ordinary(request)
        content = await request.body()
        asked = await self._asked(content) if len(content) <= MOST_BYTES else None
        if asked is not None:
            answer = await self.plans.answer(self._service.request(access, request.state.id), asked)
            if answer is not None:
                return Response(answer, media_type="application/json")
        try:
            return await ordinary(request)
        finally:
            if b"mutation" in content:
                self._bearers.forget()
                self.plans.forget()

    async def _asked(self, content: bytes) -> Asked | None:
        """What is asked, if it is one operation in its right shape that may be executed."""
        try:
            match self._view.decode_json(content):
                case dict(body) if all(isinstance(body.get(name), shape | None) for name, shape in SHAPES.items()):
                    query, operation, variables, extensions, document_id = (body.get(name) for name in SHAPES)
                    text = await self._service.documents.text(query, document_id, extensions)
                    return None if text is None else Asked(text, operation, variables or {})
        except (ValueError, SiyuError):
            pass
        return None


def _plain(request: Request) -> bool:
    """Whether one answer in JSON is wanted for one body in JSON."""
    accepted = request.headers.get("accept", "")
    return (
        request.method == "POST"
        and request.headers.get("content-type", "").startswith("application/json")
        and "multipart/" not in accepted
        and "text/event-stream" not in accepted
    )
