"""A year of real purchases (Complete Journey), and a plugin held against all of it without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from siyu import demo
from siyu.contract.facts import Fact
from siyu.contract.manager import PluginManager
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.rulebook import Rulebook, bind
from siyu.history import Frames
from siyu.store.lake import LOG_SCHEMA, tables

SAMPLE = 40
NOTHING = pl.DataFrame(schema={"user_id": pl.Int64})


@dataclass(frozen=True)
class Journey:
    """The households and what they bought."""

    frames: Frames
    at: datetime
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo(demo.ZONE))


@dataclass(frozen=True)
class Decided:
    """What a plugin says of everybody."""

    rulebook: Rulebook
    facts: pl.DataFrame
    frame: pl.DataFrame

    @property
    def tags(self) -> dict[str, int]:
        """How many users have each tag."""
        names = [rule.tag.key for rule in self.rulebook.tags]
        return self.frame.select(pl.col(names).sum()).row(0, named=True) if names else {}

    def stages(self, track: str) -> dict[str, int]:
        """How many users are in each stage."""
        return dict(self.frame.get_column(f"@{track}").cast(pl.String).value_counts().rows())

    def users(self, tag: str) -> set[int]:
        """Who has the tag."""
        return set(self.frame.filter(pl.col(tag)).get_column("user_id"))


@pytest.fixture(scope="session")
def journey() -> Journey:
    """The year as the demo imports it."""
    folder = demo._data_folder()
    events = pl.concat([demo._profiles(folder), *demo._orders(folder)])
    log = events.with_row_index("id").select(
        pl.col("id").cast(pl.Int64), pl.col("identity").cast(pl.Int64).alias("user_id"), "kind", "at", "payload"
    )
    assert log.schema == LOG_SCHEMA
    kinds = PluginManager().catalog.kinds
    frames = {
        name: frame.lazy()
        for kind in ("order.paid", "profile.updated")
        for name, frame in _tables(kinds[kind], log.filter(pl.col("kind") == kind)).items()
    }
    return Journey(frames, log["at"].max())  # type: ignore[arg-type]


def _tables(kind: Any, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    if kind.name == "profile.updated":
        # PostgreSQL makes a list of pairs of the open object; here only the age is needed.
        age = pl.col("payload").str.json_path_match("$.age").alias("value")
        return {kind.name: rows.select("user_id", "at", pl.lit("age").alias("name"), age).drop_nulls("value")}
    return tables(kind, rows)


DecideAll = Callable[..., Decided]


@pytest.fixture(scope="session")
def decide_all(journey: Journey) -> DecideAll:
    """Decide for all households; the brand at once, each user alone and a few users alone must agree."""

    def decide(
        plugin: ModuleType,
        params: Mapping[str, Any] | None = None,
        *,
        more: Mapping[str, pl.DataFrame] | None = None,
        facts: Sequence[Fact] = (),
    ) -> Decided:
        manager = PluginManager()
        loaded = manager.register(plugin.__name__.removeprefix("siyu_"), plugin)
        manager.check()
        frames = {**journey.frames, **{name: frame.lazy() for name, frame in (more or {}).items()}}

        def known(wanted: Sequence[Fact], users: pl.DataFrame | None = None) -> pl.DataFrame:
            mine = frames
            if users is not None:
                mine = {name: frame.join(users.lazy(), on="user_id", how="semi") for name, frame in frames.items()}
            return compute(wanted, manager.catalog, mine, journey.at, journey.zone, users)

        on = [(loaded, loaded.params(params))]
        rulebook = bind(on, fit(on, known(fit_facts([loaded]))))
        decider = Decider(rulebook, journey.zone)
        values = known(rulebook.facts)
        brand = decider.frame(values, NOTHING, journey.at)
        single = [
            {"user_id": row["user_id"], **decider.user(row, {}, journey.at)} for row in values.iter_rows(named=True)
        ]
        assert_frame_equal(brand, pl.DataFrame(single, schema=decider.schema))
        few = values.select("user_id").gather_every(len(values) // SAMPLE)
        assert_frame_equal(known(rulebook.facts, few), values.join(few, on="user_id", how="semi"))
        extra = [fact for fact in facts if fact.name not in values.columns]
        if extra:
            values = values.hstack(known(extra).drop("user_id"))
        return Decided(rulebook, values, brand)

    return decide
