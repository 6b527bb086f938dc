"""Rows in the order of users, and what each user's rows come to.

In that order nothing has to be grouped: a count is how long a run of one user is, a total a running total less what it
was where that run begins, and the latest row is its last. A hash of a million users takes several times as long, and a
lake keeps its files in that order anyway. To leave rows out first is quicker than to add up flags of all: a running
total takes 3 ns a row, a filter with the runs of what it leaves a third of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import polars as pl

__all__ = ["Segments", "aligned", "consecutive", "merged"]

USER = pl.col("user_id")


class Segments:
    """``rows`` in the order of whose they are, with where those of each begin and end.

    ``whose`` says that of each row; it is the user, or the place of the user among some number of users.
    """

    def __init__(
        self,
        rows: pl.DataFrame,
        whose: pl.Series | None = None,
        among: int | None = None,
        runs: tuple[pl.Series, pl.Series] | None = None,
    ) -> None:
        self.rows = rows
        self._whose = rows.get_column("user_id") if whose is None else whose
        self._among = among
        users, counts = runs or _runs(self._whose)
        self.users = users
        """Those who have rows, each once."""
        self.counts = counts
        """How many rows each of them has."""

    @cached_property
    def ends(self) -> pl.Series:
        """Of each, how many rows there are up to the last of his."""
        return self.counts.cum_sum()

    @cached_property
    def starts(self) -> pl.Series:
        """Where the rows of each begin."""
        return self.ends - self.counts

    def over(self, users: pl.Series) -> Segments:
        """The same rows by the place among ``users``, who are sorted and of whom all are."""
        if consecutive(users):
            return Segments(self.rows, self._whose - users[0], len(users), (self.users - users[0], self.counts))
        places, known = pl.int_range(len(users), eager=True), aligned(users, self.users)
        if known is not None:
            places = known.is_not_null().arg_true()
        return Segments(self.rows, places.gather(self._whose.rle_id()), len(users), (places, self.counts))

    def only(self, flag: pl.Series, columns: Sequence[str] | None = None) -> Segments:
        """Those of the rows that have the flag, with all columns if none are named."""
        if flag.all():
            return self
        rows = self.rows if columns is None else self.rows.select(columns)
        # A frame without columns has no rows.
        return Segments(rows.filter(flag) if rows.width else rows, self._whose.filter(flag), self._among)

    def having(self, column: str) -> Segments:
        """Those of the rows that have a value in a column."""
        values = self.rows.get_column(column)
        return self.only(values.is_not_null(), []) if values.null_count() else self

    def for_all(self, values: pl.Series, *, without: int | None = None) -> pl.Series:
        """What those come to who have rows, and ``without`` for all others."""
        if self._among is None or len(values) == self._among:
            return values
        return pl.repeat(without, self._among, dtype=values.dtype, eager=True).scatter(self.users, values)

    def total(self, value: pl.Expr) -> pl.Series:
        """The sum of whole numbers without nulls. A running total may go round past the largest number: the differences
        are the same."""
        running = self.rows.select(value.cum_sum().gather(pl.lit(self.ends - 1))).to_series()
        return running - running.shift(1, fill_value=0)

    def outermost(self, column: str, *, latest: bool) -> pl.Series:
        """The value in the last (or first) row."""
        return self.rows.get_column(column).gather(self.ends - 1 if latest else self.starts)

    def value(self, column: str, *, latest: bool) -> pl.Series:
        """The value at the latest (or first) moment. The order of arrival must not matter: of several values of one
        moment the greatest counts as the latest, the smallest as the first."""
        found, at = self.outermost(column, latest=latest), self.rows.get_column("at")
        several = (self.counts > 1).arg_true()
        ends, starts = self.ends.gather(several), self.starts.gather(several)
        one, beside = (ends - 1, ends - 2) if latest else (starts, starts + 1)
        unsure = several.filter(at.gather(one) == at.gather(beside))
        if unsure.is_empty():
            return found
        rows = pl.DataFrame(
            {"of": unsure, "row": pl.int_ranges(self.starts.gather(unsure), self.ends.gather(unsure), eager=True)}
        ).explode("row")
        rows = rows.select("of", at=at.gather(rows["row"]), value=self.rows.get_column(column).gather(rows["row"]))
        at_last = pl.col("at") == (pl.col("at").last() if latest else pl.col("at").first()).over("of")
        best = pl.col("value").max() if latest else pl.col("value").min()
        picked = rows.filter(at_last).group_by("of").agg(best)
        return found.scatter(picked.get_column("of"), picked.get_column("value"))

    def extreme(self, value: pl.Expr, greatest: bool) -> pl.Series:
        """The greatest (or smallest) of whole numbers; null where all are."""
        values = self.rows.select(value if greatest else -value).to_series()
        low, high = values.min(), values.max()
        if not isinstance(low, int) or not isinstance(high, int):
            return values.clear(len(self.ends))
        steps = high - low + 2
        if steps * len(self.ends) >= 2**63:
            grouped = (
                pl.DataFrame({"place": self._whose.rle_id(), "value": values}).group_by("place").agg(pl.all().max())
            )
            found = grouped.sort("place").get_column("value")
        else:
            # Each user stands on a floor above all numbers of those before, so that one running maximum serves for all.
            floor = self._whose.rle_id().cast(pl.Int64) * steps
            running = (floor + (values - low + 1).fill_null(0)).cum_max().gather(self.ends - 1)
            above = running - pl.int_range(len(self.ends), eager=True) * steps
            most = above.to_frame("above")
            found = most.select(pl.when(pl.col("above") > 0).then(pl.col("above") - 1 + low)).to_series()
        return found if greatest else -found

    def events(self) -> Segments:
        """Of lines, the first of each event."""
        event = self.rows.get_column("event_id")
        return self.only(event.ne_missing(event.shift(1)), ["event_id"])

    def first(self, column: str) -> pl.Series:
        """The value in the first row of each, for each of the rows."""
        return self.outermost(column, latest=False).gather(self._whose.rle_id())


def _runs(whose: pl.Series) -> tuple[pl.Series, pl.Series]:
    runs = whose.rle().struct.unnest()
    return runs.get_column("value").alias(whose.name), runs.get_column("len")


def merged(users: Sequence[pl.Series]) -> pl.Series:
    """All of several sorted lists of users, each once, sorted."""
    different: list[pl.Series] = []
    for each in users:
        if not any(len(each) == len(other) and each.equals(other) for other in different):
            different.append(each)
    if len(different) == 1:
        return different[0]
    different = [each for each in different if len(each)]
    if not different:
        return pl.Series("user_id", [], pl.Int64)
    low, high = min(each[0] for each in different), max(each[-1] for each in different)
    if high - low < 4 * max(map(len, different)):
        there = pl.repeat(False, high - low + 1, dtype=pl.Boolean, eager=True)
        for each in different:
            there.scatter(each - low, True)
        found: pl.Series = there.arg_true().cast(pl.Int64) + low
        return found.alias("user_id")
    every = pl.concat(different).sort()
    return every.filter((every != every.shift(-1)).fill_null(True))


def consecutive(users: pl.Series) -> bool:
    """Whether sorted ids have no gaps."""
    return len(users) > 0 and bool(users[-1] - users[0] == len(users) - 1)


def aligned(users: pl.Series, others: pl.Series) -> pl.Series | None:
    """For each of ``users`` the place in ``others``, or null; both sorted, each once. None says that they are equal."""
    if len(users) == len(others) and users.equals(others):
        return None
    right = pl.DataFrame({"user_id": others, "?user": others}).with_row_index("?place")
    found = users.to_frame("user_id").join_asof(right, on="user_id", check_sortedness=False)
    return found.select(pl.when(pl.col("?user") == USER).then("?place")).to_series()
