"""Documents that are asked for by their hash, over each transport, and an API that executes no others."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
import siyu_graphql
from siyu import InputError, NotFound
from siyu.flow import documents
from siyu.flow.documents import document_hash, register, remove, texts_in
from siyu.flow.tokens import create_token
from siyu.runtime import ApiSettings
from siyu.store.models import Brand, TrustedDocument
from siyu_graphql import documents as served
from siyu_graphql.documents import mistakes_in

NAMED = "query Named($slug: String!) { brand(slug: $slug) { slug } }"
HASH = document_hash(NAMED)
SLUG = {"slug": "shop"}


def well(_: str) -> list[str]:
    return []


@pytest.fixture
async def registered(brand: Brand) -> str:
    """The id of a document that is registered."""
    return f"sha256:{(await register('named.graphql', NAMED, well)).hash}"


@pytest.fixture
async def strict(api: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """An API that executes trusted documents only."""
    app = siyu_graphql.create_app(api.ctx, api.queue, settings=ApiSettings(trusted_only=True))
    headers = {"authorization": f"Bearer {api.token}"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://siyu", headers=headers
    ) as http:
        yield http


def apollo(hash: str = HASH) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash}}


def code(answer: Any) -> str:
    [error] = answer["errors"]
    return str(error["extensions"]["code"])


async def test_a_document_is_executed_by_its_hash_however_a_client_names_it(api: Any, registered: str) -> None:
    for body in (
        {"documentId": registered},
        {"documentId": HASH.upper()},
        {"extensions": apollo()},
        {"extensions": apollo(), "query": NAMED},
        {"query": NAMED},
    ):
        answer = (await api.post({**body, "variables": SLUG})).json()
        assert answer["data"] == {"brand": {"slug": "shop"}}, body
    headers = {"authorization": f"Bearer {api.token}", "accept": "application/json"}
    for name, value in {"documentId": registered, "extensions": json.dumps(apollo())}.items():
        params = {name: value, "variables": json.dumps(SLUG)}
        response = await api.http.get("/graphql", params=params, headers=headers)
        assert response.json()["data"] == {"brand": {"slug": "shop"}}


async def test_what_is_not_registered_is_not_found_and_apollo_sends_the_text_then(api: Any) -> None:
    for body in ({"documentId": f"sha256:{HASH}"}, {"extensions": apollo()}):
        response = await api.post({**body, "variables": SLUG})
        assert response.status_code == 200
        assert response.json()["errors"][0]["message"] == "PersistedQueryNotFound"
        assert code(response.json()) == "PERSISTED_QUERY_NOT_FOUND"
    assert "errors" not in (await api.post({"query": NAMED, "extensions": apollo(), "variables": SLUG})).json()
    assert not await TrustedDocument.exists(), "clients register nothing"


@pytest.mark.parametrize(
    "body",
    [
        {"documentId": "sha256:abc"},
        {"documentId": "md5:" + "0" * 32},
        {"extensions": {"persistedQuery": {"sha256Hash": 5}}},
        {"documentId": f"sha256:{'0' * 64}", "query": NAMED},
    ],
)
async def test_a_hash_that_is_none_or_of_another_text_is_refused(api: Any, body: Any) -> None:
    assert code((await api.post(body)).json()) == "INVALID_REQUEST"


async def test_a_batch_may_name_documents(api: Any, registered: str) -> None:
    answers = (await api.post([{"documentId": registered, "variables": SLUG}, {"documentId": "x"}])).json()
    assert answers[0]["data"] == {"brand": {"slug": "shop"}}
    assert code(answers[1]) == "INVALID_REQUEST"


async def test_a_document_still_asks_for_rights_and_a_brand(api: Any, registered: str) -> None:
    other = await create_token("viewer", await Brand.create(slug="other", name="Other"))
    answer = (await api.post({"documentId": registered, "variables": SLUG}, token=other)).json()
    assert code(answer) == "NOT_FOUND"
    assert (await api.post({"documentId": registered}, token="")).status_code == 401


async def test_only_trusted_documents_are_executed_where_that_is_set(
    strict: httpx2.AsyncClient, registered: str
) -> None:
    async def ask(**body: Any) -> Any:
        return (await strict.post("/graphql", json={"variables": SLUG, **body})).json()

    for body in ({"documentId": registered}, {"extensions": apollo()}, {"query": NAMED}):
        assert (await ask(**body))["data"] == {"brand": {"slug": "shop"}}
    for query in ("{ version }", NAMED + " ", "{ __schema { types { name } } }", "{ not a query"):
        answer = await ask(query=query)
        assert (answer["data"], code(answer)) == (None, "DOCUMENT_NOT_TRUSTED")
    stream = await strict.post("/graphql", json={"query": "{ version }"}, headers={"accept": "text/event-stream"})
    assert "DOCUMENT_NOT_TRUSTED" in stream.text
    assert (await strict.get("/graphql", headers={"accept": "text/html"})).status_code == 404


async def test_introspection_is_off_then_even_where_it_was_registered(strict: httpx2.AsyncClient) -> None:
    query = "{ __schema { types { name } } }"
    await register("introspection", query, well)
    answer = (await strict.post("/graphql", json={"query": query})).json()
    assert (answer["data"], code(answer)) == (None, "FORBIDDEN")


async def test_a_document_that_is_removed_is_trusted_for_some_seconds_only(
    strict: httpx2.AsyncClient, registered: str
) -> None:
    async def works() -> bool:
        answer = await strict.post("/graphql", json={"documentId": registered, "variables": SLUG})
        return "errors" not in answer.json()

    assert await works()
    await remove(registered)
    later = time.monotonic() + served.KEPT_SECONDS + 1
    with patch("siyu_graphql.documents.time.monotonic", lambda: later):
        assert not await works()


async def test_the_cache_of_documents_is_bounded(brand: Brand) -> None:
    kept = served.Documents(trusted_only=False)
    with patch.object(served, "KEPT", 3):
        for number in range(5):
            row = await register(f"{number}", f"{{ a{number}: version }}", well)
            assert await kept.text(None, row.hash, None)
    assert len(kept._kept) == 3


# -- registering --------------------------------------------------------------------------------------------------


async def test_a_document_is_checked_against_the_schema_and_its_limits(api: Any) -> None:
    def mistakes(text: str) -> list[str]:
        return mistakes_in(api.ctx.plugins, text)

    assert mistakes(NAMED) == []
    assert "Cannot query field 'nothing'" in mistakes("{ nothing }")[0]
    assert "Syntax Error" in mistakes("{")[0]
    assert "31 aliases" in mistakes("{ " + " ".join(f"a{n}: version" for n in range(31)) + " }")[0]
    assert "nested" in mistakes("{ " + "a { " * 600 + "b" + " }" * 601)[0]
    assert "50000 are allowed" in mistakes("{ version } #" + "x" * 50_000)[0]
    with pytest.raises(InputError, match=r"bad\.graphql: Cannot query field 'nothing'"):
        await register("bad.graphql", "{ nothing }", mistakes)
    assert not await TrustedDocument.exists()


async def test_the_same_document_twice_is_one(brand: Brand) -> None:
    first, again = await register("a", NAMED, well), await register("b", NAMED, well)
    assert first.id == again.id


async def test_there_is_an_end_to_documents(brand: Brand) -> None:
    with patch.object(documents, "MOST", 1):
        await register("a", NAMED, well)
        await register("a", NAMED, well)
        with pytest.raises(InputError, match="remove some"):
            await register("b", "{ version }", well)


async def test_a_document_is_removed_by_enough_of_its_hash(brand: Brand) -> None:
    await register("a", NAMED, well)
    for which in ("", HASH[:7], "0" * 8, "%" * 8):
        with pytest.raises(NotFound):
            await remove(which)
    assert (await remove(HASH[:8])).name == "a"
    assert not await TrustedDocument.exists()


def test_documents_are_read_from_files_folders_and_manifests(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.graphql").write_text(NAMED)
    (tmp_path / "b.gql").write_text("{ version }")
    (tmp_path / "readme.md").write_text("nothing")
    assert list(texts_in(tmp_path)) == [("b.gql", "{ version }"), ("pages/a.graphql", NAMED)]
    assert list(texts_in(tmp_path / "b.gql")) == [("b.gql", "{ version }")]
    manifest = tmp_path / "persisted-documents.json"
    manifest.write_text(json.dumps({HASH: NAMED}))
    assert list(texts_in(manifest)) == [("persisted-documents.json", NAMED)]
    for content in ('{"0": "{ version }"}', "[]", '{"a": 5}', "{", "\udcff"):
        manifest.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(InputError):
            list(texts_in(manifest))
