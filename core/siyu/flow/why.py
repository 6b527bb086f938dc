"""Why: the whole story of an action, and why a user was or was not written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from siyu.contract.errors import InputError, NotFound
from siyu.engine.guard import CHECKS
from siyu.flow import plugins
from siyu.flow.context import Context, now
from siyu.flow.programs import kept, programs
from siyu.store.models import Action, Brand, Consent, Enrolment, MergedUser, PlaybookVersion, RulebookVersion

__all__ = ["MOST_DAYS", "Entry", "OnTheWay", "Story", "UserStory", "of_action", "of_user", "reasons"]

MOST = 200
"""Actions of a user that are told of, the newest first; also ways, and consents."""
MOST_DAYS = 90

OWN_REASONS = {
    "attempts": "多次尝试后仍失败",
    "bounced": "消息被退回",
    "content": "内容无法生成",
    "error": "渠道出错",
    "given_back": "未及交付，退回重审",
    "later": "渠道暂不可用，稍后再试",
    "lost": "交付后无回音",
    "no_channel": "品牌没有该渠道",
    "no_receipt": "渠道没有回执",
    "refused": "渠道拒收",
    "settled": "人工核实",
    "unknown": "结果不明",
}


def reasons(ctx: Context) -> dict[str, str]:
    """What each reason that an action may have means, in words: those of checks, and those of dispatch."""
    declared = {check.key: check.title for plugin in ctx.plugins.plugins.values() for check in plugin.checks}
    return {**OWN_REASONS, **{check.key: check.title for check in CHECKS}, **declared}


@dataclass(frozen=True)
class Entry:
    """A step of an action: when, the status, and the reason with its meaning and words, if there is one."""

    at: datetime
    status: str
    reason: str
    meaning: str
    words: str


@dataclass(frozen=True)
class OnTheWay:
    """A user's way through a playbook. ``step`` is what comes next, ``due_at`` when; ``listens`` that an event may come
    before."""

    id: int
    playbook: str
    version: str
    because: str
    began_at: datetime
    status: str
    why: str
    step: str
    due_at: datetime | None
    listens: bool


@dataclass(frozen=True)
class Story:
    """All that is known of an action: what set it off, under which rulebook and version of the playbook, and all that
    happened to it."""

    action: Action
    rulebook: str | None
    enrolment: OnTheWay | None
    entries: Sequence[Entry]


@dataclass(frozen=True)
class UserStory:
    """What was planned for a user since a moment and what became of it, where they are on their way, what they said,
    and what could set something off."""

    since: datetime
    actions: Sequence[Story]
    on_the_way: Sequence[OnTheWay]
    consents: Sequence[Consent]
    triggers: Sequence[tuple[str, str]]


async def of_action(ctx: Context, brand: Brand, action_id: int) -> Story:
    """The story of one action, or :class:`NotFound`."""
    action = await Action.get_or_none(brand_id=brand.id, id=action_id)
    if action is None:
        raise NotFound(f"no action {action_id}", field="action", remedy="`siyu why --user` lists a user's actions")
    [story] = await _stories(ctx, brand, [action])
    return story


async def of_user(ctx: Context, brand: Brand, user_id: int, *, days: int = 7) -> UserStory:
    """What became of a user in the last ``days``, the users who count as them included."""
    if not 1 <= days <= MOST_DAYS:
        raise InputError(f"{days} days", field="days", remedy=f"look 1 to {MOST_DAYS} days back")
    since = now(brand) - timedelta(days=days)
    users = [user_id, *(row.user_id for row in await MergedUser.filter(brand_id=brand.id, into_id=user_id))]
    planned = Action.filter(brand_id=brand.id, user_id__in=users, planned_at__gte=since)
    actions = await planned.order_by("-id").limit(MOST)
    on = await Enrolment.filter(brand_id=brand.id, user_id__in=users).order_by("-id").limit(MOST)
    recent = [each for each in on if each.status == "active" or (each.ended_at and each.ended_at >= since)]
    triggers = [
        (made.name, repr(made.trigger))
        for cohort in await plugins.cohorts(ctx, brand.id)
        if user_id in cohort
        for made in programs(ctx, cohort.on)
    ]
    return UserStory(
        since,
        await _stories(ctx, brand, actions),
        list((await _on_the_way(ctx, brand, recent)).values()),
        await Consent.filter(brand_id=brand.id, user_id__in=users).order_by("-at", "-id").limit(MOST),
        triggers,
    )


async def _stories(ctx: Context, brand: Brand, actions: Sequence[Action]) -> list[Story]:
    meant = reasons(ctx)
    numbers = {each.rulebook_id for each in actions if each.rulebook_id is not None}
    books = {row.id: row.version for row in await RulebookVersion.filter(brand_id=brand.id, id__in=list(numbers))}
    begun = {each.enrolment_id for each in actions if each.enrolment_id is not None}
    ways = await _on_the_way(ctx, brand, await Enrolment.filter(brand_id=brand.id, id__in=list(begun)))
    return [
        Story(
            each,
            books.get(each.rulebook_id) if each.rulebook_id is not None else None,
            ways.get(each.enrolment_id) if each.enrolment_id is not None else None,
            [_entry(entry, meant) for entry in each.log],
        )
        for each in actions
    ]


def _entry(entry: Sequence[Any], meant: dict[str, str]) -> Entry:
    at, status, reason, words = entry
    return Entry(datetime.fromisoformat(at), status, reason, meant.get(reason, ""), words)


async def _on_the_way(ctx: Context, brand: Brand, rows: Sequence[Enrolment]) -> dict[int, OnTheWay]:
    numbers = {each.version_id for each in rows}
    versions = {row.id: row.version for row in await PlaybookVersion.filter(brand_id=brand.id, id__in=list(numbers))}
    async with ctx.db.connection() as connection:
        made = await kept(ctx, connection, brand.id, numbers)
    return {
        each.id: OnTheWay(
            each.id,
            each.playbook,
            versions[each.version_id],
            each.because,
            each.began_at,
            each.status,
            each.why,
            _next(made[each.version_id].instructions, each.step) if each.status == "active" else "",
            each.due_at if each.status == "active" else None,
            each.listens,
        )
        for each in rows
    }


def _next(instructions: Sequence[Any], step: int) -> str:
    return str(instructions[step].key) if step < len(instructions) else ""
