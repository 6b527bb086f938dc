"""The log keeps each event once, knows each user once, and says how far it is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import siyu
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu.contract.events import PROFILE_UPDATED, Catalog, EventKind
from siyu.flow.context import Context
from siyu.flow.ingest import load
from siyu.store.db import copy_in, copy_out
from siyu.store.events import EVENT_SCHEMA, append, claim, closed_up_to, rows_by_table, users_since
from siyu.store.lake import LOG_SCHEMA, Lake, tables
from siyu.store.models import Brand, DirtyUser, Event, Identity, User

START = datetime(2026, 1, 1, tzinfo=UTC)


def frame(*events: tuple[str, str, int]) -> pl.DataFrame:
    """Events of (key, member, day)."""
    rows = [
        {
            "key": key,
            "kind": "article.opened",
            "at": START + timedelta(days=day),
            "identity_kind": "member",
            "identity": member,
            "payload": json.dumps({"topic": key}),
        }
        for key, member, day in events
    ]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


async def log(brand: Brand) -> dict[str, int]:
    return {row.key: row.user_id for row in await Event.filter(brand_id=brand.id)}


async def test_an_event_is_kept_once_in_a_batch_and_across_batches(house: Context, shop: Brand) -> None:
    async with house.db.transaction() as connection:
        first = await append(connection, shop.id, frame(("a", "1", 0), ("b", "1", 1), ("a", "1", 0), ("c", "2", 2)))
    assert (first.new, first.duplicate, first.users) == (3, 1, 2)
    async with house.db.transaction() as connection:
        second = await append(connection, shop.id, frame(("c", "2", 2), ("d", "3", 3)), mark_dirty=False)
    assert (second.new, second.duplicate, second.users) == (1, 1, 1)
    assert sorted(await log(shop)) == ["a", "b", "c", "d"]
    assert await DirtyUser.filter(brand_id=shop.id).count() == 2
    first_seen = {
        row.id: (row.first_seen - START, row.last_seen - START) for row in await User.filter(brand_id=shop.id)
    }
    assert sorted(first_seen.values()) == [(timedelta(days=a), timedelta(days=b)) for a, b in ((0, 1), (2, 2), (3, 3))]


async def test_a_batch_that_is_rolled_back_leaves_nothing(house: Context, shop: Brand) -> None:
    async with house.db.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await append(connection, shop.id, frame(("a", "1", 0)))
        await transaction.rollback()
    for model in (Event, User, Identity, DirtyUser):
        assert await model.filter(brand_id=shop.id).count() == 0


async def test_writers_at_once_make_one_user_of_each_identity_and_lose_no_event(house: Context, shop: Brand) -> None:
    people, writers = 600, 6

    async def write(writer: int) -> int:
        # Each writer meets the same people in another order of time.
        events = [(f"{writer}-{n}", str(n), (n * (7 + 6 * writer)) % 601) for n in range(people)]
        async with house.db.transaction() as connection:
            return (await append(connection, shop.id, frame(*events, ("shared", "0", 0)))).new

    assert sum(await asyncio.gather(*(write(writer) for writer in range(writers)))) == people * writers + 1
    names = {row.value: row.user_id for row in await Identity.filter(brand_id=shop.id)}
    assert len(names) == len(set(names.values())) == await User.filter(brand_id=shop.id).count() == people
    expected = {f"{writer}-{n}": names[str(n)] for writer in range(writers) for n in range(people)}
    assert await log(shop) == {**expected, "shared": names["0"]}


async def test_the_log_is_closed_no_further_than_every_writer_under_way(house: Context, shop: Brand) -> None:
    lake = Lake(house.home, shop.id, house.plugins.catalog)

    async def closed() -> tuple[int, set[str]]:
        async with house.db.connection() as connection:
            up_to, mark = await closed_up_to(connection, shop.id)
            assert mark
            stored = await lake.tables(connection, up_to)
            return up_to, set(stored["article.opened"].scan().select("topic").collect().to_series())

    async with house.db.connection() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await append(slow, shop.id, frame(("slow", "1", 0)))
        async with house.db.transaction() as fast:
            await append(fast, shop.id, frame(("fast", "2", 0)))
        # The newest id is the fast one's and can be seen; the slow one's is smaller and cannot, yet.
        assert set(await log(shop)) == {"fast"}
        asked = asyncio.create_task(closed())
        done, _ = await asyncio.wait([asked], timeout=0.3)
        assert not done
        await transaction.commit()
    up_to, seen = await asked
    assert seen == {"slow", "fast"}
    assert up_to == max([row.id for row in await Event.filter(brand_id=shop.id)])


async def test_what_is_appended_later_has_a_greater_id(house: Context, shop: Brand) -> None:
    async with house.db.transaction() as connection:
        await append(connection, shop.id, frame(("a", "1", 5), ("b", "2", 5)))
    async with house.db.connection() as connection:
        up_to, _ = await closed_up_to(connection, shop.id)
        assert (await users_since(connection, shop.id, up_to)).is_empty()
    async with house.db.transaction() as connection:
        await append(connection, shop.id, frame(("c", "2", -5), ("d", "3", -5), ("a", "1", 5)))
    async with house.db.connection() as connection:
        found = (await users_since(connection, shop.id, up_to)).get_column("user_id").to_list()
    kept = await log(shop)
    assert sorted(found) == sorted([kept["c"], kept["d"]])


async def test_text_and_moments_come_back_from_postgresql_as_they_went(house: Context) -> None:
    texts = [
        "",
        "\\N",
        "\\.",
        "NULL",
        "null",
        '"',
        ",",
        "\n",
        "\r\n",
        "a\n\\.\nb",
        "'",
        "\\",
        " ",
        "油\U0001f600",
        "é",
        None,
    ]
    late = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    moments = [START, START + timedelta(microseconds=1), datetime(1970, 1, 1, tzinfo=UTC), late]
    schema: dict[str, pl.DataType] = {
        "n": pl.Int64(),
        "text": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "flag": pl.Boolean(),
        "part": pl.Float64(),
    }
    rows: Sequence[tuple[Any, ...]] = [
        (n, text, moments[n % 4] if n % 5 else None, [True, False, None][n % 3], [0.1, -1e300, None][n % 3])
        for n, text in enumerate(texts)
    ]
    given = pl.DataFrame(rows, schema=schema, orient="row")
    async with house.db.transaction() as connection:
        await connection.execute(
            "CREATE TEMPORARY TABLE given"
            " (n bigint, text text, at timestamptz, flag boolean, part float8) ON COMMIT DROP"
        )
        await copy_in(connection, "given", given)
        found = await copy_out(connection, "SELECT * FROM given ORDER BY n", schema=schema)
        nothing = await copy_out(connection, "SELECT * FROM given WHERE n < 0", schema=schema)
    assert found.rows() == given.rows()
    assert found.schema == nothing.schema == given.schema


async def test_a_plan_from_when_the_tables_were_empty_is_not_kept(house: Context, shop: Brand) -> None:
    rows_read = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
    people, batch = 2_000, 500
    async with house.db.connection() as connection:
        # On one connection, and often enough for PostgreSQL to keep a plan.
        for number in range(12):
            async with connection.transaction():
                await append(connection, shop.id, frame((f"first-{number}", "0", 0)))
        await append(connection, shop.id, frame(*((f"many-{n}", str(n), 1) for n in range(people))))
        async with connection.transaction():
            before = await connection.fetchval(rows_read)
            await append(connection, shop.id, frame(*((f"then-{n}", f"new-{n}", 2) for n in range(batch))))
            read = await connection.fetchval(rows_read) - before
    # To read all of them once for a statement may be the quickest; once for each event it is not.
    assert read < batch * people / 10


async def test_marks_are_claimed_oldest_first_however_few_the_planner_knows_of(house: Context, shop: Brand) -> None:
    rows_read = (
        "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE 'dirty_user%'"
    )
    people, batch = 3_000, 500
    async with house.db.connection() as connection:
        # What the server's own ANALYZE finds when it comes by while hardly anybody waits.
        await append(connection, shop.id, frame(("first", "0", 0)))
        await connection.execute("ANALYZE dirty_user")
        await append(connection, shop.id, frame(*((f"e{n}", str(n), n) for n in range(people))))
        users = [row.user_id for row in await DirtyUser.filter(brand_id=shop.id).order_by("id")]
        async with connection.transaction():
            before = await connection.fetchval(rows_read)
            assert list((await claim(connection, shop.id, batch)).into) == sorted(set(users[:batch]))
            assert await connection.fetchval(rows_read) - before <= 5 * batch
        assert [row.user_id for row in await DirtyUser.filter(brand_id=shop.id).order_by("id")] == users[batch:]
        assert list((await claim(connection, shop.id, 2 * people)).into) == sorted(set(users[batch:]))
        assert list((await claim(connection, shop.id, 1)).into) == []


async def test_after_an_import_the_planner_knows_how_much_there_is(house: Context, shop: Brand) -> None:
    known = "SELECT c.reltuples FROM event e JOIN pg_class c ON c.oid = e.tableoid WHERE e.brand_id = $1 LIMIT 1"
    events = frame(*((f"import-{n}", str(n % 50), n % 30) for n in range(15_000)))
    async with house.db.connection() as connection:
        await load(house, shop, events)
        assert await connection.fetchval(known, shop.id) >= len(events)


class Parcel(siyu.Line):
    """A parcel of a delivery."""

    content: str | None = None
    price: siyu.Money | None = None
    day: date | None = None
    fragile: bool | None = None
    pieces: int | None = None


class Delivery(siyu.Payload):
    """Something was delivered."""

    to: str | None = None
    day: date | None = None
    parcels: list[Parcel] | None = None


values = st.fixed_dictionaries(
    {},
    optional={
        "content": st.text(max_size=3) | st.none() | st.just(5),
        "price": st.integers(-(10**12), 10**12).map(lambda cents: cents / 100) | st.none(),
        "day": st.dates(date(1970, 1, 1)).map(date.isoformat) | st.none(),
        "fragile": st.booleans() | st.none(),
        "pieces": st.integers(-(2**53), 2**53) | st.none(),
    },
)
deliveries = st.fixed_dictionaries(
    {},
    optional={"to": st.text(max_size=3), "day": st.just("2026-11-22"), "parcels": st.lists(values | st.none())},
)
profiles = st.dictionaries(st.text(min_size=1, max_size=3), st.text(max_size=3) | st.none(), max_size=3)


@settings(max_examples=100, deadline=None)
@given(
    happened=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.tuples(st.just("delivered"), deliveries) | st.tuples(st.just(PROFILE_UPDATED), profiles),
        )
    )
)
def test_rows_of_a_few_users_are_those_of_the_lake(happened: list[tuple[int, tuple[str, dict[str, Any]]]]) -> None:
    catalog = Catalog([EventKind("delivered", "delivered", Delivery), EventKind(PROFILE_UPDATED, "updated")])
    at = datetime(2026, 11, 22, tzinfo=UTC)
    written = [(user, number, kind, at, json.dumps(payload)) for number, (user, (kind, payload)) in enumerate(happened)]
    schema = {name: LOG_SCHEMA[name] for name in ("user_id", "id", "kind", "at", "payload")}
    few = rows_by_table(catalog, written)
    for kind in catalog.kinds.values():
        mine = [
            (*row, pairs(payload) if kind.name == PROFILE_UPDATED else text)
            for (*row, text), (_, (_, payload)) in zip(written, happened, strict=True)
            if row[2] == kind.name
        ]
        for name, table in tables(kind, pl.DataFrame(mine, schema=schema, orient="row")).items():
            found = [tuple(row[column] for column in table.columns) for row in few.get(name, [])]
            assert sorted(found, key=repr) == sorted(table.rows(), key=repr)


def pairs(payload: dict[str, Any]) -> str | None:
    """What PostgreSQL makes of a profile for the lake."""
    return json.dumps([{"name": name, "value": value} for name, value in payload.items()]) if payload else None
