"""Subscriptions over each transport, from a real server to real clients."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
import siyu_graphql
import uvicorn
from graphql import get_introspection_query
from siyu.flow.context import Context
from siyu.flow.documents import register
from siyu.flow.refresh import refresh
from siyu.flow.runs import Running
from siyu.flow.tokens import create_token, revoke
from siyu.runtime import ApiSettings
from siyu.store.models import Brand, Run
from siyu_graphql import context, limits, sockets
from siyu_graphql.app import MOST_SUBSCRIPTIONS
from strawberry.relay import to_base64
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

PROGRESS = """subscription ($brand: String!, $run: ID) {
  runProgress(brand: $brand, run: $run) { id kind status phase progress } }"""
Answers = AsyncGenerator[Any]
Follow = Callable[..., Answers]


class Server:
    """The API of a test, served on a port."""

    def __init__(self, api: Any, port: int) -> None:
        self.api = api
        self.http = f"http://127.0.0.1:{port}/graphql"
        self.ws = f"ws://127.0.0.1:{port}/graphql"

    @asynccontextmanager
    async def socket(self, token: str | None = None) -> AsyncIterator[ClientConnection]:
        """A WebSocket whose connection is acknowledged."""
        async with connect(self.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws:
            secret = self.api.token if token is None else token
            await say(ws, "connection_init", payload={"Authorization": f"Bearer {secret}"})
            assert await heard(ws) == {"type": "connection_ack"}
            yield ws

    async def over_ws(self, query: str, token: str | None = None, **variables: Any) -> Answers:
        """The answers to an operation over a WebSocket of its own."""
        async with self.socket(token) as ws, aclosing(operation(ws, query, **variables)) as answers:
            async for answer in answers:
                yield answer

    async def over_sse(self, query: str, token: str | None = None, **variables: Any) -> Answers:
        async with aclosing(self._parts("text/event-stream", "\r\n\r\n", query, token, variables)) as parts:
            async for part in parts:
                if found := re.match(r"event: next\r\ndata: (.*)", part):
                    yield json.loads(found[1])
                else:
                    assert re.match(r"event: complete\r\ndata: ?$", part), part
                    return

    async def over_multipart(self, query: str, token: str | None = None, **variables: Any) -> Answers:
        accept = "multipart/mixed;subscriptionSpec=1.0, application/json"
        async with aclosing(self._parts(accept, "\r\n--graphql", query, token, variables)) as parts:
            async for part in parts:
                _, _, body = part.partition("\r\n\r\n")
                if body and (payload := json.loads(body)):  # {} is a heartbeat
                    yield payload["payload"]

    async def _parts(self, accept: str, end: str, query: str, token: str | None, variables: Any) -> AsyncGenerator[str]:
        headers = {"authorization": f"Bearer {self.api.token if token is None else token}", "accept": accept}
        body = {"query": query, "variables": variables}
        async with (
            httpx2.AsyncClient(timeout=30) as client,
            client.stream("POST", self.http, json=body, headers=headers) as response,
        ):
            assert response.status_code == 200
            assert response.headers["x-request-id"]
            text = ""
            async for chunk in response.aiter_text():
                *parts, text = (text + chunk).split(end)
                for part in parts:
                    yield part


async def say(ws: ClientConnection, kind: str, **more: Any) -> None:
    await ws.send(json.dumps({"type": kind, **more}))


async def heard(ws: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        text = await ws.recv()
    assert isinstance(text, str), "clients in browsers read text"
    return json.loads(text)


async def operation(ws: ClientConnection, query: str, id: str = "1", **variables: Any) -> Answers:
    """The answers to an operation; what is refused before it begins is an answer without data."""
    await say(ws, "subscribe", id=id, payload={"query": query, "variables": variables})
    while (message := await heard(ws))["type"] == "next":
        assert message["id"] == id
        yield message["payload"]
    if message["type"] == "error":
        yield {"data": None, "errors": message["payload"]}
    else:
        assert message == {"id": id, "type": "complete"}


class Port:
    """A port on which tests serve one after the other: to start and stop a server takes a fifth of a second."""

    def __init__(self) -> None:
        self.app: Any = None
        self.running = uvicorn.Server(uvicorn.Config(self, port=0, log_level="warning", lifespan="off"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    async def clear(self) -> None:
        """Let all go who are connected."""
        state = self.running.server_state
        for each in list(state.connections):
            each.shutdown()
        await until(lambda: not state.connections and not state.tasks)


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[Port]:
    made = Port()
    task = asyncio.create_task(made.running.serve())
    await until(lambda: made.running.started)
    yield made
    made.running.should_exit = True
    await task


@pytest.fixture
async def server(api: Any, port: Port) -> AsyncIterator[Server]:
    port.app = api.app
    yield Server(api, port.running.servers[0].sockets[0].getsockname()[1])
    await port.clear()


@pytest.fixture(params=["ws", "sse", "multipart"])
def ask(request: pytest.FixtureRequest, server: Server) -> Follow:
    """A client that knows one transport."""
    follow: Follow = getattr(server, f"over_{request.param}")
    return follow


async def first(answers: Answers) -> Any:
    """The first answer; the client then goes away."""
    async with asyncio.timeout(10), aclosing(answers):
        return await anext(answers)


def followers(ctx: Context) -> int:
    return sum(map(len, ctx.db.signals._waiting.values()))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what nobody tells of, but not for ever."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def codes(answer: Any) -> list[str]:
    return [error["extensions"]["code"] for error in answer["errors"]]


async def begun(ctx: Context, brand: Brand) -> Running:
    return Running(await Run.create(brand_id=brand.id, kind="refresh", at=datetime.now(UTC)), ctx.db.signals)


# -- over each transport ------------------------------------------------------------------------------------------


async def test_a_refresh_is_followed_from_before_it_begins_to_its_end(ask: Follow, ctx: Context, brand: Brand) -> None:
    async def all_of_it() -> list[Any]:
        async with asyncio.timeout(20):
            return [answer async for answer in ask(PROGRESS, brand="shop")]

    following = asyncio.create_task(all_of_it())
    await until(lambda: followers(ctx) == 1)
    await refresh(ctx, brand.id)
    answers = await following
    assert all("errors" not in answer for answer in answers)
    told = [answer["data"]["runProgress"] for answer in answers]
    assert {run["kind"] for run in told} == {"refresh"}
    assert [run["progress"] for run in told] == sorted(run["progress"] for run in told)
    assert (told[-1]["status"], told[-1]["phase"], told[-1]["progress"]) == ("DONE", "", 1.0)
    assert len({run["id"] for run in told}) == 1


async def test_a_run_is_followed_by_its_id(ask: Follow, ctx: Context, brand: Brand) -> None:
    run = await begun(ctx, brand)
    id = to_base64("Run", f"{brand.id}:{run.row.id}")
    answers = ask(PROGRESS, brand="shop", run=id)
    async with asyncio.timeout(20), aclosing(answers):
        assert (await anext(answers))["data"]["runProgress"]["phase"] == ""
        await run.phase("facts", 0.2)
        assert (await anext(answers))["data"]["runProgress"]["phase"] == "facts"
        await run.finish("failed", "no memory")
        assert (await anext(answers))["data"]["runProgress"]["status"] == "FAILED"
        with pytest.raises(StopAsyncIteration):
            await anext(answers)


async def test_what_is_not_the_bearers_is_not_there(ask: Follow, ctx: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other")
    stranger = await create_token("admin", other)
    run = await begun(ctx, brand)
    id = to_base64("Run", f"{brand.id}:{run.row.id}")
    asked = [
        {"token": stranger, "brand": "shop"},
        {"token": stranger, "brand": "shop", "run": id},
        {"token": stranger, "brand": "other", "run": id},
        {"brand": "other", "run": id},
        {"brand": "shop", "run": to_base64("Run", f"{brand.id}:999999")},
        {"brand": "shop", "run": to_base64("Tag", f"{brand.id}:{run.row.id}")},
        {"brand": "nope"},
    ]
    for each in asked:
        answer = await first(ask(PROGRESS, **each))
        assert answer["data"] is None, each
        assert codes(answer) == ["NOT_FOUND"], each


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("subscription { runProgress(brand: " + '"shop"' + ") { nothing } }", "Cannot query field"),
        ("subscription {", "Syntax Error"),
        ("subscription { " + "runProgress " * 2001 + "}", "2000 tokens"),
        ("subscription { a } #" + "x" * 50_000, "50000 are allowed"),
        ('subscription { runProgress(brand: "shop") { ' + " ".join(f"a{n}: id" for n in range(31)) + " } }", "aliases"),
        ('subscription { a: runProgress(brand: "s") { id } b: runProgress(brand: "s") { id } }', "one top level field"),
        ("subscription A { runProgress(brand: 5) { id } }", "String cannot represent"),
    ],
    ids=["field", "syntax", "tokens", "letters", "aliases", "two", "type"],
)
async def test_a_document_that_is_too_much_or_wrong_is_refused(ask: Follow, query: str, says: str) -> None:
    answer = await first(ask(query))
    assert answer["data"] is None
    assert says in answer["errors"][0]["message"]
    assert set(codes(answer)) == {"INVALID_REQUEST"}


async def test_depth_is_limited(ask: Follow) -> None:
    with patch.object(limits, "MOST_DEPTH", 1):
        answer = await first(ask('subscription { runProgress(brand: "shop") { id kind at } }'))
    assert "2 levels deep" in answer["errors"][0]["message"]


async def test_what_breaks_inside_is_masked_and_found_by_its_request(
    ask: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    with patch("siyu_graphql.run.subscriptions.follow", side_effect=RuntimeError("the password is tortoise")):
        answer = await first(ask(PROGRESS, brand="shop"))
    [error] = answer["errors"]
    assert error["message"] == "internal error"
    assert error["extensions"]["code"] == "INTERNAL"
    assert "tortoise" not in json.dumps(answer)
    assert error["extensions"]["requestId"] in caplog.text


async def test_a_token_that_is_ended_ends_what_it_follows(ask: Follow, ctx: Context, brand: Brand) -> None:
    secret = await create_token("viewer", brand)
    run = await begun(ctx, brand)
    answers = ask(PROGRESS, token=secret, brand="shop")
    async with asyncio.timeout(20), aclosing(answers):
        assert "errors" not in await anext(answers)
        await revoke(secret)
        await run.phase("facts", 0.2)
        answer = await anext(answers)
        assert (answer["data"], codes(answer)) == (None, ["UNAUTHENTICATED"])
        with pytest.raises(StopAsyncIteration):
            await anext(answers)


async def test_nobody_listens_any_more_when_the_client_has_gone(
    ask: Follow, ctx: Context, brand: Brand, caplog: pytest.LogCaptureFixture
) -> None:
    run = await begun(ctx, brand)
    assert "errors" not in await first(ask(PROGRESS, brand="shop"))
    await run.phase("facts", 0.2)
    await until(lambda: followers(ctx) == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# -- WebSockets ---------------------------------------------------------------------------------------------------


async def closed(ws: ClientConnection) -> int:
    """The code with which the server closes."""
    async with asyncio.timeout(10):
        with suppress(ConnectionClosed):
            while True:
                await ws.recv()
    assert ws.close_code is not None
    return ws.close_code


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"Authorization": ""}, {"Authorization": "Bearer siyu_0_0"}, {"Authorization": 5}, {"token": "{}"}],
)
async def test_without_a_valid_token_a_connection_is_closed(server: Server, payload: Any) -> None:
    async with connect(server.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws:
        await say(ws, "connection_init", **({} if payload is None else {"payload": payload}))
        assert await closed(ws) == 4401


async def test_nothing_is_done_before_the_connection_is_acknowledged(server: Server) -> None:
    async with connect(server.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws:
        await say(ws, "subscribe", id="1", payload={"query": "{ version }"})
        assert await closed(ws) == 4401


async def test_who_says_nothing_is_not_waited_for(server: Server) -> None:
    view = server.api.app.routes[1].endpoint.__self__._view
    with patch.object(view, "connection_init_wait_timeout", view.connection_init_wait_timeout / 100):
        async with connect(server.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as ws:
            assert await closed(ws) == 4408


async def test_the_legacy_protocol_is_not_spoken(server: Server) -> None:
    async with connect(server.ws, subprotocols=[Subprotocol("graphql-ws")]) as ws:
        assert await closed(ws) == 4406


async def test_a_page_of_another_origin_gets_no_connection(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(
            server.ws, origin=Origin("https://elsewhere.example"), subprotocols=[Subprotocol("graphql-ws")]
        ):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "message",
    [
        "x",
        "[]",
        "5",
        '{"type": "subscribe", "id": 5, "payload": {"query": "{ version }"}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ version }", "variables": []}}',
        '{"type": "subscribe", "payload": {"query": "{ version }"}}',
        '{"type": "nothing"}',
        "{}",
        b"{}",
        "[" * 100_000,
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_message_that_is_none_closes_the_connection_and_is_no_error_of_the_server(
    server: Server, message: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with server.socket() as ws:
        await ws.send(message)
        assert await closed(ws) == 4400
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_queries_and_mutations_go_over_the_same_connection_each_with_what_then_holds(
    server: Server, brand: Brand
) -> None:
    named = '{ brand(slug: "shop") { name plugins { name enabled } } }'
    enable = 'mutation { enablePlugin(brand: "shop", plugin: "rfm") { userErrors { code } } }'
    secret = await create_token("admin", brand)

    async def answer(ws: ClientConnection, query: str) -> Any:
        [only] = [each async for each in operation(ws, query)]
        return only

    async with server.socket(secret) as ws:
        before = (await answer(ws, named))["data"]["brand"]
        assert (await answer(ws, enable))["data"]["enablePlugin"] == {"userErrors": []}
        after = (await answer(ws, named))["data"]["brand"]
        assert [each["name"] for each in after["plugins"] if each not in before["plugins"]] == ["rfm"]
        assert (await answer(ws, get_introspection_query()))["data"]["__schema"]["subscriptionType"]
        await revoke(secret)
        refused = await answer(ws, enable)
        assert (refused["data"], codes(refused)) == (None, ["UNAUTHENTICATED"])


async def test_a_role_may_do_no_more_over_a_websocket(server: Server, brand: Brand) -> None:
    viewer = await create_token("viewer", brand)
    answer = await first(server.over_ws('mutation { refreshBrand(brand: "shop") { queued } }', token=viewer))
    assert (answer["data"], codes(answer)) == ({"refreshBrand": None}, ["FORBIDDEN"])
    assert server.api.queue.pushed == []


async def test_many_follow_over_one_connection_and_each_may_stop(server: Server, ctx: Context, brand: Brand) -> None:
    run = await begun(ctx, brand)
    async with server.socket() as ws:
        payload = {"query": PROGRESS, "variables": {"brand": "shop"}}
        for number in range(MOST_SUBSCRIPTIONS):
            await say(ws, "subscribe", id=str(number), payload=payload)
        assert {(await heard(ws))["id"] for _ in range(MOST_SUBSCRIPTIONS)} == set(map(str, range(MOST_SUBSCRIPTIONS)))
        await say(ws, "subscribe", id="more", payload=payload)
        refused = await heard(ws)
        assert (refused["id"], refused["type"]) == ("more", "error")
        await say(ws, "complete", id="0")
        await until(lambda: followers(ctx) == MOST_SUBSCRIPTIONS - 1)
        await run.phase("facts", 0.2)
        told = {(await heard(ws))["id"] for _ in range(MOST_SUBSCRIPTIONS - 1)}
        assert told == set(map(str, range(1, MOST_SUBSCRIPTIONS)))


async def test_a_document_is_asked_for_by_its_hash_over_a_websocket_too(server: Server, brand: Brand) -> None:
    row = await register("named", "query Named($slug: String!) { brand(slug: $slug) { slug } }", lambda _: [])
    async with server.socket() as ws:
        ways: list[dict[str, Any]] = [
            {"documentId": f"sha256:{row.hash}"},
            {"extensions": {"persistedQuery": {"sha256Hash": row.hash}}},
        ]
        for number, payload in enumerate(ways):
            await say(ws, "subscribe", id=str(number), payload={**payload, "variables": {"slug": "shop"}})
            assert (await heard(ws))["payload"]["data"] == {"brand": {"slug": "shop"}}
            assert (await heard(ws))["type"] == "complete"
        await say(ws, "subscribe", id="x", payload={"documentId": "0" * 64})
        refused = await heard(ws)
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "PERSISTED_QUERY_NOT_FOUND")
        await say(ws, "subscribe", id="y", payload={})
        assert (await heard(ws))["payload"][0]["extensions"]["code"] == "INVALID_REQUEST"


async def test_a_connection_on_which_nothing_happens_ends_with_its_token(server: Server, brand: Brand) -> None:
    secret = await create_token("viewer", brand)
    with patch.object(sockets, "RECHECK_SECONDS", 0.05):
        async with server.socket(secret) as ws:
            await revoke(secret)
            assert await closed(ws) == 4401


async def test_what_is_followed_ends_with_its_token_although_nothing_happens(
    ask: Follow, ctx: Context, brand: Brand
) -> None:
    secret = await create_token("viewer", brand)
    await begun(ctx, brand)
    with patch.object(context, "RECHECK_SECONDS", 0.05):
        answers = ask(PROGRESS, token=secret, brand="shop")
        async with asyncio.timeout(20), aclosing(answers):
            assert "errors" not in await anext(answers)
            await revoke(secret)
            answer = await anext(answers)
            assert (answer["data"], codes(answer)) == (None, ["UNAUTHENTICATED"])


async def test_a_token_has_so_many_connections_and_streams_and_no_more(server: Server, brand: Brand) -> None:
    slots = server.api.app.routes[1].endpoint.__self__._service.slots
    other = await create_token("viewer", brand)
    with patch.object(slots, "_most", 2):
        async with server.socket(), server.socket() as second:
            async with connect(server.ws, subprotocols=[Subprotocol("graphql-transport-ws")]) as third:
                await say(third, "connection_init", payload={"Authorization": f"Bearer {server.api.token}"})
                assert await closed(third) == 4429
            await begun(server.api.ctx, brand)
            for follow in (server.over_sse, server.over_multipart):
                assert codes(await first(follow(PROGRESS, brand="shop"))) == ["TOO_MANY_STREAMS"]
            answer = await first(operation(second, PROGRESS, brand="shop"))
            assert codes(answer) == ["TOO_MANY_STREAMS"]
            assert "errors" not in await first(server.over_sse(PROGRESS, token=other, brand="shop"))
        await until(lambda: not slots._open)
        assert "errors" not in await first(server.over_sse(PROGRESS, brand="shop"))
    await until(lambda: not slots._open)


async def test_what_is_followed_may_take_longer_than_an_operation_and_a_query_may_not(
    server: Server, brand: Brand
) -> None:
    run = await begun(server.api.ctx, brand)
    service = server.api.app.routes[1].endpoint.__self__._service
    with patch.object(service, "settings", ApiSettings(operation_seconds=0.4)):
        answers = server.over_ws(PROGRESS, brand="shop")
        async with asyncio.timeout(20), aclosing(answers):
            assert "errors" not in await anext(answers)
            await asyncio.sleep(0.8)
            await run.phase("facts", 0.2)
            assert "errors" not in await anext(answers)
        with patch("siyu_graphql.brand.queries.visible_brand", lambda *_, **__: asyncio.sleep(60)):
            answer = await first(server.over_ws('{ brand(slug: "shop") { slug } }'))
        assert (answer["data"], codes(answer)) == (None, ["TIMEOUT"])


async def test_pages_of_configured_origins_may_ask_and_open_connections(server: Server, api: Any, port: Port) -> None:
    mine, other = "https://shop.example.com", "https://elsewhere.example"
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    sends = {"access-control-request-method": "PUT", "access-control-request-headers": "content-type"}
    plain = await api.http.options("/graphql", headers={"origin": mine, **asks})
    assert "access-control-allow-origin" not in plain.headers
    port.app = siyu_graphql.create_app(api.ctx, api.queue, settings=ApiSettings(origins=(mine,)))
    transport = httpx2.ASGITransport(app=port.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://siyu") as http:
        for origin, allowed in ((mine, mine), (other, None)):
            headers = {"origin": origin, "authorization": f"Bearer {api.token}"}
            for answer in (
                await http.options("/graphql", headers={"origin": origin, **asks}),
                await http.options("/files/1", headers={"origin": origin, **sends}),
                await http.post("/graphql", json={"query": "{ version }"}, headers=headers),
            ):
                assert answer.is_success is (allowed is not None or answer.request.method == "POST")
                assert answer.headers.get("access-control-allow-origin") == allowed
                assert "access-control-allow-credentials" not in answer.headers
    async with connect(server.ws, origin=Origin(mine), subprotocols=[Subprotocol("graphql-transport-ws")]) as ws:
        await say(ws, "connection_init", payload={"Authorization": f"Bearer {api.token}"})
        assert await heard(ws) == {"type": "connection_ack"}
    with pytest.raises(InvalidStatus):
        async with connect(server.ws, origin=Origin(other), subprotocols=[Subprotocol("graphql-transport-ws")]):
            pass


# -- plain HTTP ---------------------------------------------------------------------------------------------------


async def test_a_subscription_needs_a_transport_that_streams(api: Any) -> None:
    answer = await api.ask(PROGRESS, brand="shop")
    assert (answer["data"], codes(answer)) == (None, ["INVALID_REQUEST"])
    assert "text/event-stream" in answer["errors"][0]["message"]


async def test_streams_need_a_token_too(api: Any) -> None:
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    response = await api.http.post("/graphql", content=json.dumps({"query": PROGRESS}), headers=headers)
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"query": 'mutation { refreshBrand(brand: "shop") { queued } }'}, "not allowed"),
        ({"query": "query A { version }", "operationName": "B"}, 'Unknown operation named "B"'),
        ({}, "query"),
    ],
    ids=["mutation", "name", "none"],
)
async def test_a_stream_that_cannot_begin_says_why_and_is_no_error_of_the_server(
    server: Server, given: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"authorization": f"Bearer {server.api.token}", "accept": "text/event-stream"}
    async with httpx2.AsyncClient() as client:
        response = await client.get(server.http, params=given, headers=headers)
    found = re.match(r"event: next\r\ndata: (.*)", response.text)
    assert found, response.text
    answer = json.loads(found[1])
    assert (answer["data"], codes(answer)) == (None, ["INVALID_REQUEST"])
    assert says in answer["errors"][0]["message"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
