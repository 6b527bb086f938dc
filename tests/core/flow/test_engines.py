"""Whatever engine a brand is refreshed on, what is written is the same."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from siyu.contract.errors import InputError
from siyu.contract.manager import PluginManager
from siyu.flow import engines, plugins
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Identity, Run, Tag, TagAssignment, UserStage

END = datetime(2026, 11, 21, 12, tzinfo=UTC)
PLUGINS = ("beauty", "interest", "lifecycle", "mother_baby", "pets", "rfm")


def history(seed: int, members: int, events: int) -> list[IncomingEvent]:
    """Two years of some members, of whom some buy, some read and some only ask; the last of all happens at END."""
    dice = random.Random(seed)
    found = [IncomingEvent("end", "article.opened", {"member": "reader"}, {"topic": "茶"}, END)]
    for number in range(events):
        line = {
            "category": dice.choice(["奶粉", "diapers", "dog food", "cat food", "cleanser", "serum"]),
            "quantity": dice.randrange(1, 4),
            "amount": str(dice.randrange(1, 10**4) / 100),
        }
        born = date(2026, 11, 21) - timedelta(days=dice.randrange(-200, 1200))
        choices: list[tuple[str, dict[str, Any]]] = [
            ("order.paid", {"amount": line["amount"], "items": [line, {**line, "category": "serum"}]}),
            ("order.paid", {"amount": str(dice.randrange(1, 10**5) / 100), "store": "Öst"}),
            ("article.opened", {"topic": dice.choice(["育儿", "make-up", "pets"])}),
            ("group.message", {"text": dice.choice(["奶粉怎么选?", "Which FORMULA?", "hello"])}),
            ("profile.updated", {"skin_type": dice.choice(["oily", "dry", "?", None]), "birthday": "1990-02-29"}),
            ("profile.updated", {"baby_birthday": born.isoformat(), "birthday": "1996-02-29", "pet": "dog"}),
            ("contact.added", {"source": "store"}),
            ("contact.removed", {}),
            ("content.shared", {"topic": "pets"}),
        ]
        kind, payload = dice.choice(choices)
        at = END - timedelta(days=dice.random() ** 2 * 700)
        found.append(IncomingEvent(f"e{number}", kind, {"member": str(int(dice.random() ** 2 * members))}, payload, at))
    return found


async def standing(brand: Brand) -> Mapping[str, set[tuple[str, str, str]]]:
    """Tags and stages with their reasons, by member."""
    names = {row.user_id: row.value for row in await Identity.filter(brand_id=brand.id)}
    keys = {tag.id: tag.key for tag in await Tag.filter(brand_id=brand.id)}
    found: dict[str, set[tuple[str, str, str]]] = {name: set() for name in names.values()}
    for row in await TagAssignment.filter(brand_id=brand.id):
        found[names[row.user_id]].add(("", keys[row.tag_id], row.why))
    for stage in await UserStage.filter(brand_id=brand.id):
        found[names[stage.user_id]].add((stage.track, stage.stage, stage.why))
    return found


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
async def test_a_refresh_writes_the_same_decisions_on_every_engine(house: Context, outside: str, zone: str) -> None:
    decided = []
    for engine in ("polars", outside):
        slug = f"{engine}-{outside}-{zone.replace('/', '-').lower()}"
        brand = await Brand.create(slug=slug, name=slug, zone=zone, replayed_to=datetime.fromtimestamp(0, UTC))
        for name in PLUGINS:
            await plugins.enable(house, brand, name)
        events = history(1, members=30, events=500)
        await record(house, brand, events[:400])
        # A part of what happened lies in files, a part does not; and stages of another day stood before.
        await refresh(house, brand.id, at=END - timedelta(days=20), seal_from=1, engine=engine)
        await record(house, brand, events[400:])
        await refresh(house, brand.id, engine=engine)
        decided.append(await standing(brand))
        done = await Run.filter(brand_id=brand.id).order_by("-id").first()
        assert done is not None
        assert done.status == "done"
        assert (await refresh(house, brand.id)).changes == 0
    assert decided[0] == decided[1]
    told = {(track, key) for held in decided[0].values() for track, key, _ in held}
    assert len({key for track, key in told if not track}) >= 12
    assert {track for track, _ in told if track} >= {"lifecycle", "relationship"}


async def test_a_brand_without_events_is_refreshed_on_every_engine(house: Context, shop: Brand, outside: str) -> None:
    await plugins.enable(house, shop, "rfm")
    assert (await refresh(house, shop.id, engine=outside)).users == 0


async def test_the_engine_of_the_context_is_taken_where_none_is_named(house: Context, shop: Brand) -> None:
    elsewhere = Context(house.db, house.plugins, house.home, engine="abacus")
    with pytest.raises(InputError, match=r"no engine 'abacus'.*polars, duckdb, spark"):
        await refresh(elsewhere, shop.id)
    assert (await refresh(elsewhere, shop.id, engine="polars")).users == 0


def test_an_engine_that_is_not_installed_says_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    catalog = PluginManager().catalog
    with (
        pytest.raises(InputError, match=r"needs the package duckdb \(pip install 'siyu\[duckdb\]'\)"),
        engines.opened("duckdb", catalog, {}, END, ZoneInfo("UTC")),
    ):
        pass
