"""Step 2: decide. Facts, rules, comparison with what stood, and only the changes are written.

:func:`decide_users` takes the users with new events, in small batches, seconds after them. :func:`refresh` takes the
whole brand, each night and whenever its rulebook changes, and is the only one that fits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs

from siyu.contract.errors import InputError
from siyu.contract.events import Catalog
from siyu.contract.facts import Fact
from siyu.engine.diff import Changes, diff
from siyu.engine.evaluate import Decider
from siyu.engine.facts import Frames, compute
from siyu.engine.fit import fit_facts, fit_fenced
from siyu.engine.rulebook import Failed, Rulebook, bind_fenced
from siyu.flow import fences
from siyu.flow.context import Context, brand_by_id, now, zone
from siyu.flow.playbooks import plan
from siyu.flow.plugins import Enabled, current_content, enabled, states_of
from siyu.flow.runs import Progress, run
from siyu.store.db import Connection, Lock
from siyu.store.decisions import CatalogEntry, Decisions, lock
from siyu.store.events import closed_up_to, users_since
from siyu.store.lake import SEAL_FROM, Lake
from siyu.store.models import Brand

__all__ = ["AlreadyRunning", "Decided", "decide_users", "judge", "refresh"]

Phase: TypeAlias = Callable[[str, float], Awaitable[None]]

FEW = 400
"""Up to so many users the generated Python is faster than a frame (measured: they cross at about 400 rows)."""


class AlreadyRunning(InputError):
    """The brand is being refreshed by somebody else."""

    code = "ALREADY_RUNNING"


@dataclass(frozen=True)
class Decided:
    """What came of it: users looked at, changes written, actions planned."""

    users: int = 0
    changes: int = 0
    actions: int = 0


async def decide_users(ctx: Context, brand_id: int, *, limit: int = 1000) -> Decided:
    """Decide for up to ``limit`` users with new events; ``users == 0`` says that none were waiting.

    One transaction under the brand's decision lock: if it dies, the users are still dirty.
    """
    async with ctx.db.transaction() as connection:
        await lock(connection, brand_id)
        users = await _claim(connection, brand_id, limit)
        if not users:
            return Decided()
        brand = await brand_by_id(brand_id)
        at = now(brand)
        on = await enabled(ctx, brand_id)
        content = await current_content(connection, brand_id)
        fenced = {**await fences.known(brand_id), **await fences.refused(ctx, brand_id)}
        rulebook, failed = bind_fenced(on, states_of(content), fenced=fenced, previous=content)
        if failed.keys() - fenced.keys():
            await fences.note(connection, brand_id, failed, all_asked=False)
        rulebook_id = await _keep_rulebook(connection, brand, rulebook)
        decisions = Decisions(ctx.home, brand_id)
        frames = await Lake(ctx.home, brand_id, ctx.plugins.catalog).of_users(connection, users)
        before = await decisions.of_users(connection, users)
        # As in a refresh, users whose events all lie ahead are not decided yet.
        facts = await asyncio.to_thread(compute, rulebook.facts, ctx.plugins.catalog, frames, at, zone(brand.zone))
        changes = await asyncio.to_thread(_decide, Decider(rulebook), facts, before, at)
        actions = await _write(ctx, connection, brand_id, on, changes, at, rulebook_id)
    return Decided(len(users), len(changes), actions)


async def refresh(
    ctx: Context,
    brand_id: int,
    *,
    at: datetime | None = None,
    progress: Progress | None = None,
    seal_from: int = SEAL_FROM,
) -> Decided:
    """Decide for every user of the brand as of ``at`` (the brand's present if not given).

    Raises :class:`AlreadyRunning` where the brand is being refreshed. Users with events newer than what this run has
    read are left to :func:`decide_users`.
    """
    brand = await brand_by_id(brand_id)
    at = at or now(brand)
    async with _one_at_a_time(ctx, brand_id) as connection, run(ctx, brand_id, "refresh", at, progress) as running:
        await running.phase("events", 0.0)
        on = await enabled(ctx, brand_id)
        content = await current_content(connection, brand_id)
        refused = await fences.refused(ctx, brand_id)
        up_to, mark = await closed_up_to(connection, brand_id)
        lake = Lake(ctx.home, brand_id, ctx.plugins.catalog)
        frames = await lake.frames(connection, up_to, seal_from=seal_from)

        [rulebook], facts, [failed] = await judge(
            [on], ctx.plugins.catalog, frames, at, zone(brand.zone), running.phase, fenced=refused, previous=content
        )
        decider = Decider(rulebook)

        async with ctx.db.transaction() as writer:
            await running.phase("before", 0.5)
            await lock(writer, brand_id)
            decisions = Decisions(ctx.home, brand_id)
            before = await decisions.of_all(writer)

            await running.phase("rules", 0.55)
            after = await asyncio.to_thread(decider.frame, facts, before, at)

            await running.phase("diff", 0.6)
            changes = await asyncio.to_thread(diff, rulebook, before, after, facts)
            newer = await users_since(writer, brand_id, up_to)
            changes = _without(changes, newer)

            await running.phase("write", 0.7)
            rulebook_id = await _keep_rulebook(writer, brand, rulebook)
            actions = await _write(ctx, writer, brand_id, on, changes, at, rulebook_id)
            await fences.note(writer, brand_id, failed, all_asked=True)
            await decisions.stamp(writer, at, rulebook.standing.tags, rulebook.standing.tracks)
            await writer.execute("DELETE FROM dirty_user WHERE brand_id = $1 AND id <= $2", brand_id, mark)
            await writer.execute(_REFRESHED, brand_id, brand.refresh_asked)
            written = await decisions.written(writer)
        await running.phase("snapshot", 0.95)
        await decisions.snapshot(_kept(before, after, newer), written)
        running.row.users, running.row.changes = len(facts), len(changes)
    return Decided(len(facts), len(changes), actions)


async def judge(
    settings: Sequence[Enabled],
    catalog: Catalog,
    frames: Frames,
    at: datetime,
    days: ZoneInfo,
    phase: Phase | None = None,
    *,
    fenced: Failed | None = None,
    previous: Mapping[str, Any] | None = None,
) -> tuple[list[Rulebook], pl.DataFrame, list[Failed]]:
    """The rulebooks that ``settings`` make as of ``at``, fitted; the facts of every user that any of them needs; and of
    each rulebook the rules that fail (``fenced`` ones are not asked), which stand as in the content ``previous``."""
    if phase:
        await phase("facts", 0.2)
    # Without the states that stand: a plugin's new version may not understand them, and here they are made anew.
    wanted: dict[str, Fact] = {}
    for on in settings:
        expected, _ = bind_fenced(on, {}, fenced=fenced)
        wanted |= {fact.name: fact for fact in (*expected.facts, *fit_facts(plugin for plugin, _ in on))}
    facts = await asyncio.to_thread(compute, list(wanted.values()), catalog, frames, at, days)
    if phase:
        await phase("fit", 0.45)
    bound = []
    for on in settings:
        states, unfit = await asyncio.to_thread(fit_fenced, on, facts, fenced or {})
        bound.append(bind_fenced(on, states, fenced={**(fenced or {}), **unfit}, previous=previous))
    if more := {f.name: f for rulebook, _ in bound for f in rulebook.facts if f.name not in wanted}:
        users = facts.select("user_id")
        extra = await asyncio.to_thread(compute, list(more.values()), catalog, frames, at, days, users)
        facts = facts.hstack(extra.drop("user_id"))
    return [rulebook for rulebook, _ in bound], facts, [failed for _, failed in bound]


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


async def _keep_rulebook(connection: Connection, brand: Brand, rulebook: Rulebook) -> int:
    """The id of this version of the rulebook; a new one is kept and becomes the brand's."""
    current = await connection.fetchrow(
        "SELECT v.id, v.version FROM brand b JOIN rulebook_version v ON v.brand_id = b.id AND v.id = b.rulebook_id"
        " WHERE b.id = $1",
        brand.id,
    )
    if current and current["version"] == rulebook.version:
        return int(current["id"])
    await connection.execute(
        "INSERT INTO rulebook_version (brand_id, version, content, created_at) VALUES ($1, $2, $3::jsonb, now())"
        " ON CONFLICT (brand_id, version) DO NOTHING",
        brand.id,
        rulebook.version,
        json.dumps(rulebook.content, ensure_ascii=False, default=str),
    )
    rulebook_id = await connection.fetchval(
        "UPDATE brand b SET rulebook_id = v.id FROM rulebook_version v"
        " WHERE b.id = $1 AND v.brand_id = $1 AND v.version = $2 RETURNING v.id",
        brand.id,
        rulebook.version,
    )
    tags = [CatalogEntry(rule.tag.key, rule.tag.title, rule.plugin) for rule in rulebook.tags]
    # Stages are tried from the end of a track to its beginning; people read them from its beginning.
    stages = [
        CatalogEntry(stage.key, stage.title, track.plugin, track.key)
        for track in rulebook.tracks
        for stage in reversed(track.stages)
    ]
    standing = rulebook.standing
    await Decisions.list_catalog(connection, brand.id, [*tags, *stages], standing.tags, standing.tracks)
    return int(rulebook_id)


async def _write(
    ctx: Context, connection: Connection, brand_id: int, on: Enabled, changes: Changes, at: datetime, rulebook_id: int
) -> int:
    """Write changes and plan what playbooks make of them, in one transaction."""
    await Decisions(ctx.home, brand_id).write(connection, changes.tags, changes.stages, at=at, rulebook_id=rulebook_id)
    return await plan(connection, brand_id, on, changes.stages, at=at, rulebook_id=rulebook_id)


def _without(changes: Changes, users: pl.DataFrame) -> Changes:
    if users.is_empty():
        return changes
    return Changes(
        changes.tags.join(users, on="user_id", how="anti"), changes.stages.join(users, on="user_id", how="anti")
    )


def _kept(before: pl.DataFrame, after: pl.DataFrame, newer: pl.DataFrame) -> pl.DataFrame:
    """The decisions that stand after the run: for users that it left out, those from before."""
    if newer.is_empty() and before.get_column("user_id").equals(after.get_column("user_id")):
        return after
    kept = after.join(newer, on="user_id", how="anti")
    parts = [kept, before.join(kept, on="user_id", how="anti")]
    # Stages are Enums of what a track had then and has now, which do not go together.
    return pl.concat([part.cast({cs.enum(): pl.String}) for part in parts], how="diagonal_relaxed").sort("user_id")


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
