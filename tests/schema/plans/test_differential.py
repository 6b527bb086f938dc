"""What a plan answers is what resolvers answer, to the letter, whatever is asked."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tasks import done, take
from siyu.flow.tokens import create_token
from siyu.store.models import Brand, Identity, Task

from tests.schema.conftest import assigned
from tests.schema.plans.documents import Some, Writer

# Where an argument is refused, GraphQL's own engine leaves resolvers beside it that it has called and not awaited.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
FEW, MANY = 200, 5_000
SOME = """{ brand(slug: "shop") {
  tags { key } stages { key }
  byMoment: users(first: 9, orderBy: {field: LAST_SEEN}) { edges { cursor } }
  users(first: 9) {
    edges { cursor }
    nodes {
      id identities { kind value }
      events { edges { cursor } } tagHistory { edges { cursor } } stageHistory { edges { cursor } }
    }
  }
  tasks(status: [OPEN, TAKEN, DONE]) { edges { cursor } }
  actions { edges { cursor } } received: events { edges { cursor } }
} }"""


async def some(world: Any) -> Some:
    await with_tasks(world)
    brand = (await world.data(SOME))["brand"]
    users = brand["users"]["nodes"]

    def cursors(pages: list[Any]) -> list[str]:
        return [edge["cursor"] for page in pages for edge in page["edges"]]

    return Some(
        slugs=["shop", *["other"] * 6, "nope", "\x00"],
        tags=[*(tag["key"] for tag in brand["tags"]), "rfm.no_such"],
        stages=[*(stage["key"] for stage in brand["stages"]), "no_such"],
        members=[name["value"] for user in users for name in user["identities"] if name["kind"] == "member"],
        users=[user["id"] for user in users],
        cursors={
            "users": cursors([brand["users"]] * 3 + [brand["byMoment"]]),
            "actions": cursors([brand["actions"]]),
            "tasks": cursors([brand["tasks"]]),
            **{name: cursors([user[name] for user in users]) for name in ("events", "tagHistory", "stageHistory")},
        },
    )


async def with_tasks(world: Any) -> None:
    """Tasks of all kinds, some of which quote what is personal."""
    for slug in ("shop", "other"):
        brand = await Brand.get(slug=slug)
        if await Task.filter(brand_id=brand.id).exists():
            continue
        who = [row.user_id for row in await Identity.filter(brand_id=brand.id, kind="member").order_by("id").limit(9)]
        called = IncomingEvent("named", "profile.updated", {"member": "m01"}, {"nickname": "小安"})
        await record(world.ctx, brand, [called])
        for number, user in enumerate([*who, *who[:3]]):
            deadline = datetime(2026, 6, 1 + number % 3, 12 + number % 4, tzinfo=UTC).isoformat()
            role = "service" if number % 2 else "adviser"
            task = await assigned(world.ctx, brand, user, f"给小安\n打电话 {number}", role=role, deadline=deadline)
            if number % 3 == 1:
                await take(world.ctx, brand, task, "li")
            elif number % 3 == 2:
                await done(world.ctx, brand, task, "wang", "好")


async def tokens(world: Any) -> list[str]:
    shop, other = await Brand.get(slug="shop"), await Brand.get(slug="other")
    return [
        world.token,
        *[await create_token(role, shop) for role in ("viewer", "developer", "operator", "admin")],
        await create_token("admin", other),
    ]


def shown(answer: Any) -> str:
    """An answer as it can be compared: errors of resolvers that run side by side come in any order."""
    answer.get("extensions", {}).get("cost", {}).pop("remaining", None)
    for error in answer.get("errors", ()):
        error.get("extensions", {}).pop("requestId", None)
    if "errors" in answer:
        answer["errors"].sort(key=json.dumps)
    return json.dumps(answer, ensure_ascii=False)


async def compare(world: Any, door: Any, log: pytest.LogCaptureFixture, first: int, count: int) -> None:
    there, bearers = await some(world), await tokens(world)
    had = door.plans.counts.planned
    errors = 0
    for seed in range(first, first + count):
        dice = Random(seed)
        query, variables = Writer(door.schema._schema, there, dice).document()
        token = dice.choice([*bearers[:1] * 10, *bearers])
        door.open = False
        slow = await world.ask(query, token, **variables)
        door.open = True
        fast = await world.ask(query, token, **variables)
        errors += "errors" in slow
        assert shown(fast) == shown(slow), f"seed {seed}\n{query}\n{json.dumps(variables)}"
        assert not log.records, f"seed {seed}\n{query}\n{json.dumps(variables)}"
    gc.collect()  # what was left belongs to this test
    planned = door.plans.counts.planned - had
    told = f"{planned} of {count} had a plan, {errors} had errors"
    assert planned > 0.5 * count, told
    assert 0.05 * count < errors < 0.4 * count, told


async def test_plans_answer_as_resolvers_do(world: Any, door: Any, caplog: pytest.LogCaptureFixture) -> None:
    await compare(world, door, caplog, 0, FEW)


@pytest.mark.long
async def test_plans_answer_as_resolvers_do_for_long(world: Any, door: Any, caplog: pytest.LogCaptureFixture) -> None:
    await compare(world, door, caplog, 1_000, MANY)
