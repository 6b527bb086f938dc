"""Step 2: decide. Facts, rules, comparison with what stood, and only the changes are written.

Here for the users with new events, in small batches, moments after them; :mod:`siyu.flow.refresh` takes all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import polars as pl

from siyu.engine.diff import Changes, FewChanges, diff, diff_few
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.facts_python import compute_few
from siyu.flow.context import Context
from siyu.flow.rulebooks import Present, present
from siyu.store import writing
from siyu.store.db import Connection
from siyu.store.decisions import Decisions, lock
from siyu.store.enrolments import note_changes, note_few
from siyu.store.events import claim, log_of, rows_by_table
from siyu.store.lake import Lake
from siyu.store.merges import retire
from siyu.store.writing import write_few

__all__ = ["Decided", "decide_users", "meanwhile", "tell", "write"]

T = TypeVar("T")

FEW = 100
"""Up to so many users facts are reckoned and decisions compared by loops: for one user 0.3 ms instead of 6, with 81
facts and 80 tags; they cross at 120 users with six events each."""
HANDFUL = 10
"""Up to so many they are on the event loop itself."""
FEW_ROWS = 1_000
"""Up to so many events of theirs."""
SOME = 1500
"""Up to so many users the generated Python is faster than a frame (measured with 67 tags: they cross at 1,500 rows)."""


@dataclass(frozen=True)
class Decided:
    """What came of it: users looked at, changes written, occasions that playbooks wait for."""

    users: int = 0
    changes: int = 0
    occasions: int = 0

    def __add__(self, other: Decided) -> Decided:
        return Decided(self.users + other.users, self.changes + other.changes, self.occasions + other.occasions)


async def decide_users(ctx: Context, brand_id: int, *, limit: int = 10_000) -> Decided:
    """Decide for up to ``limit`` users with new events; ``users == 0`` says that none were waiting.

    One transaction under the brand's decision lock: if it dies, the users are still dirty.
    """
    async with ctx.db.transaction() as connection:
        await lock(connection, brand_id)
        claimed = await claim(connection, brand_id, limit)
        if not claimed.into:
            return Decided()
        here, ids = await present(ctx, connection, brand_id)
        if merged := [user for user, into in claimed.into.items() if user != into]:
            await retire(connection, brand_id, merged, at=here.at)
        users = sorted(set(claimed.into.values()))
        log = None
        if len(users) <= FEW and here.mark is None:
            log = await log_of(connection, brand_id, users, ctx.plugins.catalog.kinds, FEW_ROWS)
        written = Decided(len(claimed.into))
        if log is not None:
            few = await _decide_few(ctx, connection, brand_id, here, users, log)
            for rulebook_id, each in zip(ids, few, strict=True):
                written += await _write_few(connection, brand_id, each, here, rulebook_id, claimed.quiet)
        else:
            many = await _decide_many(ctx, connection, brand_id, here, users)
            for rulebook_id, changes in zip(ids, many, strict=True):
                written += await write(
                    connection, brand_id, changes, here.at, rulebook_id, here.mark, quiet=claimed.quiet
                )
    await tell(ctx, brand_id)
    return written


async def _decide_few(
    ctx: Context, connection: Connection, brand_id: int, here: Present, users: Sequence[int], log: Sequence[Any]
) -> list[FewChanges]:
    """What changes for users, for each cohort; user by user, for whom a frame is not worth its while."""
    bound, catalog = here.bound, ctx.plugins.catalog
    before = await Decisions(ctx.home, brand_id).of_few(connection, users)

    def changes() -> list[FewChanges]:
        facts = compute_few(bound.facts, catalog, rows_by_table(catalog, log), here.at, here.days)
        found = []
        for cohort, decider in zip(bound.cohorts, bound.deciders, strict=True):
            mine = [user for user in facts if user in cohort]
            after = {user: decider.user(facts[user], before.get(user, {}), here.at) for user in mine}
            found.append(diff_few(decider.rulebook, before, after, facts))
        return found

    # A thread waits for its turn to run, and the event loop then for its own: longer than a handful takes.
    return changes() if len(users) <= HANDFUL else await asyncio.to_thread(changes)


async def _write_few(
    connection: Connection,
    brand_id: int,
    changes: FewChanges,
    here: Present,
    rulebook_id: int,
    quiet: Collection[int],
) -> Decided:
    """As :func:`write`, where no undo is under way."""
    await write_few(connection, brand_id, changes.tags, changes.stages, at=here.at, rulebook_id=rulebook_id)
    tags, stages = ([row for row in rows if row[0] not in quiet] for rows in (changes.tags, changes.stages))
    occasions = await note_few(connection, brand_id, here.listens, tags, stages, at=here.at, rulebook_id=rulebook_id)
    return Decided(0, len(changes), occasions)


async def _decide_many(
    ctx: Context, connection: Connection, brand_id: int, here: Present, users: Sequence[int]
) -> list[Changes]:
    """The same by frames, and of an undo."""
    bound = here.bound
    history = await Lake(ctx.home, brand_id, ctx.plugins.catalog).of_users(connection, users)
    decisions = Decisions(ctx.home, brand_id)
    # As in a refresh, users whose events all lie ahead are not decided yet.
    reckoning = asyncio.to_thread(compute, bound.facts, ctx.plugins.catalog, history, here.at, here.days)
    async with meanwhile(reckoning) as reckoned:
        before = await decisions.of_users(connection, users)
        stood = before if here.mark is None else await decisions.stood(connection, before, here.mark)
        facts = await reckoned

    def changes() -> list[Changes]:
        pairs = zip(bound.cohorts, bound.deciders, strict=True)
        return [_decide(decider, cohort.of(facts), before, stood, here.at) for cohort, decider in pairs]

    return await asyncio.to_thread(changes)


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Work that goes on beside other, and ends with it at the latest."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell(ctx: Context, brand_id: int) -> None:
    """Tell who follows, once it is committed."""
    await ctx.db.signals.tell(brand_id, "decision")


def _decide(decider: Decider, facts: pl.DataFrame, before: pl.DataFrame, stood: pl.DataFrame, at: datetime) -> Changes:
    if len(facts) > SOME:
        after = decider.frame(facts, stood, at)
    else:
        past: dict[int, dict[str, Any]] = {row["user_id"]: row for row in stood.iter_rows(named=True)}
        rows = [
            {"user_id": row["user_id"], **decider.user(row, past.get(row["user_id"], {}), at)}
            for row in facts.iter_rows(named=True)
        ]
        after = pl.DataFrame(rows, schema=decider.schema)
    return diff(decider.rulebook, before, after, facts)


async def write(
    connection: Connection,
    brand_id: int,
    changes: Changes,
    at: datetime,
    rulebook_id: int,
    mark: int | None,
    *,
    noted: bool = True,
    quiet: Collection[int] = (),
) -> Decided:
    """Write changes, and note those that playbooks wait for, in one transaction.

    What only gives back the decisions before ``mark`` sets off nothing, nor what changes for ``quiet`` users: that they
    were merged is news to us, and nothing that they did.
    """
    stages = await writing.write(
        connection, brand_id, changes.tags, changes.stages, at=at, rulebook_id=rulebook_id, mark=mark, noted=noted
    )
    tags = changes.tags if mark is None else changes.tags.clear()
    if quiet:
        loud = ~pl.col("user_id").is_in(list(quiet))
        tags, stages = tags.filter(loud), stages.filter(loud)
    occasions = await note_changes(connection, brand_id, tags, stages, at=at, rulebook_id=rulebook_id)
    return Decided(0, len(changes), occasions)
