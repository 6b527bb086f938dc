"""Lifecycle: where a user is on the way from first contact to farewell.

Five stages (引入, 成长, 成熟, 休眠, 流失), or four with 衰退 in place of the last two. Every stage can be left
in both directions: whoever comes back is back the same moment.

Beside it, the relationship: how near the brand a user has come (全场景, 潜在, 私域, 会员).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import siyu
from pydantic import ValidationInfo, field_validator
from siyu import (
    Attribute,
    AttributeKind,
    Count,
    DaysSince,
    Field,
    Lifecycle,
    Playbook,
    Send,
    Stage,
    StageChanged,
    hookimpl,
)

SILENT = "last interaction {silent} days ago"


class UserLifecycle(Lifecycle):
    """生命周期"""

    key = "lifecycle"

    class Params(siyu.Params):
        variant: Literal["five", "four"] = Field("five", title="五阶段或四阶段")
        dormant_days: int = Field(30, ge=1, le=1000, title="多少天无互动算休眠（或衰退）")
        lost_days: int = Field(90, ge=2, le=3000, title="多少天无互动算流失")
        mature_orders: int = Field(12, ge=2, le=1000, title="窗口内多少单算成熟")
        window_days: int = Field(90, ge=7, le=730, title="成熟的观察窗口（天）")
        stay_days: int = Field(14, ge=0, le=365, title="成长与成熟最少停留天数")

        @field_validator("lost_days")
        @classmethod
        def after_dormant(cls, lost: int, given: ValidationInfo) -> int:
            if lost <= given.data.get("dormant_days", 0) and given.data.get("variant") == "five":
                raise ValueError(
                    f"it must be more than dormant_days ({given.data['dormant_days']}), or nobody is ever dormant"
                )
            return lost

    silent = DaysSince("interaction")
    orders = Count("order.paid")

    def stages(self, p: Params) -> Iterable[Stage]:
        recent = Count("order.paid", days=p.window_days)
        if p.variant == "five":
            yield Stage("lost", "流失", self.silent >= p.lost_days, SILENT + "; lost from {lost_days}")
            yield Stage("dormant", "休眠", self.silent >= p.dormant_days, SILENT + "; dormant from {dormant_days}")
        else:
            yield Stage("decline", "衰退", self.silent >= p.dormant_days, SILENT + "; decline from {dormant_days}")
        yield Stage(
            "mature",
            "成熟",
            recent >= p.mature_orders,
            "{recent} orders in {window_days} days; mature from {mature_orders}",
            stay=p.stay_days,
            facts={"recent": recent},
        )
        yield Stage("growth", "成长", self.orders >= 1, "{orders} orders so far, " + SILENT, stay=p.stay_days)
        yield Stage("intro", "引入", because="no order yet")


class Relationship(Lifecycle):
    """用户关系

    Whoever removes the contact, or leaves the membership, falls back to where they then stand.
    """

    key = "relationship"

    class Params(siyu.Params):
        potential_days: int = Field(180, ge=1, le=1000, title="多少天内有互动算潜在用户")

    member = Attribute("member", default=False)
    added = Count("contact.added")
    removed = Count("contact.removed")
    since_added = DaysSince("contact.added")
    since_removed = DaysSince("contact.removed")
    silent = DaysSince("interaction")

    def stages(self, p: Params) -> Iterable[Stage]:
        yield Stage("member", "会员", self.member == True, "is a member")  # noqa: E712
        # One contact of several may be left. Where the first was never told of, a later one still counts.
        in_touch = (self.added > self.removed) | (self.since_added < self.since_removed)
        yield Stage("private", "私域用户", in_touch, "added {added} times, removed {removed} times")
        yield Stage(
            "potential", "潜在用户", self.silent < p.potential_days, SILENT + "; potential within {potential_days}"
        )
        yield Stage("all_scene", "全场景用户", because="known, " + SILENT)


class WelcomeBack(Playbook):
    """欢迎回来"""

    reentry = "always"

    class Params(siyu.Params):
        text: str = Field("好久不见，欢迎回来！为您留了一份老朋友的心意。", min_length=1, max_length=500, title="内容")

    def trigger(self, p: Params) -> StageChanged:
        return StageChanged(
            "lifecycle",
            before=frozenset({"dormant", "lost", "decline"}),
            after=frozenset({"intro", "growth", "mature"}),
        )

    def steps(self, p: Params) -> Iterable[Send]:
        yield Send("outbox", p.text)


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [AttributeKind("member", "会员", "flag")]


@hookimpl
def siyu_lifecycles() -> list[type[Lifecycle]]:
    return [UserLifecycle, Relationship]


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [WelcomeBack]
