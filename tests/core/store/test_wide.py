"""Decisions on some users laid over those on all of them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
import siyu.store.wide
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from siyu.contract.events import MOMENT
from siyu.store.wide import overlaid, together, with_users

STAGES = pl.Enum(["growth", "intro", "lost"])
flags, stages = st.none() | st.booleans(), st.none() | st.sampled_from(STAGES.categories.to_list())
rows = st.dictionaries(st.integers(1, 9), st.tuples(flags, flags, stages), max_size=6)


def frame(rows: dict[int, tuple[bool | None, bool | None, str | None]], stage: pl.DataType) -> pl.DataFrame:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        [(user, *row, since if row[2] else None) for user, row in sorted(rows.items())],
        schema={"user_id": pl.Int64, "a": pl.Boolean, "b": pl.Boolean, "@life": stage, "@life.since": MOMENT},
        orient="row",
    )


@given(
    old=rows,
    new=rows,
    lost=st.sets(st.sampled_from(["b", "@life"])),
    more=st.booleans(),
    unknown=st.booleans(),
)
def test_what_is_laid_over_stands_and_the_rest_stays(
    old: dict[int, tuple[bool | None, bool | None, str | None]],
    new: dict[int, tuple[bool | None, bool | None, str | None]],
    lost: set[str],
    more: bool,
    unknown: bool,
) -> None:
    before, fresh = frame(old, STAGES), frame(new, pl.String())
    untouched = before.clone()
    if unknown:
        fresh = fresh.with_columns(pl.lit("dormant").alias("@life"))
    if more:
        fresh = fresh.with_columns(pl.lit(True).alias("c"))
    fresh = fresh.drop(name for each in lost for name in fresh.columns if name.partition(".")[0] == each)
    kept = before.join(fresh, on="user_id", how="anti", maintain_order="left")
    expected = together([kept, fresh])
    found = overlaid(before, fresh).cast({"@life": pl.String})
    assert_frame_equal(found.select(expected.columns), expected)
    assert before.equals(untouched)


@given(old=rows.filter(bool), users=st.sets(st.integers(-2, 12)))
def test_users_without_decisions_get_a_row_of_nothing_in_their_place(
    old: dict[int, tuple[bool | None, bool | None, str | None]], users: set[int]
) -> None:
    before = frame(old, STAGES)
    everybody = frame(dict.fromkeys(users, (None, None, None)) | old, STAGES)
    assert_frame_equal(with_users(before, pl.Series("user_id", sorted(users), pl.Int64)), everybody)


def test_where_they_lie_in_many_places_nothing_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siyu.store.wide, "PIECES", 2)
    before = frame({2: (True, None, None), 4: (True, None, None), 6: (True, None, None)}, STAGES)
    assert with_users(before, pl.Series("user_id", [1, 2, 3, 4, 5, 6], dtype=pl.Int64)) is before
    assert len(with_users(before, pl.Series("user_id", [1, 2, 4, 6, 7, 8, 9], dtype=pl.Int64))) == 7
