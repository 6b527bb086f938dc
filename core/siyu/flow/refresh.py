"""Step 2 for a whole brand: each night, and whenever its settings have changed. Only here rules are fitted.

A brand of many users goes through in shards, ranges of user ids, so that memory holds one of them at a time: its facts,
its decisions, its changes; while these are written, the next is reckoned and decided. Of all users at once only the
facts that rules are fitted to are held. DuckDB and Spark keep the facts of every shard until the run ends, and put them
aside on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import polars as pl

from siyu.contract.errors import InputError
from siyu.contract.facts import Fact
from siyu.engine.cohorts import Cohort
from siyu.engine.diff import Changes, diff
from siyu.engine.evaluate import Decider
from siyu.engine.fit import fit_facts, fit_fenced
from siyu.engine.rulebook import Failed, Rulebook, bind_fenced
from siyu.flow import engines, fences, plugins
from siyu.flow.context import Context, brand_by_id, now, zone
from siyu.flow.decide import Decided, meanwhile, tell, write
from siyu.flow.engines import Engine
from siyu.flow.plugins import content_of, kept_rulebooks, undone
from siyu.flow.rulebooks import keep_versions, needed, standing
from siyu.flow.runs import Progress, run
from siyu.store import merges
from siyu.store.db import Connection, Lock, note_sizes
from siyu.store.decisions import EVERYBODY, Decisions, Users, lock
from siyu.store.events import closed_up_to, users_since
from siyu.store.lake import SEAL_FROM, Lake
from siyu.store.wide import together, with_users

__all__ = ["AlreadyRunning", "judge", "refresh"]

Phase: TypeAlias = Callable[[str, float], Awaitable[None]]

SHARD = 1_000_000
"""Users that are decided at once."""


@dataclass(frozen=True)
class _Shard:
    """Of some users: their facts, what stands of them, and, once it is found, what is to stand and what changes."""

    facts: pl.DataFrame
    stands: pl.DataFrame
    before: pl.DataFrame = field(default_factory=pl.DataFrame)
    after: Sequence[pl.DataFrame] = ()
    changes: Sequence[Changes] = ()


class AlreadyRunning(InputError):
    """The brand is being refreshed by somebody else."""

    code = "ALREADY_RUNNING"


async def refresh(
    ctx: Context,
    brand_id: int,
    *,
    at: datetime | None = None,
    progress: Progress | None = None,
    seal_from: int = SEAL_FROM,
    shard: int = SHARD,
    engine: str | None = None,
) -> Decided:
    """Decide for every user of the brand as of ``at`` (the brand's present if not given), on ``engine`` (polars, duckdb
    or spark; that of ``ctx`` if not given), up to ``shard`` users at a time.

    Raises :class:`AlreadyRunning` where the brand is being refreshed. Users with events newer than what this run has
    read, and those merged or parted since, are left to :func:`siyu.flow.decide.decide_users`.
    """
    brand, began = await brand_by_id(brand_id), datetime.now(UTC)
    async with (
        _one_at_a_time(ctx, brand_id) as connection,
        run(ctx, brand_id, "refresh", at or now(brand), progress) as running,
        AsyncExitStack() as stack,
    ):
        await running.phase("events", 0.0)
        mark, undo = await undone(connection, brand_id)
        cohorts = await plugins.cohorts(ctx, brand_id)
        while (again := await undone(connection, brand_id)) != (mark, undo):
            # Settings are undone together with their mark.
            (mark, undo), cohorts = again, await plugins.cohorts(ctx, brand_id)
        kept = await kept_rulebooks(connection, brand_id)
        refused = await fences.refused(ctx, brand_id)
        up_to, dirty = await closed_up_to(connection, brand_id)
        # Only now: what was recorded while others were waited for is not to lie ahead of the moment.
        at = at or now(await brand_by_id(brand_id))
        running.row.at = at
        days, catalog = zone(brand.zone), ctx.plugins.catalog
        merged = await merges.mapping(connection, brand_id)
        stored = await Lake(ctx.home, brand_id, catalog).tables(connection, up_to, seal_from=seal_from)
        opening = engines.opened(engine or ctx.engine, catalog, stored, at, days)
        machine = await stack.enter_async_context(_aside(opening))
        shards = [await _shard(connection, brand_id, EVERYBODY[0], shard)]
        parts = [machine if shards[0] == EVERYBODY else machine.of(shards[0])]
        decisions = Decisions(ctx.home, brand_id)
        stood_upto = await _written(ctx, decisions, brand_id)

        async def standing_of(users: Users) -> pl.DataFrame:
            async with ctx.db.view() as reader:
                return await decisions.of_all(reader, users)

        # While facts are reckoned.
        earlier = await stack.enter_async_context(meanwhile(standing_of(shards[0])))
        rest = await stack.enter_async_context(meanwhile(_after(connection, brand_id, shards[0], shard)))

        async def others() -> list[Engine]:
            return [machine.of(users) for users in await rest]

        async def judged(fenced: Failed) -> tuple[list[Rulebook], pl.DataFrame, list[Failed]]:
            contents = [content_of(kept, cohort) for cohort in cohorts]
            return await judge(cohorts, parts[0], others, running.phase, fenced=fenced, previous=contents)

        rulebooks, facts, each_failed = await judged(refused)
        failed = {name: error for each in each_failed for name, error in each.items()}
        if any(each.keys() != failed.keys() for each in each_failed):
            # What fails for some of the users is fenced for all: a fence is the brand's.
            rulebooks, facts, _ = await judged(failed)
        shards += await rest
        parts += await others()
        deciders = [Decider(rulebook, days) for rulebook in rulebooks]
        written, moved = Decided(), Changes.all([])
        quiet: dict[int, int] = {}
        # Of the shard that is next; taken out, so that nothing else holds them.
        ahead: list[_Shard] = []
        following: asyncio.Task[None] | None = None

        def phase_of(number: int) -> Phase:
            # Of the second half of the whole, each shard has its part.
            return lambda name, share: running.phase(name, 0.5 + (number * 0.5 + share - 0.5) / len(shards))

        async def compared(
            number: int, shard: _Shard, before: pl.DataFrame, stood: pl.DataFrame | None, phase: Phase
        ) -> _Shard:
            await phase("rules", 0.5)
            before = await asyncio.to_thread(with_users, before, shard.facts.get_column("user_id"))
            mine = [cohort.of(shard.facts) for cohort in cohorts]
            after = [
                await asyncio.to_thread(parts[number].decide, decider, each, before if stood is None else stood, at)
                for decider, each in zip(deciders, mine, strict=True)
            ]
            await phase("diff", 0.55)
            changes = [
                await asyncio.to_thread(diff, rulebook, before, decided, each)
                for rulebook, decided, each in zip(rulebooks, after, mine, strict=True)
            ]
            return replace(shard, before=before, after=after, changes=changes)

        async def prepare(number: int, shard: _Shard, phase: Phase) -> None:
            # Before the lock is held: most often nothing is decided until then.
            ahead.append(await compared(number, shard, shard.stands, None, phase) if mark is None else shard)

        async def reckon(number: int) -> None:
            stands = await standing_of(shards[number])
            facts = await asyncio.to_thread(parts[number].facts, needed(rulebooks))
            await prepare(number, _Shard(facts, stands), _silently)

        await prepare(0, _Shard(facts, await earlier), phase_of(0))
        del facts
        for number, users in enumerate(shards):
            phase = phase_of(number)
            if following:
                await phase("facts", 0.5)
                await following
            each = ahead.pop()
            async with ctx.db.transaction() as writer:
                await phase("before", 0.6)
                await lock(writer, brand_id)
                if users is shards[0]:
                    quiet = await merges.waiting(writer, brand_id)
                    gone = [user for user, into in quiet.items() if user != into]
                    await merges.retire(writer, brand_id, gone, at=at)
                before = await decisions.brought_forward(writer, each.stands, users, stood_upto)
                if mark is not None:
                    stood = await decisions.stood(writer, before, mark)
                    each = await compared(number, each, before, stood, phase)
                elif before is not each.stands:
                    # Some were decided in between.
                    each = await compared(number, each, before, None, phase)
                newer = await users_since(writer, brand_id, up_to)
                # Who was merged or parted since the events were read is not whom these facts are about.
                parted = merges.differing(merged, await merges.mapping(writer, brand_id))
                newer = pl.concat([newer, parted]).unique()
                changes = [_without(change, newer) for change in each.changes]
                if users is not shards[-1]:
                    following = await stack.enter_async_context(meanwhile(reckon(number + 1)))
                await phase("write", 0.7)
                ids = await keep_versions(writer, brand_id, cohorts, rulebooks, await kept_rulebooks(writer, brand_id))
                written += Decided(len(each.facts))
                for rulebook_id, change in zip(ids, changes, strict=True):
                    written += await write(
                        writer,
                        brand_id,
                        change,
                        at,
                        rulebook_id,
                        mark,
                        noted=False,
                        quiet=set(quiet.values()),
                    )
                moved = Changes.all([moved, *changes])
                await note_sizes(writer)
                if users is shards[0]:
                    # With the first users that are decided by it, so that nobody asks a rule that has failed.
                    await fences.note(writer, brand_id, failed, all_asked=True)
                if users is shards[-1]:
                    await decisions.stamp(writer, at, running.row.id, moved.tags, moved.stages, *standing(rulebooks))
                    await running.count(writer, written.users, written.changes)
                    await writer.execute("DELETE FROM dirty_user WHERE brand_id = $1 AND id <= $2", brand_id, dirty)
                    await writer.execute(_RESTORED, brand_id, undo)
                    await writer.execute(_REFRESHED, brand_id, brand.refresh_asked, began)
                newest = await decisions.written(writer)
                # What was given back stands otherwise than it was decided: the tables know.
                await decisions.forget(writer, users, upto=newest if mark is None else None)
            await tell(ctx, brand_id)
            await phase("snapshot", 0.95)
            if mark is None:
                await decisions.snapshot(_kept(each.before, each.after, newer), users, newest)
    await ctx.db.signals.tell(brand_id, "plugin")
    return written


async def _silently(name: str, share: float) -> None:
    """Tell nobody of a phase."""


async def _written(ctx: Context, decisions: Decisions, brand_id: int) -> int:
    """The newest id of a decision; all that are older can be seen from now on."""
    async with ctx.db.transaction() as reader:
        await lock(reader, brand_id)
        return await decisions.written(reader)


async def _shard(connection: Connection, brand_id: int, low: int, size: int) -> Users:
    """The range of the next ``size`` users. New ones have the greatest ids, so earlier ranges stay as they are."""
    first, last = await connection.fetchrow(_ENDS, brand_id, low)
    few = first is None or last - first < size
    below = None if few else await connection.fetchval(_CUT, brand_id, low, size)
    return low, EVERYBODY[1] if below is None else below


async def _after(connection: Connection, brand_id: int, users: Users, size: int) -> list[Users]:
    """The ranges that follow."""
    found: list[Users] = []
    while users[1] < EVERYBODY[1]:
        users = await _shard(connection, brand_id, users[1], size)
        found.append(users)
    return found


async def _nobody() -> Sequence[Engine]:
    return ()


async def judge(
    cohorts: Sequence[Cohort],
    first: Engine,
    others: Callable[[], Awaitable[Sequence[Engine]]] = _nobody,
    phase: Phase | None = None,
    *,
    fenced: Failed | None = None,
    previous: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[list[Rulebook], pl.DataFrame, list[Failed]]:
    """The rulebooks that ``cohorts`` make of the events in ``first`` and ``others``, fitted by all of these; the facts
    that they need, of everybody in ``first``; and of each rulebook the rules that fail (``fenced`` ones are not asked),
    which stand as in the contents ``previous``.
    """
    if phase:
        await phase("facts", 0.2)
    # Without the states that stand: a plugin's new version may not understand them, and here they are made anew.
    fitted: dict[str, Fact] = {}
    decided: dict[str, Fact] = {}
    broken: list[Failed] = []
    for cohort in cohorts:
        expected, failed = await asyncio.to_thread(bind_fenced, cohort.on, {}, fenced=fenced)
        broken.append(failed)
        fitted |= {fact.name: fact for fact in fit_facts(plugin for plugin, _ in cohort.on)}
        decided |= {fact.name: fact for fact in expected.facts}
    facts = await asyncio.to_thread(first.facts, list((fitted | decided).values()))
    population = facts
    if fitted and (more := await others()):
        found = [await asyncio.to_thread(part.facts, list(fitted.values())) for part in more]
        population = pl.concat([facts.select("user_id", *fitted), *found])
    if phase:
        await phase("fit", 0.45)
    bound = []
    for number, (cohort, failed) in enumerate(zip(cohorts, broken, strict=True)):
        # What failed already is not asked again: it may have taken all of its time.
        states, unfit = await asyncio.to_thread(fit_fenced, cohort.on, population, failed, cohort.pinned)
        stood, out = previous[number] if previous else None, {**failed, **unfit}
        bound.append(await asyncio.to_thread(bind_fenced, cohort.on, states, fenced=out, previous=stood))
    rulebooks = [rulebook for rulebook, _ in bound]
    if late := [fact for fact in needed(rulebooks) if fact.name not in facts.columns]:
        extra = await asyncio.to_thread(first.facts, late, facts.select("user_id"))
        facts = facts.hstack(extra.drop("user_id"))
    return rulebooks, facts, [failed for _, failed in bound]


_ENDS = "SELECT min(id), max(id) FROM users WHERE brand_id = $1 AND id >= $2"
_CUT = "SELECT id FROM users WHERE brand_id = $1 AND id >= $2 ORDER BY id OFFSET $3 LIMIT 1"
_RESTORED = "UPDATE setting_change SET restores = NULL WHERE brand_id = $1 AND restores IS NOT NULL AND id <= $2"
# Whoever asked again while the run was under way is not served by it.
_REFRESHED = """
UPDATE brand SET refreshed_at = $3,
    refresh_asked = CASE WHEN refresh_asked IS DISTINCT FROM $2 THEN refresh_asked END
WHERE id = $1
"""


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
