"""What becomes known of messages after they left: what a channel hears of them, what came back to it, and what a person
found out of those of which nobody knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import polars as pl

from siyu.contract.channels import Heard, Report
from siyu.contract.errors import InputError, NotFound
from siyu.flow import plugins
from siyu.flow.context import Context, now
from siyu.flow.dispatch import offer, readable
from siyu.flow.ingest import MAX_EVENTS, IncomingEvent, record
from siyu.store import actions
from siyu.store.models import Brand
from siyu.telemetry.metrics import ACTIONS

__all__ = ["MOST_RAW", "MOST_SETTLED", "Received", "came_back", "receive", "settle"]

MOST_RAW = 2 * 1024 * 1024
"""Bytes of what comes back to a channel."""
MOST_SETTLED = 1_000
"""Actions that are settled at once."""


@dataclass(frozen=True)
class Received:
    """Of how many reports the action is known, and how many new events playbooks wait for came of them."""

    known: int
    occasions: int


async def receive(ctx: Context, brand: Brand, reports: Sequence[Report]) -> Received:
    """Take in what was heard of messages after they left. The same again changes nothing."""
    if len(reports) > MAX_EVENTS:
        raise InputError(f"{len(reports)} reports at once", field="reports", remedy=f"give at most {MAX_EVENTS}")
    moment = now(brand)
    for index, each in enumerate(reports):
        if each.what not in get_args(Heard):
            valid = ", ".join(get_args(Heard))
            raise InputError(f"{each.what!r}", field=f"reports.{index}.what", remedy=f"one of: {valid}")
        if each.at is not None and each.at.tzinfo is None:
            raise InputError(f"{each.at} has no time zone", field=f"reports.{index}.at", remedy="give one with a zone")
    async with ctx.db.connection() as connection:
        known = await actions.named(connection, brand.id, [each.key for each in reports])
    of_known = [each for each in reports if each.key in known]
    # First the events, which may come twice, then what stands: who dies between is asked again by the sender.
    events = []
    for each in of_known:
        action = known[each.key]
        about = {name: action[name] for name in ("channel", "plugin", "playbook", "step", "purpose") if action[name]}
        events.append(
            IncomingEvent(
                f"message.{each.what}/{action['id']}",
                f"message.{each.what}",
                {action["kind"]: action["value"]},
                {"action": each.key, **about, **({"detail": readable(each.detail)} if each.detail else {})},
                each.at or moment,
            )
        )
    recorded = await record(ctx, brand, events)
    async with ctx.db.transaction() as connection:
        rows = [(each.key, each.what, each.at or moment, readable(each.detail)) for each in of_known]
        await actions.hear(connection, brand.id, rows)
        if dead := [(each.key, each.dead, each.at or moment) for each in of_known if each.dead]:
            await actions.bury(connection, brand.id, dead)
    if of_known:
        await ctx.db.signals.tell(brand.id, "action")
    return Received(len(of_known), recorded.occasions)


async def came_back(ctx: Context, brand: Brand, key: str, raw: bytes) -> Received:
    """Take in what came back to a channel: a bounced mail, as it is. What is about no message of the brand's changes
    nothing."""
    if len(raw) > MOST_RAW:
        raise InputError(f"{len(raw):,} bytes", field="raw", remedy=f"give at most {MOST_RAW:,}")
    offers = [offer(ctx, brand.id, cohort, key) for cohort in await plugins.cohorts(ctx, brand.id)]
    if all(each.channel is None for each in offers):
        raise NotFound(f"{brand.slug} has no channel {key!r}", field="channel", remedy="switch its plugin on")
    # While settings are rolled out: by those with which it was sent.
    found = (await asyncio.to_thread(each.channel.reports, raw, each.params) for each in offers if each.channel)
    async for reports in found:
        if reports:
            return await receive(ctx, brand, reports)
    return Received(0, 0)


async def settle(ctx: Context, brand: Brand, numbers: Sequence[int], *, sent: bool, by: str, why: str = "") -> int:
    """Note what somebody found out of actions of which nobody knew what became of them: they were ``sent``, or they
    failed. All of them or none; returns how many."""
    if not 0 < len(numbers) <= MOST_SETTLED:
        raise InputError(f"{len(numbers)} actions", field="actions", remedy=f"give 1 to {MOST_SETTLED:,} in one call")
    status, words = "sent" if sent else "failed", readable(f"{by}: {why}" if why else by)
    async with ctx.db.transaction() as connection:
        unclear = await actions.unclear(connection, brand.id, numbers)
        if len(unclear) < len(set(numbers)):
            raise InputError(
                f"of {len(set(numbers))} actions {len(unclear)} are unknown",
                field="actions",
                remedy="give those of the status UNKNOWN: of all others it is known what became of them",
            )
        rows = unclear.with_columns(status=pl.lit(status), reason=pl.lit("settled"), detail=pl.lit(words))
        handed = pl.col("handed_at").dt.convert_time_zone(brand.zone).dt.date()
        for (channel, day), some in rows.group_by("channel", handed):
            await actions.settle(connection, brand.id, channel, some, at=now(brand), day=day)
    ACTIONS.labels(status).inc(len(rows))
    await ctx.db.signals.tell(brand.id, "action")
    return len(rows)
