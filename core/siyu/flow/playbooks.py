"""Step 3: playbooks turn changes into planned actions, in the transaction that writes the changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from siyu.contract.actions import Send, StageChanged
from siyu.engine.cohorts import Enabled
from siyu.store.actions import plan_actions
from siyu.store.db import Connection

__all__ = ["Planned", "plan", "planned"]


async def plan(
    connection: Connection, brand_id: int, on: Enabled, stages: pl.DataFrame, *, at: datetime, rulebook_id: int
) -> int:
    """Plan the actions of every playbook that a change of stage sets off; returns how many."""
    count = 0
    for step in planned(on, stages):
        rows = step.hit.select(
            # The same change planned twice is one action.
            pl.format(
                "{}/{}/{}/{}",
                pl.lit(f"{step.plugin}.{step.playbook}"),
                pl.lit(step.number),
                "user_id",
                pl.lit(at.isoformat()),
            ).alias("key"),
            "user_id",
            pl.lit(step.plugin).alias("plugin"),
            pl.lit(step.playbook).alias("playbook"),
            pl.lit(step.send.channel).alias("channel"),
            pl.lit(step.send.purpose).alias("purpose"),
            pl.lit(step.send.text).alias("text"),
            pl.format("{}: {} → {}", "track", pl.col("before").fill_null("—"), pl.col("after").fill_null("—")).alias(
                "because"
            ),
        )
        count += await plan_actions(connection, brand_id, rows, at=at, rulebook_id=rulebook_id)
    return count


@dataclass(frozen=True)
class Planned:
    """A step of a playbook, and the changes of stage (``hit``) that set it off: an action each."""

    plugin: str
    playbook: str
    number: int
    send: Send
    hit: pl.DataFrame


def planned(on: Enabled, stages: pl.DataFrame) -> Iterator[Planned]:
    """What changes of stage set off; nothing is written."""
    for plugin, params in on:
        for playbook in plugin.playbooks:
            p = params[playbook.key]
            hit = _hit(playbook.trigger(p), stages)
            for number, step in enumerate(playbook.steps(p) if len(hit) else ()):
                yield Planned(plugin.name, playbook.key, number, step, hit)


def _hit(trigger: StageChanged, stages: pl.DataFrame) -> pl.DataFrame:
    hit = stages.filter(pl.col("track") == trigger.track)
    if trigger.before:
        hit = hit.filter(pl.col("before").is_in(sorted(trigger.before)))
    if trigger.after:
        hit = hit.filter(pl.col("after").is_in(sorted(trigger.after)))
    return hit
