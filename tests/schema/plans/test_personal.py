"""What is personal is masked, and reads of it are written down, by plans as by resolvers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siyu.flow import audit
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.personal import WHOLE, WORDS, is_personal
from siyu.flow.tokens import create_token
from siyu.store.models import AuditEntry, Brand, Identity
from siyu_graphql.plans.writing import may_hold

from tests.schema.conftest import assigned

QUERY = """query Everybody { brand(slug: "shop") { users { nodes {
  attributes identities { kind value } events { nodes { payload user { attributes } } } } } } }"""
MINE = '{ brand(slug: "shop") { user(identity: {kind: "phone", value: "13812345678"}) { id } } }'


@pytest.fixture
async def world(api: Any, brand: Brand) -> Any:
    """A brand that knows telephone numbers."""
    person = {"member": "m1", "phone": "13812345678"}
    profile = {"skin": "油性", "email": "ann@example.com", "homePhone": "02012345678"}
    done = await record(api.ctx, brand, [IncomingEvent("p1", "profile.updated", person, profile)])
    assert not done.rejected, done
    await record(api.ctx, brand, [IncomingEvent("p2", "profile.updated", {"member": "m2"}, {"skin": "干性"})])
    return api


async def reads() -> list[int]:
    return [row.users or 0 for row in await AuditEntry.filter(what=audit.PERSONAL_READ).order_by("id")]


async def both(world: Any, door: Any, query: str, token: str) -> list[tuple[Any, list[int]]]:
    """What resolvers and a plan answer, and what each left in the audit log."""
    found = []
    for door.open in (False, True):
        had = len(await reads())
        answer = await world.ask(query, token)
        answer.pop("extensions", None)
        found.append((answer, (await reads())[had:]))
    return found


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_plans_show_of_texts_what_resolvers_show(world: Any, door: Any, brand: Brand, role: str) -> None:
    one, two = [row.user_id for row in await Identity.filter(brand_id=brand.id, kind="member").order_by("value")]
    await assigned(world.ctx, brand, one, "call 02012345678\nor ann@example.com")
    await assigned(world.ctx, brand, two, "say hello")
    query = """{ brand(slug: "shop") { actions { nodes { text } } tasks { nodes { title text } }
      users { nodes { tasks { nodes { title } } actions { nodes { text user { id } } } } } } }"""
    slow, fast = await both(world, door, query, await create_token(role, brand))
    assert fast == slow
    assert door.plans.counts.planned == 1
    text = json.dumps(fast[0])
    assert ("02012345678" in text, "ann@example.com" in text) == (role == "admin",) * 2
    assert (text.count("020****5678"), text.count("a***@example.com")) == ((5, 3) if role == "viewer" else (0, 0))
    assert fast[1] == ([1] if role == "admin" else [])


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_plans_show_of_people_what_resolvers_show(world: Any, door: Any, brand: Brand, role: str) -> None:
    slow, fast = await both(world, door, QUERY, await create_token(role, brand))
    assert fast == slow
    assert door.plans.counts.planned == 1
    text, noted = json.dumps(fast[0]), fast[1]
    assert ("13812345678" in text, "ann@example.com" in text, "02012345678" in text) == (role == "admin",) * 3
    assert ("138****5678" in text, "a***@example.com" in text, "020****5678" in text) == (role == "viewer",) * 3
    assert noted == ([1] if role == "admin" else [])


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_nobody_finds_by_a_number_whom_they_may_not_see(world: Any, door: Any, brand: Brand, role: str) -> None:
    slow, fast = await both(world, door, MINE, await create_token(role, brand))
    assert fast == slow
    assert ("errors" in fast[0]) is (role == "viewer")


WORD = st.sampled_from([*WORDS, *WHOLE, "home", "Skin", "no", "number", "2", "_", "-", " ", "id", "card", "Name"])
NAMES = st.lists(WORD | st.text(max_size=3), max_size=5).map("".join)


@given(NAMES | NAMES.map(str.title) | NAMES.map(str.upper), st.frozensets(st.text(min_size=1, max_size=5), max_size=2))
def test_no_personal_name_is_overlooked(name: str, declared: frozenset[str]) -> None:
    for each in (name, *declared):
        if is_personal(each, declared):
            assert may_hold(declared).search(json.dumps({"a": {each: "x"}}, ensure_ascii=False))
