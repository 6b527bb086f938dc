"""Cohorts: which users live under which settings while a change is rolled out.

Every user has one of :data:`BUCKETS` buckets, for good and the same for every plugin: what holds for 20 % holds for
the users in buckets 0 to 19, and widening it to 50 % takes nobody out. Who is first is therefore first each time; what
is to be compared between equals is an experiment, and no roll-out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import polars as pl

from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import State

__all__ = ["BUCKETS", "Cohort", "Enabled", "aligned", "bucket"]

BUCKETS = 100

Enabled = list[tuple[Plugin, Mapping[str, Params]]]
"""The plugins that are on, with their parameters by declaration."""


Id = TypeVar("Id", int, pl.Expr)


def bucket(user_id: Id) -> Id:
    """The bucket of a user, 0 to 99. Ids are spread by the golden ratio: of 100 in a row, about one falls in each."""
    return user_id * 40503 % 65536 * BUCKETS // 65536


@dataclass(frozen=True)
class Cohort:
    """The users in buckets from ``low`` to below ``below``, and the plugins that are on for them.

    ``pinned`` are the states, by plugin and rule, of the rules that are not fitted.
    """

    low: int
    below: int
    on: Enabled
    pinned: Mapping[str, Mapping[str, State]] = field(default_factory=dict)

    def __contains__(self, user_id: int) -> bool:
        return self.low <= bucket(user_id) < self.below

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of its users, by ``user_id``."""
        if (self.low, self.below) == (0, BUCKETS):
            return frame
        return frame.filter(bucket(pl.col("user_id")).is_between(self.low, self.below, closed="left"))


def aligned(*sides: Sequence[Cohort]) -> Iterator[tuple[Cohort, ...]]:
    """Cohorts of each side that hold the same users: all sides cut wherever one of them is."""
    cuts = sorted({cohort.below for side in sides for cohort in side})
    for low, below in zip([0, *cuts], cuts, strict=False):
        yield tuple(
            next(replace(cohort, low=low, below=below) for cohort in side if cohort.low <= low < cohort.below)
            for side in sides
        )
