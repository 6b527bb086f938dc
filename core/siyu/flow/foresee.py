"""What a playbook will send: messages a day, by step, for the days ahead. Nothing is written.

Whom a day brings is known for sure where the calendar decides (birthdays, festivals). Others are taken to come as they
came lately, and to be alike. Nothing happens to anybody meanwhile: whoever is waited for stays silent. What the guard
holds back is not taken off.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from siyu.contract.errors import InputError, NotFound
from siyu.contract.playbooks import Assign, Daily, Happened, OnDate, Send, StageChanged, TagGained, TagLost
from siyu.contract.program import Instruction, Program
from siyu.engine.days import window_start
from siyu.engine.moving import Known, at_the_start, kinds, simulate, since
from siyu.flow import plugins
from siyu.flow.context import Context, now, zone
from siyu.flow.playbooks import known_of
from siyu.flow.programs import by_name, kept
from siyu.store import enrolments
from siyu.store.db import Connection
from siyu.store.models import Brand

__all__ = ["Expected", "Foresight", "foresee"]

MOST_DAYS = 90
LATELY = 28
"""Days from which it is taken how many come in."""
ALIKE = 2_000
"""Of those who came lately, so many stand for the ones to come."""


@dataclass(frozen=True)
class Expected:
    """How many of a step's messages (or tasks: the channel is ``tasks``) go out on a day."""

    day: date
    step: str
    channel: str
    purpose: str
    messages: float


@dataclass(frozen=True)
class Foresight:
    """What is to come of a playbook; ``entering`` users will come in, ``under_way`` are in it already."""

    playbook: str
    at: datetime
    days: int
    entering: float
    under_way: int
    expected: tuple[Expected, ...]


async def foresee(
    ctx: Context, brand: Brand, name: str, *, days: int = 30, params: Mapping[str, Any] | None = None
) -> Foresight:
    """What the playbook of that name (``plugin.key``) would send from now on, were its plugin on, under ``params`` of
    the plugin (whole; as they are if not given)."""
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"{days} days", field="days", remedy=f"look 1 to {MOST_DAYS} days ahead")
    made = await _program(ctx, brand, name, params)
    ahead = _Ahead(ctx, brand, made, days)
    async with ctx.db.view() as connection:
        entering = await ahead.of_the_calendar(connection)
        if entering is None:
            entering = await ahead.as_lately(connection)
        under_way = await ahead.under_way(connection)
    return Foresight(name, ahead.at, days, entering, under_way, ahead.expected())


async def _program(ctx: Context, brand: Brand, name: str, params: Mapping[str, Any] | None) -> Program:
    plugin = name.partition(".")[0]
    cohorts = await plugins.proposed(ctx, brand, plugin, enabled=True, params=params)
    made = by_name(ctx, cohorts)
    if name not in made:
        mine = ", ".join(each for each in made if each.startswith(f"{plugin}.")) or "none"
        raise NotFound(f"no playbook {name!r}", field="playbook", remedy=f"those of {plugin} are: {mine}")
    return made[name]


class _Ahead:
    def __init__(self, ctx: Context, brand: Brand, made: Program, days: int) -> None:
        self._ctx, self._brand, self._made, self._days = ctx, brand, made, days
        self._zone = zone(brand.zone)
        self.at = now(brand)
        self._until = self.at + timedelta(days=days)
        self._today = self.at.astimezone(self._zone).date()
        self._counts: dict[tuple[int, int], float] = defaultdict(float)

    def expected(self) -> tuple[Expected, ...]:
        """What goes out, by day and step."""
        found = []
        for (day, number), messages in sorted(self._counts.items()):
            if day < self._days:
                step = self._made.instructions[number].step
                assert isinstance(step, Send | Assign)
                key = self._made.instructions[number].key
                date_ = self._today + timedelta(days=day)
                found.append(Expected(date_, key, step.channel, step.purpose, round(messages, 2)))
        return tuple(found)

    async def of_the_calendar(self, connection: Connection) -> float | None:
        """Count whom the calendar brings; returns how many come in, or None where it has no say."""
        made, trigger = self._made, self._made.trigger
        if not isinstance(trigger, Daily | OnDate):
            return None
        count = 0
        for day in range(self._days):
            date_ = self._today + timedelta(days=day)
            if isinstance(trigger, OnDate) and trigger != OnDate(date_.month, date_.day):
                continue
            moment = max(self.at, window_start(self.at, self._zone, 1) + timedelta(days=day, minutes=2))
            condition = made.audience if isinstance(trigger, OnDate) else trigger.when & made.audience
            known = await self._known(connection, [condition, *made.conditions], moment)
            users = known.frame.get_column("user_id")
            users = await self._new(connection, users.filter(known.holds(condition, users)), moment)
            count += len(users)
            await asyncio.to_thread(self._count, made, at_the_start(users), moment, known, 1.0)
        return float(count)

    async def as_lately(self, connection: Connection) -> float:
        """Count those who come as others came lately; returns how many come in."""
        made, begin = self._made, self.at - timedelta(days=LATELY)
        rows = await connection.fetch(*self._lately(begin))
        came = pl.Series("user_id", [row["user_id"] for row in rows], pl.Int64)
        if came.is_empty():
            return 0.0
        alike = came.unique().sort()
        alike = alike.gather_every(-(-len(alike) // ALIKE))
        known = await self._known(connection, [made.audience, *made.conditions], self.at, alike.to_list())
        mine = await self._new(connection, alike.filter(known.holds(made.audience, alike)), self.at)
        a_day = len(came) / LATELY * len(mine) / len(alike)
        paths = list(simulate(made, at_the_start(mine), self.at, self._zone, known.holds, self._until))
        for day in range(self._days):
            for moment, each, users in paths:
                self._add(moment + timedelta(days=day), each, a_day * len(users) / len(mine))
        return a_day * self._days

    def _lately(self, begin: datetime) -> tuple[Any, ...]:
        """A statement, with its arguments: a row (``user_id``) for each time that somebody would have come in."""
        brand = self._brand.id
        match self._made.trigger:
            case Happened(event):
                names = list(kinds(self._ctx.plugins.catalog, event))
                return _EVENTS, brand, begin, self.at, names, self._zone.key
            case StageChanged(track, before, after):
                return _STAGES, brand, begin, self.at, track, sorted(before), sorted(after)
            case TagGained(tag):
                return _GAINED, brand, begin, self.at, _like(tag)
            case TagLost(tag):
                return _LOST, brand, begin, self.at, _like(tag)
        return ("SELECT 0 AS user_id WHERE $1::int IS NULL", brand)

    async def under_way(self, connection: Connection) -> int:
        """Count those who are in it already; returns how many they are."""
        rows = await enrolments.all_under_way(connection, self._brand.id, self._made.name)
        made = await kept(self._ctx, connection, self._brand.id, rows.get_column("version_id").unique().to_list())
        # By the hour: to move each on by itself would take as long as to carry it out.
        due = pl.max_horizontal("due_at", pl.lit(self.at).dt.convert_time_zone("UTC")).dt.truncate("1h")
        for (version, hour), members in rows.with_columns(hour=due).group_by("version_id", "hour"):
            each = made[version]
            users = members.get_column("user_id").unique().to_list()
            known = await self._known(connection, each.conditions, self.at, users)
            start = members.select("id", "user_id", "step", heard=pl.when("listens").then(pl.col("heard")))
            if each.version == self._made.version and hour <= self._until:
                await asyncio.to_thread(self._count, each, start, max(hour, self.at), known, 1.0)
        return len(rows)

    async def _known(
        self, connection: Connection, conditions: Iterable[Any], at: datetime, users: list[int] | None = None
    ) -> Known:
        return await known_of(self._ctx, connection, self._brand, conditions, at, users)

    async def _new(self, connection: Connection, users: pl.Series, at: datetime) -> pl.Series:
        """Those who may come in, as far as they have not lately."""
        after = since(self._made.reentry, at, self._zone)
        gone = await enrolments.entered(connection, self._brand.id, self._made.name, users.to_list(), after)
        return users.filter(~users.is_in(gone)) if gone else users

    def _count(self, made: Program, members: pl.DataFrame, at: datetime, known: Known, weight: float) -> None:
        for moment, each, users in simulate(made, members, at, self._zone, known.holds, self._until):
            self._add(moment, each, weight * len(users))

    def _add(self, moment: datetime, each: Instruction, messages: float) -> None:
        assert isinstance(each.step, Send | Assign)
        day = (moment.astimezone(self._zone).date() - self._today).days
        self._counts[day, each.number] += messages


def _like(tag: str) -> str:
    literal = tag.rstrip("*").replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return literal + "%" if tag.endswith("*") else literal


# Of those who were merged, the one who stands for the person; a day counts once.
_EVENTS = """
SELECT DISTINCT COALESCE(m.into_id, e.user_id) AS user_id, (e.at AT TIME ZONE $5)::date
FROM event e LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = e.user_id
WHERE e.brand_id = $1 AND e.at > $2 AND e.at <= $3 AND e.kind = ANY($4::text[])
"""
_STAGES = """
WITH entered AS (
    SELECT user_id, stage, since AS at FROM user_stage
    WHERE brand_id = $1 AND track = $4 AND since > $2 AND since <= $3
    UNION ALL SELECT user_id, stage, since FROM stage_history
    WHERE brand_id = $1 AND track = $4 AND since > $2 AND since <= $3 AND until > since
)
SELECT e.user_id FROM entered e
LEFT JOIN stage_history h ON h.brand_id = $1 AND h.track = $4 AND h.user_id = e.user_id AND h.until = e.at
WHERE ($6::text[] = '{}' OR e.stage = ANY($6)) AND ($5::text[] = '{}' OR h.stage = ANY($5))
"""
_GAINED = """
SELECT user_id FROM tag_assignment WHERE brand_id = $1 AND since > $2 AND since <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
UNION ALL SELECT user_id FROM tag_history WHERE brand_id = $1 AND since > $2 AND since <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
"""
_LOST = """
SELECT user_id FROM tag_history WHERE brand_id = $1 AND until > $2 AND until <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
"""
