"""Changes over real sockets: to slow clients and to those who vanish, and while Valkey is away."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis.asyncio import Redis
from siyu.flow import plugins as settings
from siyu.flow.changes import PAGE
from siyu.flow.context import Context
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.flow.tokens import create_token
from siyu.runtime import Addresses, Servers, Settings
from siyu.store import signals
from siyu.store.actions import plan_actions
from siyu.store.changes import note_decisions
from siyu.store.db import Connection
from siyu.store.decisions import lock
from siyu.store.models import Brand, User

from tests.schema import test_subscriptions as sockets
from tests.schema.test_subscriptions import Follow, Server, codes, first, followers, operation, until

port, server, ask = sockets.port, sockets.server, sockets.ask

TAGS = """subscription ($brand: String!, $tag: String, $after: String) {
  tagChanges(brand: $brand, tag: $tag, after: $after) { cursor changes { tag gained at user { id } } } }"""
NUMBERS = """subscription ($after: String) {
  stageChanges(brand: "shop", after: $after) { cursor changes { after } } }"""
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def bought(ctx: Context, brand: Brand, *members: int, day: int = 0) -> None:
    at = START + timedelta(days=day)
    orders = [IncomingEvent(f"{m}-{day}", "order.paid", {"member": str(m)}, {"amount": 10 + m}, at) for m in members]
    await record(ctx, brand, orders)


async def moved(ctx: Context, brand: Brand, numbers: Sequence[int]) -> None:
    """Note changes of stage as a decision does, each to a stage of its own by which it can be told."""
    stages = pl.DataFrame(
        {"user_id": list(numbers), "track": "t", "before": None, "after": [str(number) for number in numbers]},
        schema_overrides={"before": pl.String},
    )
    async with ctx.db.transaction() as connection:
        await lock(connection, brand.id)
        await note_decisions(connection, brand.id, pl.DataFrame(), stages, START)
    await ctx.db.signals.tell(brand.id, "decision")


def numbers(answer: Any) -> list[int]:
    return [int(change["after"]) for change in answer["data"]["stageChanges"]["changes"]]


def cursor(answer: Any) -> str:
    [result] = answer["data"].values()
    return str(result["cursor"])


async def soon(answers: AsyncGenerator[Any]) -> Any:
    async with asyncio.timeout(10):
        answer = await anext(answers)
    assert "errors" not in answer, answer
    return answer


async def test_who_gains_a_tag_is_told_and_a_client_goes_on_from_its_cursor(
    ask: Follow, ctx: Context, brand: Brand
) -> None:
    await settings.enable(ctx, brand, "rfm")
    async with aclosing(ask(TAGS, brand="shop")) as answers:
        start = await soon(answers)
        assert start["data"]["tagChanges"]["changes"] == []
        await bought(ctx, brand, *range(8))
        await refresh(ctx, brand.id)
        live = await soon(answers)
    changes = live["data"]["tagChanges"]["changes"]
    assert len({change["user"]["id"] for change in changes}) == 8
    assert {change["gained"] for change in changes} == {True}
    again = await first(ask(TAGS, brand="shop", after=cursor(start)))
    assert again["data"]["tagChanges"]["changes"] == changes
    some = await first(ask(TAGS, brand="shop", tag=changes[0]["tag"], after=cursor(start)))
    assert some["data"]["tagChanges"]["changes"] == [each for each in changes if each["tag"] == changes[0]["tag"]]
    assert (await first(ask(TAGS, brand="shop", after=cursor(live))))["data"]["tagChanges"]["changes"] == []


async def test_actions_are_told_as_they_are_planned_and_carried_out(server: Server, ctx: Context, brand: Brand) -> None:
    await bought(ctx, brand, 1)
    query = """subscription ($status: ActionStatus) { actions(brand: "shop", status: $status) {
      cursor changes { status action { text status user { id } } } } }"""
    user = await User.filter(brand_id=brand.id).first()
    assert user is not None
    rows = {"key": "k", "user_id": user.id, "plugin": "p", "playbook": "p", "channel": "outbox"}
    rows |= {"purpose": "care", "text": "hello", "because": "b"}
    async with aclosing(server.over_ws(query)) as all_, aclosing(server.over_ws(query, status="SENT")) as sent:
        await soon(all_)
        await soon(sent)
        async with ctx.db.transaction() as connection:
            await plan_actions(connection, brand.id, pl.DataFrame([rows]), at=START)
        await dispatch(ctx, brand.id)
        found: list[str] = []
        while "SENT" not in found:
            found += [each["status"] for each in (await soon(all_))["data"]["actions"]["changes"]]
        assert found == ["PLANNED", "LEASED", "SENT"]
        [change] = (await soon(sent))["data"]["actions"]["changes"]
        assert (change["status"], change["action"]["text"], change["action"]["status"]) == ("SENT", "hello", "SENT")


async def test_the_status_of_plugins_is_followed(ask: Follow, ctx: Context, brand: Brand) -> None:
    query = 'subscription { pluginStatus(brand: "shop") { name enabled status { state } } }'
    async with aclosing(ask(query)) as answers:
        everything = (await soon(answers))["data"]["pluginStatus"]
        on = {each["name"] for each in everything if each["status"]["state"] != "OFF"}
        assert on <= {"guard"}
        await settings.enable(ctx, brand, "rfm")
        assert (await soon(answers))["data"]["pluginStatus"] == [
            {"name": "rfm", "enabled": True, "status": {"state": "ON"}}
        ]


async def test_what_is_anothers_is_not_told(ask: Follow, ctx: Context, brand: Brand) -> None:
    other = await Brand.create(slug="other", name="Other")
    stranger = await create_token("admin", other)
    await moved(ctx, brand, [1, 2, 3])
    for query in (
        TAGS,
        'subscription { actions(brand: "shop") { cursor } }',
        'subscription { stageChanges(brand: "shop") { cursor } }',
        'subscription { pluginStatus(brand: "shop") { name } }',
    ):
        answer = await first(ask(query, token=stranger, brand="shop"))
        assert (answer["data"], codes(answer)) == (None, ["NOT_FOUND"]), query
    own = 'subscription { stageChanges(brand: "other", after: "stage:0") { changes { after } } }'
    async with aclosing(ask(own, token=stranger)) as answers:
        assert (await soon(answers))["data"]["stageChanges"]["changes"] == []
        await moved(ctx, brand, [4])
        await moved(ctx, other, [5])
        assert numbers(await soon(answers)) == [5]


@pytest.mark.parametrize(
    ("after", "code", "says"),
    [
        ("tag:1", "INVALID_INPUT", "not a cursor of these changes"),
        ("stage:-1", "INVALID_INPUT", "use the `cursor` of a result"),
        ("stage:1\n", "INVALID_INPUT", "not a cursor"),
        ("x" * 10_000, "INVALID_INPUT", "not a cursor"),
        ("stage:" + "9" * 18, "EXPIRED", "read the list anew"),
    ],
)
async def test_a_cursor_that_is_none_is_refused(ask: Follow, brand: Brand, after: str, code: str, says: str) -> None:
    answer = await first(ask(NUMBERS, after=after))
    assert (answer["data"], codes(answer)) == (None, [code])
    assert says in str(answer["errors"][0])
    assert len(answer["errors"][0]["message"]) < 200


async def test_a_client_who_does_not_read_holds_up_nobody_and_misses_nothing(
    server: Server, ctx: Context, brand: Brand
) -> None:
    many = 16 * PAGE
    async with server.socket() as slow, aclosing(operation(slow, NUMBERS)) as slowly:
        await soon(slowly)
        # From now on nothing is taken from this socket: what is sent to it fills its buffers, and no more.
        async with aclosing(server.over_ws(NUMBERS)) as quickly:
            start = cursor(await soon(quickly))
            for begin in range(0, many, 4000):
                await moved(ctx, brand, range(begin, begin + 4000))
            found: list[int] = []
            while len(found) < many:
                found += numbers(await soon(quickly))
            assert found == list(range(many))
        late: list[int] = []
        while len(late) < many:
            late += numbers(await soon(slowly))
        assert late == found
    again = numbers(await first(server.over_ws(NUMBERS, after=start)))
    assert again == list(range(len(again))) != []


async def test_whoever_is_cut_off_goes_on_where_they_were(server: Server, ctx: Context, brand: Brand) -> None:
    found: list[int] = []
    last: str | None = "stage:0"
    for turn in range(6):
        writing = asyncio.create_task(moved(ctx, brand, range(turn * 700, (turn + 1) * 700)))
        async with server.socket() as ws:
            answers = operation(ws, NUMBERS, after=last)
            while len(found) < (turn + 1) * 500:
                answer = await soon(answers)
                found += numbers(answer)
                last = cursor(answer)
            ws.transport.abort()
        await writing
    while len(found) < 6 * 700:
        answer = await first(server.over_ws(NUMBERS, after=last))
        found, last = found + numbers(answer), cursor(answer)
    assert found == list(range(6 * 700))


@asynccontextmanager
async def own_valkey(ctx: Context, home: Path) -> AsyncGenerator[Servers]:
    """A Valkey of its own under the signals of ``ctx``."""
    servers = Servers(Settings.from_env({"SIYU_HOME": str(home), "DATABASE_URL": "postgresql://not-asked"}))
    addresses = await asyncio.to_thread(servers.start)
    await ctx.db.signals.close()
    ctx.db.signals.open(addresses.redis_url, "own")
    try:
        yield servers
    finally:
        await asyncio.to_thread(servers.stop)


async def test_while_valkey_is_away_changes_come_all_the_same(
    server: Server, ctx: Context, brand: Brand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "POLL", 0.3)
    monkeypatch.setattr(signals, "PATIENCE", 60)
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.1)
    async with own_valkey(ctx, tmp_path / "valkey") as servers, aclosing(server.over_ws(NUMBERS)) as answers:
        await soon(answers)
        await moved(ctx, brand, [1])
        assert numbers(await soon(answers)) == [1]
        await asyncio.to_thread(servers.stop)
        for number in (2, 3):
            await moved(ctx, brand, [number])
            assert numbers(await soon(answers)) == [number]
        await asyncio.to_thread(servers.start)
        await until(lambda: ctx.db.signals._listening)
        await asyncio.sleep(0.2)
        await moved(ctx, brand, [4])
        assert numbers(await soon(answers)) == [4]


async def connections(connection: Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    return int(await connection.fetchval(query))


async def test_nothing_is_left_of_two_hundred_clients(
    server: Server, ctx: Context, brand: Brand, addresses: Addresses
) -> None:
    queries = [NUMBERS, TAGS, 'subscription { actions(brand: "shop") { cursor } }', sockets.PROGRESS]

    async def come_and_go(number: int) -> None:
        async with server.socket() as ws, aclosing(operation(ws, queries[number % 4], brand="shop")) as answers:
            if number % 4 != 3:  # a refresh has yet to begin
                await soon(answers)
            if number % 3 == 0:
                ws.transport.abort()

    async def crowd(size: int) -> None:
        await asyncio.gather(*map(come_and_go, range(size)))
        await until(lambda: followers(ctx) == 0)

    await crowd(20)
    gc.collect()
    tasks = len(asyncio.all_tasks())
    async with Redis.from_url(addresses.redis_url) as valkey:
        listening = len(await valkey.client_list())
        for _ in range(9):
            await crowd(20)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        assert len(await valkey.client_list(_type="pubsub")) == 0
        assert len(await valkey.client_list()) <= listening
    assert ctx.db.signals._listener is None
    async with ctx.db.connection() as connection:
        assert await connections(connection) <= 21
