"""Tokens over GraphQL, and the audit log that keeps who made and ended them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from siyu.flow import plugins, tokens
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tokens import authenticate, create_token
from siyu.store.models import AccessToken, AuditEntry, Brand

CREATE = """mutation ($brand: String, $role: Role!, $name: String! = "", $ends: DateTime, $personal: Boolean! = false) {
  createToken(brand: $brand, role: $role, name: $name, expiresAt: $ends, personal: $personal) {
    secret token { id prefix name role personal expiresAt usedAt } userErrors { code field message } } }"""
REVOKE = "mutation ($prefix: String!) { revokeToken(prefix: $prefix) { token { revokedAt } userErrors { code } } }"
LOG = """query Log($filter: AuditFilter) { brand(slug: "shop") { auditLog(first: 50, filter: $filter) {
  nodes { at by what target users operation requestId before after } } } }"""


async def log(api: Any, **wanted: Any) -> list[Any]:
    """The audit log of the shop."""
    nodes: list[Any] = (await api.data(LOG, filter=wanted))["brand"]["auditLog"]["nodes"]
    return nodes


async def test_a_token_is_made_listed_used_and_revoked(api: Any, brand: Brand) -> None:
    made = (await api.data(CREATE, brand="shop", role="OPERATOR", name="crm"))["createToken"]
    assert made["userErrors"] == []
    secret, token = made["secret"], made["token"]
    assert (token["prefix"], token["role"], token["usedAt"]) == (secret[5:13], "OPERATOR", None)
    assert (await api.ask("{ me { name } }", token=secret))["data"] == {"me": {"name": "crm"}}
    listing = 'query List { brand(slug: "shop") { tokens { nodes { prefix name usedAt revokedAt } totalCount } } }'
    [listed] = (await api.data(listing))["brand"]["tokens"]["nodes"]
    assert datetime.fromisoformat(listed["usedAt"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert secret[14:] not in str(await api.data(listing))
    done = (await api.data(REVOKE, prefix=token["prefix"]))["revokeToken"]
    assert done["token"]["revokedAt"]
    assert (await api.post({"query": "{ version }"}, token=secret)).status_code == 401
    assert (await api.data(REVOKE, prefix=token["prefix"]))["revokeToken"]["userErrors"] == [{"code": "NOT_FOUND"}]
    shown = {"name": "crm", "role": "operator", "personal": False, "expiresAt": None}
    entries = [(e["by"], e["what"], e["target"], e["before"], e["after"]) for e in await log(api)]
    assert entries == [
        ("root", "revokeToken", token["prefix"], shown, None),
        ("root", "createToken", token["prefix"], None, shown),
    ]


async def test_a_token_that_would_have_ended_already_is_not_made(api: Any, brand: Brand) -> None:
    made = (await api.data(CREATE, brand="shop", role="VIEWER", ends="2020-01-01T00:00:00+08:00"))["createToken"]
    assert (made["secret"], made["token"]) == (None, None)
    refused = {"code": "INVALID_INPUT", "field": "expiresAt", "message": "2019-12-31T16:00:00+00:00 is past"}
    assert made["userErrors"] == [refused]


async def test_an_admin_of_one_brand_makes_and_sees_tokens_of_that_brand_only(api: Any, brand: Brand) -> None:
    await Brand.create(slug="other", name="Other")
    mine = await create_token("admin", brand, "mine")
    for slug in (None, "other"):
        payload = (await api.ask(CREATE, token=mine, brand=slug, role="VIEWER"))["data"]["createToken"]
        assert (payload["secret"], payload["userErrors"][0]["code"]) == (None, "NOT_FOUND")
    root = await AccessToken.get(name="root")
    answer = await api.ask(REVOKE, token=mine, prefix=root.prefix)
    assert answer["data"]["revokeToken"]["userErrors"] == [{"code": "NOT_FOUND"}]
    assert await authenticate(api.token) is not None
    answer = await api.ask("{ tokens { nodes { prefix } } }", token=mine)
    assert (answer["data"], answer["errors"][0]["extensions"]["code"]) == ({"tokens": None}, "NOT_FOUND")
    assert [each["prefix"] for each in (await api.data("{ tokens { nodes { prefix } } }"))["tokens"]["nodes"]] == [
        root.prefix
    ]


async def test_what_cannot_be_a_token_is_refused_in_the_payload(api: Any) -> None:
    for given in ({"name": "x" * 201}, {"name": "a\x00"}, {"brand": "nope"}):
        payload = (await api.data(CREATE, role="VIEWER", **given))["createToken"]
        assert payload["token"] is None
        assert payload["userErrors"]


async def test_the_use_of_a_token_is_written_at_most_once_a_minute(brand: Brand) -> None:
    secret = await create_token("viewer", brand)
    await asyncio.gather(*(authenticate(secret) for _ in range(5)))
    first = (await AccessToken.get(prefix=secret[5:13])).used_at
    assert first is not None
    await authenticate(secret)
    assert (await AccessToken.get(prefix=secret[5:13])).used_at == first
    await AccessToken.filter(prefix=secret[5:13]).update(used_at=first - tokens.USED_EVERY)
    await authenticate(secret)
    used = (await AccessToken.get(prefix=secret[5:13])).used_at
    assert used is not None
    assert used >= first


# -- the audit log ------------------------------------------------------------------------------------------------


async def test_every_mutation_that_was_done_is_kept_and_none_that_was_refused(api: Any, brand: Brand) -> None:
    await api.data('mutation Now { refreshBrand(brand: "shop") { queued } }')
    await api.data('mutation { recordEvents(brand: "shop", events: []) { accepted } }')
    await api.data('mutation { retryPlugin(brand: "shop", plugin: "nope") { userErrors { code } } }')
    await api.ask('mutation { refreshBrand(brand: "shop") { queued } }', token=await create_token("viewer", brand))
    events, refresh = (e for e in await log(api) if e["what"] != "createToken")
    assert (refresh["by"], refresh["what"], refresh["operation"]) == ("root", "refreshBrand", "Now")
    assert refresh["requestId"]
    assert (events["what"], events["after"]) == ("recordEvents", {"accepted": 0, "duplicates": 0, "rejected": 0})


async def test_changes_of_settings_stand_in_the_log_once_whoever_made_them(
    api: Any, ctx: Context, brand: Brand
) -> None:
    await api.data('mutation { enablePlugin(brand: "shop", plugin: "rfm") { userErrors { code } } }')
    await plugins.disable(ctx, brand, "rfm", by="cli")
    assert [
        (e["by"], e["what"], e["target"], e["before"]["enabled"], e["after"]["enabled"]) for e in await log(api)
    ] == [
        ("cli", "setPlugin", "rfm", True, False),
        ("root", "setPlugin", "rfm", False, True),
    ]
    assert not await AuditEntry.filter(brand_id=brand.id).exists(), "the history of settings is not kept twice"


async def test_the_log_is_read_in_pages_and_by_what_was_done(api: Any, ctx: Context, brand: Brand) -> None:
    for number in range(4):
        await create_token("viewer", brand, by=f"admin {number % 2}")
        await (plugins.disable if number % 2 else plugins.enable)(ctx, brand, "rfm", by="cli")
    query = """query ($after: String) { brand(slug: "shop") { auditLog(first: 3, after: $after) {
      totalCount nodes { id what } pageInfo { endCursor hasNextPage } } } }"""
    seen, after = [], None
    while True:
        page = (await api.data(query, after=after))["brand"]["auditLog"]
        seen += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert len(seen) == page["totalCount"] == len({each["id"] for each in seen}) == 8
    for each in seen:
        node = await api.data("query ($id: ID!) { node(id: $id) { ... on AuditEntry { what } } }", id=each["id"])
        assert node["node"]["what"] == each["what"]
    assert len(await log(api, what=["createToken"])) == 4
    assert len(await log(api, what=["createToken", "setPlugin"], by="admin 1")) == 2
    assert await log(api, since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []


@pytest.mark.parametrize("sql", ["UPDATE audit_entry SET by = 'me'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"])
async def test_nobody_changes_what_the_log_says(ctx: Context, brand: Brand, sql: str) -> None:
    await create_token("viewer", brand)
    async with ctx.db.connection() as connection:
        with pytest.raises(asyncpg.RaiseError, match="only ever appended"):
            await connection.execute(sql)


async def test_a_token_and_its_entry_are_kept_together_or_not_at_all(ctx: Context, brand: Brand) -> None:
    async with ctx.db.connection() as connection:
        await connection.execute("ALTER TABLE audit_entry ADD CONSTRAINT no CHECK (what <> 'createToken') NOT VALID")
        try:
            with pytest.raises(Exception, match="violates check constraint"):
                await create_token("viewer", brand)
        finally:
            await connection.execute("ALTER TABLE audit_entry DROP CONSTRAINT no")
    assert not await AccessToken.exists()


# -- personal data ------------------------------------------------------------------------------------------------

PEOPLE = """query People { brand(slug: "shop") { users { nodes {
  attributes identities { kind value } events { nodes { payload } } } } } }"""


async def test_reads_of_personal_data_are_kept_a_row_for_each_request(api: Any, ctx: Context, brand: Brand) -> None:
    await record(
        ctx,
        brand,
        [
            IncomingEvent(
                f"e{n}", "profile.updated", {"member": f"m{n}", "phone": f"1380000000{n}"}, {"email": "a@b.cn"}
            )
            for n in range(3)
        ]
        + [IncomingEvent("e9", "profile.updated", {"member": "nobody"}, {})],
    )
    seen = str(await api.data(PEOPLE))
    assert "13800000001" in seen
    assert "a@b.cn" in seen
    [entry] = await log(api)
    assert (entry["by"], entry["what"], entry["users"], entry["operation"]) == ("root", "readPersonalData", 3, "People")
    await api.data('{ brand(slug: "shop") { users { nodes { tags { key } stages { key } } } } }')
    viewer = await create_token("viewer", brand)
    masked = await api.ask(PEOPLE, token=viewer)
    assert "138****0001" in str(masked)
    assert "13800000001" not in str(masked)
    assert len(await log(api, what=["readPersonalData"])) == 1, "who saw none is not in it"
    seeing = await create_token("viewer", brand, "care", personal=True)
    assert (await api.ask(PEOPLE, token=seeing))["data"] == (await api.data(PEOPLE))
    assert {e["by"] for e in await log(api, what=["readPersonalData"])} == {"root", "care"}


async def test_what_cannot_be_kept_in_the_log_is_not_shown(api: Any, ctx: Context, brand: Brand) -> None:
    await record(ctx, brand, [IncomingEvent("e", "profile.updated", {"phone": "13800000001"}, {})])
    async with ctx.db.connection() as connection:
        await connection.execute(
            "ALTER TABLE audit_entry ADD CONSTRAINT no CHECK (what <> 'readPersonalData') NOT VALID"
        )
        try:
            answer = await api.ask(PEOPLE)
        finally:
            await connection.execute("ALTER TABLE audit_entry DROP CONSTRAINT no")
    assert (answer["data"], answer["errors"][0]["extensions"]["code"]) == (None, "INTERNAL")


async def test_a_refused_event_is_masked_in_what_it_says_of_itself_too(api: Any, ctx: Context, brand: Brand) -> None:
    wrong = IncomingEvent(
        "x", "order.paid", {"phone": "13800000001"}, {"amount": "x", "receiver": {"tel": "13800000009"}}
    )
    await record(ctx, brand, [wrong])
    query = '{ brand(slug: "shop") { rejectedEvents { nodes { reason received } } } }'
    shown = str(await api.ask(query, token=await create_token("operator", brand)))
    assert "138****0001" in shown
    assert "138****0009" in shown
    assert "13800000001" not in shown
    assert "13800000009" not in shown
