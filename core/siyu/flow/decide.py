"""Step 2: decide. Facts, rules, comparison with what stood, and only the changes are written.

:func:`decide_users` takes the users with new events, in small batches, seconds after them. :func:`refresh` takes the
whole brand, each night and whenever its rulebook changes, and is the only one that fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import polars as pl

from siyu.contract.errors import InputError
from siyu.contract.facts import Fact
from siyu.engine.cohorts import Cohort, Enabled
from siyu.engine.diff import Changes, diff
from siyu.engine.evaluate import Decider, together
from siyu.engine.facts import compute
from siyu.engine.fit import fit_facts, fit_fenced
from siyu.engine.rulebook import Failed, Rulebook, bind_fenced
from siyu.flow import engines, fences, plugins
from siyu.flow.context import Context, brand_by_id, now, zone
from siyu.flow.engines import Engine
from siyu.flow.playbooks import plan
from siyu.flow.plugins import content_of, kept_rulebooks, undone
from siyu.flow.rulebooks import keep_versions, needed, present, standing
from siyu.flow.runs import Progress, run
from siyu.store.db import Connection, Lock, note_sizes
from siyu.store.decisions import Decisions, lock
from siyu.store.events import closed_up_to, users_since
from siyu.store.lake import SEAL_FROM, Lake

__all__ = ["AlreadyRunning", "Decided", "decide_users", "judge", "refresh"]

Phase: TypeAlias = Callable[[str, float], Awaitable[None]]

FEW = 1500
"""Up to so many users the generated Python is faster than a frame (measured with 67 tags: they cross at 1,500 rows)."""


class AlreadyRunning(InputError):
    """The brand is being refreshed by somebody else."""

    code = "ALREADY_RUNNING"


@dataclass(frozen=True)
class Decided:
    """What came of it: users looked at, changes written, actions planned."""

    users: int = 0
    changes: int = 0
    actions: int = 0

    def __add__(self, other: Decided) -> Decided:
        return Decided(self.users + other.users, self.changes + other.changes, self.actions + other.actions)


async def decide_users(ctx: Context, brand_id: int, *, limit: int = 2000) -> Decided:
    """Decide for up to ``limit`` users with new events; ``users == 0`` says that none were waiting.

    One transaction under the brand's decision lock: if it dies, the users are still dirty.
    """
    async with ctx.db.transaction() as connection:
        await lock(connection, brand_id)
        users = await _claim(connection, brand_id, limit)
        if not users:
            return Decided()
        here = await present(ctx, connection, brand_id)
        bound = here.bound
        frames = await Lake(ctx.home, brand_id, ctx.plugins.catalog).of_users(connection, users)
        before = await Decisions(ctx.home, brand_id).of_users(connection, users)

        def decided() -> list[Changes]:
            # As in a refresh, users whose events all lie ahead are not decided yet.
            facts = compute(bound.facts, ctx.plugins.catalog, frames, here.at, here.days)
            pairs = zip(bound.cohorts, bound.deciders, strict=True)
            return [_decide(decider, cohort.of(facts), before, here.at) for cohort, decider in pairs]

        written = Decided(len(users))
        for cohort, rulebook_id, changes in zip(
            bound.cohorts, bound.ids, await asyncio.to_thread(decided), strict=True
        ):
            written += await _write(ctx, connection, brand_id, cohort.on, changes, here.at, rulebook_id, here.mark)
    return written


async def refresh(
    ctx: Context,
    brand_id: int,
    *,
    at: datetime | None = None,
    progress: Progress | None = None,
    seal_from: int = SEAL_FROM,
    engine: str | None = None,
) -> Decided:
    """Decide for every user of the brand as of ``at`` (the brand's present if not given), on ``engine`` (polars, duckdb
    or spark; that of ``ctx`` if not given).

    Raises :class:`AlreadyRunning` where the brand is being refreshed. Users with events newer than what this run has
    read are left to :func:`decide_users`.
    """
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    async with (
        _one_at_a_time(ctx, brand_id) as connection,
        run(ctx, brand_id, "refresh", at, progress) as running,
        AsyncExitStack() as stack,
    ):
        await running.phase("events", 0.0)
        mark, undo = await undone(connection, brand_id)  # before the settings: none is missed, at worst seen again
        cohorts = await plugins.cohorts(ctx, brand_id)
        kept = await kept_rulebooks(connection, brand_id)
        refused = await fences.refused(ctx, brand_id)
        up_to, dirty = await closed_up_to(connection, brand_id)
        days, catalog = zone(brand.zone), ctx.plugins.catalog
        stored = await Lake(ctx.home, brand_id, catalog).tables(connection, up_to, seal_from=seal_from)
        opening = engines.opened(engine or ctx.engine, catalog, stored, at, days)
        machine = await stack.enter_async_context(_aside(opening))

        async def judged(fenced: Failed) -> tuple[list[Rulebook], pl.DataFrame, list[Failed]]:
            contents = [content_of(kept, cohort) for cohort in cohorts]
            return await judge(cohorts, machine, running.phase, fenced=fenced, previous=contents)

        rulebooks, facts, each_failed = await judged(refused)
        failed = {name: error for each in each_failed for name, error in each.items()}
        if any(each.keys() != failed.keys() for each in each_failed):
            # What fails for some of the users is fenced for all: a fence is the brand's.
            rulebooks, facts, _ = await judged(failed)

        async with ctx.db.transaction() as writer:
            await running.phase("before", 0.5)
            await lock(writer, brand_id)
            decisions = Decisions(ctx.home, brand_id)
            before = await decisions.of_all(writer)

            await running.phase("rules", 0.55)
            parts = [cohort.of(facts) for cohort in cohorts]
            after = [
                await asyncio.to_thread(machine.decide, Decider(rulebook, days), part, before, at)
                for rulebook, part in zip(rulebooks, parts, strict=True)
            ]
            await running.phase("diff", 0.6)
            newer = await users_since(writer, brand_id, up_to)
            changes = [
                _without(await asyncio.to_thread(diff, rulebook, before, decided, part), newer)
                for rulebook, decided, part in zip(rulebooks, after, parts, strict=True)
            ]
            await running.phase("write", 0.7)
            ids = await keep_versions(writer, brand_id, cohorts, rulebooks, await kept_rulebooks(writer, brand_id))
            written = Decided(len(facts))
            for cohort, rulebook_id, change in zip(cohorts, ids, changes, strict=True):
                written += await _write(ctx, writer, brand_id, cohort.on, change, at, rulebook_id, mark, noted=False)
            await note_sizes(writer)
            await fences.note(writer, brand_id, failed, all_asked=True)
            whole = Changes(pl.concat([each.tags for each in changes]), pl.concat([each.stages for each in changes]))
            await decisions.stamp(writer, at, running.row.id, whole.tags, whole.stages, *standing(rulebooks))
            await running.count(writer, written.users, written.changes)
            await writer.execute("DELETE FROM dirty_user WHERE brand_id = $1 AND id <= $2", brand_id, dirty)
            await writer.execute(_RESTORED, brand_id, undo)
            await writer.execute(_REFRESHED, brand_id, brand.refresh_asked)
            newest = await decisions.written(writer)
            await decisions.forget(writer)
        await running.phase("snapshot", 0.95)
        await decisions.snapshot(_kept(before, after, newer), newest)
    return written


async def judge(
    cohorts: Sequence[Cohort],
    engine: Engine,
    phase: Phase | None = None,
    *,
    fenced: Failed | None = None,
    previous: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[list[Rulebook], pl.DataFrame, list[Failed]]:
    """The rulebooks that the settings of ``cohorts`` make of the events in ``engine``, fitted; the facts of every user
    that any of them needs; and of each rulebook the rules that fail (``fenced`` ones are not asked), which stand as in
    the contents ``previous``."""
    if phase:
        await phase("facts", 0.2)
    # Without the states that stand: a plugin's new version may not understand them, and here they are made anew.
    wanted: dict[str, Fact] = {}
    broken: list[Failed] = []
    for cohort in cohorts:
        expected, failed = await asyncio.to_thread(bind_fenced, cohort.on, {}, fenced=fenced)
        broken.append(failed)
        wanted |= {fact.name: fact for fact in (*expected.facts, *fit_facts(plugin for plugin, _ in cohort.on))}
    facts = await asyncio.to_thread(engine.facts, list(wanted.values()))
    if phase:
        await phase("fit", 0.45)
    bound = []
    for number, (cohort, failed) in enumerate(zip(cohorts, broken, strict=True)):
        # What failed already is not asked again: it may have taken all of its time.
        states, unfit = await asyncio.to_thread(fit_fenced, cohort.on, facts, failed, cohort.pinned)
        stood, out = previous[number] if previous else None, {**failed, **unfit}
        bound.append(await asyncio.to_thread(bind_fenced, cohort.on, states, fenced=out, previous=stood))
    rulebooks = [rulebook for rulebook, _ in bound]
    if more := [fact for fact in needed(rulebooks) if fact.name not in wanted]:
        extra = await asyncio.to_thread(engine.facts, more, facts.select("user_id"))
        facts = facts.hstack(extra.drop("user_id"))
    return rulebooks, facts, [failed for _, failed in bound]


_RESTORED = "UPDATE setting_change SET restores = NULL WHERE brand_id = $1 AND restores IS NOT NULL AND id <= $2"
# Whoever asked again while the run was under way is not served by it.
_REFRESHED = """
UPDATE brand SET refreshed_at = now(),
    refresh_asked = CASE WHEN refresh_asked IS DISTINCT FROM $2 THEN refresh_asked END
WHERE id = $1
"""


def _decide(decider: Decider, facts: pl.DataFrame, before: pl.DataFrame, at: datetime) -> Changes:
    if len(facts) > FEW:
        after = decider.frame(facts, before, at)
    else:
        past: dict[int, dict[str, Any]] = {row["user_id"]: row for row in before.iter_rows(named=True)}
        rows = [
            {"user_id": row["user_id"], **decider.user(row, past.get(row["user_id"], {}), at)}
            for row in facts.iter_rows(named=True)
        ]
        after = pl.DataFrame(rows, schema=decider.schema)
    return diff(decider.rulebook, before, after, facts)


async def _claim(connection: Connection, brand_id: int, limit: int) -> list[int]:
    rows = await connection.fetch(
        "DELETE FROM dirty_user WHERE brand_id = $1 AND id IN"
        " (SELECT id FROM dirty_user WHERE brand_id = $1 ORDER BY id LIMIT $2) RETURNING user_id",
        brand_id,
        limit,
    )
    return sorted({row["user_id"] for row in rows})


async def _write(
    ctx: Context,
    connection: Connection,
    brand_id: int,
    on: Enabled,
    changes: Changes,
    at: datetime,
    rulebook_id: int,
    mark: int | None,
    *,
    noted: bool = True,
) -> Decided:
    """Write changes and plan what playbooks make of them, in one transaction.

    What only gives back the decisions before ``mark`` sets off nothing.
    """
    moved = await Decisions(ctx.home, brand_id).write(
        connection, changes.tags, changes.stages, at=at, rulebook_id=rulebook_id, mark=mark, noted=noted
    )
    actions = await plan(connection, brand_id, on, moved, at=at, rulebook_id=rulebook_id)
    return Decided(0, len(changes), actions)


def _without(changes: Changes, users: pl.DataFrame) -> Changes:
    if users.is_empty():
        return changes
    return Changes(
        changes.tags.join(users, on="user_id", how="anti"), changes.stages.join(users, on="user_id", how="anti")
    )


def _kept(before: pl.DataFrame, after: Sequence[pl.DataFrame], newer: pl.DataFrame) -> pl.DataFrame:
    """The decisions that stand after the run: for users that it left out, those from before."""
    if len(after) == 1 and newer.is_empty() and before.get_column("user_id").equals(after[0].get_column("user_id")):
        return after[0]
    decided = together(after).join(newer, on="user_id", how="anti")
    return together([decided, before.join(decided, on="user_id", how="anti")])


@asynccontextmanager
async def _aside(opening: AbstractContextManager[Engine]) -> AsyncIterator[Engine]:
    """Opened and closed off the event loop: Spark takes seconds to start."""
    engine = await asyncio.to_thread(opening.__enter__)
    try:
        yield engine
    finally:
        await asyncio.to_thread(opening.__exit__, None, None, None)


@asynccontextmanager
async def _one_at_a_time(ctx: Context, brand_id: int) -> AsyncIterator[Connection]:
    """Hold the brand's refresh lock; the server lets it go if this process dies."""
    async with ctx.db.connection() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", Lock.REFRESH, brand_id):
            raise AlreadyRunning("the brand is being refreshed", field="brand", remedy="wait for the run to end")
        try:
            yield connection
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1, $2)", Lock.REFRESH, brand_id)
