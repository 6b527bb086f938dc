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
        ids = rows.get_column("user_id")
        last = (ids.head(-1) != ids.slice(1)).extend(pl.Series([True]).head(len(rows))).arg_true()
        self.rows = rows
        self.users = ids.gather(last)
        """The users, each once."""
        self.ends = last + 1
        """Of each user, how many rows there are up to the last of his."""

    def _like(self, rows: pl.DataFrame, ends: pl.Series) -> Segments:
        same = Segments.__new__(Segments)
        same.rows, same.users, same.ends = rows, self.users, ends
        return same

    def over(self, users: pl.Series) -> Segments:
        """The same rows for all of ``users``, who are sorted; those who come to them have none."""
        if len(users) == len(self.users):
            return self
        mine = pl.DataFrame({"user_id": self.users, "?end": self.ends})
        ends = users.to_frame("user_id").join_asof(mine, on="user_id", check_sortedness=False)
        more = self._like(self.rows, ends.get_column("?end").fill_null(0))
        more.users = users
        return more

    @cached_property
    def starts(self) -> pl.Series:
        """Where the rows of each user begin."""
        return self.ends.shift(1, fill_value=0)

    @cached_property
    def _last(self) -> pl.Series:
        """Where the last row lies of each user, or of those before who has any; null where nobody has."""
        return (self.ends.cast(pl.Int64) - 1).to_frame().select(pl.when(pl.all() >= 0).then(pl.all())).to_series()

    def _running(self, values: Mapping[str, pl.Expr]) -> pl.DataFrame:
        """Running totals up to the last row of each user."""
        last = pl.lit(self._last)
        return self.rows.select(**{name: value.cum_sum().gather(last).fill_null(0) for name, value in values.items()})

    def having(self, columns: Mapping[str, pl.Expr]) -> Segments:
        """The same rows with more columns."""
        return self._like(self.rows.with_columns(**columns), self.ends)

    def only(self, flag: pl.Expr, *columns: str) -> Segments:
        """Those of the rows that have the flag, with all columns if none are named."""
        held = self.rows.select(flag.alias("held"))
        ends = held.select(pl.col("held").cum_sum().gather(pl.lit(self._last)).fill_null(0)).to_series()
        rows = self.rows.select(columns) if columns else self.rows
        return self._like(rows.filter(held.to_series()), ends)

    def totals(self, values: Mapping[str, pl.Expr]) -> list[pl.Series]:
        """The sums of flags or whole numbers without nulls, one a user. A running total may go round past the largest
        number: the differences are the same."""
        return self._running(values).select(pl.all() - pl.all().shift(1, fill_value=0)).get_columns()

    def outermost(self, column: str, *, latest: bool) -> pl.Series:
        """The value in the last (or first) row, one a user; null where there is none."""
        places = pl.DataFrame({"start": self.starts, "end": self.ends})
        place = pl.col("end") - 1 if latest else pl.col("start")
        places = places.select(pl.when(pl.col("end") > pl.col("start")).then(place))
        return self.rows.get_column(column).gather(places.to_series())

    def extreme(self, value: pl.Expr, greatest: bool) -> pl.Series:
        """The greatest (or smallest) of whole numbers, one a user; null where all are."""
        values = self.rows.select(value if greatest else -value).to_series()
        low, high = values.min(), values.max()
        if not isinstance(low, int) or not isinstance(high, int):
            return values.clear(len(self.ends))
        steps = high - low + 2
        if steps * len(self.ends) >= 2**63:
            grouped = pl.DataFrame({"place": self.places(), "value": values}).group_by("place").agg(pl.all().max())
            places = pl.DataFrame({"place": pl.int_range(len(self.ends), eager=True).cast(self.ends.dtype)})
            found = places.join(grouped, on="place", how="left", maintain_order="left").get_column("value")
        else:
            # Each user stands on a floor above all numbers of those before, so that one running maximum serves for all.
            floor = pl.lit(self.places()).cast(pl.Int64) * steps
            running = (floor + (pl.lit(values) - low + 1).fill_null(0)).cum_max().gather(pl.lit(self._last))
            above = running - pl.int_range(len(self.ends), dtype=pl.Int64) * steps
            most = self.rows.select(above.alias("above"))
            found = most.select(pl.when(pl.col("above") > 0).then(pl.col("above") - 1 + low)).to_series()
        return found if greatest else -found

    def counts(self) -> pl.Series:
        """How many rows each user has."""
        return self.ends - self.starts

    def places(self) -> pl.Series:
        """Of each row the place of its user."""
        held = (self.counts() > 0).arg_true()
        user = self.rows.select((USER.shift(1) != USER).fill_null(False).cum_sum()).to_series()
        return user if len(held) == len(self.users) else held.gather(user)

    def events(self, flags: Mapping[str, pl.Expr]) -> Segments:
        """Of lines, their events: which of them have a line with the flag."""
        event = pl.col("event_id")
        done = self.rows.select((event != event.shift(-1)).fill_null(True).alias("done"))
        last = pl.lit(done.select(pl.col("done").arg_true()).to_series())
        running = self.rows.select(**{name: each.cum_sum().gather(last) for name, each in flags.items()})
        ends = done.select(pl.col("done").cum_sum().gather(pl.lit(self._last)).fill_null(0)).to_series()
        return self._like(running.select(pl.all() > pl.all().shift(1, fill_value=0)), ends)

    def first(self, column: str) -> pl.Series:
        """The value in the first row of each user, for each of the user's rows."""
        return self.outermost(column, latest=False).gather(self.places())


def layers(rows: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``rows`` as a long run in the order of ``keys`` and a short rest behind it, in that order, too; the rest is empty
    where there is no such run, and all rows are put in order."""
    wrong = pl.repeat(False, max(len(rows) - 1, 0), dtype=pl.Boolean, eager=True)
    for key in reversed(keys):
        before, after = rows.get_column(key).head(-1), rows.get_column(key).slice(1)
        wrong = (after < before) | ((after == before) & wrong)
    breaks = wrong.arg_true() + 1
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
