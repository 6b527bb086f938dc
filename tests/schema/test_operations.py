"""What those who run the API look at: health, readiness, figures, logs; and how streams are told to go."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx2
import pytest
import siyu_graphql
from siyu.store.models import Brand
from siyu.telemetry import logs
from siyu_graphql.ops import observed, routes
from siyu_graphql.ops.figures import LONGEST_NAME, Names

TOKEN = "0123456789abcdef"


def client(api: Any, peer: str = "127.0.0.1", **operations: Any) -> httpx2.AsyncClient:
    """A client on machine ``peer``."""
    app = siyu_graphql.create_app(api.ctx, api.queue, operations=siyu_graphql.Operations(**operations))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app, client=(peer, 5)), base_url="http://siyu")


async def figures(api: Any) -> dict[str, float]:
    """Every figure by its name and labels."""
    async with client(api) as local:
        response = await local.get("/metrics")
    assert response.status_code == 200
    lines = (line.rpartition(" ") for line in response.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


# -- health and readiness -----------------------------------------------------------------------------------------


async def test_a_process_that_answers_is_alive_whatever_its_servers_do(api: Any) -> None:
    api.queue.away = True
    with patch.object(type(api.ctx.db), "connection", side_effect=OSError):
        response = await api.http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_it_is_ready_while_both_servers_answer(api: Any) -> None:
    response = await api.http.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    api.queue.away = True
    response = await api.http.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "unavailable",
        "postgresql": "ok",
        "migrations": "ok",
        "valkey": "no answer",
    }
    api.queue.away = False
    with patch.object(type(api.ctx.db), "connection", side_effect=OSError):
        response = await api.http.get("/readyz")
    assert response.json()["postgresql"] == "no answer"


async def test_it_is_not_ready_before_the_tables_are_up_to_date(api: Any) -> None:
    async with api.ctx.db.connection() as connection:
        last = await connection.fetchrow(
            "DELETE FROM tortoise_migrations WHERE id = (SELECT max(id) FROM tortoise_migrations) RETURNING *"
        )
        try:
            response = await api.http.get("/readyz")
            assert (response.status_code, response.json()["migrations"]) == (503, "missing")
        finally:
            await connection.execute("INSERT INTO tortoise_migrations VALUES ($1, $2, $3, $4)", *last.values())
    assert (await api.http.get("/readyz")).status_code == 200


async def test_readiness_does_not_wait_for_ever(api: Any) -> None:
    with patch.object(routes, "READY_SECONDS", 0.01), patch.object(api.queue, "ping", lambda: asyncio.sleep(60)):
        assert (await api.http.get("/readyz")).status_code == 503


async def test_a_process_that_is_about_to_end_is_not_ready_and_still_answers(api: Any) -> None:
    ending = siyu_graphql.Ending()
    async with client(api, ending=ending) as local:
        assert (await local.get("/readyz")).status_code == 200
        ending.announced.set()
        response = await local.get("/readyz")
        assert (response.status_code, response.json()) == (503, {"status": "stopping"})
        assert (await local.get("/healthz")).status_code == 200
        headers = {"authorization": f"Bearer {api.token}"}
        assert (await local.post("/graphql", json={"query": "{ version }"}, headers=headers)).status_code == 200


# -- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "token", "given", "status"),
    [
        ("127.0.0.1", None, None, 200),
        ("::1", None, None, 200),
        ("10.0.0.7", None, None, 403),
        ("10.0.0.7", None, TOKEN, 403),
        ("testclient", None, None, 403),
        ("10.0.0.7", TOKEN, TOKEN, 200),
        ("127.0.0.1", TOKEN, None, 403),
        ("127.0.0.1", TOKEN, TOKEN[:-1], 403),
        ("10.0.0.7", TOKEN, "…", 403),
    ],
)
async def test_figures_are_read_on_the_same_machine_or_with_the_token(
    api: Any, peer: str, token: str | None, given: str | None, status: int
) -> None:
    headers = {b"authorization": f"Bearer {given}".encode()} if given else None
    async with client(api, peer, metrics_token=token) as local:
        response = await local.get("/metrics", headers=headers)
    assert response.status_code == status
    assert ("siyu_up 1.0" in response.text) == (status == 200)
    assert token is None or token not in response.text


async def test_operations_are_counted_by_name_and_errors_by_code(api: Any) -> None:
    before = await figures(api)
    queries = ["query Seen { version }", "query Seen { version }", "{ version }", "query Wrong { nothing }", "{"]
    for query in [*queries, 'query Lost { brand(slug: "lost") { id } }']:
        await api.ask(query)
    await api.post({"query": "{ version }"}, token="")
    after = await figures(api)

    def more(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    seconds = "siyu_graphql_operation_seconds_count"
    assert more(f'{seconds}{{operation="Seen",type="query"}}') == 2
    assert more(f'{seconds}{{operation="anonymous",type="query"}}') == 1
    assert more(f'{seconds}{{operation="refused",type="none"}}') == 2
    assert not any("Wrong" in name for name in after)
    assert more('siyu_graphql_errors_total{code="INVALID_REQUEST"}') == 2
    assert more('siyu_graphql_errors_total{code="NOT_FOUND"}') == 1
    assert more('siyu_graphql_errors_total{code="UNAUTHENTICATED"}') == 1


async def test_a_document_of_several_operations_is_counted_by_the_one_that_is_asked_for(api: Any) -> None:
    before = await figures(api)
    two = "query First { version } query Second { version }"
    assert (await api.post({"query": two, "operationName": "Second"})).json()["data"]
    assert "errors" in (await api.post({"query": two, "operationName": "Third"})).json()
    after = await figures(api)
    name = 'siyu_graphql_operation_seconds_count{operation="Second",type="query"}'
    assert after[name] - before.get(name, 0) == 1
    assert not any("Third" in name or "First" in name for name in after)


async def test_clients_cannot_make_figures_without_end(api: Any) -> None:
    with patch.object(observed, "_names", Names(2)):
        for number in range(5):
            await api.ask(f"query Endless{number} {{ version }}")
        await api.ask("query " + "L" * (LONGEST_NAME + 1) + " { version }")
    found = await figures(api)
    assert sum("Endless" in name and "count" in name for name in found) == 2
    assert found['siyu_graphql_operation_seconds_count{operation="other",type="query"}'] >= 4
    assert not any("LLLL" in name for name in found)


async def test_what_waits_is_told_as_it_is_now(api: Any, brand: Brand) -> None:
    event = '{id: "e1", kind: "order.paid", user: [{kind: "member", value: "1"}], payload: {amount: 5}}'
    before = await figures(api)
    await api.data(f'mutation {{ recordEvents(brand: "shop", events: [{event}, {event}]) {{ accepted }} }}')
    async with api.ctx.db.connection() as connection:
        await connection.execute("UPDATE event SET received_at = now() - interval '90 seconds'")
    after = await figures(api)
    assert after["siyu_users_waiting"] == 1
    assert 90 <= after["siyu_users_waiting_seconds"] < 100
    assert after['siyu_jobs_waiting{lane="fast"}'] == 1
    assert after['siyu_actions_waiting{state="due"}'] == 0
    for outcome in ("new", "duplicate"):
        name = f'siyu_events_total{{outcome="{outcome}"}}'
        assert after[name] - before.get(name, 0) == 1, outcome


async def test_figures_are_told_also_when_the_servers_are_away(api: Any) -> None:
    api.queue.away = True
    found = await figures(api)
    assert found["siyu_up"] == 0
    assert "siyu_users_waiting" not in found
    assert any(name.startswith("siyu_graphql_operation_seconds") for name in found)


# -- logs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """All that is logged, as JSON."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    for library in logs.TALKATIVE:
        logging.getLogger(library).setLevel(logging.NOTSET)


async def test_a_line_of_an_operation_names_request_brand_and_operation(api: Any, written: io.StringIO) -> None:
    response = await api.post({"query": 'query Named { brand(slug: "shop") { slug } }'})
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    [line] = [line for line in lines if line["event"] == "operation"]
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["brand"], line["operation"], line["kind"]) == ("shop", "Named", "query")
    assert line["seconds"] >= 0


async def test_nobodys_data_and_no_token_is_ever_logged(api: Any, brand: Brand, written: io.StringIO) -> None:
    secrets = ["13912345678", "li.lei@example.com", "李雷的地址", "o6_openid_of_li"]
    names = '[{kind: "phone", value: "13912345678"}, {kind: "openid", value: "o6_openid_of_li"}]'
    payload = '{name: "李雷的地址", email: "li.lei@example.com"}'
    record = (
        f'mutation Told {{ recordEvents(brand: "shop", events: [{{id: "1", kind: "profile.updated", user: {names},'
        f" payload: {payload}}}]) {{ accepted rejected {{ message }} }} }}"
    )
    await api.ask(record)
    read = 'query ($v: String!) { brand(slug: "shop") { user(identity: {kind: "phone", value: $v}) { attributes } } }'
    await api.ask(read, v=secrets[0])
    headers = {"authorization": f"Bearer {api.token}"}
    await api.http.get("/graphql", params={"query": '{ brand(slug: "13912345678") { id } }'}, headers=headers)
    await api.post({"query": "{ version }"}, token=f"{api.token}x")
    detail = asyncpg.UniqueViolationError("duplicate key")
    detail.detail = "Key (brand_id, kind, value)=(1, openid, o6_openid_of_li) already exists."
    for error in (detail, RuntimeError(f"no such phone 13912345678 of li.lei@example.com with {api.token}")):
        with patch("siyu_graphql.event.mutations.record", side_effect=error):
            assert (await api.ask(record))["errors"][0]["message"] == "internal error"
    text = written.getvalue()
    assert text.count('"operation"') >= 5
    assert "UniqueViolationError" in text
    assert [secret for secret in (*secrets, api.token) if secret in text] == []
    assert [line for line in map(json.loads, text.splitlines()) if re.search(r"(?i)bearer \w", str(line))] == []


# -- the end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0, application/json"])
async def test_a_stream_is_told_to_go_and_ends_as_streams_end(api: Any, brand: Brand, accept: str) -> None:
    ending = siyu_graphql.Ending()
    app = siyu_graphql.create_app(api.ctx, api.queue, operations=siyu_graphql.Operations(ending=ending))
    body = json.dumps({"query": 'subscription { runProgress(brand: "shop") { id } }'}).encode()
    headers = {"authorization": f"Bearer {api.token}", "accept": accept, "content-type": "application/json"}
    sent: list[Any] = []

    async def requests() -> AsyncIterator[Any]:
        yield {"type": "http.request", "body": body[:10], "more_body": True}
        yield {"type": "http.request", "body": body[10:], "more_body": False}
        await asyncio.sleep(60)  # the client stays

    receiving = requests()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("siyu", 80),
        "scheme": "http",
    }
    answering = asyncio.create_task(app(scope, receiving.__anext__, send))
    async with asyncio.timeout(10):
        while not sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ending.leaving.set()
        await answering
    text = b"".join(message.get("body", b"") for message in sent).decode()
    assert sent[-1] == {**sent[-1], "more_body": False}
    assert '"code": "UNAVAILABLE"' in text
    assert text.endswith("event: complete\r\ndata: \r\n\r\n" if "event" in accept else "--graphql--\r\n")


async def test_who_asks_for_one_answer_gets_it_to_the_end(api: Any) -> None:
    ending = siyu_graphql.Ending()
    ending.leaving.set()
    async with client(api, ending=ending) as local:
        headers = {"authorization": f"Bearer {api.token}", "accept": "application/json, multipart/mixed"}
        response = await local.post("/graphql", json={"query": "{ version }"}, headers=headers)
    assert response.json()["data"]["version"]
