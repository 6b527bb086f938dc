"""Who may see and do what, case by case; the walk over the whole schema is beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import siyu_graphql
from siyu.contract.manager import PluginManager
from siyu.flow import content, plugins, segments, tasks
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.tokens import create_token, revoke
from siyu.store.models import AccessToken, Action, Brand, Identity, RulebookVersion
from strawberry.relay import from_base64, to_base64

from tests.schema.conftest import START, assigned

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
    "startPlaybook": (
        'startPlaybook(brand: "shop", playbook: "lifecycle.welcome_back", users: ["ONE"], occasion: "ROLE")'
        " { playbook { name } started userErrors { code } }",
        "operator admin",
    ),
    "sendMessage": (
        'sendMessage(brand: "shop", key: "ROLE", users: ["ONE"],'
        ' message: {channel: "outbox", purpose: SERVICE, text: "hi"}) { planned userErrors { code } }',
        "operator admin",
    ),
    "settleActions": (
        'settleActions(brand: "shop", actions: ["UNCLEAR"], sent: true) { settled userErrors { code } }',
        "operator admin",
    ),
    **{
        name: (
            f'{name}(brand: "shop", task: "{task}", by: "ROLE") {{ task {{ status }} userErrors {{ code }} }}',
            "operator admin",
        )
        for name, task in [
            ("takeTask", "TASK"),
            ("giveBackTask", "TAKEN"),
            ("escalateTask", "TASK"),
            ("finishTask", "TAKEN"),
        ]
    },
    "setBenefit": (
        'setBenefit(brand: "shop", key: "gift", stock: 5) { benefit { key } userErrors { code } }',
        "admin",
    ),
    "recordConsent": (
        'recordConsent(brand: "shop", user: "ONE", given: true) { user { id } userErrors { code } }',
        "developer operator admin",
    ),
    "setTemplate": (
        'setTemplate(brand: "shop", key: "new-ROLE", text: "hello") { template { key } userErrors { code } }',
        "admin",
    ),
    "endTemplate": ('endTemplate(brand: "shop", key: "TEXT") { template { key } userErrors { code } }', "admin"),
    "setVoice": (
        'setVoice(brand: "shop", voice: {language: "en"}) { voice { language } userErrors { code } }',
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
    "createToken": ('createToken(brand: "shop", role: VIEWER) { secret userErrors { code } }', "admin"),
    "revokeToken": ('revokeToken(prefix: "PREFIX") { token { prefix } userErrors { code } }', "admin"),
    "undoPlugin": ('undoPlugin(brand: "shop", plugin: "rfm") { plugin { name } userErrors { code } }', "admin"),
}


async def rulebook(brand: Brand) -> str:
    """A version of the brand's rulebook."""
    return (await RulebookVersion.filter(brand_id=brand.id).order_by("id"))[0].version


async def filled(world: Any, call: str, role: str = "admin") -> str:
    """A call with what it names: the role, a version of the rulebook, a token, a text of the brand's own, a task that
    is open or that the role has taken, an action of which nobody knows, two users who are new, and a merge of them."""
    shop = await Brand.get(slug="shop")
    call = call.replace("ROLE", role).replace("VERSION", await rulebook(shop))
    if "PREFIX" in call:
        call = call.replace("PREFIX", (await create_token("viewer", shop, "spare"))[5:13])
    if "TEXT" in call:
        await content.set_text(world.ctx, shop, "ending", "hello")
        call = call.replace("TEXT", "ending")
    if "TASK" in call or "TAKEN" in call:
        whose = (await Identity.filter(brand_id=shop.id).order_by("id"))[0].user_id
        number = await assigned(world.ctx, shop, whose, "call", escalate_to="manager")
        if "TAKEN" in call:
            await tasks.take(world.ctx, shop, number, role)
        call = call.replace("TASK", "TAKEN").replace("TAKEN", to_base64("Task", f"{shop.id}:{number}"))
    if "UNCLEAR" in call:
        action = await Action.filter(brand_id=shop.id).order_by("id").first()
        assert action is not None
        action.status = "unknown"
        await action.save(update_fields=["status"])
        call = call.replace("UNCLEAR", to_base64("Action", f"{shop.id}:{action.id}"))
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
    await plugins.enable(world.ctx, shop, "pets", percent=10)  # a change to roll out further
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


async def test_developers_may_ask_what_there_is(world: Any, secrets: Any) -> None:
    refused = await world.ask(INTROSPECTION, token=secrets["viewer"])
    assert (refused["data"], refused["errors"][0]["extensions"]["code"]) == (None, "FORBIDDEN")
    answer = await world.ask(INTROSPECTION, token=secrets["developer"])
    assert {"name": "Brand"} in answer["data"]["__schema"]["types"]


async def test_the_bearer_is_told_who_they_are(world: Any, secrets: Any) -> None:
    answer = await world.ask("{ me { role name prefix brand { slug } } brands { slug } }", token=secrets["operator"])
    prefix = secrets["operator"][5:13]
    me = {"role": "OPERATOR", "name": "operator", "prefix": prefix, "brand": {"slug": "shop"}}
    assert answer["data"] == {"me": me, "brands": [{"slug": "shop"}]}


async def test_a_brand_of_others_looks_like_one_that_is_not_there(world: Any, secrets: Any) -> None:
    query = "query ($slug: String!) { brand(slug: $slug) { id name } }"
    both = [await world.ask(query, token=secrets["other"], slug=slug) for slug in ("shop", "nope")]
    said = [str((answer["data"], answer["errors"])) for answer in both]
    assert said[0].replace("shop", "nope") == said[1]
    answer = await world.ask(query, token=secrets["other"], slug="shop")
    assert answer["data"] == {"brand": None}
    [error] = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["brand"], "NOT_FOUND")


async def test_a_cursor_of_another_brand_shows_nothing_of_it(world: Any, secrets: Any) -> None:
    query = """query ($brand: String!, $after: String) { brand(slug: $brand) {
      users(first: 1, after: $after) { nodes { id } pageInfo { endCursor } } } }"""
    cursor = (await world.data(query, brand="shop"))["brand"]["users"]["pageInfo"]["endCursor"]
    answer = await world.ask(query, token=secrets["other"], brand="other", after=cursor)
    other = await Brand.get(slug="other")
    [node] = answer["data"]["brand"]["users"]["nodes"]
    assert from_base64(node["id"])[1].startswith(f"{other.id}:")


# -- roles --------------------------------------------------------------------------------------------------------


def test_every_mutation_is_in_the_matrix() -> None:
    mutations = siyu_graphql.build_schema(PluginManager.load(extra_specs=[siyu_graphql.hooks]))._schema.mutation_type
    assert mutations is not None
    assert set(mutations.fields) == set(MUTATIONS)


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
