"""Checks: what an action must pass before it leaves the house.

    class NotOnMondays(Check):
        \"\"\"周一不打扰\"\"\"

        channels = frozenset({"sms"})

        def until(self, batch, p):
            monday = batch.at.astimezone(batch.zone).weekday() == 0
            return batch.stop(batch.purpose != "service", batch.at + timedelta(days=1)) if monday else batch.pass_all()

A check is given a batch of actions that are due on one channel, never two of the same user, with what checks look at,
and says of each until when it has to wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.channels import Channel
from siyu.contract.events import MOMENT
from siyu.contract.rules import Declaration

__all__ = ["NEVER", "Batch", "Check"]

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""Until when an action waits that must not go out at all."""


@dataclass(frozen=True)
class Batch:
    """What checks look at: actions that are due on one channel, at most one of each user.

    ``actions``, in the order in which they are to leave: ``id``, ``user_id``, ``plugin``, ``playbook``, ``step``,
    ``purpose``, ``kind`` (text, image, ...: as the step has it), ``lane`` (0 is urgent), ``planned_at``, ``best`` (asks
    for the best time), ``first_seen`` (null: the user is no longer there), ``merged_into``, ``address`` (of the
    channel's kind), ``open`` (no check so far holds it).

    ``touches`` are what reached these users in the last 90 days, by any channel and playbook and from anybody:
    ``user_id``, ``at``, ``channel``, ``purpose``, ``kind``, ``plugin``, ``playbook``, ``step``.

    ``consents`` are what they said last: ``user_id``, ``purpose``, ``channel`` (empty: all), ``given``, ``at``.

    ``marks`` are those of the tags and stages (``track:stage``) that checks ask for: ``user_id``, ``mark``.

    ``hours`` are by user the hour of the day at which they open most, or where that is not known those of the same
    lifecycle stage do: ``user_id``, ``hour``. Nothing of whom neither is known: ``usual_hour`` is that of the brand.

    ``used`` is how many actions the channel took since the first of the month, by day of the brand.
    """

    at: datetime
    zone: ZoneInfo
    channel: Channel
    actions: pl.DataFrame
    touches: pl.DataFrame
    consents: pl.DataFrame
    marks: pl.DataFrame
    hours: pl.DataFrame
    usual_hour: int | None
    used: Mapping[Any, int]

    @property
    def purpose(self) -> pl.Series:
        """What each action is for."""
        return self.actions.get_column("purpose")

    def pass_all(self) -> pl.Series:
        """What a check says that has nothing against any of them."""
        return pl.Series("until", [None], MOMENT).new_from_index(0, len(self.actions))

    def stop(self, which: pl.Series, until: datetime = NEVER) -> pl.Series:
        """What a check says that has the flagged ones wait."""
        return pl.select(until=pl.when(which.fill_null(False)).then(pl.lit(until.astimezone(UTC), MOMENT))).to_series()

    def of_users(self, known: pl.DataFrame, column: str) -> pl.Series:
        """``column`` of a frame with a row a user, in the order of the actions; null where there is none."""
        users = self.actions.select("user_id")
        return users.join(known, on="user_id", how="left", maintain_order="left").get_column(column)


class Check(Declaration, ABC):
    """Something that an action must pass. Its key is the reason that operators and programs read.

    It is asked anew each time an action is due, reads no database and no clock. One that raises holds what it was asked
    about, for a while.
    """

    channels: ClassVar[frozenset[str]] = frozenset()
    """The keys of the channels that it is about; empty: all that reach users."""

    everywhere: ClassVar[bool] = False
    """Asked of channels, too, that do not reach users: tasks for staff."""

    def marks(self, p: Any) -> Collection[str]:
        """The tags, and stages as ``track:stage``, that it looks for."""
        return ()

    @abstractmethod
    def until(self, batch: Batch, p: Any) -> pl.Series:
        """For each action of the batch, in its order: null to let it pass, a moment to look again then, or
        :data:`NEVER`."""

    def words(self, batch: Batch, p: Any) -> pl.Series | str:
        """What operators read of those that it stops, in the language of its title: one text, or one for each."""
        return self.title
