"""The API over HTTP.

| route | what it gives |
|---|---|
| ``POST /graphql``, ``GET /graphql?query=`` | answers, to whoever has a token; subscriptions as SSE or multipart |
| ``GET``, ``PUT /files/…`` | exports and imports, by signed links |
| WebSocket ``/graphql`` | the same over graphql-transport-ws, the token in ``connection_init`` |
| ``GET /graphql`` by a browser | GraphiQL, in which the token is typed |
| ``GET /healthz``, ``/readyz``, ``/metrics`` | whether it lives, is ready, and how it does (:mod:`siyu_graphql.ops`) |
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cross_web import HTTPException
from siyu.flow.context import Context
from siyu.telemetry import logs, tracing
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.subscriptions import (
    GRAPHQL_SSE_PROTOCOL,
    GRAPHQL_TRANSPORT_WS_PROTOCOL,
    MULTIPART_SUBSCRIPTION_PROTOCOL,
)
from strawberry.types import ExecutionResult

from siyu_graphql.context import Queue, RequestContext
from siyu_graphql.errors import error_body, log, present
from siyu_graphql.file.routes import routes as file_routes
from siyu_graphql.ops.leaving import Streams
from siyu_graphql.ops.routes import Operations, routes
from siyu_graphql.schema import Schema, build_schema
from siyu_graphql.sockets import Adapter, Handler, Socket, bearer

__all__ = ["MOST_BYTES", "Page", "create_app"]

MOST_BYTES = 2 * 1024 * 1024
"""The largest body of a request."""
GREETING_SECONDS = 10.0
"""How long a WebSocket may be open before it says whose it is."""
MOST_SUBSCRIPTIONS = 20
"""How many operations may run at once on a WebSocket."""
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Page:
    """What GraphiQL shows at first; ``variables`` is JSON text."""

    query: str = "{\n  me {\n    role\n  }\n  brands {\n    slug\n    name\n  }\n}\n"
    variables: str = ""


def create_app(
    ctx: Context, queue: Queue, *, page: Page | None = None, operations: Operations | None = None
) -> Starlette:
    """The application. ``ctx`` and ``queue`` are open, and stay the caller's to close."""
    operations = operations or Operations()
    endpoint = Endpoint(ctx, queue, build_schema(ctx.plugins), page or Page())

    async def home(request: Request) -> Response:
        return RedirectResponse("graphql")

    return Starlette(
        routes=[
            Route("/", home),
            Route("/graphql", endpoint.respond, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", endpoint.connect),
            Mount("/static", StaticFiles(directory=STATIC)),
            *file_routes(ctx, queue),
            *routes(ctx, queue, operations),
        ],
        middleware=[Middleware(Streams, leaving=operations.ending.leaving)],
    )


class View(GraphQL[Any, None]):
    """Strawberry's view, with errors as clients may see them and JSON as the standard has it."""

    websocket_adapter_class = Adapter
    graphql_transport_ws_handler_class = Handler

    def __init__(self, schema: Schema) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(
                GRAPHQL_TRANSPORT_WS_PROTOCOL,
                MULTIPART_SUBSCRIPTION_PROTOCOL,
                GRAPHQL_SSE_PROTOCOL,
            ),
            connection_init_wait_timeout=timedelta(seconds=GREETING_SECONDS),
            max_subscriptions_per_connection=MOST_SUBSCRIPTIONS,
        )

    def should_render_graphql_ide(self, request: Any) -> bool:
        return False

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        body: GraphQLHTTPResponse = {"data": result.data}
        if result.errors:
            body["errors"] = [present(error, request.state.id) for error in result.errors]
        return body

    def decode_json(self, data: str | bytes) -> object:
        try:
            found: object = json.loads(data, parse_constant=_not_json)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict | list):
            raise json.JSONDecodeError("not a JSON object", "", 0)
        return found

    def encode_json(self, data: object) -> bytes:
        # A message may quote half a character that the client sent.
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


class Endpoint:
    """What happens to a request before and after the view."""

    def __init__(self, ctx: Context, queue: Queue, schema: Schema, page: Page) -> None:
        self._ctx = ctx
        self._queue = queue
        self._view = View(schema)
        # A page that holds "</script>" must not end the script that it stands in.
        shown = json.dumps(asdict(page)).replace("<", "\\u003c")
        self._html = (STATIC / "graphiql" / "index.html").read_text(encoding="utf-8").replace("{{page}}", shown)

    async def respond(self, request: Request) -> Response:
        """The page, the answer, or an error with no data at all."""
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._html)
        request.state.id = uuid.uuid4().hex
        about = {"http.request.method": request.method, "url.path": request.url.path, "request_id": request.state.id}
        span = tracing.span(f"{request.method} {request.url.path}", "server", request.headers, about)
        with logs.bound(request_id=request.state.id), span as traced:
            response = await self._attempt(request)
            if traced:
                traced.set_attribute("http.response.status_code", response.status_code)
        response.headers["X-Request-Id"] = request.state.id
        return response

    async def _attempt(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except HTTPException as error:
            code = "TOO_LARGE" if error.status_code == 413 else "INVALID_REQUEST"
            return JSONResponse(error_body(code, error.reason), error.status_code)
        except Exception:
            log.exception("request %s failed", request.state.id)
            return JSONResponse(error_body("INTERNAL", "internal error", requestId=request.state.id), 500)

    async def connect(self, websocket: WebSocket) -> None:
        """Answer over a WebSocket until it is closed."""
        await self._view.run(websocket, context=Socket(self._ctx, self._queue))

    async def _answer(self, request: Request) -> Response:
        access = await bearer(request.headers.get("authorization", ""))
        if access is None:
            return JSONResponse(
                error_body("UNAUTHENTICATED", "a valid access token is needed: Authorization: Bearer siyu_…"),
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        limited = Request(request.scope, _limited(request.receive))
        context = RequestContext(self._ctx, self._queue, access, request.state.id)
        return await self._view.run(limited, context=context)


def _limited(receive: Receive) -> Receive:
    """Receive at most :data:`MOST_BYTES`, also from a client that did not say how many it would send."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MOST_BYTES:
            raise HTTPException(413, f"the body is larger than {MOST_BYTES} bytes: send it in parts, or import a file")
        return message

    return limited


def _not_json(constant: str) -> None:
    raise ValueError(constant)
