"""Step 3: playbooks take users in, and move those who are due one step on.

What they wait for (events, tags, stages) is noted as occasions, in the transaction in which it happens. Here occasions
are looked at once each: they end, wake and begin. Whoever comes in, and all whose time has come, is moved on as far as
they get, and what they are to be sent is planned, in one transaction: a crash repeats nothing that was done.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from siyu.contract.conditions import ALWAYS, Condition
from siyu.contract.errors import InputError, NotFound
from siyu.contract.events import MOMENT
from siyu.contract.facts import Fact
from siyu.contract.playbooks import (
    Assign,
    Daily,
    OnDate,
    Send,
    StageChanged,
    StageOf,
    Wait,
)
from siyu.contract.program import Instruction, Program
from siyu.engine.cohorts import Cohort
from siyu.engine.facts import compute
from siyu.engine.moving import (
    AWAKE,
    Advanced,
    Known,
    TagOf,
    advance,
    hear,
    kinds,
    looked_up,
    moved_by,
    set_off,
    since,
    standing,
)
from siyu.flow import plugins
from siyu.flow.context import Context, brand_by_id, now, zone
from siyu.flow.programs import On, kept, listen, programs
from siyu.store import enrolments
from siyu.store.actions import ORDINARY, URGENT, plan_actions
from siyu.store.db import Connection, note_sizes
from siyu.store.decisions import Decisions
from siyu.store.lake import Lake, history_of
from siyu.store.models import Brand, PluginSetting

__all__ = [
    "CHUNK",
    "Progress",
    "carry_on",
    "daily",
    "known_of",
    "listen_all",
    "move_on",
    "sent_at_once",
    "start",
    "take",
]

MANY = 1_000
CHUNK = 2_000
"""Occasions, or users, that are taken in at a time: nobody else of the brand comes in meanwhile."""


@dataclass(frozen=True)
class Progress:
    """How many occasions were looked at, how many users came in or were moved on, and how many actions were planned for
    them, ``urgent`` ones among them."""

    occasions: int = 0
    users: int = 0
    actions: int = 0
    urgent: int = 0

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            self.occasions + other.occasions,
            self.users + other.users,
            self.actions + other.actions,
            self.urgent + other.urgent,
        )


def sent_at_once(made: Iterable[Program], stages: pl.DataFrame) -> int:
    """How many messages changes of stage set off, before anybody waits for anything; nothing is written."""
    moves = stages.rename({"track": "key"})
    return sum(
        len(moved_by(each.trigger, moves)) * each.at_once for each in made if isinstance(each.trigger, StageChanged)
    )


# -- what is known of users ---------------------------------------------------------------------------------------


async def known_of(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    conditions: Iterable[Condition],
    at: datetime,
    users: Sequence[int] | None = None,
) -> Known:
    """What ``conditions`` ask, of ``users``, or of everybody."""
    leaves = {leaf.name: leaf for each in conditions for leaf in looked_up(each).leaves()}
    facts = [leaf for leaf in leaves.values() if isinstance(leaf, Fact)]
    lake, days = Lake(ctx.home, brand.id, ctx.plugins.catalog), zone(brand.zone)
    if users is None:
        every = history_of(await lake.peek(connection))
        found = await asyncio.to_thread(compute, facts, ctx.plugins.catalog, every, at, days)
    else:
        known = pl.DataFrame({"user_id": pl.Series(users, dtype=pl.Int64)}).sort("user_id")
        found = known
        if facts:
            theirs = await lake.of_users(connection, known.get_column("user_id").to_list())
            found = await asyncio.to_thread(compute, facts, ctx.plugins.catalog, theirs, at, days, known)
    others = [leaf for leaf in leaves.values() if isinstance(leaf, TagOf | StageOf)]
    if others:
        decisions = Decisions(ctx.home, brand.id)
        stood = await (
            decisions.of_all(connection) if users is None else decisions.of_users(connection, sorted(set(users)))
        )
        wide = stood.select("user_id", *(standing(leaf, stood).alias(leaf.name) for leaf in others))
        found = found.join(wide, on="user_id", how="left", maintain_order="left")
    return Known(found)


async def _on(ctx: Context, brand_id: int) -> On:
    """The playbooks that are on, made once for as long as the settings stay as they are."""
    rows = await PluginSetting.filter(brand_id=brand_id).order_by("plugin")
    settings = repr([(row.plugin, row.enabled, row.params, row.base, row.percent) for row in rows])
    found = ctx.playbooks.get(brand_id)
    if found is None or found[0] != settings:
        made = [(cohort, programs(ctx, cohort.on)) for cohort in plugins.cohorts_of(ctx, rows)]
        found = ctx.playbooks[brand_id] = (settings, made)
    return found[1]


# -- taking users in ----------------------------------------------------------------------------------------------


async def listen_all(ctx: Context) -> None:
    """Note what the playbooks of all brands wait for: plugins may have changed since it was noted last."""
    for brand in await Brand.all():
        async with ctx.db.transaction() as connection:
            await listen(ctx, connection, brand.id, await plugins.cohorts(ctx, brand.id))


async def take(ctx: Context, brand_id: int, *, at: datetime | None = None, limit: int = CHUNK) -> Progress:
    """Look at up to ``limit`` occasions."""
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    async with ctx.db.transaction() as connection:
        await enrolments.hold(connection, brand_id)
        occasions = await enrolments.take(connection, brand_id, limit)
        if occasions.is_empty():
            return Progress()
        await _heard(ctx, connection, brand_id, occasions, at)
        users, sent = 0, list[pl.DataFrame]()
        for cohort, made in await _on(ctx, brand_id):
            for each in made:
                rows = set_off(ctx.plugins.catalog, each, cohort.of(occasions))
                if len(rows):
                    users += await _enrol(ctx, connection, brand, each, rows, at, sent)
        planned = await _plan(connection, brand_id, sent, at)
    await _tell(ctx, brand_id, planned)
    if len(occasions) >= MANY:
        await _noted(ctx)
    return planned + Progress(len(occasions), users)


async def _heard(ctx: Context, connection: Connection, brand_id: int, occasions: pl.DataFrame, at: datetime) -> None:
    """End or wake those under way for whom an event came that they waited for."""
    events = occasions.filter(pl.col("noun") == "event")
    if events.is_empty():
        return
    active = await enrolments.under_way(connection, brand_id, events.get_column("user_id").unique().to_list())
    made = await kept(ctx, connection, brand_id, active.get_column("version_id").unique().to_list())
    by_user: dict[int, list[tuple[str, datetime]]] = defaultdict(list)
    for user, kind, moment in events.select("user_id", "key", "at").iter_rows():
        by_user[user].append((kind, moment))
    over: dict[str, list[tuple[int, str]]] = {"goal": [], "ended": []}
    awake: list[int] = []
    for row in active.iter_rows(named=True):
        listening = row["step"] if row["listens"] else None
        what = hear(
            ctx.plugins.catalog,
            made[row["version_id"]],
            by_user[row["user_id"]],
            row["began_at"],
            listening,
            row["listens_from"],
        )
        if what == AWAKE:
            awake.append(row["id"])
        elif what is not None:
            over[what[0]].append((row["id"], what[1]))
    for status, rows in over.items():
        done = pl.DataFrame(rows, schema={"id": pl.Int64, "why": pl.String}, orient="row")
        await enrolments.end(connection, brand_id, done, status, at)
    if awake:
        await enrolments.wake(connection, brand_id, awake, at)


async def _enrol(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    made: Program,
    rows: pl.DataFrame,
    at: datetime,
    sent: list[pl.DataFrame],
) -> int:
    """Take in those of ``rows`` for whom the playbook is; returns how many. What they are to be ``sent`` is added."""
    if made.audience is not ALWAYS:
        users = rows.get_column("user_id")
        known = await known_of(ctx, connection, brand, [made.audience], at, users.to_list())
        rows = rows.filter(known.holds(made.audience, users))
    return await _written(ctx, connection, brand, made, rows, at, sent)


async def _written(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    made: Program,
    rows: pl.DataFrame,
    at: datetime,
    sent: list[pl.DataFrame],
) -> int:
    if rows.is_empty():
        return 0
    after = since(made.reentry, at, zone(brand.zone))
    came = await enrolments.enter(connection, brand.id, made.name, rows, since=after)
    if came.is_empty():
        return 0
    version = await enrolments.keep_version(connection, brand.id, made.name, made.version, made.content)
    here = came.with_columns(step=pl.lit(0, pl.Int64), heard=pl.lit(None, pl.Boolean), version_id=version)
    moved = await _moved(ctx, connection, brand, made, here, at, sent)
    stands = pl.concat(
        [
            moved.waiting.select("id", "step", "due_at", "listens", status=pl.lit("active"), why=pl.lit("")),
            moved.done.select(
                "id",
                step=pl.lit(0, pl.Int64),
                due_at=pl.lit(at.astimezone(UTC), MOMENT),
                listens=pl.lit(False),
                status=pl.lit("done"),
                why="why",
            ),
        ]
    )
    await enrolments.enrol(connection, brand.id, made.name, version, came.join(stands, on="id"), at)
    return len(came)


async def daily(ctx: Context, brand_id: int, *, at: datetime | None = None) -> Progress:
    """Take in those whose day it is. Done twice a day, it takes nobody in twice."""
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    today = at.astimezone(zone(brand.zone)).date()
    mine: list[tuple[Cohort, Program, Condition]] = []
    for cohort, made in await _on(ctx, brand_id):
        for each in made:
            if isinstance(each.trigger, Daily):
                mine.append((cohort, each, each.trigger.when & each.audience))
            elif isinstance(each.trigger, OnDate) and (each.trigger.month, each.trigger.day) == (
                today.month,
                today.day,
            ):
                mine.append((cohort, each, each.audience))
    if not mine:
        return Progress()
    async with ctx.db.view() as connection:
        known = await known_of(ctx, connection, brand, [condition for _, _, condition in mine], at)
    done = Progress()
    for cohort, each, condition in mine:
        users = cohort.of(known.frame).get_column("user_id")
        held = await asyncio.to_thread(known.holds, condition, users)
        done += await _all_in(ctx, brand, each, users.filter(held), f"day-{today}", str(today), at)
    return done


async def start(
    ctx: Context, brand: Brand, name: str, users: Sequence[int], *, occasion: str, by: str = ""
) -> Progress:
    """Take ``users`` into the playbook of that name (``plugin.key``) by hand.

    ``occasion`` is the caller's name of it: the same one again takes nobody in twice.
    """
    if not 0 < len(occasion) <= 80:
        raise InputError("a start needs a name of 1 to 80 letters", field="occasion", remedy="name it, e.g. 618-2027")
    at, done, found = now(await brand_by_id(brand.id)), Progress(), False
    everybody = pl.DataFrame({"user_id": pl.Series(users, dtype=pl.Int64)}).unique().sort("user_id")
    known_names: set[str] = set()
    for cohort, made in await _on(ctx, brand.id):
        for each in made:
            known_names.add(each.name)
            if each.name != name:
                continue
            found = True
            mine = cohort.of(everybody).get_column("user_id")
            for chunk in (mine.slice(begin, CHUNK) for begin in range(0, len(mine), CHUNK)):
                if each.audience is not ALWAYS:
                    async with ctx.db.connection() as connection:
                        known = await known_of(ctx, connection, brand, [each.audience], at, chunk.to_list())
                    chunk = chunk.filter(known.holds(each.audience, chunk))
                done += await _all_in(ctx, brand, each, chunk, f"by-{occasion}", by or "by hand", at)
    if not found:
        raise NotFound(
            f"no playbook {name!r} is on",
            field="playbook",
            remedy=f"on are: {', '.join(sorted(known_names)) or 'none'}",
        )
    return done


async def _all_in(
    ctx: Context, brand: Brand, made: Program, users: pl.Series, occasion: str, because: str, at: datetime
) -> Progress:
    done = Progress()
    for begin in range(0, len(users), CHUNK):
        rows = (
            users.slice(begin, CHUNK)
            .alias("user_id")
            .to_frame()
            .select("user_id", occasion=pl.lit(occasion), because=pl.lit(because), rulebook_id=pl.lit(None, pl.Int64))
        )
        sent: list[pl.DataFrame] = []
        async with ctx.db.transaction() as connection:
            await enrolments.hold(connection, brand.id)
            came = await _written(ctx, connection, brand, made, rows, at, sent)
            planned = await _plan(connection, brand.id, sent, at)
        done += planned + Progress(users=came)
        await _tell(ctx, brand.id, planned)
        if len(rows) >= MANY:
            await _noted(ctx)
    return done


async def _noted(ctx: Context) -> None:
    """What was just written in bulk is looked for row by row next."""
    async with ctx.db.connection() as connection:
        await note_sizes(connection)


# -- moving on ----------------------------------------------------------------------------------------------------


async def carry_on(ctx: Context, brand_id: int, *, at: datetime | None = None) -> Progress:
    """Look at all occasions, and move on all who are due."""
    done = Progress()
    while (took := await take(ctx, brand_id, at=at)).occasions:
        done += took
    while (moved := await move_on(ctx, brand_id, at=at)).users:
        done += moved
    return done


async def move_on(ctx: Context, brand_id: int, *, at: datetime | None = None, limit: int = 10_000) -> Progress:
    """Move up to ``limit`` users on whose next step is due, as far as they get."""
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    sent: list[pl.DataFrame] = []
    async with ctx.db.transaction() as connection:
        due = await enrolments.take_due(connection, brand_id, at, limit)
        if due.is_empty():
            return Progress()
        made = await kept(ctx, connection, brand_id, due.get_column("version_id").unique().to_list())
        heard = await enrolments.heard_of(
            connection,
            brand_id,
            [
                (row["id"], row["user_id"], row["listens_from"], list(kinds(ctx.plugins.catalog, _awaited(made, row))))
                for row in due.filter(pl.col("listens") & ~pl.col("heard")).iter_rows(named=True)
            ],
            at,
        )
        came = pl.col("heard") | pl.col("id").is_in(sorted(heard))
        due = due.with_columns(heard=pl.when("listens").then(came))
        for (version,), mine in due.group_by("version_id", maintain_order=True):
            moved = await _moved(ctx, connection, brand, made[int(version)], mine, at, sent)
            await enrolments.move_on(connection, brand_id, moved.waiting, at)
            await enrolments.end(connection, brand_id, moved.done, "done", at)
        planned = await _plan(connection, brand_id, sent, at)
    await _tell(ctx, brand_id, planned)
    if len(due) >= MANY:
        await _noted(ctx)
    return planned + Progress(users=len(due))


async def _moved(
    ctx: Context,
    connection: Connection,
    brand: Brand,
    made: Program,
    members: pl.DataFrame,
    at: datetime,
    sent: list[pl.DataFrame],
) -> Advanced:
    """How far ``members`` get, who are in the playbook; what they are to be ``sent`` is added."""
    asked = {condition for step in members.get_column("step").unique() for condition in made.asks(step)}
    users = members.get_column("user_id").unique().to_list() if asked else []
    known = await known_of(ctx, connection, brand, asked, at, users) if asked else Known(pl.DataFrame())
    moved = await asyncio.to_thread(advance, made, members, at, zone(brand.zone), known.holds)
    sent += [_actions(made, step, members.join(to, on="id", how="semi")) for step, to in moved.sent]
    return moved


async def _plan(connection: Connection, brand_id: int, sent: Sequence[pl.DataFrame], at: datetime) -> Progress:
    """Plan what is to be sent, last in a transaction."""
    every = [rows for rows in sent if len(rows)]
    if not every:
        return Progress()
    rows = pl.concat(every)
    planned = await plan_actions(connection, brand_id, rows, at=at)
    return Progress(actions=planned, urgent=len(rows.filter(pl.col("lane") == URGENT)))


async def _tell(ctx: Context, brand_id: int, planned: Progress) -> None:
    if planned.actions:
        await ctx.db.signals.tell(brand_id, "action")


def _awaited(made: Mapping[int, Program], row: Mapping[str, Any]) -> str:
    step = made[row["version_id"]].instructions[row["step"]].step
    return step.event if isinstance(step, Wait) else ""


def _actions(made: Program, each: Instruction, members: pl.DataFrame) -> pl.DataFrame:
    step = each.step
    assert isinstance(step, Send | Assign)
    return members.select(
        key=pl.format("{}/{}/{}", pl.lit(made.name), pl.lit(each.key), "id"),
        user_id="user_id",
        plugin=pl.lit(made.plugin),
        playbook=pl.lit(made.key),
        channel=pl.lit(step.channel),
        purpose=pl.lit(step.purpose),
        because="because",
        rulebook_id="rulebook_id",
        enrolment_id="id",
        version_id=pl.col("version_id").cast(pl.Int64),
        step=pl.lit(each.key),
        lane=pl.lit(URGENT if isinstance(step, Send) and step.urgent else ORDINARY),
    )
