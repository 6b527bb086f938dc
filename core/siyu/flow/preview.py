"""What if: what a change of settings would do now, and what it would have done. Nothing is written.

Both sides are evaluated fresh, at the same moment and from the same decisions that stand: today's rules and the
proposed ones. So only the change of settings shows, and what a preview says is what happens when the change is made,
provided that the brand is up to date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.budget import stopped_for_good
from siyu.contract.errors import InputError
from siyu.contract.events import Catalog
from siyu.contract.unknown_tags import UnknownTag
from siyu.engine.cohorts import BUCKETS, Cohort, aligned
from siyu.engine.diff import Changes, diff
from siyu.engine.effects import Effect, Flow, Part, Size, effects, flows, sizes
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.rulebook import Failed, Name, Rulebook
from siyu.flow import fences, plugins
from siyu.flow.context import Context, aware, now, zone
from siyu.flow.engines import Polars
from siyu.flow.playbooks import sent_at_once
from siyu.flow.plugins import KeptRulebook, content_of, kept_rulebooks
from siyu.flow.programs import programs
from siyu.flow.refresh import judge
from siyu.flow.unknown_tags import unknown_tags_of
from siyu.history import History
from siyu.store.db import Connection
from siyu.store.decisions import Decisions
from siyu.store.lake import Lake, history_of
from siyu.store.models import Brand
from siyu.store.wide import together

__all__ = ["Actions", "Failing", "Point", "Preview", "Replay", "moments", "preview", "replay"]

DAYS = 28
"""How far actions a day look back."""
SAMPLE = 20_000
"""Of a larger brand, actions a day are counted for so many users and scaled."""
WEEK = timedelta(days=7)
MOST_MOMENTS = 1_000


# -- what is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Actions:
    """Actions of playbooks: ``now``, set off by the change itself, and a day: the mean of the :data:`DAYS` days before,
    under today's rules and the proposed ones, counted for ``users`` users of the brand and scaled."""

    now: int
    per_day_today: float
    per_day: float
    users: int


@dataclass(frozen=True)
class Preview:
    """What a change would do ``at`` a moment. ``today`` and ``proposed`` are the versions of the rulebooks."""

    at: datetime
    users: int
    today: str
    proposed: str
    tags: tuple[Effect, ...]
    stages: tuple[Effect, ...]
    actions: Actions
    unknown_tags: tuple[UnknownTag, ...]
    """Tags that would be asked for in vain: by the plugin, and by others because of the change."""


@dataclass(frozen=True)
class Point:
    """One moment of a replay."""

    at: datetime
    users: int
    tags: tuple[Size, ...]
    stages: tuple[Size, ...]
    moves: tuple[Flow, ...]


@dataclass(frozen=True)
class Failing:
    """A rule that fails at ``moments`` moments of a replay, ``at`` one first: there it decides nothing."""

    plugin: str
    rule: str
    error: str
    at: datetime
    moments: int


@dataclass(frozen=True)
class Replay:
    """The past as rules would have seen it, the earliest first; ``compared`` says whether with a change beside."""

    compared: bool
    points: tuple[Point, ...]
    failing: tuple[Failing, ...] = ()


# -- preview ------------------------------------------------------------------------------------------------------


async def preview(
    ctx: Context,
    brand: Brand,
    plugin: str,
    *,
    enabled: bool | None = None,
    params: Mapping[str, Any] | None = None,
    percent: int = BUCKETS,
    at: datetime | None = None,
    samples: int = 5,
    most: float = inf,
) -> Preview:
    """What would change were ``plugin`` switched (``enabled``), set (``params``, whole) or both, as of ``at``.

    Of a change for ``percent`` of the users, ``today`` and ``proposed`` are the rulebooks of those. No rule may take
    more than ``most`` seconds.
    """
    sides = await _sides(ctx, brand, plugin, enabled, params, percent)
    aware(at, "at")
    at = at or now(brand)
    days, catalog = zone(brand.zone), ctx.plugins.catalog
    async with ctx.db.view() as connection:
        stored = await Lake(ctx.home, brand.id, catalog).peek(connection)
        stood = await _standing(Decisions(ctx.home, brand.id), connection)
        kept = await kept_rulebooks(connection, brand.id)
    # What fails already, of others, is not asked: one that hangs would take all the time.
    out = await fences.fenced(brand.id, but=plugin)
    with stopped_for_good(most):
        groups, facts, failed = await _judged(sides, catalog, history_of(stored), at, days, kept, out)
    _refuse_failing(failed, plugin)

    def compared() -> tuple[list[Effect], list[Changes]]:
        return effects([group.decide(facts, [stood, stood], at, days) for group in groups], samples)

    listed, changes = await asyncio.to_thread(compared)
    tags, stages = _parted(listed)
    count = sum(
        sent_at_once(programs(ctx, group.cohorts[1].on), change.stages)
        for group, change in zip(groups, changes, strict=True)
    )
    a_day = await _actions_a_day(ctx, brand, groups, history_of(stored), facts.get_column("user_id"), at)
    today, new = groups[0].rulebooks
    actions = Actions(count, *a_day)
    unknown = _unknown(ctx, groups, plugin)
    return Preview(at.astimezone(UTC), len(facts), today.version, new.version, tags, stages, actions, unknown)


def _unknown(ctx: Context, groups: Sequence[_Group], plugin: str) -> tuple[UnknownTag, ...]:
    before, then = (
        unknown_tags_of(ctx, [group.cohorts[side] for group in groups], [group.rulebooks[side] for group in groups])
        for side in range(2)
    )
    return tuple(each for each in then if each.plugin == plugin or each not in before)


@dataclass(frozen=True)
class _Group:
    """Users who live under one rulebook, or today and were the change made: one a side."""

    cohorts: tuple[Cohort, ...]
    rulebooks: tuple[Rulebook, ...]

    def decide(self, facts: pl.DataFrame, before: Sequence[pl.DataFrame], at: datetime, days: ZoneInfo) -> Part:
        mine = self.cohorts[0].of(facts)
        decided = (
            Decider(rulebook, days).frame(mine, stood, at)
            for rulebook, stood in zip(self.rulebooks, before, strict=True)
        )
        return Part(self.rulebooks, tuple(decided), mine)


async def _judged(
    sides: Sequence[Sequence[Cohort]],
    catalog: Catalog,
    history: History,
    at: datetime,
    days: ZoneInfo,
    kept: Sequence[KeptRulebook],
    fenced: Failed,
) -> tuple[list[_Group], pl.DataFrame, list[Failed]]:
    """The users in groups, the facts of all of them, and of each side what fails; what is ``fenced`` is not asked, and
    stands as in the rulebooks that are ``kept``."""
    every = [cohort for side in sides for cohort in side]
    previous = [content_of(kept, cohort) for cohort in every]
    engine = Polars(catalog, history, at, days)
    rulebooks, facts, failed = await judge(every, engine, fenced=fenced, previous=previous)
    found = iter(zip(rulebooks, failed, strict=True))
    judged = [[(cohort, *next(found)) for cohort in side] for side in sides]
    groups = [
        _Group(
            cohorts,
            tuple(
                next(rulebook for whole, rulebook, _ in side if whole.low <= cohort.low < whole.below)
                for cohort, side in zip(cohorts, judged, strict=True)
            ),
        )
        for cohorts in aligned(*sides)
    ]
    return groups, facts, [{n: e for _, _, each in side for n, e in each.items()} for side in judged]


def _refuse_failing(failed: Sequence[Failed], plugin: str) -> None:
    """Nobody sees what a rule would do that fails: what fails today already is another's, or is the one asked about."""
    for rule, error in sorted(failed[1].items(), key=lambda each: each[0]):
        if rule not in failed[0] or rule[0] == plugin:
            raise plugins.failure(rule, error) from error


async def _standing(decisions: Decisions, connection: Connection) -> pl.DataFrame:
    try:
        return await decisions.of_all(connection)
    except FileNotFoundError:
        # No lock is held: a refresh has put a new snapshot in the place of the one that was found.
        return await decisions.of_all(connection)


# -- actions a day ------------------------------------------------------------------------------------------------


async def _actions_a_day(
    ctx: Context, brand: Brand, groups: Sequence[_Group], history: History, users: pl.Series, at: datetime
) -> tuple[float, float, int]:
    """Actions a day under today's rules and the proposed ones, and of how many users they were counted."""
    if users.is_empty() or not any(
        plugin.playbooks for group in groups for cohort in group.cohorts for plugin, _ in cohort.on
    ):
        return 0.0, 0.0, 0
    # Ids are in the order of first contact: every n-th is a fair sample, and the same one each time.
    some = users.gather_every(-(-len(users) // SAMPLE))
    async with ctx.db.connection() as connection:
        began = at - timedelta(days=DAYS)
        stood = await Decisions(ctx.home, brand.id).stages_at(connection, began, some.to_list())
    moments = [began + timedelta(days=day) for day in range(DAYS + 1)]

    def counted() -> list[int]:
        mine = history.held(some)
        counts = [0, 0]
        # Only changes of stage set off actions.
        tracks = [
            replace(group, rulebooks=tuple(replace(rulebook, tags=()) for rulebook in group.rulebooks))
            for group in groups
        ]
        wanted = {fact.name: fact for group in tracks for rulebook in group.rulebooks for fact in rulebook.facts}
        before = [[stood, stood] for _ in tracks]
        made = [[programs(ctx, cohort.on) for cohort in group.cohorts] for group in tracks]
        for moment in moments:
            facts = compute(list(wanted.values()), ctx.plugins.catalog, mine, moment, zone(brand.zone))
            for number, group in enumerate(tracks):
                part = group.decide(facts, before[number], moment, zone(brand.zone))
                for side, rulebook in enumerate(group.rulebooks):
                    if moment > began:
                        moved = diff(rulebook, before[number][side], part.decided[side], part.facts).stages
                        counts[side] += sent_at_once(made[number][side], moved)
                before[number] = list(part.decided)
        return counts

    counts = await asyncio.to_thread(counted)
    today, new = (count / DAYS * len(users) / len(some) for count in counts)
    return today, new, len(some)


# -- replay -------------------------------------------------------------------------------------------------------


async def replay(
    ctx: Context,
    brand: Brand,
    plugin: str | None = None,
    *,
    enabled: bool | None = None,
    params: Mapping[str, Any] | None = None,
    percent: int = BUCKETS,
    since: datetime,
    until: datetime | None = None,
    every: timedelta = WEEK,
    most: float = inf,
) -> Replay:
    """The brand's users as its rules would have put them, from ``since`` to ``until`` (the brand's present).

    Moments lie ``every`` so long, counted back from ``until``. With a plugin and what is to change, the proposed rules
    stand beside today's. Both begin with the stages that are kept of the first moment, and carry forward their own; a
    brand that was not decided for then begins with none. No rule may take more than ``most`` seconds.
    """
    chosen = moments(since, until or now(brand), every)
    sides = [await plugins.cohorts(ctx, brand.id)]
    if plugin is not None:
        sides = await _sides(ctx, brand, plugin, enabled, params, percent)
    elif enabled is not None or params is not None:
        raise InputError("a change of which plugin?", field="plugin", remedy="name the plugin")
    catalog, days = ctx.plugins.catalog, zone(brand.zone)
    async with ctx.db.view() as connection:
        stored = await Lake(ctx.home, brand.id, catalog).peek(connection)
        stood = await Decisions(ctx.home, brand.id).stages_at(connection, chosen[0])
        kept = await kept_rulebooks(connection, brand.id)
    out = await fences.fenced(brand.id, but=plugin)
    before = [stood] * len(sides)
    points = []
    failing: dict[Name, Failing] = {}
    # A rule that raises at one moment, as nobody has bought yet, is asked again at the next; one that hangs is not.
    with stopped_for_good(most):
        for moment in chosen:
            groups, facts, failed = await _judged(sides, catalog, history_of(stored), moment, days, kept, out)
            for name, error in {n: e for side in reversed(failed) for n, e in side.items()}.items():
                known = failing.get(name) or Failing(*name, fences.words(error), moment.astimezone(UTC), 0)
                failing[name] = replace(known, moments=known.moments + 1)
            point, before = await asyncio.to_thread(_point, groups, facts, before, moment, days)
            points.append(point)
    if plugin is not None:
        _refuse_failing(failed, plugin)
    return Replay(plugin is not None, tuple(points), tuple(failing[name] for name in sorted(failing)))


def _point(
    groups: Sequence[_Group], facts: pl.DataFrame, before: Sequence[pl.DataFrame], at: datetime, days: ZoneInfo
) -> tuple[Point, list[pl.DataFrame]]:
    parts = [group.decide(facts, before, at, days) for group in groups]
    tags, stages = _parted(sizes(parts))
    point = Point(at.astimezone(UTC), len(facts), tags, stages, tuple(flows(before, parts)))
    return point, [together([part.decided[side] for part in parts]) for side in range(len(before))]


T = TypeVar("T", Effect, Size)


def _parted(listed: Iterable[T]) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Tags and stages."""
    every = tuple(listed)
    return tuple(each for each in every if each.track is None), tuple(each for each in every if each.track is not None)


def moments(since: datetime, until: datetime, every: timedelta) -> list[datetime]:
    """The moments of a replay, the earliest first."""
    aware(since, "since")
    aware(until, "until")
    if since > until:
        raise InputError(f"{since} is later than until {until}", field="since", remedy="give an earlier moment")
    if every <= timedelta(0):
        raise InputError(f"every {every}", field="every", remedy="give a day or more")
    steps = (until - since) // every
    if steps >= MOST_MOMENTS:
        raise InputError(f"{steps + 1:,} moments", field="every", remedy=f"ask for at most {MOST_MOMENTS:,}")
    return [until - every * step for step in range(steps, -1, -1)]


async def _sides(
    ctx: Context, brand: Brand, plugin: str, enabled: bool | None, params: Mapping[str, Any] | None, percent: int
) -> list[list[Cohort]]:
    """What is on today, and what would be."""
    new = await plugins.proposed(ctx, brand, plugin, enabled=enabled, params=params, percent=percent)
    if enabled is None and params is None and percent == BUCKETS:
        raise InputError("nothing would change", field="enabled", remedy="switch the plugin, give parameters, or both")
    return [await plugins.cohorts(ctx, brand.id), new]
