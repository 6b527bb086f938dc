"""The API over HTTP: its page, its health, its limits, and what it says when something breaks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import siyu_graphql
from graphql import build_schema, get_introspection_query, parse, validate
from graphql.validation import NoDeprecatedCustomRule, specified_rules
from siyu.contract.errors import InputError
from siyu.flow import plugins
from siyu.store.models import Brand
from siyu_graphql import limits
from siyu_graphql.app import MOST_BYTES, PAGE

EXAMPLES = sorted((PAGE / "examples").glob("*.graphql"))
HTML = {"accept": "text/html,application/xhtml+xml"}


async def test_a_browser_gets_the_page_with_examples(api: Any) -> None:
    response = await api.http.get("/graphql", headers=HTML)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    found = re.search(r'<script type="application/json" id="siyu-examples">(.*?)</script>', response.text, re.S)
    assert found
    assert "<" not in found[1], "an example might end the script that it stands in"
    assert json.loads(found[1]) == [path.read_text(encoding="utf-8") for path in EXAMPLES]
    for asset in re.findall(r'(?:src|href)="(static/[^"]+)"', response.text):
        assert (await api.http.get(f"/{asset}")).status_code == 200, asset


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_the_page_are_valid(path: Path) -> None:
    schema = build_schema(siyu_graphql.print_sdl())
    rules = (*specified_rules, NoDeprecatedCustomRule)
    assert validate(schema, parse(path.read_text(encoding="utf-8")), rules) == []


async def test_its_first_example_shows_what_users_can_be_filtered_by(api: Any, brand: Brand) -> None:
    await plugins.enable(api.ctx, brand, "rfm")
    found = (await api.data(EXAMPLES[0].read_text(encoding="utf-8"), brand="shop"))["brand"]["facts"]
    spent = {
        "plugin": "rfm",
        "rule": "rfm",
        "name": "monetary",
        "words": "total amount of order.paid",
        "kind": "NUMBER",
    }
    assert spent in found
    for each in found:
        fact = {name: each[name] for name in ("plugin", "rule", "name")}
        query = 'query ($fact: FactFilter!) { brand(slug: "shop") { users(filter: { fact: [$fact] }) { totalCount } } }'
        await api.data(query, fact={**fact, "isMissing": True})


async def test_the_root_leads_to_the_page(api: Any) -> None:
    response = await api.http.get("/", headers=HTML, follow_redirects=True)
    assert (response.url.path, response.status_code) == ("/graphql", 200)


async def test_queries_may_come_by_get_and_mutations_may_not(api: Any) -> None:
    headers = {"authorization": f"Bearer {api.token}", "accept": "application/json"}

    async def get(**params: str) -> Any:
        return await api.http.get("/graphql", params=params, headers=headers)

    query = "query ($slug: String!) { brand(slug: $slug) { slug } }"
    response = await get(query=query, variables='{"slug": "shop"}')
    assert response.json()["data"] == {"brand": {"slug": "shop"}}
    response = await get(query='mutation { refreshBrand(brand: "shop") { queued } }')
    assert (response.status_code, response.json()["errors"][0]["extensions"]["code"]) == (400, "INVALID_REQUEST")
    assert api.queue.pushed == []
    assert (await get()).status_code == 400
    assert (await get(query="{ version }", variables="{")).status_code == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods_are_none(api: Any, method: str) -> None:
    assert (await api.http.request(method, "/graphql")).status_code == 405


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"5",
        b"null",
        b'{"query": 5}',
        b"{}",
        b"[" * 100_000,
        b'{"query": NaN}',
        b"\xff",
        b'["{ version }"]',
        b'[{"query": 5}]',
    ],
)
async def test_a_body_that_is_none_is_refused(api: Any, body: bytes) -> None:
    response = await api.post(body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"


async def test_a_body_too_large_is_refused_however_it_comes(api: Any) -> None:
    body = json.dumps({"query": "{ version }", "variables": {"x": "x" * MOST_BYTES}}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    headers = {"authorization": f"Bearer {api.token}", "content-type": "application/json"}
    for content in (body, chunks()):
        response = await api.http.post("/graphql", content=content, headers=headers)
        assert response.status_code == 413
        [error] = response.json()["errors"]
        assert error["extensions"]["code"] == "TOO_LARGE"
        assert str(MOST_BYTES) in error["message"]
    just = json.dumps({"query": "{ version }", "variables": {"x": "x" * (MOST_BYTES - 100)}}).encode()
    assert (await api.post(just)).status_code == 200


def nested(levels: int) -> str:
    return (
        '{ brand(slug: "shop") { users { nodes '
        + "{ actions { nodes { user " * levels
        + "{ id }"
        + " } } }" * levels
        + " } } }"
    )


DOUBLING = "{ ...f0 } " + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60))
DOUBLING += " fragment f60 on Query { version }"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (nested(4), "levels deep"),
        ("{ " + " ".join(f"a{n}: version" for n in range(31)) + " }", "31 aliases"),
        ("{ " + "version " * 2001 + "}", "2000 tokens"),
        ("{ version } #" + "x" * 50_000, "50000 are allowed"),
        (
            '{ brand(slug: "shop") { ...u } } fragment u on Brand { users { nodes { ...v } } } '
            "fragment v on User { actions { nodes { user { ...w } } } } fragment w on User { actions { nodes { user { "
            "actions { nodes { user { actions { nodes { id } } } } } } } } }",
            "levels deep",
        ),
        ("{ " + "a { " * 600 + "b" + " }" * 601, "nested too deeply"),
        ("{ a(b: " + "[" * 900 + "]" * 900 + ") }", "nested too deeply"),
        ("{ ...f } fragment f on Query { ...f }", "itself"),
        ("{ ...g }", "Unknown fragment"),
        ("{ nothing }", "Cannot query field"),
        ("{", "Syntax Error"),
        ("subscription { version }", "subscription"),
    ],
    ids=lambda value: value if len(value) < 20 else None,
)
async def test_a_document_that_is_too_much_or_wrong_is_refused(api: Any, query: str, says: str) -> None:
    answer = await api.ask(query)
    assert answer["data"] is None
    assert says in answer["errors"][0]["message"]
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"INVALID_REQUEST"}


async def test_fragments_that_double_cost_no_more_than_their_text(api: Any) -> None:
    assert (await api.data(DOUBLING))["version"]


async def test_graphiql_may_ask_for_the_whole_schema(api: Any) -> None:
    data = await api.data(get_introspection_query(input_value_deprecation=True, specified_by_url=True))
    assert data["__schema"]["queryType"]["name"] == "Query"


async def test_documents_are_parsed_and_validated_once(api: Any) -> None:
    query = "query Once($x: String!) { brand(slug: $x) { slug } }"
    with patch.object(limits.DepthAndAliases, "enter_document", autospec=True, side_effect=lambda *_: None) as measured:
        for slug in ("shop", "shop", "other"):
            await api.ask(query, x=slug)
    assert measured.call_count == 1


async def test_what_breaks_inside_is_masked_and_found_by_its_request(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with patch.object(Brand, "get_or_none", side_effect=RuntimeError("the password is tortoise")):
        response = await api.post({"query": '{ version brand(slug: "shop") { id } }'})
    body = response.json()
    assert body["data"]["brand"] is None
    assert body["data"]["version"]
    [error] = body["errors"]
    assert error["message"] == "internal error"
    assert error["path"] == ["brand"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": response.headers["x-request-id"]}
    assert "tortoise" not in response.text
    [logged] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert error["extensions"]["requestId"] in logged.getMessage()
    assert logged.exc_info


async def test_what_breaks_in_a_mutation_is_masked_too(api: Any) -> None:
    with patch("siyu_graphql.event.mutations.record", side_effect=KeyError("secret")):
        answer = await api.ask('mutation { recordEvents(brand: "shop", events: []) { accepted } version: __typename }')
    assert answer["data"] == {"recordEvents": None, "version": "Mutation"}
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "secret" not in str(answer)


async def test_what_breaks_before_the_query_is_masked_too(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    with patch("siyu_graphql.service.authenticate", side_effect=OSError("5432")):
        response = await api.post({"query": "{ version }"})
    assert response.status_code == 500
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "5432" not in response.text
    assert response.headers["x-request-id"] in caplog.text


async def test_mistakes_of_clients_are_no_errors_of_the_server(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    await api.ask("{ nothing }")
    await api.ask('{ brand(slug: "nope") { id } }')
    with patch("siyu_graphql.event.mutations.record", side_effect=InputError("no", field="events")):
        await api.ask('mutation { recordEvents(brand: "shop", events: []) { accepted } }')
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_half_a_character_comes_back_as_something_that_can_be_sent(api: Any) -> None:
    answer = await api.ask(
        'query ($first: Int) { brand(slug: "shop") { users(first: $first) { totalCount } } }', first="\ud800"
    )
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"


async def test_a_client_that_goes_away_while_it_sends_is_no_fault(api: Any, caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {api.token}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    sent = []

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await api.app(scope, gone, send)
    assert sent[0]["status"] == 499
    assert not caplog.records
