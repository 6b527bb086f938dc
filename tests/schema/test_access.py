"""Who may see and do what. The walk visits every field of the schema with the token of another brand."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import siyu_graphql
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_required_argument
from siyu import NotFound
from siyu.contract.manager import PluginManager
from siyu.flow import plugins, segments
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.tokens import authenticate, create_token, revoke
from siyu.store.models import AccessToken, Brand, Identity, RulebookVersion
from siyu_graphql.loading import Loaders
from siyu_graphql.node.queries import NODES
from siyu_graphql.paging import rows_by_id
from siyu_graphql.user.queries import USERS
from strawberry.relay import to_base64

from tests.schema.conftest import START

INTROSPECTION = "{ __schema { types { name } } }"
ROLES = ("viewer", "developer", "operator", "admin")
MUTATIONS = {
    "createExport": ('createExport(brand: "shop", what: USERS) { file { direction } userErrors { code } }', "admin"),
    "createImport": (
        'createImport(brand: "shop", kind: "article.opened",'
        ' mapping: {identityKind: "member", user: "who", at: "when"}) { file { what } userErrors { code } }',
        "admin",
    ),
    "recordEvents": (
        'recordEvents(brand: "shop", events: []) { accepted userErrors { code } }',
        "developer operator admin",
    ),
    "refreshBrand": ('refreshBrand(brand: "shop") { queued userErrors { code } }', "operator admin"),
    "enablePlugin": ('enablePlugin(brand: "shop", plugin: "rfm") { plugin { name } userErrors { code } }', "admin"),
    "disablePlugin": ('disablePlugin(brand: "shop", plugin: "rfm") { plugin { name } userErrors { code } }', "admin"),
    "configurePlugin": (
        'configurePlugin(brand: "shop", plugin: "rfm", params: {}) { plugin { name } userErrors { code } }',
        "admin",
    ),
    "retryPlugin": (
        'retryPlugin(brand: "shop", plugin: "rfm") { plugin { name } userErrors { code } }',
        "operator admin",
    ),
    "rollOutPlugin": (
        'rollOutPlugin(brand: "shop", plugin: "pets", percent: 50) { plugin { name } userErrors { code } }',
        "admin",
    ),
    "pinState": (
        'pinState(brand: "shop", plugin: "rfm", rule: "rfm", version: "VERSION")'
        " { plugin { name } userErrors { code } }",
        "admin",
    ),
    "releaseState": (
        'releaseState(brand: "shop", plugin: "rfm", rule: "rfm") { plugin { name } userErrors { code } }',
        "admin",
    ),
    "mergeUsers": (
        'mergeUsers(brand: "shop", user: "ONE", other: "OTHER") { merge { id } user { id } userErrors { code } }',
        "operator admin",
    ),
    "unmergeUsers": (
        'unmergeUsers(brand: "shop", merge: "MERGE") { merge { id } users { id } userErrors { code } }',
        "operator admin",
    ),
    "createSegment": (
        'createSegment(brand: "shop", name: "new-ROLE", filter: {}) { segment { name } userErrors { code } }',
        "operator admin",
    ),
    "updateSegment": (
        'updateSegment(brand: "shop", name: "kept", title: "ROLE") { segment { name } userErrors { code } }',
        "operator admin",
    ),
    "deleteSegment": (
        'deleteSegment(brand: "shop", name: "old-ROLE") { segment { name } userErrors { code } }',
        "operator admin",
    ),
    "restoreSegment": (
        'restoreSegment(brand: "shop", name: "gone-ROLE") { segment { name } userErrors { code } }',
        "operator admin",
    ),
    "undoPlugin": ('undoPlugin(brand: "shop", plugin: "rfm") { plugin { name } userErrors { code } }', "admin"),
}


async def rulebook(brand: Brand) -> str:
    """A version of the brand's rulebook."""
    return (await RulebookVersion.filter(brand_id=brand.id).order_by("id"))[0].version


async def filled(world: Any, call: str, role: str = "admin") -> str:
    """A call with what it names: the role, a version of the rulebook, two users who are new, and a merge of them."""
    shop = await Brand.get(slug="shop")
    call = call.replace("ROLE", role).replace("VERSION", await rulebook(shop))
    if "ONE" in call or "MERGE" in call:
        names = [uuid4().hex, uuid4().hex]
        await record(
            world.ctx, shop, [IncomingEvent(name, "contact.added", {"phone": name}, {}, START) for name in names]
        )
        one, other = [(await Identity.get(brand_id=shop.id, value=name)).user_id for name in names]
        call = call.replace("ONE", to_base64("User", f"{shop.id}:{one}"))
        call = call.replace("OTHER", to_base64("User", f"{shop.id}:{other}"))
        if "MERGE" in call:
            merge = await merge_users(world.ctx, shop, one, other, by="test")
            call = call.replace("MERGE", to_base64("UserMerge", f"{shop.id}:{merge.id}"))
    return call


@pytest.fixture(scope="module")
async def secrets(world: Any) -> dict[str, str]:
    """A token of each role for ``shop``, one of ``other``, and some that are none."""
    shop, other = await Brand.get(slug="shop"), await Brand.get(slug="other")
    await plugins.disable(world.ctx, shop, "pets", percent=10)  # a change to roll out further
    await plugins.pin(world.ctx, shop, "rfm", "rfm", await rulebook(shop))  # a state to release
    for role in ROLES:  # one each to delete, and to restore
        await segments.create(world.ctx, shop, f"old-{role}", {})
        await segments.create(world.ctx, shop, f"gone-{role}", {})
        await segments.delete(shop, f"gone-{role}")
    made = {role: await create_token(role, shop, role) for role in ROLES}
    made["other"] = await create_token("admin", other)
    made["expired"] = await create_token("admin", None, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    made["revoked"] = await create_token("admin", None)
    await revoke(made["revoked"])
    made["wrong"] = made["admin"][:-1] + ("x" if made["admin"][-1] != "x" else "y")
    return made


@pytest.mark.parametrize("which", ["none", "wrong", "expired", "revoked"])
@pytest.mark.parametrize(
    "query", ["{ version }", INTROSPECTION, "{ not a query", 'mutation { refreshBrand(brand: "shop") { queued } }']
)
async def test_without_a_valid_token_there_is_nothing(world: Any, secrets: Any, which: str, query: str) -> None:
    response = await world.post({"query": query}, token=secrets.get(which, ""))
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    body = response.json()
    assert list(body) == ["errors"]
    [error] = body["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert world.queue.pushed == []


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {} x", "Bearer \udce9"])
async def test_a_token_goes_as_a_bearer(world: Any, secrets: Any, header: str) -> None:
    sent = header.format(secrets["admin"]).encode(errors="surrogateescape")
    headers = [(b"authorization", sent), (b"content-type", b"application/json")]
    assert (await world.http.post("/graphql", headers=headers, content=b"{}")).status_code == 401


async def test_a_valid_token_may_ask_what_there_is(world: Any, secrets: Any) -> None:
    answer = await world.ask(INTROSPECTION, token=secrets["viewer"])
    assert {"name": "Brand"} in answer["data"]["__schema"]["types"]


async def test_the_bearer_is_told_who_they_are(world: Any, secrets: Any) -> None:
    answer = await world.ask("{ me { role name prefix brand { slug } } brands { slug } }", token=secrets["operator"])
    prefix = secrets["operator"][5:13]
    me = {"role": "OPERATOR", "name": "operator", "prefix": prefix, "brand": {"slug": "shop"}}
    assert answer["data"] == {"me": me, "brands": [{"slug": "shop"}]}


async def test_a_brand_of_others_looks_like_one_that_is_not_there(world: Any, secrets: Any) -> None:
    query = "query ($slug: String!) { brand(slug: $slug) { id name } }"
    both = [
        str(await world.ask(query, token=secrets["other"], slug=slug)).replace(slug, "…") for slug in ("shop", "nope")
    ]
    assert both[0] == both[1]
    answer = await world.ask(query, token=secrets["other"], slug="shop")
    assert answer["data"] == {"brand": None}
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["brand"], "NOT_FOUND")


# -- the walk -----------------------------------------------------------------------------------------------------

EXAMPLES = {
    "Brand.users": "(first: 3)",
    "Brand.segment": '(name: "kept")',
    "Brand.user": '(identity: {kind: "member", value: "m01"})',
    "Brand.previewPlugin": '(plugin: "lifecycle", params: {lifecycle: {dormant_days: 20}})',
    "Brand.stageFlows": '(track: "lifecycle", since: "2026-01-01T00:00:00Z")',
    "Brand.replay": '(since: "2026-05-30T00:00:00Z")',
}
"""Arguments of fields that give nothing without."""
MANAGER = PluginManager.load(extra_specs=[siyu_graphql.hooks])
SCHEMA = siyu_graphql.build_schema(MANAGER)._schema


def selections(kind: GraphQLObjectType, within: tuple[str, ...] = ()) -> Iterator[str]:
    """For every field below ``kind`` a selection of it alone; a type within itself is not entered again, and users of
    what is within a brand are seen by their ids: they are seen whole as the brand's."""
    fields = kind.fields
    if kind.name == "User" and {"Action", "Event", "Segment"}.intersection(within):
        fields = {"id": fields["id"]}
    for name, field in fields.items():
        call = name + EXAMPLES.get(f"{kind.name}.{name}", "")
        assert call != name or not any(is_required_argument(arg) for arg in field.args.values()), f"{kind}.{name}"
        inner = get_named_type(field.type)
        if is_leaf_type(inner):
            yield call
        elif inner.name not in within:
            assert isinstance(inner, GraphQLObjectType)
            yield from (f"{call} {{ {rest} }}" for rest in selections(inner, (*within, inner.name)))


BRAND = SCHEMA.get_type("Brand")
assert isinstance(BRAND, GraphQLObjectType)
FIELDS = list(selections(BRAND, ("Brand",)))
IDS = [field for field in FIELDS if re.search(r"\bid[ }]*$", field)]


def ids(item: Any) -> Iterator[str]:
    """Every id in an answer."""
    if isinstance(item, dict):
        for name, inner in item.items():
            yield from [inner] if name == "id" else ids(inner)
    elif isinstance(item, list):
        for inner in item:
            yield from ids(inner)


def brand_in(id: str) -> int:
    return int(base64.b64decode(id).decode().split(":")[1])


def test_the_walk_reaches_every_type_of_a_brand() -> None:
    text = " ".join(FIELDS)
    for name in ("rulebookVersion", "endedBecause", "paramsSchema", "received", "seconds", "payload", "identities"):
        assert name in text
    assert len(IDS) > 9


async def test_every_field_answers_its_own_brand_and_gives_nothing_to_another(world: Any, secrets: Any) -> None:
    for role in ("viewer", "admin"):
        fields = [field for field in FIELDS if ("previewPlugin" in field) == (role == "admin")]
        # Several in one request; those that go the same way are one.
        for some in (fields[start : start + 25] for start in range(0, len(fields), 25)):
            asked = " ".join(some)
            query = f'{{ brand(slug: "shop") {{ {asked} }} }}'
            own = await world.ask(query, token=secrets[role])
            assert "errors" not in own, (some, own)
            answer = await world.ask(query, token=secrets["other"])
            assert answer["data"] == {"brand": None}, some
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"], some


async def test_no_row_of_a_brand_appears_under_another(world: Any) -> None:
    """Both brands have the same tags, stages and member numbers, so a condition that was forgotten shows."""
    for slug in ("shop", "other"):
        brand = await Brand.get(slug=slug)
        for field in IDS:
            found = set(ids(await world.data(f'{{ brand(slug: "{slug}") {{ {field} }} }}')))
            assert found, field
            assert {brand_in(id) for id in found} == {brand.id}, field


async def test_no_node_of_another_brand_is_found_by_its_id(world: Any, secrets: Any) -> None:
    found = set()
    for field in IDS:
        data = await world.data(f'{{ brand(slug: "shop") {{ {field} }} }}')
        for id in list(ids(data))[:3]:
            node = await world.data("query ($id: ID!) { node(id: $id) { __typename } }", id=id)
            found.add(node["node"]["__typename"])
            answer = await world.ask("query ($id: ID!) { node(id: $id) { id } }", token=secrets["other"], id=id)
            assert answer["data"] == {"node": None}
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
            by_brand = 'query ($id: ID!) { brand(slug: "other") { user(id: $id) { id } } }'
            assert (await world.ask(by_brand, id=id))["data"] == {"brand": {"user": None}}
    assert found == set(NODES)


async def test_a_cursor_of_another_brand_shows_nothing_of_it(world: Any, secrets: Any) -> None:
    query = """query ($brand: String!, $after: String) { brand(slug: $brand) {
      users(first: 1, after: $after) { nodes { id } pageInfo { endCursor } } } }"""
    cursor = (await world.data(query, brand="shop"))["brand"]["users"]["pageInfo"]["endCursor"]
    answer = await world.ask(query, token=secrets["other"], brand="other", after=cursor)
    other = await Brand.get(slug="other")
    assert [brand_in(id) for id in ids(answer["data"])] == [other.id]


async def test_a_loader_refuses_a_brand_that_a_resolver_forgot_to_check(world: Any, secrets: Any) -> None:
    access = await authenticate(secrets["other"])
    assert access is not None
    shop = await Brand.get(slug="shop")
    with pytest.raises(NotFound, match="no such brand"):
        await Loaders(world.ctx.db, access).load(rows_by_id, shop.id, 1, USERS)


# -- roles --------------------------------------------------------------------------------------------------------


def test_every_mutation_is_in_the_matrix() -> None:
    assert SCHEMA.mutation_type is not None
    assert set(SCHEMA.mutation_type.fields) == set(MUTATIONS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_role_may_do_what_it_is_for(world: Any, secrets: Any, role: str, name: str) -> None:
    call, able = MUTATIONS[name]
    answer = await world.ask(f"mutation {{ {await filled(world, call, role)} }}", token=secrets[role])
    if role in able.split():
        assert "errors" not in answer
        assert answer["data"][name]["userErrors"] == []
    else:
        assert answer["data"] == {name: None}
        [error] = answer["errors"]
        assert (error["path"], error["extensions"]["code"]) == ([name], "FORBIDDEN")
        assert able.split()[0] in error["extensions"]["remedy"]


@pytest.mark.parametrize("name", MUTATIONS)
async def test_an_admin_of_one_brand_changes_no_other(world: Any, secrets: Any, name: str) -> None:
    call = await filled(world, MUTATIONS[name][0])
    world.queue.pushed.clear()
    answer = await world.ask(f"mutation {{ {call} }}", token=secrets["other"])
    payload = answer["data"][name]
    assert [error["code"] for error in payload.pop("userErrors")] == ["NOT_FOUND"]
    assert not any(payload.values())
    assert world.queue.pushed == []


async def test_a_token_of_a_brand_that_is_gone_sees_nothing(world: Any) -> None:
    gone = await Brand.create(slug="gone", name="Gone")
    secret = await create_token("admin", gone)
    await gone.delete()
    answer = await world.ask('{ me { brand { slug } } brands { slug } brand(slug: "gone") { id } }', token=secret)
    assert answer["data"] == {"me": {"brand": None}, "brands": [], "brand": None}
    assert await AccessToken.filter(brand_id=gone.id).exists()
