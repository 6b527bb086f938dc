"""Decisions on some users laid over those on all of them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from siyu.contract.events import MOMENT
from siyu.store.wide import overlaid, together

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
