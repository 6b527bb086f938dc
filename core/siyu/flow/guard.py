"""Step 4: let each action that is due pass, or hold it back, and say why. Nothing goes out around it.

Actions of a channel are claimed in batches, at most one of each user, under a lock of the brand: what one batch lets
pass the next one counts. What checks look at is read in a query each, judged by :mod:`siyu.engine.guard`, and written
in one statement.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from siyu.contract.channels import Channel
from siyu.contract.checks import Batch, Check
from siyu.contract.events import MOMENT
from siyu.contract.manager import GUARD
from siyu.contract.params import Params
from siyu.contract.playbooks import Send
from siyu.contract.program import Program
from siyu.engine.cohorts import Cohort, Enabled
from siyu.engine.guard import CHECKS, concerns, judge
from siyu.flow import content
from siyu.flow.context import Context, zone
from siyu.flow.programs import kept
from siyu.frames import moments
from siyu.store import actions, channels, guarding
from siyu.store.db import Connection
from siyu.store.models import Brand

__all__ = ["Admitted", "Looked", "Offer", "admit", "checks", "look"]

log = logging.getLogger("siyu.guard")

LOST = "交付之后再无回音"
Looked = tuple[Check, Params]


@dataclass(frozen=True)
class Offer:
    """A channel as the users of a cohort have it; None: they do not."""

    cohort: Cohort
    channel: Channel | None
    params: Params


@dataclass(frozen=True)
class Admitted:
    """What a batch came to: how many were looked at, after which there may be more, and those that pass, in the order
    in which they leave: ``id``, ``key``, ``user_id``, ``purpose``, ``planned_at``, ``attempts``, ``text``, ``body``
    (JSON), ``address``."""

    looked_at: int
    last: actions.Mark | None
    passed: pl.DataFrame


def checks(on: Enabled) -> list[Looked]:
    """What actions must pass where these plugins are on: the built-in checks, as the brand has set them, then those of
    other plugins."""
    params: Mapping[str, Params] = next((params for plugin, params in on if plugin.name == GUARD), {})
    own: list[Looked] = [(check(), params.get(check.key) or check.Params()) for check in CHECKS]
    return own + [(check, given[check.key]) for plugin, given in on if plugin.name != GUARD for check in plugin.checks]


async def admit(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    key: str,
    offers: Sequence[Offer],
    *,
    at: datetime,
    limit: int,
    urgent: bool | None,
    after: actions.Mark | None = None,
) -> Admitted:
    """Judge up to ``limit`` actions that are due on the channel of that key, and lease those that pass.

    The caller holds the guard of the brand.
    """
    claimed = await actions.claim(connection, brand.id, key, at, limit, urgent, after)
    due = claimed.unique("user_id", keep="first", maintain_order=True)
    if due.is_empty():
        return Admitted(0, None, due)
    channel = next((offer.channel for offer in offers if offer.channel is not None), None)
    lost = due.filter((pl.col("status") == "leased") & pl.lit(channel is None or not channel.repeatable))
    # Of one user both may be there: what was lost, and what is due.
    rest = due.join(lost, on="id", how="anti", maintain_order="left")
    out = [_all(lost, "unknown", "lost", LOST)] if len(lost) else []
    for offer in offers:
        if offer.channel is None:
            mine = offer.cohort.of(rest)
            out += [_all(mine, "failed", "no_channel", f"品牌没有渠道 {key}")] if len(mine) else []
    if channel is not None:
        rest, judged = await _judged(ctx, connection, brand, channel, offers, rest, at)
        out += judged
    written = pl.concat(out)
    passing = written.filter(pl.col("status") == "leased").select("id")
    passed = rest.join(passing, on="id", how="semi", maintain_order="left")
    if len(passed):
        passed, failed = await _composed(ctx, connection, brand, key, passed)
        written = pl.concat([written.join(failed, on="id", how="anti", maintain_order="left"), failed])
        passed = passed.with_columns(attempts=pl.col("attempts") + 1)
    words = passed.select("id", "text", "body")
    written = written.join(words, on="id", how="left", maintain_order="left")
    # Before the lock that the note takes, as whoever settles does.
    day = at.astimezone(zone(brand.zone)).date()
    await channels.add_used(connection, brand.id, key, day, len(passed))
    touches = channel is not None and channel.counts
    await actions.write_judged(connection, brand.id, written, at=at, touches=touches)
    more = len(claimed) == limit or len(due) < len(claimed)
    last = claimed.select("lane", "due_at", "id").row(-1) if more else None
    return Admitted(len(due), last, passed)


async def _judged(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    channel: Channel,
    offers: Sequence[Offer],
    due: pl.DataFrame,
    at: datetime,
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """``due`` with all that checks look at, and what becomes of each."""
    asked = [(offer, checks(offer.cohort.on)) for offer in offers if offer.channel is not None]
    made = await kept(ctx, connection, brand.id, due.get_column("version_id").drop_nulls().unique().to_list())
    due = due.join(_steps(made), on=["version_id", "step"], how="left", maintain_order="left").with_columns(
        pl.col("best").fill_null(False),
        # What somebody asked for says it itself.
        pl.coalesce("kind", pl.col("body").str.json_path_match("$.kind"), pl.lit("text")).alias("kind"),
    )
    # What was lost and is tried again did not reach anybody before itself.
    again = due.filter(pl.col("status") == "leased").get_column("id").to_list()
    checked = [each for _, some in asked for each in some]
    everything = await look(connection, brand, channel, due, checked, at=at, but=again)
    due = everything.actions
    out = []
    for offer, some in asked:
        mine = offer.cohort.of(due)
        if mine.is_empty():
            continue
        verdicts, failed = await asyncio.to_thread(judge, replace(everything, actions=mine), some)
        for check, error in failed.items():
            log.error("the check %s of brand %s fails: %r", check, brand.slug, error)
        out.append(
            verdicts.select(
                "id",
                status=pl.col("verdict").replace_strict(STATUS),
                reason="reason",
                detail="words",
                due_at=pl.when(pl.col("verdict") == "later").then("until"),
            )
        )
    return due, out


async def look(
    connection: Connection,
    brand: Brand,
    channel: Channel,
    due: pl.DataFrame,
    asked: Iterable[Looked],
    *,
    at: datetime,
    but: Sequence[int] = (),
) -> Batch:
    """What checks look at, of actions ``due`` on a channel; what reached users is read without the actions ``but``."""
    users = due.get_column("user_id").to_list()
    who = await guarding.people(connection, brand.id, users)
    kind = channel.address
    addresses = await guarding.addresses(connection, brand.id, who, kind) if kind else _none(guarding.ADDRESSES)
    wanted = {mark for check, p in asked if concerns(check, channel) for mark in check.marks(p)}
    days, reaches = zone(brand.zone), channel.counts
    first = at.astimezone(days).date().replace(day=1)
    hours, usual = _none(guarding.HOURS), None
    if due.get_column("best").any():
        hours = await guarding.hours(connection, brand.id, who, at, brand.zone)
        usual, stages = await guarding.usual_hours(connection, brand.id, brand.zone)
        alike = await guarding.marks(connection, brand.id, users, stages)
        of_stage = pl.DataFrame([*stages.items()], {"mark": pl.String, "hour": pl.Int64}, orient="row")
        others = alike.join(of_stage, on="mark").join(hours, on="user_id", how="anti").select("user_id", "hour")
        hours = pl.concat([hours, others])
    return Batch(
        at=at,
        zone=days,
        channel=channel,
        actions=due.join(addresses, on="user_id", how="left", maintain_order="left"),
        touches=await guarding.touches(connection, brand.id, who, at, but) if reaches else _none(guarding.TOUCHES),
        consents=await guarding.consents(connection, brand.id, who) if reaches else _none(guarding.CONSENTS),
        marks=await guarding.marks(connection, brand.id, users, wanted) if wanted else _none(guarding.MARKS),
        hours=hours,
        usual_hour=usual,
        used=await channels.used(connection, brand.id, channel.key, first),
    )


def _none(schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


STATUS = {"pass": "leased", "later": "held", "no": "suppressed"}


def _all(rows: pl.DataFrame, status: str, reason: str, detail: str) -> pl.DataFrame:
    return rows.select(
        "id",
        status=pl.lit(status),
        reason=pl.lit(reason),
        detail=pl.lit(detail),
        due_at=pl.lit(None, MOMENT),
    )


def _steps(made: Mapping[int, Program]) -> pl.DataFrame:
    """What checks look at of the steps that send something."""
    rows = [
        (version, each.key, each.step.at == "best", each.step.kind)
        for version, program in made.items()
        for each in program.instructions
        if isinstance(each.step, Send)
    ]
    schema = {"version_id": pl.Int64, "step": pl.String, "best": pl.Boolean, "kind": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


async def _composed(
    ctx: Context, connection: Connection, brand: Brand, key: str, passed: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``passed`` with what each says as it stands from now on, and (:data:`_OUT`) those who can be told nothing."""
    columns = {name: passed.get_column(name).to_list() for name in content.COMPOSED}
    columns |= {"planned_at": moments(passed.get_column("planned_at")), "channel": [key] * len(passed)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    said = await content.compose(ctx, connection, brand, rows)
    wrong = [(action, "failed", "content", each.wrong, None) for action, each in said.items() if each.wrong]
    # Few bodies differ from each other.
    bodies = {id(each.body): each.body for each in said.values()}
    written = {number: _JSON.encode(dict(body)) for number, body in bodies.items()}
    found = pl.DataFrame(
        {
            "id": list(said),
            "said": [each.text for each in said.values()],
            "about": [written[id(each.body)] for each in said.values()],
        },
        schema={"id": pl.Int64, "said": pl.String, "about": pl.String},
    )
    failed = pl.DataFrame(wrong, schema=_OUT, orient="row")
    passed = passed.join(failed, on="id", how="anti", maintain_order="left")
    composed = passed.join(found, on="id", how="left", maintain_order="left")
    return composed.with_columns(text="said", body="about").drop("said", "about"), failed


_JSON = json.JSONEncoder(ensure_ascii=False)
_OUT = {"id": pl.Int64(), "status": pl.String(), "reason": pl.String(), "detail": pl.String(), "due_at": MOMENT}
