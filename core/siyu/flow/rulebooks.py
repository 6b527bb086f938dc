"""The rulebooks that a brand's users are decided by: bound, compiled, and kept as a version.

Binding asks every rule and compiles what it says, which takes longer than to decide for a hundred users. So what is
bound stays in the process for as long as all that it is made of stands in the database: the settings of the plugins,
the kept rulebooks with their fitted states, and the fences. They are read each time, in one query, and to decide
under the brand's decision lock; whoever changes one of them, in whatever process, is heeded by the next decision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from siyu.contract.errors import RuleError
from siyu.contract.facts import Fact
from siyu.engine.cohorts import Cohort
from siyu.engine.evaluate import Decider
from siyu.engine.rulebook import Failed, Rulebook
from siyu.flow import fences
from siyu.flow.context import Context, zone
from siyu.flow.plugins import SETTINGS, KeptRulebook, bind_cohorts, cohorts_of, kept_rulebooks, settings_in
from siyu.store.db import Connection
from siyu.store.decisions import CatalogEntry, Decisions
from siyu.store.enrolments import listens_in

__all__ = [
    "Bound",
    "FactKey",
    "MadeOf",
    "Meaning",
    "Present",
    "bound_now",
    "keep_versions",
    "named_facts",
    "needed",
    "present",
    "standing",
]

MOST = 100
"""Brands whose rulebooks stay bound in a process."""


FactKey: TypeAlias = tuple[str, str, str]
"""Plugin, rule and name."""
Meaning: TypeAlias = Sequence[tuple[Cohort, Fact | None]]
"""A fact for the users of each cohort; None where their plugins do not have it."""


class MadeOf(NamedTuple):
    """All that rulebooks of a brand are made of, as texts that are equal where nothing has changed."""

    zone: str
    rulebooks: str
    settings: str
    fences: str


@dataclass(frozen=True)
class Bound:
    """The rulebooks of a brand, compiled, one a cohort. ``kept`` are those that it has (without their content), and
    ``failed`` the rules that fail now and are not fenced yet."""

    made_of: MadeOf
    cohorts: Sequence[Cohort]
    deciders: Sequence[Decider]
    kept: Sequence[KeptRulebook]
    failed: Failed

    @cached_property
    def rulebooks(self) -> list[Rulebook]:
        """One a cohort."""
        return [decider.rulebook for decider in self.deciders]

    @cached_property
    def facts(self) -> list[Fact]:
        """What any of them needs to know of a user."""
        return needed(self.rulebooks)

    @cached_property
    def meanings(self) -> Mapping[FactKey, Meaning]:
        """What the names of facts mean."""
        named = [(cohort, named_facts(cohort, each)) for cohort, each in zip(self.cohorts, self.rulebooks, strict=True)]
        return {key: [(cohort, each.get(key)) for cohort, each in named] for _, facts in named for key in facts}


@dataclass(frozen=True)
class Present:
    """What a brand lives by just now: the moment, its days, the ``mark`` of an undo under way, its rulebooks, and what
    its playbooks wait for."""

    at: datetime
    days: ZoneInfo
    mark: int | None
    bound: Bound
    listens: Mapping[str, set[str]]


async def present(ctx: Context, connection: Connection, brand_id: int) -> tuple[Present, list[int]]:
    """As :func:`bound_now`, and the ids of the versions of its rulebooks, which are kept; what fails is fenced."""
    here = await bound_now(ctx, connection, brand_id)
    if here.bound.failed:
        await fences.note(connection, brand_id, here.bound.failed, all_asked=False)
    bound = here.bound
    return here, await keep_versions(connection, brand_id, bound.cohorts, bound.rulebooks, bound.kept)


async def bound_now(ctx: Context, connection: Connection, brand_id: int) -> Present:
    """Read what the brand lives by, and bind its rulebooks where anything that they are made of has changed: the rules
    as they are set now, with what was fitted last; fenced ones are not asked. Nothing is written."""
    row = await connection.fetchrow(_MADE_OF, brand_id)
    made, days = MadeOf(*(row[name] for name in MadeOf._fields)), zone(row["zone"])
    bound = ctx.bound.get(brand_id)
    if bound is None or bound.made_of != made:
        bound = await _bind(ctx, connection, brand_id, made, days)
    return Present(row["replayed_to"] or datetime.now(UTC), days, row["mark"], bound, listens_in(row["listens"]))


_MADE_OF = f"""
SELECT b.zone, b.replayed_to, b.rulebooks::text, b.listens::text,
    (SELECT min(restores) FROM setting_change WHERE brand_id = $1 AND restores IS NOT NULL) AS mark,
    {SETTINGS} AS settings,
    (SELECT coalesce(jsonb_agg(jsonb_build_array(plugin, rule, error) ORDER BY plugin, rule), '[]')::text
     FROM fence WHERE brand_id = $1) AS fences
FROM brand b WHERE b.id = $1
"""


async def _bind(ctx: Context, connection: Connection, brand_id: int, made: MadeOf, days: ZoneInfo) -> Bound:
    rows = settings_in(made.settings, brand_id)
    kept = await kept_rulebooks(connection, brand_id, made.rulebooks)
    fenced: Failed = {(plugin, rule): RuleError(error) for plugin, rule, error in json.loads(made.fences)}
    fenced |= fences.refused_of(ctx, rows, kept)
    cohorts = cohorts_of(ctx, rows)
    each = await bind_cohorts(cohorts, kept, fenced)
    bound = Bound(
        made,
        cohorts,
        [Decider(rulebook, days) for rulebook, _ in each],
        [replace(known, content={}) for known in kept],
        {rule: error for _, failed in each for rule, error in failed.items() if rule not in fenced},
    )
    # What fails is asked again until it is fenced.
    if not bound.failed:
        ctx.bound.pop(brand_id, None)
        while len(ctx.bound) >= MOST:
            del ctx.bound[next(iter(ctx.bound))]
        ctx.bound[brand_id] = bound
    return bound


def needed(rulebooks: Sequence[Rulebook]) -> list[Fact]:
    """The facts that any of them asks for, each once."""
    return list({fact.name: fact for rulebook in rulebooks for fact in rulebook.facts}.values())


def named_facts(cohort: Cohort, rulebook: Rulebook) -> dict[FactKey, Fact]:
    """The facts of each rule by plugin, rule and name: as declared, with those that all of its tags mean by a name."""
    found = {
        (plugin.name, rule.key, name): fact
        for plugin, _ in cohort.on
        for rule in plugin.rules
        for name, fact in rule.facts.items()
    }
    reasons = [(each.plugin, each.reason) for each in rulebook.tags]
    reasons += [(track.plugin, reason) for track in rulebook.tracks for reason in track.reasons]
    ambiguous: set[FactKey] = set()
    for plugin, reason in reasons:
        for name, fact in reason.named.items():
            key = (plugin, reason.rule, name)
            if found.setdefault(key, fact).name != fact.name:
                ambiguous.add(key)
    return {key: found[key] for key in sorted(found, key=lambda key: key[:2]) if key not in ambiguous}


async def keep_versions(
    connection: Connection,
    brand_id: int,
    cohorts: Sequence[Cohort],
    rulebooks: Sequence[Rulebook],
    kept: Sequence[KeptRulebook],
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
