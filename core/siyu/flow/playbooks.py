"""Step 3: playbooks turn changes into planned actions, in the transaction that writes the changes."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from siyu.contract.actions import StageChanged
from siyu.flow.plugins import Enabled
from siyu.store.actions import plan_actions
from siyu.store.db import Connection

__all__ = ["plan"]


async def plan(
    connection: Connection, brand_id: int, on: Enabled, stages: pl.DataFrame, *, at: datetime, rulebook_id: int
) -> int:
    """Plan the actions of every playbook that a change of stage sets off; returns how many."""
    planned = 0
    for plugin, params in on:
        for playbook in plugin.playbooks:
            p = params[playbook.key]
            hit = _hit(playbook.trigger(p), stages)
            for number, step in enumerate(playbook.steps(p) if len(hit) else ()):
                rows = hit.select(
                    # The same change planned twice is one action.
                    pl.format(
                        "{}/{}/{}/{}",
                        pl.lit(f"{plugin.name}.{playbook.key}"),
                        pl.lit(number),
                        "user_id",
                        pl.lit(at.isoformat()),
                    ).alias("key"),
                    "user_id",
                    pl.lit(plugin.name).alias("plugin"),
                    pl.lit(playbook.key).alias("playbook"),
                    pl.lit(step.channel).alias("channel"),
                    pl.lit(step.purpose).alias("purpose"),
                    pl.lit(step.text).alias("text"),
                    pl.format(
                        "{}: {} → {}", "track", pl.col("before").fill_null("—"), pl.col("after").fill_null("—")
                    ).alias("because"),
                )
                planned += await plan_actions(connection, brand_id, rows, at=at, rulebook_id=rulebook_id)
    return planned


def _hit(trigger: StageChanged, stages: pl.DataFrame) -> pl.DataFrame:
    hit = stages.filter(pl.col("track") == trigger.track)
    if trigger.before:
        hit = hit.filter(pl.col("before").is_in(sorted(trigger.before)))
    if trigger.after:
        hit = hit.filter(pl.col("after").is_in(sorted(trigger.after)))
    return hit
