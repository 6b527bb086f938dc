"""The rulebooks that a brand's users are decided by: bound, compiled, and kept as a version.

Binding asks every rule and compiles what it says, which takes longer than to decide for a hundred users. So what is
bound stays in the process for as long as all that it is made of stands in the database: the settings of the plugins,
the kept rulebooks with their fitted states, and the fences. They are read each time, in one query, under the brand's
decision lock; whoever changes one of them, in whatever process, is heeded by the next decision.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo

from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.engine.cohorts import Cohort
from siyu.engine.evaluate import Decider
from siyu.engine.rulebook import Rulebook, bind_fenced
from siyu.flow import fences
from siyu.flow.context import Context, now, zone
from siyu.flow.plugins import Kept, cohorts_of, content_of, kept_rulebooks, states_of
from siyu.store.db import Connection
from siyu.store.decisions import CatalogEntry, Decisions
from siyu.store.models import Brand, PluginSetting

__all__ = ["Bound", "MadeOf", "Present", "keep_versions", "made_of", "needed", "present", "standing"]

MOST = 100
"""Brands whose rulebooks stay bound in a process."""


@dataclass(frozen=True)
class Bound:
    """The rulebooks of a brand, compiled, with the ids of their versions: one a cohort. ``made_of`` is what from."""

    made_of: tuple[str, ...]
    cohorts: Sequence[Cohort]
    deciders: Sequence[Decider]
    ids: Sequence[int]

    @cached_property
    def facts(self) -> list[Fact]:
        """What any of them needs to know of a user."""
        return needed([decider.rulebook for decider in self.deciders])


@dataclass(frozen=True)
class Present:
    """What a brand lives by just now: the moment, its days, the ``mark`` of an undo under way, and its rulebooks."""

    at: datetime
    days: ZoneInfo
    mark: int | None
    bound: Bound


async def present(ctx: Context, connection: Connection, brand_id: int) -> Present:
    """Read what the brand lives by, and bind its rulebooks where anything that they are made of has changed."""
    made = await made_of(connection, brand_id)
    bound = ctx.bound.get(brand_id)
    if bound is None or bound.made_of != made.texts:
        bound = await _bind(ctx, connection, brand_id, made.texts, made.days)
    return Present(made.at, made.days, made.mark, bound)


class MadeOf(NamedTuple):
    """All that rulebooks of a brand are made of, as ``texts`` that are equal where nothing has changed; its present
    moment, its days, and the ``mark`` of an undo under way."""

    texts: tuple[str, ...]
    at: datetime
    days: ZoneInfo
    mark: int | None


async def made_of(connection: Connection, brand_id: int) -> MadeOf:
    """Read it, in one query."""
    row = await connection.fetchrow(_MADE_OF, brand_id)
    texts = (row["zone"], row["rulebooks"], row["settings"], row["fences"])
    return MadeOf(texts, now(Brand(replayed_to=row["replayed_to"])), zone(row["zone"]), row["mark"])


_MADE_OF = """
SELECT b.zone, b.replayed_to, b.rulebooks::text,
    (SELECT min(restores) FROM setting_change WHERE brand_id = $1 AND restores IS NOT NULL) AS mark,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('plugin', plugin, 'enabled', enabled, 'params', params,
        'percent', percent, 'base', base) ORDER BY plugin), '[]')::text
     FROM plugin_setting WHERE brand_id = $1) AS settings,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(plugin, rule, error) ORDER BY plugin, rule), '[]')::text
     FROM fence WHERE brand_id = $1) AS fences
FROM brand b WHERE b.id = $1
"""


async def _bind(ctx: Context, connection: Connection, brand_id: int, made_of: tuple[str, ...], days: ZoneInfo) -> Bound:
    _, _, settings, fenced_rules = made_of
    rows = [PluginSetting(brand_id=brand_id, **setting) for setting in json.loads(settings)]
    known = {(plugin, rule): RuleError(error) for plugin, rule, error in json.loads(fenced_rules)}
    fenced = {**known, **await fences.refused_of(ctx, brand_id, rows)}
    cohorts = cohorts_of(ctx, rows)
    kept = await kept_rulebooks(connection, brand_id)
    rulebooks: list[Rulebook] = []
    failed = dict(fenced)
    for cohort in cohorts:
        content = content_of(kept, cohort)
        rulebook, each = await asyncio.to_thread(
            bind_fenced, cohort.on, states_of(content), fenced=fenced, previous=content
        )
        rulebooks.append(rulebook)
        failed |= each
    if failed.keys() - fenced.keys():
        await fences.note(connection, brand_id, failed, all_asked=False)
    ids = await keep_versions(connection, brand_id, cohorts, rulebooks, kept)
    bound = Bound(made_of, cohorts, [Decider(rulebook, days) for rulebook in rulebooks], ids)
    # What was only now written may yet be rolled back, and makes it another one anyway.
    if failed.keys() == fenced.keys() and ids == [each.id for each in kept]:
        while len(ctx.bound) >= MOST:
            del ctx.bound[next(iter(ctx.bound))]
        ctx.bound[brand_id] = bound
    return bound


def needed(rulebooks: Sequence[Rulebook]) -> list[Fact]:
    """The facts that any of them asks for, each once."""
    return list({fact.name: fact for rulebook in rulebooks for fact in rulebook.facts}.values())


async def keep_versions(
    connection: Connection,
    brand_id: int,
    cohorts: Sequence[Cohort],
    rulebooks: Sequence[Rulebook],
    kept: Sequence[Kept],
) -> list[int]:
    """The ids of the versions of the rulebooks, a cohort each; those that are new are kept and become the brand's."""
    wanted = [(cohort.below, rulebook.version) for cohort, rulebook in zip(cohorts, rulebooks, strict=True)]
    if wanted == [(each.below, each.version) for each in kept]:
        return [each.id for each in kept]
    ids: list[int] = []
    for rulebook in rulebooks:
        content = json.dumps(rulebook.content, ensure_ascii=False, default=str)
        ids.append(await connection.fetchval(_KEEP_RULEBOOK, brand_id, rulebook.version, content))
    pairs = [[below, kept_id] for (below, _), kept_id in zip(wanted, ids, strict=True)]
    await connection.execute("UPDATE brand SET rulebooks = $2::jsonb WHERE id = $1", brand_id, json.dumps(pairs))
    # Of two cohorts the first has what is new; its titles are shown.
    tags: dict[str, CatalogEntry] = {}
    stages: dict[tuple[str, str], CatalogEntry] = {}
    for rulebook in rulebooks:
        for rule in rulebook.tags:
            tags.setdefault(rule.tag.key, CatalogEntry(rule.tag.key, rule.tag.title, rule.plugin))
        # Stages are tried from the end of a track to its beginning; people read them from its beginning.
        for track in rulebook.tracks:
            for stage in reversed(track.stages):
                entry = CatalogEntry(stage.key, stage.title, track.plugin, track.key)
                stages.setdefault((track.key, stage.key), entry)
    entries = [*tags.values(), *stages.values()]
    await Decisions.list_catalog(connection, brand_id, entries, *standing(rulebooks))
    return ids


# What is there already is updated in nothing: only so its id is returned.
_KEEP_RULEBOOK = """
INSERT INTO rulebook_version (brand_id, version, content, created_at) VALUES ($1, $2, $3::jsonb, now())
ON CONFLICT (brand_id, version) DO UPDATE SET version = excluded.version RETURNING id
"""


def standing(rulebooks: Sequence[Rulebook]) -> tuple[set[str], set[str]]:
    """The tags and tracks that stand still in one of the rulebooks."""
    stand = [rulebook.standing for rulebook in rulebooks]
    return {key for each in stand for key in each.tags}, {key for each in stand for key in each.tracks}
