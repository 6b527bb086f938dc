"""Step 5: carry out planned actions. Lease, hand to the channel, note what became of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import get_args

from siyu.contract.channels import Channel, Message, Outcome, Receipt
from siyu.contract.params import Params
from siyu.engine.cohorts import Enabled
from siyu.flow import content, playbooks, plugins, unsubscribe
from siyu.flow.benefits import Benefits
from siyu.flow.context import Context, brand_by_id, now
from siyu.flow.tasks import Tasks
from siyu.flow.unsubscribe import Leaving, token
from siyu.store.actions import lease, put_in_outbox, settle, write_texts
from siyu.store.db import Database
from siyu.telemetry.metrics import ACTIONS

__all__ = ["Outbox", "carry_out", "dispatch"]

BATCH = 50
"""Messages handed to a channel at once. A lease takes four such and lasts a minute: a message may take 0.3 s."""


class Outbox(Channel):
    """The channel that needs nothing: messages are kept for a person to read."""

    key = "outbox"
    title = "发件箱"
    repeatable = True

    def __init__(self, db: Database, brand_id: int) -> None:
        self._db = db
        self._brand_id = brand_id

    async def deliver(self, messages: Sequence[Message], p: Params) -> Sequence[Receipt]:
        async with self._db.connection() as connection:
            rows = [(m.action_id, m.user_id, m.text, m.at) for m in messages]
            await put_in_outbox(connection, self._brand_id, rows)
        return [Receipt(m.action_id, "sent") for m in messages]


async def carry_out(ctx: Context, brand_id: int, *, at: datetime | None = None) -> playbooks.Progress:
    """All that follows from what was decided up to ``at``: users come in and move on, and actions go out."""
    await playbooks.daily(ctx, brand_id, at=at)
    done = await playbooks.carry_on(ctx, brand_id, at=at)
    while await dispatch(ctx, brand_id, at=at):
        pass
    return done


async def dispatch(ctx: Context, brand_id: int, *, at: datetime | None = None, limit: int = 200) -> int:
    """Carry out up to ``limit`` actions that are due; returns how many were taken."""
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    # Which channel it is, and how it is set, is a matter of the user's cohort.
    cohorts = [(cohort, _channels(ctx, brand_id, cohort.on)) for cohort in await plugins.cohorts(ctx, brand_id)]
    async with ctx.db.transaction() as connection:
        known = {key: channel for _, channels in cohorts for key, (channel, _) in channels.items()}
        repeatable = [key for key, channel in known.items() if channel.repeatable]
        signed_by = await unsubscribe.secret(connection)
        leased = await lease(connection, brand_id, at, limit, repeatable)
        composed = await content.compose(ctx, connection, brand, leased)
        rows = [row for row in leased if not composed[row["id"]].wrong]
        await write_texts(connection, brand_id, {row["id"]: composed[row["id"]] for row in rows if not row["text"]})
        if wrong := [(id, "failed", each.wrong) for id, each in composed.items() if each.wrong]:
            await settle(connection, brand_id, wrong)
    if leased:
        await ctx.db.signals.tell(brand_id, "action")
    by_channel: dict[tuple[int, str], list[Message]] = defaultdict(list)
    for row in rows:
        number = next(number for number, (cohort, _) in enumerate(cohorts) if row["user_id"] in cohort)
        by_channel[number, row["channel"]].append(
            Message(
                row["id"],
                row["key"],
                brand.slug,
                row["user_id"],
                composed[row["id"]].text,
                row["purpose"],
                row["planned_at"],
                body=composed[row["id"]].body,
                leave=token(signed_by, Leaving(brand_id, row["user_id"], row["purpose"], row["channel"])),
            )
        )
    for (number, key), messages in by_channel.items():
        channel = cohorts[number][1].get(key)
        # Noted bit by bit, so that a slow channel is not asked again for what it has delivered long since.
        for start in range(0, len(messages), BATCH):
            outcomes = await _deliver(key, channel, messages[start : start + BATCH])
            async with ctx.db.connection() as connection:
                await settle(connection, brand_id, outcomes)
            for _, status, _ in outcomes:
                ACTIONS.labels(status).inc()
            await ctx.db.signals.tell(brand_id, "action")
    return len(leased)


def _channels(ctx: Context, brand_id: int, on: Enabled) -> dict[str, tuple[Channel, Params]]:
    found: dict[str, tuple[Channel, Params]] = {
        own.key: (own(ctx.db, brand_id), Params()) for own in (Outbox, Tasks, Benefits)
    }
    for plugin, params in on:
        for item in plugin.declarations.values():
            if isinstance(item, Channel):
                found[item.key] = (item, params[item.key])
    return found


async def _deliver(
    key: str, channel: tuple[Channel, Params] | None, messages: Sequence[Message]
) -> list[tuple[int, str, str]]:
    """What became of each message, as (action id, status, detail)."""
    if channel is None:
        return [(m.action_id, "failed", f"the brand has no channel {key!r}") for m in messages]
    try:
        receipts: Mapping[int, Receipt] = {r.action_id: r for r in await channel[0].deliver(messages, channel[1])}
        return [_outcome(m, receipts.get(m.action_id)) for m in messages]
    except Exception as error:  # a channel may raise anything, and must not stop the others
        status = "failed" if channel[0].repeatable else "unknown"
        return [(m.action_id, status, _readable(repr(error))) for m in messages]


def _outcome(message: Message, receipt: Receipt | None) -> tuple[int, str, str]:
    if receipt is None:
        return message.action_id, "unknown", "the channel gave no receipt"
    if receipt.outcome not in get_args(Outcome):
        return message.action_id, "unknown", _readable(f"the channel says {receipt.outcome!r}: {receipt.detail}")
    return message.action_id, receipt.outcome, _readable(receipt.detail)


def _readable(detail: str) -> str:
    """What PostgreSQL can keep of it."""
    return str(detail)[:500].replace("\0", "\ufffd").encode(errors="replace").decode()
