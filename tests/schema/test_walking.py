"""Whatever list is walked, from either end and in pages of any size: what was there comes once, although rows are added
on the way."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from siyu.flow import segments
from siyu.flow.ingest import IncomingEvent, record
from siyu.store.models import Action, Brand, Run, SettingChange, TagHistory, UserMerge

from .conftest import START

USER = 'user(identity: {kind: "member", value: "m01"}) { %s }'
LISTS = {
    "users": "users(%s) { PAGE }",
    "users by fact": 'users(orderBy: {fact: {plugin: "rfm", rule: "rfm", name: "frequency"}}, %s) { PAGE }',
    "users of a segment": 'segment(name: "kept") { users(orderBy: {field: LAST_SEEN, direction: DESC}, %s) { PAGE } }',
    "events": "events(%s) { PAGE }",
    "actions": "actions(%s) { PAGE }",
    "runs": "runs(%s) { PAGE }",
    "changes of settings": "settingChanges(%s) { PAGE }",
    "rejected events": "rejectedEvents(%s) { PAGE }",
    "segments": "segments(%s) { PAGE }",
    "merges": "merges(%s) { PAGE }",
    "changes of a plugin": "plugins { changes(%s) { PAGE } }",
    "events of a user": USER % "events(%s) { PAGE }",
    "actions of a user": USER % "actions(%s) { PAGE }",
    "tags that a user had": USER % "tagHistory(%s) { PAGE }",
    "stages that a user was in": USER % "stageHistory(%s) { PAGE }",
    "the timeline of a user": USER % "timeline(%s) { PAGE }",
}
PAGE = "totalCount edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
_numbers = itertools.count()


def found(data: Any) -> Any:
    """The page, wherever it is in an answer."""
    while "edges" not in data:
        # Of plugins the last, which is the one that is changed.
        data = data[-1] if isinstance(data, list) else next(iter(data.values()))
    return data


async def ask(api: Any, name: str, arguments: str) -> Any:
    query = f'{{ brand(slug: "shop") {{ {LISTS[name] % arguments} }} }}'.replace("PAGE", PAGE)
    return found(await api.data(query))


async def grow(api: Any) -> None:
    """Add a row to each of the lists: of a new user and of one who is known."""
    number = next(_numbers)
    brand = await Brand.get(slug="shop")
    at = START + timedelta(days=140 + number % 9)
    new = IncomingEvent(f"new-{number}", "contact.added", {"member": f"new-{number}"}, {}, at)
    known = IncomingEvent(f"known-{number}", "contact.added", {"member": "m01"}, {}, at)
    await record(api.ctx, brand, [new, known, IncomingEvent(f"bad-{number}", "order.lost", {"member": "m01"})])
    await Run.create(brand_id=brand.id, kind="import", at=at)
    await SettingChange.create(brand_id=brand.id, plugin="rfm", by="me", before={}, after={})
    await segments.create(api.ctx, brand, f"{'az'[number % 2]}-{number}", {})
    await UserMerge.create(brand_id=brand.id, user_id=1, other_id=2, by="me", undone_at=at)
    past = await TagHistory.filter(brand_id=brand.id).first()
    action = await Action.filter(brand_id=brand.id).first()
    assert past
    assert action
    async with api.ctx.db.connection() as connection:
        user = await connection.fetchval("SELECT user_id FROM identity WHERE brand_id = $1 AND value = 'm01'", brand.id)
        await connection.execute(_MORE, brand.id, user, at, past.id, action.id, f"a-{number}")


_MORE = """
WITH tag AS (
    INSERT INTO tag_history (brand_id, user_id, tag_id, since, until, rulebook_id, why, ended_rulebook_id, ended_why)
    SELECT $1, $2, tag_id, $3, $3, rulebook_id, why, ended_rulebook_id, ended_why FROM tag_history
    WHERE brand_id = $1 AND id = $4
), stage AS (
    INSERT INTO stage_history (brand_id, user_id, track, stage, since, until, rulebook_id, why)
    SELECT brand_id, user_id, track, stage, $3, $3, rulebook_id, why FROM user_stage
    WHERE brand_id = $1 AND user_id = $2
)
INSERT INTO action (brand_id, key, user_id, plugin, playbook, channel, purpose, text, because, status, rulebook_id,
    planned_at, due_at, done_at)
SELECT $1, $6, $2, plugin, playbook, channel, purpose, text, because, status, rulebook_id, $3, $3, $3
FROM action WHERE brand_id = $1 AND id = $5
"""


@pytest.mark.parametrize("name", LISTS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(st.sampled_from([7, 30]), min_size=1, max_size=3),
    backward=st.booleans(),
    every=st.integers(2, 3),
)
async def test_what_was_there_comes_once_while_rows_are_added(
    world: Any, name: str, sizes: list[int], backward: bool, every: int
) -> None:
    await grow(world)
    there = [edge["cursor"] for edge in (await ask(world, name, "first: 100"))["edges"]]
    assert len(there) > 1
    size, on, end, more = ("last", "before", "startCursor", "hasPreviousPage")
    if not backward:
        size, on, end, more = ("first", "after", "endCursor", "hasNextPage")
    seen: list[str] = []
    cursor = None
    for number in itertools.count():
        arguments = f"{size}: {sizes[number % len(sizes)]}" + (f', {on}: "{cursor}"' if cursor else "")
        page = await ask(world, name, arguments)
        cursors = [edge["cursor"] for edge in page["edges"]]
        seen = cursors + seen if backward else seen + cursors
        if not page["pageInfo"][more]:
            break
        cursor = page["pageInfo"][end]
        if number % every == 0 and number < 7:
            await grow(world)
    assert len(set(seen)) == len(seen)
    assert [each for each in seen if each in set(there)] == there
