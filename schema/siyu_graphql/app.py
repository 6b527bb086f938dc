"""The API over HTTP.

| route | what it gives |
|---|---|
| ``POST /graphql``, ``GET /graphql?query=`` | answers, to whoever has a token; subscriptions as SSE or multipart |
| ``GET``, ``PUT /files/…`` | exports and imports, by signed links |
| ``GET``, ``POST /unsubscribe/…`` | the end of messages of a kind, by the signed link in one |
| WebSocket ``/graphql`` | the same over graphql-transport-ws, the token in ``connection_init`` |
| ``GET /graphql`` by a browser | GraphiQL, in which the token is typed |
| ``GET /healthz``, ``/readyz``, ``/metrics`` | whether it lives, is ready, and how it does (:mod:`siyu_graphql.ops`) |
"""

from __future__ import annotations

import gc
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from graphql import GraphQLError
from siyu import SiyuError
from siyu.flow.context import Context
from siyu.runtime import ApiSettings
from siyu.telemetry import logs, tracing
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.http.parse_content_type import parse_content_type
from strawberry.subscriptions import (
    GRAPHQL_SSE_PROTOCOL,
    GRAPHQL_TRANSPORT_WS_PROTOCOL,
    MULTIPART_SUBSCRIPTION_PROTOCOL,
)
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from siyu_graphql import unsubscribing
from siyu_graphql.context import Queue
from siyu_graphql.errors import error_body, log, present
from siyu_graphql.execution import Schema
from siyu_graphql.file.routes import routes as file_routes
from siyu_graphql.ops.leaving import Streams
from siyu_graphql.ops.routes import Operations, routes
from siyu_graphql.plans.door import Door
from siyu_graphql.schema import build_schema
from siyu_graphql.service import Service
from siyu_graphql.sockets import SHAPES, Adapter, Handler, Socket

__all__ = ["MOST_BYTES", "create_app"]

MOST_BYTES = 2 * 1024 * 1024
"""The largest body of a request."""
GREETING_SECONDS = 10.0
"""How long a WebSocket may be open before it says whose it is."""
MOST_OPERATIONS = 10
"""How many operations one request may hold."""
MOST_SUBSCRIPTIONS = 20
"""How many operations may run at once on a WebSocket."""
STATIC = Path(__file__).parent / "static"
PAGE = STATIC / "graphiql"


def create_app(
    ctx: Context,
    queue: Queue,
    *,
    operations: Operations | None = None,
    settings: ApiSettings | None = None,
) -> Starlette:
    """The application. ``ctx`` and ``queue`` are open, and stay the caller's to close."""
    operations = operations or Operations()
    service = Service(ctx, queue, settings or ApiSettings())
    endpoint = Endpoint(service, build_schema(ctx.plugins))
    origins = Middleware(
        CORSMiddleware,
        allow_origins=service.settings.origins,
        allow_methods=["GET", "POST", "PUT"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["X-Request-Id"],
    )

    async def home(request: Request) -> Response:
        return RedirectResponse("graphql")

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/graphql", endpoint.respond, methods=["GET", "POST"]),
            WebSocketRoute("/graphql", endpoint.connect),
            Mount("/static", StaticFiles(directory=STATIC)),
            *file_routes(ctx, queue),
            *unsubscribing.routes(ctx, queue),
            *routes(ctx, queue, operations),
        ],
        middleware=[
            *([origins] if service.settings.origins else []),
            Middleware(Streams, leaving=operations.ending.leaving),
        ],
        lifespan=_settled,
    )
    app.state.door = endpoint.door
    return app


@asynccontextmanager
async def _settled(_: Starlette) -> AsyncIterator[None]:
    """Keep what is there from the start out of garbage collection: going through it stops all requests for 0.2 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class View(GraphQL[Any, None]):
    """Strawberry's view, with errors as clients may see them and JSON as the standard has it."""

    websocket_adapter_class = Adapter
    graphql_transport_ws_handler_class = Handler

    def __init__(self, schema: Schema, service: Service) -> None:
        self._documents = service.documents
        super().__init__(
            schema,
            graphql_ide=None,
            allowed_origins=service.settings.origins,
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
        if result.extensions:
            body["extensions"] = result.extensions
        return body

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """As Strawberry's, which knows no ``documentId``, and takes each entry of a batch for an object."""
        transport = self._get_stream_transport_from_headers(request.headers)
        protocol: Any = transport.protocol if transport else "http"
        if request.method == "GET":
            data = self.parse_query_params(request.query_params)
        elif parse_content_type(request.content_type or "")[0] == "application/json":
            data = self.parse_json(await request.get_body())
        else:
            raise HTTPException(400, "Unsupported content type")
        if not isinstance(data, list):
            return _asked(data, protocol)
        if not 0 < len(data) <= MOST_OPERATIONS or transport:
            raise HTTPException(400, f"a batch holds 1 to {MOST_OPERATIONS} operations, and is not streamed")
        return [_asked(each, protocol) for each in data]

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Any,
        root_value: None,
        sub_response: Response,
    ) -> Any:
        """As Strawberry's; documents are looked up, and of a batch one operation follows the other."""
        if isinstance(request_data, list):
            results = []
            for each in request_data:
                more = (each, context, root_value, sub_response)
                results.append(await self.execute_operation(request, request_adapter, *more))
                context = context.another()
            return results
        try:
            request_data.query = await self._documents.text(
                request_data.query, getattr(request_data, "document_id", None), request_data.extensions
            )
        except SiyuError as error:
            refused = PreExecutionError(data=None, errors=[GraphQLError(str(error), original_error=error)])
            return _alone(refused) if self._get_stream_transport(request_data.protocol) else refused
        return await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )

    def decode_json(self, data: str | bytes) -> object:
        try:
            found: object = DECODER.decode(_text(data))
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

    def __init__(self, service: Service, schema: Schema) -> None:
        self._service = service
        self._view = View(schema, service)
        self.door = Door(service, self._view, schema)
        examples = [path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("examples/*.graphql"))]
        # An example that holds "</script>" must not end the script that it stands in.
        shown = json.dumps(examples).replace("<", "\\u003c")
        self._html = (PAGE / "index.html").read_text(encoding="utf-8").replace("{{examples}}", shown)

    async def respond(self, request: Request) -> Response:
        """The page, the answer, or an error with no data at all."""
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(self._html) if self._service.settings.shows_graphiql else Response(status_code=404)
        request.state.id = uuid.uuid4().hex
        path = request.scope["path"]
        about = {"http.request.method": request.method, "url.path": path, "request_id": request.state.id}
        span = tracing.span(f"{request.method} {path}", "server", request.headers, about)
        with logs.bound(request_id=request.state.id), span as traced:
            response = await self._attempt(request)
            if traced:
                traced.set_attribute("http.response.status_code", response.status_code)
        response.headers["X-Request-Id"] = request.state.id
        return response

    async def _attempt(self, request: Request) -> Response:
        try:
            limited = Request(request.scope, _limited(request.receive))
            return await self.door.respond(limited, self._answer)
        except HTTPException as error:
            code = "TOO_LARGE" if error.status_code == 413 else "INVALID_REQUEST"
            # The reason may quote half a character, which JSON that is not the view's cannot hold.
            told = self._view.encode_json(error_body(code, error.reason))
            return Response(told, error.status_code, media_type="application/json")
        except ClientDisconnect:
            return Response(status_code=499)  # as nginx calls it; nobody is there to read it
        except Exception:
            log.exception("request %s failed", request.state.id)
            return JSONResponse(error_body("INTERNAL", "internal error", requestId=request.state.id), 500)

    async def connect(self, websocket: WebSocket) -> None:
        """Answer over a WebSocket until it is closed."""
        await self._view.run(websocket, context=Socket(self._service))

    async def _answer(self, request: Request) -> Response:
        access = await self._service.bearer(request.headers.get("authorization", ""))
        if access is None:
            return JSONResponse(
                error_body("UNAUTHENTICATED", "a valid access token is needed: Authorization: Bearer siyu_…"),
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        return await self._view.run(request, context=self._service.request(access, request.state.id))


@dataclass
class Asked(GraphQLRequestData):
    """What a client asks, which may name a document in place of a query."""

    document_id: str | None = None


def _asked(data: Any, protocol: Any) -> Asked:
    """The request of an operation; 400 where it is none."""
    if not isinstance(data, dict):
        raise HTTPException(400, 'an operation is an object, like {"query": "{ version }"}')
    for name, shape in SHAPES.items():
        if not isinstance(data.get(name), shape | None):
            raise HTTPException(400, f"`{name}` is not {'an object' if shape is dict else 'a text'}")
    query, variables, operation_name, extensions, document_id = (data.get(name) for name in SHAPES)
    return Asked(query, variables, operation_name, extensions, protocol, document_id)


async def _alone(result: ExecutionResult) -> AsyncGenerator[ExecutionResult]:
    """A stream of one answer."""
    yield result


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


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode(json.detect_encoding(data), "surrogatepass")


def _not_json(constant: str) -> None:
    raise ValueError(constant)


DECODER = json.JSONDecoder(parse_constant=_not_json)
