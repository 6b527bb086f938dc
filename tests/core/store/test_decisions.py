"""Decisions as kept are decisions as written, read whole or from a snapshot and what changed since."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from siyu.engine.diff import STAGE_CHANGES, TAG_CHANGES
from siyu.flow.context import Context
from siyu.store.decisions import EVERYBODY, CatalogEntry, Decisions, lock
from siyu.store.models import Brand, Stage, StageHistory, Tag, TagAssignment, TagHistory, UserStage
from siyu.store.writing import write, write_few

START = datetime(2026, 1, 1, tzinfo=UTC)
TAGS = ["p.a", "p.b", "q.c"]
TRACKS = {"t": ["new", "old"], "u": ["x", "y", "z"]}
CATALOG = [
    *(CatalogEntry(key, key.upper(), key[0]) for key in TAGS),
    *(CatalogEntry(key, key.upper(), "p", track) for track, keys in TRACKS.items() for key in keys),
]

Model = dict[int, dict[str, str | bool]]


def changes(dice: random.Random, model: Model) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Some changes to what stands, made to ``model`` too."""
    tags: list[tuple[Any, ...]] = []
    stages: list[tuple[Any, ...]] = []
    for user in dice.sample(range(1, 30), dice.choice([0, 3, 12])):
        mine = model.setdefault(user, {})
        for key in dice.sample(TAGS, dice.randrange(3)):
            gained = key not in mine
            tags.append((user, key, gained, f"[{user}]"))
            if gained:
                mine[key] = True
            else:
                del mine[key]
        for track in dice.sample(list(TRACKS), dice.randrange(3)):
            before = mine.pop(f"@{track}", None)
            after = dice.choice([stage for stage in (None, *TRACKS[track]) if stage != before])
            stages.append((user, track, before, after, "[]"))
            if after is not None:
                mine[f"@{track}"] = after
    return (
        pl.DataFrame(tags, schema=TAG_CHANGES, orient="row"),
        pl.DataFrame(stages, schema=STAGE_CHANGES, orient="row"),
    )


def standing(frame: pl.DataFrame) -> Model:
    found: Model = {}
    for row in frame.iter_rows(named=True):
        held = {name: value for name, value in row.items() if name != "user_id" and not name.endswith(".since")}
        if kept := {name: value for name, value in held.items() if value}:
            found[row["user_id"]] = kept
    return found


async def test_the_very_first_decision_of_a_database_is_newer_than_a_snapshot_made_before_it(
    house: Context, shop: Brand
) -> None:
    async with house.db.transaction() as connection:
        # As on the day of installation.
        await connection.execute("ALTER SEQUENCE decision_id_seq RESTART")
        decisions = Decisions(house.home, shop.id)
        await Decisions.list_catalog(connection, shop.id, CATALOG)
        await decisions.snapshot(await decisions.of_all(connection), EVERYBODY, await decisions.written(connection))
        tags = pl.DataFrame([(1, "p.a", True, "[]")], schema=TAG_CHANGES, orient="row")
        await write(connection, shop.id, tags, pl.DataFrame(schema=STAGE_CHANGES), at=START, rulebook_id=1)
        assert standing(await decisions.of_all(connection)) == {1: {"p.a": True}}


@pytest.mark.usefixtures("rows")
async def test_decisions_read_from_a_snapshot_are_those_read_whole(house: Context, shop: Brand, tmp_path: Path) -> None:
    dice = random.Random(5)
    model: Model = {}
    kept, bare = Decisions(house.home, shop.id), Decisions(tmp_path, shop.id)
    other = (await Brand.create(slug=f"{shop.slug}-o", name="O")).id
    async with house.db.transaction() as connection:
        for each in (shop.id, other):
            await Decisions.list_catalog(connection, each, CATALOG)
    for step in range(25):
        tags, stages = changes(dice, model)
        at = START + timedelta(days=step)
        async with house.db.transaction() as connection:
            await lock(connection, shop.id)
            if step % 2:
                await write(connection, shop.id, tags, stages, at=at, rulebook_id=step)
            else:
                await write_few(connection, shop.id, tags.rows(), stages.rows(), at=at, rulebook_id=step)
            # Another brand writes between, so that ids of this one have gaps.
            await write(connection, other, tags.filter("gained").head(0), stages.head(0), at=at, rulebook_id=step)
            written = await kept.written(connection)
            whole = await bare.of_all(connection)
            if step % 4 == 3:
                await kept.snapshot(whole, EVERYBODY, written)
        async with house.db.connection() as connection:
            quick = await kept.of_all(connection)
            assert standing(quick) == standing(whole) == {user: held for user, held in model.items() if held}
            columns = sorted(set(whole.columns) & set(quick.columns))
            rows = {row["user_id"]: row for row in whole.select(columns).iter_rows(named=True)}
            for row in quick.select(columns).iter_rows(named=True):
                expected = rows.get(row["user_id"], {})
                assert {n: v for n, v in row.items() if v} == {n: v for n, v in expected.items() if v} or not expected
            users = dice.sample(range(1, 40), 9)
            some = standing(await kept.of_users(connection, users))
            assert some == {user: model[user] for user in users if model.get(user)}
        if step == 15:
            shutil.rmtree(house.home / "lake" / str(shop.id))
    await assert_counted(shop, model)
    await assert_history(shop)


async def assert_counted(brand: Brand, model: Model) -> None:
    """Counters are real counts."""
    for tag in await Tag.filter(brand_id=brand.id):
        held = sum(tag.key in mine for mine in model.values())
        assert tag.users == held == await TagAssignment.filter(brand_id=brand.id, tag_id=tag.id).count()
    for stage in await Stage.filter(brand_id=brand.id):
        there = sum(mine.get(f"@{stage.track}") == stage.key for mine in model.values())
        own = UserStage.filter(brand_id=brand.id, track=stage.track, stage=stage.key)
        assert stage.users == there == await own.count()


async def assert_history(brand: Brand) -> None:
    """Of one thing a user has one span at a time, and history tells each from its beginning to its end."""
    spans: dict[tuple[Any, ...], list[tuple[datetime, datetime]]] = {}
    ever = datetime.max.replace(tzinfo=UTC)
    for had in await TagHistory.filter(brand_id=brand.id):
        assert had.ended_rulebook_id == (had.until - START).days
        assert had.rulebook_id == (had.since - START).days
        spans.setdefault((had.user_id, had.tag_id), []).append((had.since, had.until))
    for has in await TagAssignment.filter(brand_id=brand.id):
        spans.setdefault((has.user_id, has.tag_id), []).append((has.since, ever))
    for was in await StageHistory.filter(brand_id=brand.id):
        assert was.rulebook_id == (was.since - START).days
        spans.setdefault((was.user_id, was.track), []).append((was.since, was.until))
    for stands in await UserStage.filter(brand_id=brand.id):
        spans.setdefault((stands.user_id, stands.track), []).append((stands.since, ever))
    assert sum(len(each) for each in spans.values()) > 100
    for each in spans.values():
        each.sort()
        assert all(since < until for since, until in each)
        assert all(one[1] <= two[0] for one, two in pairwise(each))


async def test_tags_that_leave_the_catalog_stay_for_the_sake_of_history(house: Context, shop: Brand) -> None:
    async with house.db.transaction() as connection:
        await Decisions.list_catalog(connection, shop.id, CATALOG)
        await Decisions.list_catalog(connection, shop.id, [CatalogEntry("p.a", "new title", "p")])
    found = {tag.key: (tag.title, tag.active) for tag in await Tag.filter(brand_id=shop.id)}
    assert found == {"p.a": ("new title", True), "p.b": ("P.B", False), "q.c": ("Q.C", False)}
    assert not any(stage.active for stage in await Stage.filter(brand_id=shop.id))
    async with house.db.transaction() as connection:
        await Decisions.list_catalog(connection, shop.id, CATALOG)
    assert all(tag.active for tag in await Tag.filter(brand_id=shop.id))


async def test_a_tag_that_the_catalog_does_not_know_is_not_written(house: Context, shop: Brand) -> None:
    tags = pl.DataFrame([(1, "p.unknown", True, "[]")], schema=TAG_CHANGES, orient="row")
    stages = pl.DataFrame(schema=STAGE_CHANGES)
    async with house.db.connection() as connection:
        await Decisions.list_catalog(connection, shop.id, CATALOG)
        with pytest.raises(pl.exceptions.InvalidOperationError, match="incomplete mapping"):
            await write(connection, shop.id, tags, stages, at=START, rulebook_id=1)
        with pytest.raises(asyncpg.NotNullViolationError, match="tag_id"):
            await write_few(connection, shop.id, tags.rows(), [], at=START, rulebook_id=1)
    assert await TagAssignment.filter(brand_id=shop.id).count() == 0
