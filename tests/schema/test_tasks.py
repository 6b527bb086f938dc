"""The inbox of people: tasks are listed, taken, given back, given on, done and followed."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tokens import create_token
from siyu.store.models import Brand, Event, Identity, Task
from strawberry.relay import to_base64

from tests.schema import test_subscriptions as sockets
from tests.schema.conftest import assigned
from tests.schema.test_following import cursor, soon
from tests.schema.test_subscriptions import Follow, codes, first

port, server, ask = sockets.port, sockets.server, sockets.ask

LIST = """query ($role: String, $assignee: String, $status: [TaskStatus!], $deadline: DateTimeRange, $first: Int) {
  brand(slug: "shop") { tasks(role: $role, assignee: $assignee, status: $status, deadline: $deadline, first: $first) {
    totalCount pageInfo { hasNextPage } nodes { id title } } } }"""
ONE = """query ($id: ID!) { node(id: $id) { ... on Task { role title text deadline escalateTo status assignee outcome
  madeAt takenAt escalatedAt doneAt story { status by words } action { channel status } user { id } } } }"""
CHANGE = """mutation ($task: ID!, $by: String) { it: %s(brand: "shop", task: $task, by: $by) {
  task { status role assignee outcome } userErrors { code field message remedy } } }"""
TAKE, DONE = CHANGE % "takeTask", CHANGE % "finishTask"
BACK, ON = CHANGE % "giveBackTask", CHANGE % "escalateTask"
PHONE = "13812345678"


@pytest.fixture
async def ann(api: Any, brand: Brand) -> int:
    """A user whose telephone number is known."""
    await record(api.ctx, brand, [IncomingEvent("a", "profile.updated", {"member": "a"}, {"phone": PHONE})])
    return int((await Identity.get(brand_id=brand.id, value="a")).user_id)


def global_id(brand: Brand, number: int) -> str:
    return to_base64("Task", f"{brand.id}:{number}")


async def listed(api: Any, **wanted: Any) -> list[str]:
    return [node["title"] for node in (await api.data(LIST, **wanted))["brand"]["tasks"]["nodes"]]


async def changed(api: Any, query: str, task: str, token: str | None = None, **given: Any) -> Any:
    answer = await api.ask(query, token, task=task, **given)
    assert "errors" not in answer, answer
    return answer["data"]["it"]


async def test_a_task_is_found_taken_and_done_and_what_came_of_it_is_an_event(api: Any, brand: Brand, ann: int) -> None:
    id = global_id(brand, await assigned(api.ctx, brand, ann, "call her\nwithin the hour", escalate_to="manager"))
    li = await create_token("operator", brand, "li")
    assert (await changed(api, TAKE, id, li))["task"]["assignee"] == "li"
    done = await api.data(
        """mutation ($task: ID!) { finishTask(brand: "shop", task: $task, outcome: "refunded", by: "li") {
          task { status outcome } userErrors { code } } }""",
        task=id,
    )
    assert done["finishTask"] == {"task": {"status": "DONE", "outcome": "refunded"}, "userErrors": []}
    found = (await api.data(ONE, id=id))["node"]
    assert (found["title"], found["text"]) == ("call her", "call her\nwithin the hour")
    assert (found["role"], found["escalateTo"], found["assignee"]) == ("service", "manager", "li")
    assert found["story"] == [
        {"status": "OPEN", "by": "", "words": ""},
        {"status": "TAKEN", "by": "li", "words": ""},
        {"status": "DONE", "by": "li", "words": "refunded"},
    ]
    assert found["action"] == {"channel": "tasks", "status": "SENT"}
    assert found["user"] == {"id": to_base64("User", f"{brand.id}:{ann}")}
    assert (await Event.get(brand_id=brand.id, kind="task.done")).payload["outcome"] == "refunded"
    assert ("playbooks", brand.id) in api.queue.pushed
    log = await api.data('{ brand(slug: "shop") { auditLog { nodes { what by target after } } } }')
    assert log["brand"]["auditLog"]["nodes"][:2] == [
        {"what": "finishTask", "by": "root", "target": id, "after": {"status": "done", "assignee": "li"}},
        {"what": "takeTask", "by": "li", "target": id, "after": {"status": "taken", "assignee": "li"}},
    ]


async def test_a_manager_assigns_gives_on_and_takes_back(api: Any, brand: Brand, ann: int) -> None:
    id = global_id(brand, await assigned(api.ctx, brand, ann, "call", escalate_to="manager"))
    assert (await changed(api, TAKE, id, by="li"))["task"]["assignee"] == "li"
    assert (await changed(api, BACK, id))["task"]["status"] == "OPEN"
    on = (await changed(api, ON, id, by="wang"))["task"]
    assert (on["status"], on["role"], on["assignee"]) == ("ESCALATED", "manager", "")


async def test_tasks_are_listed_by_deadline_and_found_by_whose_they_are(api: Any, brand: Brand, ann: int) -> None:
    for day, role in ((3, "service"), (1, "adviser"), (2, "service")):
        await assigned(api.ctx, brand, ann, f"day {day}", role=role, deadline=f"2026-01-0{day}T12:00:00+00:00")
    assert await listed(api) == ["day 1", "day 2", "day 3"]
    assert await listed(api, role="service") == ["day 2", "day 3"]
    assert await listed(api, deadline={"lt": "2026-01-02T12:00:00Z"}) == ["day 1"]
    page = (await api.data(LIST, first=2))["brand"]["tasks"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)
    await changed(api, TAKE, page["nodes"][0]["id"], by="li")
    assert await listed(api, assignee="li") == await listed(api, status=["TAKEN"]) == ["day 1"]
    assert await listed(api, assignee="") == ["day 2", "day 3"]
    await changed(api, DONE, page["nodes"][0]["id"], by="li")
    assert await listed(api) == ["day 2", "day 3"]
    assert await listed(api, status=["DONE", "OPEN"]) == ["day 1", "day 2", "day 3"]
    assert await listed(api, status=[]) == []
    mine = await api.data('{ brand(slug: "shop") { users { nodes { tasks { totalCount nodes { title } } } } } }')
    assert mine["brand"]["users"]["nodes"][0]["tasks"]["totalCount"] == 2


async def test_of_two_who_reach_for_a_task_the_second_is_told_whose_it_is(api: Any, brand: Brand, ann: int) -> None:
    id = global_id(brand, await assigned(api.ctx, brand, ann, "call"))
    await changed(api, TAKE, id, by="li")
    refused = await changed(api, TAKE, id, by="wang")
    [error] = refused["userErrors"]
    assert (refused["task"], error["code"], error["field"]) == (None, "INVALID_INPUT", "task")
    assert "taken by li" in error["message"]
    assert error["remedy"]


@pytest.mark.parametrize(
    ("query", "given", "field", "code"),
    [
        (TAKE, {"by": " "}, "by", "INVALID_INPUT"),
        (TAKE, {"by": "x" * 201}, "by", "INVALID_INPUT"),
        (TAKE, {"task": to_base64("Task", "99:1")}, "task", "NOT_FOUND"),
        (TAKE, {"task": to_base64("User", "1:1")}, "task", "NOT_FOUND"),
        (BACK, {}, "task", "INVALID_INPUT"),
        (ON, {}, "task", "INVALID_INPUT"),
    ],
    ids=str,
)
async def test_a_change_that_cannot_be_says_what_to_do(
    api: Any, brand: Brand, ann: int, query: str, given: dict[str, Any], field: str, code: str
) -> None:
    id = global_id(brand, await assigned(api.ctx, brand, ann, "call"))
    refused = await changed(api, query, **{"task": id, **given})
    [error] = refused["userErrors"]
    assert (refused["task"], error["field"], error["code"]) == (None, field, code)
    assert error["remedy"]
    assert (await Task.get(brand_id=brand.id)).status == "open"


@pytest.mark.parametrize(("role", "shown"), [("viewer", "138****5678"), ("admin", PHONE)])
async def test_a_number_that_a_task_quotes_is_for_those_who_may_see_it(
    api: Any, brand: Brand, ann: int, role: str, shown: str
) -> None:
    await assigned(api.ctx, brand, ann, f"call {PHONE}")
    query = '{ brand(slug: "shop") { tasks { nodes { title text action { text } } } } }'
    answer = await api.ask(query, await create_token(role, brand))
    text = f"call {shown}"
    assert answer["data"]["brand"]["tasks"]["nodes"] == [{"title": text, "text": text, "action": {"text": text}}]


async def test_tasks_are_followed_and_a_client_goes_on_from_its_cursor(
    ask: Follow, api: Any, brand: Brand, ann: int
) -> None:
    query = """subscription ($status: TaskStatus, $after: String) {
      tasks(brand: "shop", status: $status, after: $after) { cursor changes { status task { title assignee } } } }"""
    async with aclosing(ask(query)) as answers:
        start = await soon(answers)
        assert start["data"]["tasks"]["changes"] == []
        id = global_id(brand, await assigned(api.ctx, brand, ann, "call"))
        [made] = (await soon(answers))["data"]["tasks"]["changes"]
        assert (made["status"], made["task"]["title"]) == ("OPEN", "call")
        await changed(api, TAKE, id, by="li")
        [taken] = (await soon(answers))["data"]["tasks"]["changes"]
        assert taken == {"status": "TAKEN", "task": {"title": "call", "assignee": "li"}}
    missed = await first(ask(query, after=cursor(start), status="TAKEN"))
    assert [each["status"] for each in missed["data"]["tasks"]["changes"]] == ["TAKEN"]
    assert codes(await first(ask(query, after="action:1"))) == ["INVALID_INPUT"]
