"""The calendar of content: what the days ahead have in plan, by the days of the calendar that playbooks keep and by
those who are under way.

Nobody is looked at: of a branch both ways are shown, and an answer that is waited for does not come.
:func:`siyu.flow.foresee.foresee` says how many messages there will be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from siyu.contract.errors import InputError
from siyu.contract.playbooks import AddTag, Assign, OnDate, Send
from siyu.contract.program import Instruction, Program
from siyu.engine.days import window_start
from siyu.engine.moving import ahead
from siyu.flow import plugins
from siyu.flow.context import Context, now, zone
from siyu.flow.programs import by_name, kept
from siyu.store import enrolments
from siyu.store.models import Brand

__all__ = ["MOST_DAYS", "Entry", "calendar"]

MOST_DAYS = 90
THE_NIGHTLY_RUN = time(0, 2)
"""When a day brings those whom its date does."""


@dataclass(frozen=True)
class Entry:
    """What a step says on a day; ``template`` is the key of its text, empty where it gives a benefit.

    ``users`` are how many at most are on their way there; None where a day of the calendar will bring them.
    """

    day: date
    playbook: str
    title: str
    step: str
    channel: str
    purpose: str
    template: str
    users: int | None


async def calendar(ctx: Context, brand: Brand, *, days: int = 30) -> list[Entry]:
    """What is in plan for today and the ``days`` after it, in order."""
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"{days} days", field="days", remedy=f"look 1 to {MOST_DAYS} days ahead")
    at, here = now(brand), zone(brand.zone)
    today = at.astimezone(here).date()
    until = window_start(at, here, 1) + timedelta(days=days + 1)
    found: dict[tuple[date, str, str], Entry] = {}
    for made in by_name(ctx, await plugins.cohorts(ctx, brand.id)).values():
        # Whom today's date has brought is under way.
        for number in range(1, days + 1):
            day = today + timedelta(days=number)
            if made.trigger == OnDate(day.month, day.day):
                begin = datetime.combine(day, THE_NIGHTLY_RUN, here)
                _add(found, made, ahead(made, 0, begin, here), here, None)
    async with ctx.db.connection() as connection:
        rows = await enrolments.by_step(connection, brand.id, at, until, brand.zone)
        begun = await kept(ctx, connection, brand.id, {row["version_id"] for row in rows})
    for row in rows:
        made = begun[row["version_id"]]
        steps = ahead(made, row["step"], row["due_at"], here, waited=row["listens"])
        _add(found, made, steps, here, row["users"])
    last = today + timedelta(days=days)
    return sorted((each for each in found.values() if each.day <= last), key=lambda e: (e.day, e.playbook, e.step))


def _add(
    found: dict[tuple[date, str, str], Entry],
    made: Program,
    steps: Iterable[tuple[datetime, Instruction]],
    here: ZoneInfo,
    users: int | None,
) -> None:
    for moment, each in steps:
        step, day = each.step, moment.astimezone(here).date()
        if not isinstance(step, Send | Assign) or isinstance(step, AddTag):
            continue
        template = made.text_key(each)
        before = found.get((day, made.name, each.key))
        known = [number for number in (users, before.users if before else None) if number is not None]
        found[day, made.name, each.key] = Entry(
            day, made.name, made.title, each.key, step.channel, step.purpose, template, sum(known) if known else None
        )
