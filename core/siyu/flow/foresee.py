"""What a playbook will send: messages a day, by step, for the days ahead, and what of it the guard would hold. Nothing
is written.

Whom a day brings is known for sure where the calendar decides (birthdays, festivals). Others are taken to come as they
came lately, and to be alike. Nothing happens to anybody meanwhile: whoever is waited for stays silent. What the guard
cannot know so early, :mod:`siyu.flow.rehearsal` says.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from siyu.contract.errors import InputError, NotFound
from siyu.contract.events import MOMENT
from siyu.contract.playbooks import Assign, Daily, Happened, OnDate, Send, StageChanged, TagGained, TagLost
from siyu.contract.program import Instruction, Program
from siyu.engine.cohorts import Cohort
from siyu.engine.days import window_start
from siyu.engine.moving import Known, at_the_start, kinds, simulate, since
from siyu.flow import plugins
from siyu.flow.context import Context, now, zone
from siyu.flow.playbooks import known_of
from siyu.flow.programs import by_name, kept
from siyu.flow.rehearsal import Rehearsal, rehearsal
from siyu.store import enrolments
from siyu.store.db import Connection
from siyu.store.models import Brand

__all__ = ["Expected", "Foresight", "foresee"]

MOST_DAYS = 90
LATELY = 28
"""Days from which it is taken how many come in."""
ALIKE = 2_000
"""Of those who came lately, so many stand for the ones to come."""
MOST_JUDGED = 20_000
"""Of more users the guard is asked about so many, who stand for all."""
AT_ONCE, LATER = "", "*"
"""What becomes of a message that passes; of one that does not, it is the reason."""

MESSAGES = {"user_id": pl.Int64(), "number": pl.Int64(), "moment": MOMENT}
CAME = {"user_id": pl.Int64(), "at": MOMENT}


@dataclass(frozen=True)
class Expected:
    """How many of a step's messages (or tasks: the channel is ``tasks``) are planned for a day.

    So many are ``passing`` the guard, some of them ``delayed`` (quiet hours, caps, best times), maybe to a day that
    follows; the others are ``held`` for good, by reason.
    """

    day: date
    step: str
    channel: str
    purpose: str
    messages: float
    passing: float
    delayed: float
    held: Mapping[str, float]


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
    plugin = name.partition(".")[0]
    cohorts = await plugins.proposed(ctx, brand, plugin, enabled=True, params=params)
    made = by_name(ctx, cohorts)
    if name not in made:
        mine = ", ".join(each for each in made if each.startswith(f"{plugin}.")) or "none"
        raise NotFound(f"no playbook {name!r}", field="playbook", remedy=f"those of {plugin} are: {mine}")
    ahead = _Ahead(ctx, brand, cohorts, made[name], days)
    async with ctx.db.view() as connection:
        entering = await ahead.of_the_calendar(connection)
        if entering is None:
            entering = await ahead.as_lately(connection)
        under_way = await ahead.under_way(connection)
        await ahead.guarded(connection)
    return Foresight(name, ahead.at, days, entering, under_way, ahead.expected())


class _Ahead:
    def __init__(self, ctx: Context, brand: Brand, cohorts: Sequence[Cohort], made: Program, days: int) -> None:
        self._ctx, self._brand, self._cohorts, self._made, self._days = ctx, brand, cohorts, made, days
        self._zone = zone(brand.zone)
        self.at = now(brand)
        self._until = self.at + timedelta(days=days)
        self._today = self.at.astimezone(self._zone).date()
        # Of users who are known, each message; what becomes of it, and of the messages of others, by day and step.
        self._messages = [pl.DataFrame(schema=MESSAGES)]
        self._fates: dict[tuple[int, ...], Counter[str]] = defaultdict(Counter)

    def expected(self) -> tuple[Expected, ...]:
        """What goes out, by day and step."""
        found = []
        for (day, number), fates in sorted(self._fates.items()):
            step = self._made.instructions[number].step
            assert isinstance(step, Send | Assign)
            held = {reason: round(each, 2) for reason, each in sorted(fates.items()) if reason not in (AT_ONCE, LATER)}
            found.append(
                Expected(
                    self._today + timedelta(days=day),
                    self._made.instructions[number].key,
                    step.channel,
                    step.purpose,
                    round(fates.total(), 2),
                    round(fates[AT_ONCE] + fates[LATER], 2),
                    round(fates[LATER], 2),
                    held,
                )
            )
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
            await asyncio.to_thread(self._plan, made, at_the_start(users), moment, known)
        return float(count)

    async def as_lately(self, connection: Connection) -> float:
        """Count those who come as others came lately; returns how many come in."""
        made, begin = self._made, self.at - timedelta(days=LATELY)
        rows = await connection.fetch(*self._lately(begin))
        came = pl.DataFrame([(row["user_id"], row["at"]) for row in rows], schema=CAME, orient="row")
        if came.is_empty():
            return 0.0
        alike = came.get_column("user_id").unique().sort()
        alike = alike.gather_every(-(-len(alike) // ALIKE))
        known = await self._known(connection, [made.audience, *made.conditions], self.at, alike.to_list())
        mine = await self._new(connection, alike.filter(known.holds(made.audience, alike)), self.at)
        a_day = len(came) / LATELY * len(mine) / len(alike)
        if mine.is_empty():
            return 0.0
        planned = _messages(simulate(made, at_the_start(mine), self.at, self._zone, known.holds, self._until))
        # They come day after day of a week, which stands for those that follow: so many as one day brings.
        week = min(7, len(mine))
        weight = a_day * week / len(mine)
        comes = mine.alias("user_id").to_frame().with_row_index("day").with_columns(pl.col("day").cast(pl.Int64) % week)
        later = pl.duration(days="day")
        again = (
            came.group_by("user_id")
            .agg(pl.col("at").max())
            .join(comes, on="user_id")
            .with_columns(again=pl.lit(self.at, MOMENT) + later)
        )
        guard = await self._guard(connection, mine, weight)
        moved = planned.join(comes, on="user_id").with_columns(pl.col("moment") + later)
        fates = await asyncio.to_thread(guard.judge, moved.drop("day"), again)
        back = fates.join(comes, on="user_id").with_columns(pl.col("moment") - later)
        shares = _Shares(self._counted(back, "day"))
        for (offset, number), _, count in self._counted(_planned(planned)):
            for day in range(self._days - offset):
                self._add((day + offset, number), a_day * count / len(mine), shares.of(day % week, offset, number))
        return a_day * self._days

    def _lately(self, begin: datetime) -> tuple[Any, ...]:
        """A statement, with its arguments: a row (``user_id``, ``at``) for each time that somebody would have come
        in."""
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
                await asyncio.to_thread(self._plan, each, start, max(hour, self.at), known)
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

    async def guarded(self, connection: Connection) -> None:
        """Ask the guard about the messages to users who are known."""
        planned = self._ahead(pl.concat(self._messages))
        users = planned.get_column("user_id").unique().sort()
        some = users.gather_every(max(1, -(-len(users) // MOST_JUDGED)))
        if some.is_empty():
            return
        guard = await self._guard(connection, some, len(users) / len(some))
        fates = await asyncio.to_thread(guard.judge, planned.filter(pl.col("user_id").is_in(some.implode())))
        shares = _Shares(self._counted(fates))
        for key, _, count in self._counted(_planned(planned)):
            self._add(key, count, shares.of(*key))

    def _add(self, key: tuple[int, ...], messages: float, shares: Counter[str]) -> None:
        for what, number in shares.items():
            self._fates[key][what] += messages * number / shares.total()  # type: ignore[assignment]

    async def _guard(self, connection: Connection, users: pl.Series, weight: float) -> Rehearsal:
        return await rehearsal(
            self._ctx, connection, self._brand, self._cohorts, self._made, users, at=self.at, weight=weight
        )

    def _plan(self, made: Program, members: pl.DataFrame, at: datetime, known: Known) -> None:
        self._messages.append(_messages(simulate(made, members, at, self._zone, known.holds, self._until)))

    def _ahead(self, messages: pl.DataFrame) -> pl.DataFrame:
        """Those of the days that are asked about."""
        return messages.filter(self._day() < self._days)

    def _day(self) -> pl.Expr:
        """How many days from today on a ``moment`` is."""
        day = pl.col("moment").dt.convert_time_zone(self._zone.key).dt.date()
        return (day - pl.lit(self._today)).dt.total_days()

    def _counted(self, fates: pl.DataFrame, *by: str) -> Iterator[tuple[tuple[int, ...], str, int]]:
        """How many messages of a day and step (and of what else it is told) come to what."""
        passes = pl.when("delayed").then(pl.lit(LATER)).otherwise(pl.lit(AT_ONCE))
        what = pl.when(pl.col("reason") == "").then(passes).otherwise("reason")
        rows = fates.select(*by, "number", ahead=self._day(), what=what).group_by(*by, "ahead", "number", "what").len()
        for *key, reason, count in rows.iter_rows():
            yield tuple(key), reason, count


class _Shares:
    """What becomes of the messages of a key. Where it is not known, of those with a shorter one: the last of it."""

    def __init__(self, counted: Iterable[tuple[tuple[int, ...], str, int]]) -> None:
        self._known: dict[tuple[int, ...], Counter[str]] = defaultdict(Counter)
        for key, what, count in counted:
            for first in range(len(key) + 1):
                self._known[key[first:]][what] += count

    def of(self, *key: int) -> Counter[str]:
        return next(self._known[key[n:]] for n in range(len(key) + 1) if key[n:] in self._known)


def _planned(messages: pl.DataFrame) -> pl.DataFrame:
    return messages.with_columns(reason=pl.lit(""), delayed=pl.lit(False))


def _messages(sent: Iterable[tuple[datetime, Instruction, pl.Series]]) -> pl.DataFrame:
    """Who is sent which step when (:data:`MESSAGES`)."""
    frames = [
        users.alias("user_id").to_frame().with_columns(number=pl.lit(each.number, pl.Int64), moment=pl.lit(at, MOMENT))
        for at, each, users in sent
    ]
    return pl.concat([pl.DataFrame(schema=MESSAGES), *frames])


def _like(tag: str) -> str:
    literal = tag.rstrip("*").replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return literal + "%" if tag.endswith("*") else literal


# Of those who were merged, the one who stands for the person; a day counts once.
_EVENTS = """
SELECT COALESCE(m.into_id, e.user_id) AS user_id, max(e.at) AS at
FROM event e LEFT JOIN merged_user m ON m.brand_id = $1 AND m.user_id = e.user_id
WHERE e.brand_id = $1 AND e.at > $2 AND e.at <= $3 AND e.kind = ANY($4::text[])
GROUP BY 1, (e.at AT TIME ZONE $5)::date
"""
_STAGES = """
WITH entered AS (
    SELECT user_id, stage, since AS at FROM user_stage
    WHERE brand_id = $1 AND track = $4 AND since > $2 AND since <= $3
    UNION ALL SELECT user_id, stage, since FROM stage_history
    WHERE brand_id = $1 AND track = $4 AND since > $2 AND since <= $3 AND until > since
)
SELECT e.user_id, e.at FROM entered e
LEFT JOIN stage_history h ON h.brand_id = $1 AND h.track = $4 AND h.user_id = e.user_id AND h.until = e.at
WHERE ($6::text[] = '{}' OR e.stage = ANY($6)) AND ($5::text[] = '{}' OR h.stage = ANY($5))
"""
_GAINED = """
SELECT user_id, since AS at FROM tag_assignment WHERE brand_id = $1 AND since > $2 AND since <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
UNION ALL SELECT user_id, since FROM tag_history WHERE brand_id = $1 AND since > $2 AND since <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
"""
_LOST = """
SELECT user_id, until AS at FROM tag_history WHERE brand_id = $1 AND until > $2 AND until <= $3
    AND tag_id IN (SELECT id FROM tag WHERE brand_id = $1 AND key LIKE $4)
"""
