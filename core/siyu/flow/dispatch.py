"""Step 5: carry out the actions that the guard lets pass. Lease, hand to the channel, note what became of each.

Each channel is served by itself, so that one that is slow or does not work holds up no other.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, get_args

import polars as pl

from siyu.contract.channels import Channel, Message, Outcome, Receipt
from siyu.contract.events import MOMENT
from siyu.contract.params import Params
from siyu.contract.playbooks import BENEFITS
from siyu.engine.cohorts import Cohort, Enabled
from siyu.flow import guard, playbooks, plugins
from siyu.flow.benefits import Benefits
from siyu.flow.context import Context, brand_by_id, now, zone
from siyu.flow.guard import Offer
from siyu.flow.tags import Tags
from siyu.flow.tasks import Tasks
from siyu.flow.unsubscribe import Leaving, secret, token
from siyu.frames import moments
from siyu.store import actions, channels, guarding
from siyu.store.actions import put_in_outbox
from siyu.store.db import Database
from siyu.store.models import Brand
from siyu.telemetry.metrics import ACTIONS

__all__ = ["Outbox", "carry_out", "dispatch", "offer", "readable", "send_due"]

DELIVER_SECONDS = actions.LEASE.total_seconds() / 2
"""How long a channel may take for a batch. In the other half of a lease batches may be handed over; what is left then
is given back, and judged anew."""
CHUNKS = 4
"""Batches of a lease."""
TURNS = 50
JUDGED_AT_ONCE = 1_000
"""Actions that are judged at a time, while a greeting of the brand may be waiting."""
NOTED_AT_ONCE = 1_000
NOTED_SECONDS = 1.0
"""Outcomes are noted when there are so many, or this old: who dies between is not believed to have sent them."""
MOST_ATTEMPTS = 8
BACKOFF = timedelta(seconds=30)
LONGEST_BACKOFF = timedelta(hours=1)
PATIENCE = 5.0
"""Seconds for which a worker waits until a channel may be handed more; for longer, the sweep asks again."""


class Outbox(Channel):
    """The channel that needs nothing: messages are kept for a person to read."""

    key = "outbox"
    title = "发件箱"
    repeatable = True
    batch = 1_000

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
    done = await playbooks.daily(ctx, brand_id, at=at)
    done += await playbooks.carry_on(ctx, brand_id, at=at)
    await send_due(ctx, brand_id, at=at)
    return done


async def send_due(ctx: Context, brand_id: int, *, at: datetime | None = None, urgent: bool | None = None) -> int:
    """Carry out what is due until nothing is: the ``urgent`` actions, the others, or (None) all; returns how many were
    looked at."""

    async def serve(channel: str) -> int:
        total, mark = 0, None
        for turn in itertools.count(1):
            looked_at, last = await _serve(ctx, brand_id, channel, at, None, urgent, mark)
            total += looked_at
            if last is None and mark is None:
                break
            # From the beginning at the end, and now and then: something may have been passed over, or fallen due.
            mark = last if turn % TURNS else None
        return total

    # Of what is many, two: while a channel delivers one batch the next one is judged.
    times, total = range(1 if urgent else 2), 0
    for some in await _due(ctx, brand_id, at, urgent):
        total += sum(await asyncio.gather(*(serve(channel) for channel in some for _ in times)))
    return total


async def dispatch(
    ctx: Context,
    brand_id: int,
    *,
    at: datetime | None = None,
    limit: int | None = None,
    urgent: bool | None = None,
) -> int:
    """As :func:`send_due`, of each channel one batch of at most ``limit``."""
    total = 0
    for some in await _due(ctx, brand_id, at, urgent):
        served = await asyncio.gather(*(_serve(ctx, brand_id, channel, at, limit, urgent) for channel in some))
        total += sum(looked_at for looked_at, _ in served)
    return total


async def _due(ctx: Context, brand_id: int, at: datetime | None, urgent: bool | None) -> list[list[str]]:
    """The channels on which something is due; those that follow in the list after those before. What is given comes
    first: messages say its code."""
    at = at or now(await brand_by_id(brand_id))
    async with ctx.db.connection() as connection:
        due = await actions.waiting_channels(connection, brand_id, at, urgent)
    return [[each for each in due if (each == BENEFITS) is first] for first in (True, False)]


async def _serve(
    ctx: Context,
    brand_id: int,
    key: str,
    at: datetime | None,
    limit: int | None,
    urgent: bool | None,
    after: actions.Mark | None = None,
) -> tuple[int, actions.Mark | None]:
    """One batch of a channel: judged, leased, delivered and noted; returns how many were looked at, and after which
    there may be more."""
    brand = await brand_by_id(brand_id)
    offers = [offer(ctx, brand_id, cohort, key) for cohort in await plugins.cohorts(ctx, brand_id)]
    channel = next((offer.channel for offer in offers if offer.channel is not None), None)
    most = min(CHUNKS * channel.batch if channel else JUDGED_AT_ONCE, limit or JUDGED_AT_ONCE, JUDGED_AT_ONCE)
    rates = [rate for offer in offers if offer.channel and (rate := offer.channel.per_second(offer.params)) > 0]
    rate = min(rates, default=0.0)
    while True:
        async with ctx.db.transaction() as connection:
            await guarding.hold(connection, brand_id, urgent=bool(urgent))
            state = await channels.state(connection, brand_id, key)
            allowed, wait = _allowed(state, most, rate)
            began = time.monotonic()
            if allowed:
                admitted = await guard.admit(
                    ctx, connection, brand, key, offers, at=at or now(brand), limit=allowed, urgent=urgent, after=after
                )
                handed = len(admitted.passed)
                signed_by = await secret(connection) if handed else b""
                if handed and state.failures >= channels.FAILURES:
                    # One message tries whether the channel works again, and meanwhile nobody else does.
                    await channels.close_for(connection, brand_id, key, DELIVER_SECONDS)
                if rate and handed:
                    await channels.keep_busy(connection, brand_id, key, handed / rate)
        if allowed:
            break
        if not 0 < wait <= PATIENCE:
            return 0, None
        await asyncio.sleep(wait)
    if admitted.looked_at:
        await ctx.db.signals.tell(brand_id, "action")
    if channel is not None and handed:
        delivery = _Delivery(ctx, brand, channel, at, began, ailing=state.failures > 0, signed_by=signed_by)
        await delivery.of(offers, admitted.passed)
    return admitted.looked_at, admitted.last


def offer(ctx: Context, brand_id: int, cohort: Cohort, key: str) -> Offer:
    """The channel of that key as the users of a cohort have it."""
    found = _channels(ctx, brand_id, cohort.on).get(key)
    return Offer(cohort, *found) if found else Offer(cohort, None, Params())


def _channels(ctx: Context, brand_id: int, on: Enabled) -> dict[str, tuple[Channel, Params]]:
    found: dict[str, tuple[Channel, Params]] = {
        own.key: (own(ctx.db, brand_id), Params()) for own in (Outbox, Tasks, Benefits, Tags)
    }
    for plugin, params in on:
        for item in plugin.declarations.values():
            if isinstance(item, Channel):
                found[item.key] = (item, params[item.key])
    return found


def _allowed(state: channels.State, most: int, rate: float) -> tuple[int, float]:
    """How many messages a channel may be handed now, or in how many seconds it may be."""
    if state.closed:
        return 0, 0
    if state.failures >= channels.FAILURES:
        return 1, 0
    if not rate:
        return most, 0
    # What it may be handed in a second may come at once.
    burst = max(1.0, rate)
    room = burst - state.busy * rate
    wanted = min(most, max(1.0, burst / 2))
    return (min(most, int(room)), 0) if room >= wanted else (0, (wanted - room) / rate)


class _Delivery:
    """The delivery of what a batch let pass."""

    def __init__(
        self,
        ctx: Context,
        brand: Brand,
        channel: Channel,
        at: datetime | None,
        began: float,
        *,
        ailing: bool,
        signed_by: bytes,
    ) -> None:
        self._ctx, self._brand, self._channel, self._at = ctx, brand, channel, at
        self._until = began + DELIVER_SECONDS
        self._ailing = ailing
        self._signed_by = signed_by
        self._closed = False
        self._outcomes: list[_Settled] = []
        self._dead: list[tuple[str, str, datetime]] = []
        self._noted = time.monotonic()

    async def of(self, offers: Sequence[Offer], passed: pl.DataFrame) -> None:
        """Hand all to the channel, and note what became of each."""
        try:
            for offer in offers:
                mine = offer.cohort.of(passed) if offer.channel is not None else passed.clear()
                for some in mine.iter_slices(self._channel.batch):
                    if self._closed or time.monotonic() > self._until:
                        self._outcomes += [(*row, "planned", "given_back", "", None) for row in _handed(some)]
                    else:
                        await self._hand(some, offer.params)
                    if len(self._outcomes) >= NOTED_AT_ONCE or time.monotonic() > self._noted + NOTED_SECONDS:
                        await self._note()
        finally:
            # Also when it is cancelled: what has been delivered must not be delivered again.
            await self._note()

    async def _hand(self, some: pl.DataFrame, p: Params) -> None:
        try:
            async with asyncio.timeout(DELIVER_SECONDS):
                receipts = {r.action_id: r for r in await self._channel.deliver(self._messages(some), p)}
            found = [self._settled(number, attempt, receipts.get(number)) for number, attempt in _handed(some)]
            well = any(not self._tried(each) for each in found)
            gone = [each.action_id for each in receipts.values() if each.dead]
            rows = some.filter(pl.col("id").is_in(gone)).select("key", "address").iter_rows()
            dead = [(key, address, self._moment()) for key, address in rows if address]
        except Exception as error:  # a channel may raise anything, and must not stop the others
            words = "it took too long" if isinstance(error, TimeoutError) else readable(repr(error))
            found = [self._unclear(number, attempt, "error", words) for number, attempt in _handed(some)]
            well, dead = False, []
        self._outcomes += found
        self._dead += dead
        if self._ailing or not well:
            async with self._ctx.db.connection() as connection:
                self._closed = not await channels.fared(connection, self._brand.id, self._channel.key, well=well)
            self._ailing = not well

    def _messages(self, some: pl.DataFrame) -> list[Message]:
        columns = (some.get_column(name) for name in ("id", "key", "user_id", "text", "purpose", "address", "body"))
        rows = zip(*(column.to_list() for column in columns), moments(some.get_column("planned_at")), strict=True)
        bodies = {body: json.loads(body) for body in some.get_column("body").unique()}
        return [
            Message(
                number,
                key,
                self._brand.slug,
                user,
                text,
                purpose,
                planned_at,
                address or "",
                bodies[body],
                token(self._signed_by, Leaving(self._brand.id, user, purpose, self._channel.key)),
            )
            for number, key, user, text, purpose, address, body, planned_at in rows
        ]

    @staticmethod
    def _tried(each: _Settled) -> bool:
        return each[2] in ("held", "unknown") or each[3] == "attempts"

    def _settled(self, number: int, attempt: int, receipt: Receipt | None) -> _Settled:
        if receipt is None:
            return self._unclear(number, attempt, "no_receipt", "the channel gave no receipt")
        words = readable(receipt.detail)
        if receipt.outcome == "later":
            return self._again(number, attempt, "later", words)
        if receipt.outcome not in get_args(Outcome):
            return self._unclear(
                number, attempt, "no_receipt", readable(f"the channel says {receipt.outcome!r}: {receipt.detail}")
            )
        if receipt.outcome == "unknown":
            return self._unclear(number, attempt, "unknown", words)
        return (number, attempt, receipt.outcome, "refused" if receipt.outcome == "failed" else "", words, None)

    def _unclear(self, number: int, attempt: int, reason: str, words: str) -> _Settled:
        """What is not known is tried again where that does no harm, and else left to a person."""
        if self._channel.repeatable:
            return self._again(number, attempt, reason, words)
        return (number, attempt, "unknown", reason, words, None)

    def _again(self, number: int, attempt: int, reason: str, words: str) -> _Settled:
        if attempt >= MOST_ATTEMPTS:
            return (number, attempt, "failed", "attempts", f"{attempt} times: {words}"[:500], None)
        return (number, attempt, "held", reason, words, self._moment() + backoff(number, attempt))

    def _moment(self) -> datetime:
        return self._at or now(self._brand)

    async def _note(self) -> None:
        rows, self._outcomes, self._noted = self._outcomes, [], time.monotonic()
        dead, self._dead = self._dead, []
        if not rows:
            return
        frame = pl.DataFrame(rows, schema=_SETTLED, orient="row")
        moment = self._moment()
        day = moment.astimezone(zone(self._brand.zone)).date()
        async with self._ctx.db.transaction() as connection:
            done = await actions.settle(connection, self._brand.id, self._channel.key, frame, at=moment, day=day)
            await actions.bury(connection, self._brand.id, dead)
        for status, number in done.items():
            ACTIONS.labels(status).inc(number)
        await self._ctx.db.signals.tell(self._brand.id, "action")


_Settled: TypeAlias = tuple[int, int, str, str, str, datetime | None]
_SETTLED = {
    "id": pl.Int64(),
    "attempt": pl.Int64(),
    "status": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "due_at": MOMENT,
}


def _handed(some: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Each action's id and how often it has been handed over."""
    yield from some.select("id", "attempts").iter_rows()


def backoff(action_id: int, attempt: int) -> timedelta:
    """How long to wait before an action is tried again: twice as long each time, and not all at the same moment."""
    spread = 0.5 + (action_id * 40503 + attempt * 30_011) % 65_536 / 65_536
    return min(BACKOFF * 2.0 ** (attempt - 1), LONGEST_BACKOFF) * spread


def readable(detail: str) -> str:
    """What PostgreSQL can keep of words from outside."""
    return str(detail)[:500].replace("\0", "\ufffd").encode(errors="replace").decode()
