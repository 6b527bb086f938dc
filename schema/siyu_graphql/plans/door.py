"""The way ahead of the view: requests whose documents have a plan are answered here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from siyu.flow.tokens import Access
from starlette.requests import Request
from starlette.responses import Response
from strawberry import Schema
from strawberry.asgi import GraphQL

from siyu_graphql.context import RequestContext
from siyu_graphql.plans.recent import Recent
from siyu_graphql.plans.runner import FRESH_SECONDS, Plans
from siyu_graphql.service import Service

__all__ = ["Door"]

MOST_BYTES = 100_000
"""The largest body that is looked at: documents are short, and what is long is data that is sent."""


class Door:
    """Answers what it can before ``view`` is asked. Closed, it leaves everything to the view."""

    def __init__(self, service: Service, view: GraphQL[Any, Any], schema: Schema) -> None:
        self.schema = schema
        self._service = service
        self._view = view
        self._bearers: Recent[str, Access | None] = Recent(service.bearer, FRESH_SECONDS)
        self.plans = Plans(service.ctx.db, schema)
        self.open = True

    async def respond(self, request: Request, ordinary: Callable[[Request], Awaitable[Response]]) -> Response:
        """The response, from a plan or else from ``ordinary``."""
        if not (self.open and _plain(request)) or self._service.settings.trusted_only:
            return await ordinary(request)
        access = await self._bearers.get(request.headers.get("authorization", ""))
        if access is None:
            return await ordinary(request)
        content = await request.body()
        answer = None
        if len(content) <= MOST_BYTES:
            answer = await self._planned(self._service.request(access, request.state.id), content)
        if answer is not None:
            return Response(answer, media_type="application/json")
        try:
            return await ordinary(request)
        finally:
            if b"mutation" in content:
                self._bearers.forget()
                self.plans.forget()

    async def _planned(self, context: RequestContext, content: bytes) -> bytes | None:
        try:
            body = self._view.decode_json(content)
        except ValueError:
            return None
        return await self.plans.answer(context, body) if isinstance(body, dict) else None


def _plain(request: Request) -> bool:
    """Whether one answer in JSON is wanted for one body in JSON."""
    accepted = request.headers.get("accept", "")
    return (
        request.method == "POST"
        and request.headers.get("content-type", "").startswith("application/json")
        and "multipart/" not in accepted
        and "text/event-stream" not in accepted
    )
