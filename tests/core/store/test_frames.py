"""What is given to a statement is read back as it was, whatever of it is the same in all rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from siyu.contract.events import MOMENT
from siyu.flow.context import Context
from siyu.frames import moments
from siyu.store.db import AT_ONCE, MANY, fetch, give

SCHEMA = {"id": pl.Int64(), "word": pl.String(), "at": MOMENT, "flag": pl.Boolean()}
COLUMNS = {"id": "bigint", "word": "text", "at": "timestamptz", "flag": "bool"}
MOMENTS = [
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, 0, 1, UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
]
WORDS = ['a"b', "", "{1,2}", "NULL", "私域\n", "\\x"]


def several(values: list[Any], size: int) -> list[Any]:
    return [values[number % len(values)] for number in range(size)]


@pytest.mark.parametrize("size", [0, 1, MANY - 1, MANY, AT_ONCE + 1])
@pytest.mark.parametrize(
    ("ids", "words", "ats", "flags"),
    [
        ([1, 2, None], [*WORDS, None], [*MOMENTS, None], [True, False, None]),
        ([1, 2], ["a"], [MOMENTS[2]], [True]),
        ([7], [""], [None], [None]),
        ([None], [None], [MOMENTS[1]], [False]),
        ([None], [None, "a"], [MOMENTS[0], None], [None, True]),
    ],
)
async def test_rows_are_read_back_as_they_were_given(
    ctx: Context, size: int, ids: list[Any], words: list[Any], ats: list[Any], flags: list[Any]
) -> None:
    columns = (several(values, size) for values in (ids, words, ats, flags))
    frame = pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)
    async with ctx.db.transaction() as connection:
        rows, args = await give(connection, "row", COLUMNS, frame, first=2)
        query = "SELECT id, word, at, flag FROM row WHERE $1::int = 5"
        found = await fetch(connection, query, 5, *args, schema=SCHEMA, given=rows)
    assert found.schema == frame.schema
    assert_frame_equal(found, frame, check_row_order=False)


def test_moments_are_made_as_polars_makes_them() -> None:
    series = pl.Series(several(MOMENTS, 10), dtype=MOMENT)
    assert moments(series) == series.to_list()
