"""What the guard would say to messages that are to come. Nothing is written, and nothing is leased.

The checks are those that admit, in batches as there: each message is judged at its moment, and again whenever what
holds it may let it go. They look at what is known now (consents, tags and stages, addresses, best times, what reached
users and what channels took), and at what has passed here. What cannot be known is left out: what other playbooks and
people send meanwhile, who says no until then, texts that cannot be composed and benefits that are sold out.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from siyu.contract.checks import Batch
from siyu.contract.events import MOMENT
from siyu.contract.params import Params
from siyu.contract.playbooks import Assign, Send
from siyu.contract.program import Program
from siyu.engine.cohorts import Cohort
from siyu.engine.guard import Budget, judge
from siyu.flow.context import Context
from siyu.flow.dispatch import offer
from siyu.flow.guard import Looked, checks, look
from siyu.store import guarding
from siyu.store.actions import ORDINARY, URGENT
from siyu.store.db import Connection
from siyu.store.models import Brand

__all__ = ["FATES", "Rehearsal", "rehearsal"]

FATES = {
    "user_id": pl.Int64(),
    "number": pl.Int64(),
    "moment": MOMENT,
    "reason": pl.String(),
    "delayed": pl.Boolean(),
}
"""What becomes of a message of a step (``number``) that is planned for a moment: it goes out (no ``reason``), at once
or after it was ``delayed``, or never, and why."""


@dataclass(frozen=True)
class _Door:
    """A channel as the users of a cohort have it (or not), and what they are asked there."""

    cohort: Cohort
    open: bool
    asked: Sequence[Looked]


async def rehearsal(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    cohorts: Sequence[Cohort],
    made: Program,
    users: pl.Series,
    *,
    at: datetime,
    weight: float = 1.0,
) -> Rehearsal:
    """The guard of a brand as it stands, for what a playbook sends ``users`` from a moment on.

    ``weight`` is how many users each of them stands for: of the budgets they have as large a part as of the users.
    """
    steps = [each.step for each in made.instructions if isinstance(each.step, Send | Assign)]
    best = any(isinstance(step, Send) and step.at == "best" for step in steps)
    here = (await guarding.seen(connection, brand.id, users.to_list())).with_columns(best=pl.lit(best))
    doors: dict[str, list[_Door]] = {}
    known: dict[str, Batch] = {}
    for key in {step.channel for step in steps}:
        offers = [offer(ctx, brand.id, each, key) for each in cohorts]
        doors[key] = [_Door(each.cohort, each.channel is not None, _part(each.cohort, weight)) for each in offers]
        channel = next((each.channel for each in offers if each.channel is not None), None)
        if channel is not None:
            asked = [each for door in doors[key] for each in door.asked]
            known[key] = await look(connection, brand, channel, here, asked, at=at)
    return Rehearsal(made, doors, known, weight)


class Rehearsal:
    """See :func:`rehearsal`."""

    def __init__(
        self, made: Program, doors: Mapping[str, Sequence[_Door]], known: Mapping[str, Batch], weight: float
    ) -> None:
        self._steps, self._doors, self._known = _steps(made), doors, known
        self._used = {
            key: Counter({day: round(number / weight) for day, number in batch.used.items()})
            for key, batch in known.items()
        }

    def judge(self, messages: pl.DataFrame, came: pl.DataFrame | None = None) -> pl.DataFrame:
        """What becomes of messages (``user_id``, ``number``, ``moment``): :data:`FATES`, one each.

        Where it is told when users ``came`` (``user_id``, ``at``, ``again``), those of the messages are others, who
        come when it is ``again``, and are then as these were.
        """
        self._now = {key: batch if came is None else _anew(batch, came) for key, batch in self._known.items()}
        rows = messages.with_row_index("id").join(self._steps, on="number", maintain_order="left")
        rows = rows.with_columns(pl.col("moment").alias("planned_at"), delayed=pl.lit(False))
        due = {moment: [mine] for (moment,), mine in rows.group_by("moment", maintain_order=True)}
        moments: list[Any] = list(due)
        heapq.heapify(moments)
        fates = [pl.DataFrame(schema=FATES)]
        while moments:
            at = heapq.heappop(moments)
            for (key,), mine in pl.concat(due.pop(at)).sort("lane", "id").group_by("channel", maintain_order=True):
                for judged in self._judged(str(key), mine, at.astimezone(UTC)):
                    done = pl.col("verdict") != "later"
                    fates.append(judged.filter(done).with_columns(moment="planned_at").select(list(FATES)))
                    for (until,), later in judged.filter(~done).group_by("until"):
                        if until not in due:
                            heapq.heappush(moments, until)
                        due.setdefault(until, []).append(later.select(rows.columns).with_columns(delayed=pl.lit(True)))
        return pl.concat(fates)

    def _judged(self, key: str, rows: pl.DataFrame, at: datetime) -> Iterator[pl.DataFrame]:
        """``rows`` of a channel with what becomes of each, in batches with at most one of each user."""
        while len(rows):
            mine = rows.unique("user_id", keep="first", maintain_order=True)
            rows = rows.join(mine, on="id", how="anti", maintain_order="left")
            for door in self._doors[key]:
                batch = door.cohort.of(mine)
                if batch.is_empty():
                    continue
                if not door.open:
                    yield batch.with_columns(
                        verdict=pl.lit("no"), until=pl.lit(None, MOMENT), reason=pl.lit("no_channel")
                    )
                    continue
                found, _ = judge(self._here(key, batch, at), door.asked)
                # By the hour: users who wait for a moment of their own each would be as many batches.
                hour = (pl.col("until") + pl.duration(hours=1) - pl.duration(microseconds=1)).dt.truncate("1h")
                later = pl.when(pl.col("verdict") == "later").then(hour)
                judged = batch.hstack(found.select("verdict", "reason", until=later))
                self._pass(key, judged.filter(pl.col("verdict") == "pass"), at)
                yield judged

    def _here(self, key: str, rows: pl.DataFrame, at: datetime) -> Batch:
        known = self._now[key]
        first = at.astimezone(known.zone).date().replace(day=1)
        here = rows.select("user_id")
        return replace(
            known,
            at=at,
            actions=rows.join(known.actions.drop("best"), on="user_id", how="left", maintain_order="left"),
            touches=known.touches.join(here, on="user_id", how="semi"),
            used={day: number for day, number in self._used[key].items() if day >= first},
        )

    def _pass(self, key: str, rows: pl.DataFrame, at: datetime) -> None:
        """What passes counts for what comes later."""
        known = self._known[key]
        self._used[key][at.astimezone(known.zone).date()] += len(rows)
        if known.channel.counts:
            touches = rows.with_columns(at=pl.lit(at, MOMENT))
            for each, batch in self._now.items():
                if batch.channel.counts:
                    both = pl.concat([batch.touches, touches.select(batch.touches.columns)])
                    self._now[each] = replace(batch, touches=both)


def _steps(made: Program) -> pl.DataFrame:
    sends = [(each, each.step) for each in made.instructions if isinstance(each.step, Send | Assign)]
    rows = [
        {
            "number": each.number,
            "channel": step.channel,
            "plugin": made.plugin,
            "playbook": made.key,
            "step": each.key,
            "purpose": step.purpose,
            "kind": step.kind if isinstance(step, Send) else "text",
            "lane": URGENT if isinstance(step, Send) and step.urgent else ORDINARY,
            "best": isinstance(step, Send) and step.at == "best",
        }
        for each, step in sends
    ]
    return pl.DataFrame(rows, schema=_STEPS)


_STEPS = {
    "number": pl.Int64,
    "channel": pl.String,
    "plugin": pl.String,
    "playbook": pl.String,
    "step": pl.String,
    "purpose": pl.String,
    "kind": pl.String,
    "lane": pl.Int64,
    "best": pl.Boolean,
}


def _part(cohort: Cohort, weight: float) -> list[Looked]:
    """What users are asked of whom each stands for so many."""

    def some(number: int) -> int:
        return max(1, round(number / weight)) if number else 0

    def part(p: Params) -> Params:
        if not isinstance(p, Budget.Params):
            return p
        quotas = [
            quota.model_copy(update={name: some(getattr(quota, name)) for name in ("per_day", "per_month", "reserve")})
            for quota in p.quotas
        ]
        return p.model_copy(update={"quotas": tuple(quotas)})

    return [(check, part(p)) for check, p in checks(cohort.on)]


def _anew(batch: Batch, came: pl.DataFrame) -> Batch:
    """What was known of users when they came, as though they came ``again``."""
    moved = came.select("user_id", came="at", shift=pl.col("again") - pl.col("at"))
    people = batch.actions.join(moved, on="user_id", how="left", maintain_order="left")
    touches = batch.touches.join(moved, on="user_id").filter(pl.col("at") < pl.col("came"))
    return replace(
        batch,
        actions=people.with_columns(pl.col("first_seen") + pl.col("shift")).drop("came", "shift"),
        touches=touches.with_columns(pl.col("at") + pl.col("shift")).select(batch.touches.columns),
    )
