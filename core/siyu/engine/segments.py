"""Rows in the order of users, and what each user's rows come to.

In that order nothing has to be grouped: a total is a running total less what it was where the user's rows begin, and
the latest row is the one before the next user's. A hash of a million users takes several times as long, and a lake
keeps its files in that order anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import polars as pl

__all__ = ["Segments", "aligned", "layers", "merged", "rows_of"]

USER = pl.col("user_id")


class Segments:
    """``rows`` in the order of users, with where those of each begin and end."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows = rows
        self.ends = rows.select((USER.shift(-1) != USER).fill_null(True).arg_true()).to_series()

    @cached_property
    def starts(self) -> pl.Series:
        """Where the rows of each user begin."""
        return (self.ends + 1).shift(1, fill_value=0)

    @cached_property
    def users(self) -> pl.Series:
        """The users, each once."""
        return self.rows.get_column("user_id").gather(self.ends)

    def having(self, columns: Mapping[str, pl.Expr]) -> Segments:
        """The same rows with more columns."""
        same = Segments.__new__(Segments)
        same.__dict__ |= self.__dict__ | {"rows": self.rows.with_columns(**columns)}
        return same

    def totals(self, values: Mapping[str, pl.Expr]) -> list[pl.Series]:
        """The sums of flags or whole numbers without nulls, one a user. A running total may go round past the largest
        number: the differences are the same."""
        running = self.rows.select(**{name: value.cum_sum().gather(self.ends) for name, value in values.items()})
        return running.select(pl.all() - pl.all().shift(1, fill_value=0)).get_columns()

    def extreme(self, value: pl.Expr, greatest: bool) -> pl.Series:
        """The greatest (or smallest) of whole numbers, one a user; null where all are."""
        values = self.rows.select(value if greatest else -value).to_series()
        low, high = values.min(), values.max()
        if not isinstance(low, int) or not isinstance(high, int):
            return values.clear(len(self.ends))
        steps = high - low + 2
        if steps * len(self.ends) >= 2**63:
            grouped = self.rows.select(USER, values.alias("value")).group_by("user_id", maintain_order=True)
            found = grouped.agg(pl.col("value").max()).get_column("value")
        else:
            # Each user stands on a floor above all numbers of those before, so that one running maximum serves for all.
            user = (USER.shift(1) != USER).fill_null(False).cum_sum().cast(pl.Int64)
            running = (user * steps + (pl.lit(values) - low + 1).fill_null(0)).cum_max().gather(self.ends)
            above = self.rows.select(running - pl.int_range(len(self.ends), dtype=pl.Int64) * steps).to_series()
            found = (
                above.to_frame("value").select(pl.when(pl.col("value") > 0).then(pl.col("value") - 1 + low)).to_series()
            )
        return found if greatest else -found

    def counts(self) -> pl.Series:
        """How many rows each user has."""
        return self.ends + 1 - self.starts

    def events(self, flags: Mapping[str, pl.Expr]) -> Segments:
        """Of lines, their events: which of them have a line with the flag."""
        event = pl.col("event_id")
        ends = self.rows.select((event != event.shift(-1)).fill_null(True).arg_true()).to_series()
        running = self.rows.select(
            USER.gather(ends), **{name: each.cum_sum().gather(ends) for name, each in flags.items()}
        )
        return Segments(running.select(USER, pl.exclude("user_id") > pl.exclude("user_id").shift(1, fill_value=0)))

    def first(self, column: str) -> pl.Series:
        """The value in the first row of each user, for each of the user's rows."""
        begins = self.rows.select((USER.shift(1) != USER).fill_null(False).cum_sum()).to_series()
        return self.rows.get_column(column).gather(self.starts).gather(begins)


def layers(rows: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``rows`` as a long run in the order of ``keys`` and a short rest behind it, in that order, too; the rest is empty
    where there is no such run, and all rows are put in order."""
    wrong = pl.lit(False)
    for key in reversed(keys):
        wrong = (pl.col(key) < pl.col(key).shift(1)) | ((pl.col(key) == pl.col(key).shift(1)) & wrong)
    breaks = rows.select(wrong.arg_true()).to_series()
    if breaks.is_empty():
        return rows, rows.clear()
    if breaks[0] < len(rows) * 3 // 4:
        return rows.sort(keys), rows.clear()
    return rows[: breaks[0]], rows[breaks[0] :].sort(keys)


def rows_of(rows: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """Those of ``rows`` that are of ``users``; both are sorted."""
    ids = rows.get_column("user_id")
    ranges = pl.int_ranges(
        ids.search_sorted(users, side="left"), ids.search_sorted(users, side="right"), dtype=pl.Int64, eager=True
    )
    return rows[ranges.explode().drop_nulls()]


def merged(users: Sequence[pl.Series]) -> pl.Series:
    """All of several sorted lists of users, each once, sorted."""
    if len(users) == 1:
        return users[0]
    every = pl.concat(users).sort() if users else pl.Series("user_id", [], pl.Int64)
    return every.filter((every != every.shift(-1)).fill_null(True))


def aligned(users: pl.Series, others: pl.Series) -> pl.Series | None:
    """For each of ``users`` the place in ``others``, or null; both sorted, each once. None says that they are equal."""
    if len(users) == len(others) and users.equals(others):
        return None
    right = pl.DataFrame({"user_id": others, "?user": others}).with_row_index("?place")
    found = users.to_frame("user_id").join_asof(right, on="user_id", check_sortedness=False)
    return found.select(pl.when(pl.col("?user") == USER).then("?place")).to_series()
