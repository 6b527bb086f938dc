"""The lake is the log, whatever of it lies in files and whatever became of those."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from siyu import EventKind, Line, Money, Payload
from siyu.contract.events import Catalog
from siyu.flow.context import Context
from siyu.store import lake as lake_module
from siyu.store.db import Connection
from siyu.store.events import EVENT_SCHEMA, append, closed_up_to
from siyu.store.lake import Lake, Stored, _merge_from, history_of
from siyu.store.models import Brand, SealedRange

START = datetime(2026, 1, 1, tzinfo=UTC)


class Visit(Payload):
    place: str


class LaterVisit(Payload):
    place: str
    guests: int | None = None


class Bag(Line):
    size: Literal["s", "l"] | None = None
    grams: int = 0
    price: Money | None = None


class Everything(Payload):
    text: str | None = None
    number: int | None = None
    flag: bool | None = None
    day: date | None = None
    amount: Money | None = None
    bags: tuple[Bag, ...] = ()


def catalog(house: Context, *more: EventKind) -> Catalog:
    return Catalog([*house.plugins.catalog.kinds.values(), *more])


async def write(connection: Connection, brand: Brand, numbers: Iterable[int], seed: int = 0) -> None:
    """Events of several kinds, one a number."""
    rows = []
    for number in numbers:
        dice = random.Random(f"{seed}-{number}")
        lines = [{"category": "tea", "quantity": 2}] * dice.randrange(3)
        choices: list[tuple[str, dict[str, Any]]] = [
            ("order.paid", {"amount": dice.randrange(10**6) / 100, "items": lines}),
            ("order.paid", {"amount": 0.1, "store": "x", "quantity": 3}),
            ("article.opened", {}),
            ("profile.updated", {"skin": dice.choice(["a", None]), "city": "b"}),
            ("profile.updated", {}),
            ("shop.visited", {"place": "p", "guests": number}),
        ]
        kind, payload = dice.choice(choices)
        at = START + timedelta(hours=dice.randrange(999))
        rows.append((f"e{number}", kind, at, "member", str(number % 17), json.dumps(payload)))
    async with connection.transaction():
        await append(connection, brand.id, pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"))


async def whole(lake: Lake, connection: Connection, *, seal_from: int) -> dict[str, pl.DataFrame]:
    up_to, _ = await closed_up_to(connection, lake._brand_id)
    stored = await lake.tables(connection, up_to, seal_from=seal_from)
    return {name: table.scan().collect() for name, table in stored.items()}


async def assert_is_the_log(lake: Lake, connection: Connection, found: dict[str, pl.DataFrame]) -> None:
    straight = await lake.read(connection, "true")
    for name, rows in straight.items():
        if rows.is_empty() and name not in found:
            continue
        assert_frame_equal(found[name], rows, check_row_order=False)
    assert set(found) <= set(straight)
    assert sum(len(rows) for rows in straight.values()) > 0


async def test_files_and_tail_are_the_log_after_every_batch(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "RANGE_ROWS", 40)
    monkeypatch.setattr(lake_module, "FILE_ROWS", 50)
    lake = Lake(house.home, shop.id, catalog(house, EventKind("shop.visited", "来访", LaterVisit)))
    dice, number = random.Random(7), 0
    async with house.db.connection() as connection:
        other = await Brand.create(slug=f"{shop.slug}-other", name="Other")
        for _ in range(8):
            size = dice.choice([1, 5, 100])
            await write(connection, shop, range(number, number + size))
            await write(connection, other, range(number, number + 3), seed=1)
            number += size
            await assert_is_the_log(
                lake, connection, await whole(lake, connection, seal_from=dice.choice([1, 30, 10**6]))
            )
            ranges = await SealedRange.filter(brand_id=shop.id).order_by("first_id")
            assert all(one.last_id + 1 == two.first_id for one, two in pairwise(ranges))
    users = [1, 2]
    async with house.db.connection() as connection:
        log = await lake.read(connection, "user_id = ANY($2::bigint[])", users)
        for many in (100, 1):
            monkeypatch.setattr(lake_module, "MANY", many)
            history = await lake.of_users(connection, users)
            some = {name: frame.collect() for name, frame in history.behind.items()}
            for name, rows in log.items():
                assert_frame_equal(some.get(name, rows.clear()), rows, check_row_order=False)


async def test_all_but_the_newest_lies_in_the_order_of_users(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "RANGE_ROWS", 100)
    monkeypatch.setattr(lake_module, "FILE_ROWS", 30)
    lake = Lake(house.home, shop.id, house.plugins.catalog)
    async with house.db.connection() as connection:
        await write(connection, shop, range(5000))
        await whole(lake, connection, seal_from=1)
        await write(connection, shop, range(5000, 5010))
        found = await whole(lake, connection, seal_from=1)
        await assert_is_the_log(lake, connection, found)
        history = history_of(await lake.peek(connection))
    assert await SealedRange.filter(brand_id=shop.id).count() == 2
    assert len(history.blocks) > 3
    for source in house.plugins.catalog.sources:
        if source.name in found:
            blocks = [block.frames[source.name].collect() for block in history.blocks]
            assert sum(map(len, blocks)) > 10 * len(history.behind[source.name].collect())
            for rows, (low, below) in zip(blocks, history.ranges, strict=True):
                assert_frame_equal(rows, rows.sort(source.order))
                assert rows.get_column("user_id").is_between(low, below, closed="left").all()
                assert max(rows.n_chunks("all")) == 1


async def test_a_table_that_came_later_lies_in_no_block_that_it_is_not_cut_like(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "RANGE_ROWS", 100)
    monkeypatch.setattr(lake_module, "FILE_ROWS", 60)
    later = catalog(house, EventKind("shop.visited", "来访", LaterVisit))
    async with house.db.connection() as connection:
        await write(connection, shop, range(1000))
        await whole(Lake(house.home, shop.id, house.plugins.catalog), connection, seal_from=1)
        monkeypatch.setattr(lake_module, "RANGE_ROWS", 10_000)
        lake = Lake(house.home, shop.id, later)
        found = await whole(lake, connection, seal_from=1)
        await assert_is_the_log(lake, connection, found)
        history = history_of(await lake.peek(connection))
    assert len(history.blocks) > 3
    assert len(history.behind["shop.visited"].collect()) == len(found["shop.visited"]) > 0
    for source in later.sources:
        for block in history.blocks:
            if source.name in block.frames:
                rows = block.frames[source.name].collect()
                assert_frame_equal(rows, rows.sort(source.order))
        parts = [block.frames[source.name] for block in history.blocks if source.name in block.frames]
        if source.name in found:
            assert len(pl.concat([*parts, history.behind[source.name]]).collect()) == len(found[source.name])


async def test_a_merge_that_died_leaves_nothing_that_is_read(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "RANGE_ROWS", 100)
    lake = Lake(house.home, shop.id, house.plugins.catalog)
    saved, parts = lake_module._save, []

    def dies(frame: pl.DataFrame, path: Path, piece: int = lake_module.GROUP_ROWS) -> None:
        if len(path.suffixes) > 1:
            parts.append(path)
        if len(parts) > 6:
            raise OSError("the disk is full")
        saved(frame, path, piece)

    async with house.db.connection() as connection:
        await write(connection, shop, range(1000))
        with monkeypatch.context() as patch:
            patch.setattr(lake_module, "FILE_ROWS", 30)
            patch.setattr(lake_module, "_save", dies)
            with pytest.raises(OSError, match="full"):
                await whole(lake, connection, seal_from=1)
        assert parts[5].exists()
        monkeypatch.setattr(lake_module, "FILE_ROWS", 200)
        await assert_is_the_log(lake, connection, await whole(lake, connection, seal_from=1))
        assert not parts[5].exists()


async def test_files_that_were_merged_are_kept_while_somebody_may_read_them(
    house: Context, shop: Brand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_module, "RANGE_ROWS", 40)
    lake = Lake(house.home, shop.id, house.plugins.catalog)
    async with house.db.connection() as connection:
        await write(connection, shop, range(100))
        up_to, _ = await closed_up_to(connection, shop.id)
        before = await lake.tables(connection, up_to, seal_from=1)
        files = set(lake.folder.rglob("*"))
        await write(connection, shop, range(100, 200))
        await whole(lake, connection, seal_from=1)
        await assert_is_the_log_up_to(lake, connection, before, up_to)
        assert files <= set(lake.folder.rglob("*"))
        monkeypatch.setattr(lake_module, "KEPT_SECONDS", -1)
        await write(connection, shop, range(200, 202))
        found = await whole(lake, connection, seal_from=1)
        await assert_is_the_log(lake, connection, found)
        assert not files & {path for path in lake.folder.rglob("*") if path.is_file()}


async def assert_is_the_log_up_to(lake: Lake, connection: Connection, stored: Mapping[str, Stored], up_to: int) -> None:
    straight = await lake.read(connection, "id <= $2", up_to)
    for name, table in stored.items():
        assert_frame_equal(table.scan().collect(), straight[name], check_row_order=False)


@pytest.mark.parametrize(
    ("sizes", "start"),
    [
        ([], None),
        ([5], None),
        ([5, 5], 0),
        ([800, 50], None),
        ([800, 50, 26], 1),
        ([800, 50, 24], None),
        ([800, 40, 16, 7, 4], 1),
        ([800, 60, 16, 7, 4], 2),
        ([800, 60, 30, 20], 0),
    ],
)
def test_ranges_are_merged_so_that_each_is_half_of_the_one_before(sizes: list[int], start: int | None) -> None:
    assert _merge_from(sizes) == start


async def test_every_type_of_field_comes_back_as_it_was_sent(house: Context, shop: Brand) -> None:
    payloads: list[dict[str, Any]] = [
        {"text": 'q"\\\n油', "number": -(2**53), "flag": True, "day": "2024-02-29", "amount": "0.29"},
        {"text": "", "number": 2**53, "flag": False, "amount": "-99999999999.99"},
        {"amount": "1234567.89", "bags": [{"size": "l", "grams": 5, "price": "0.07"}, {}]},
        {"bags": []},
        {},
    ]
    sent = [Everything.model_validate(payload).model_dump(mode="json", exclude_none=True) for payload in payloads]
    rows = [(f"e{n}", "shop.all", START + timedelta(n), "member", "1", json.dumps(p)) for n, p in enumerate(sent)]
    lake = Lake(house.home, shop.id, catalog(house, EventKind("shop.all", "一切", Everything)))
    async with house.db.transaction() as connection:
        await append(connection, shop.id, pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"))
    for seal_from in (100, 1):
        async with house.db.connection() as connection:
            frames = await whole(lake, connection, seal_from=seal_from)
        assert frames["shop.all"].sort("at").select("text", "number", "flag", "day", "amount").rows() == [
            ('q"\\\n油', -(2**53), True, date(2024, 2, 29), 29),
            ("", 2**53, False, None, -9999999999999),
            (None, None, None, None, 123456789),
            (None,) * 5,
            (None,) * 5,
        ]
        bags = frames["shop.all.bags"].sort("grams", descending=True)
        assert bags.select("at", "size", "grams", "price").rows() == [
            (START + timedelta(2), "l", 5, 7),
            (START + timedelta(2), None, 0, None),
        ]
        assert bags.get_column("event_id").n_unique() == 1


async def test_a_lake_that_was_deleted_is_made_again(house: Context, shop: Brand) -> None:
    lake = Lake(house.home, shop.id, house.plugins.catalog)
    async with house.db.connection() as connection:
        await write(connection, shop, range(50))
        await whole(lake, connection, seal_from=1)
        await write(connection, shop, range(50, 60))
        await whole(lake, connection, seal_from=1)
        shutil.rmtree(lake.folder)
        await assert_is_the_log(lake, connection, await whole(lake, connection, seal_from=1))
        # One file of many.
        lost = min(path for path in lake.folder.rglob("*.parquet") if "order.paid" in str(path))
        lost.unlink()
        await assert_is_the_log(lake, connection, await whole(lake, connection, seal_from=1))
        assert lost.exists()
    assert not list(lake.folder.rglob("*.tmp"))


async def test_what_a_later_plugin_reads_is_found_in_ranges_sealed_before_it(house: Context, shop: Brand) -> None:
    async with house.db.connection() as connection:
        await write(connection, shop, range(60))
        unaware = Lake(house.home, shop.id, house.plugins.catalog)
        assert "shop.visited" not in await whole(unaware, connection, seal_from=1)
        for payload, columns in ((Visit, ["place"]), (LaterVisit, ["place", "guests"])):
            aware = Lake(house.home, shop.id, catalog(house, EventKind("shop.visited", "来访", payload)))
            frames = await whole(aware, connection, seal_from=1)
            assert frames["shop.visited"].columns == ["user_id", "at", *columns]
            assert len(frames["shop.visited"]) > 5
            await assert_is_the_log(aware, connection, frames)
        await assert_is_the_log(unaware, connection, await whole(unaware, connection, seal_from=1))


async def test_a_user_of_whom_nothing_is_known_but_that_there_is_one_is_in_a_table(house: Context, shop: Brand) -> None:
    lake = Lake(house.home, shop.id, house.plugins.catalog)
    rows = [("e", "profile.updated", START, "member", "1", "{}")]
    async with house.db.transaction() as connection:
        await append(connection, shop.id, pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row"))
    async with house.db.connection() as connection:
        frames = await whole(lake, connection, seal_from=1)
    assert len(frames["profile.updated"]) == 1
