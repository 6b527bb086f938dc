"""B4: how warm the contact is, and who is served first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import siyu
from pydantic import field_validator
from siyu import Count, DaysSince, Field, HasTag, Segmenter, Tag, Total

__all__ = ["InteractionTiers"]

Tier = Literal["high", "potential", "awaken"]
TITLES: dict[Tier, str] = {"high": "高活跃价值", "potential": "潜力互动", "awaken": "待唤醒"}
BECAUSE = (
    "{often} interactions in {days} days (active from {often_from}), {spent} spent (much from {spend_from}) and "
    "{shared} shares (many from {shares_from}) in {value_days} days, last interaction {silent} days ago"
)


class InteractionTiers(Segmenter):
    """互动分层

    Of those who ever interacted, everyone has one tier: long silent is to be awakened; often, lately and of value is
    high; all others have potential.
    """

    class Params(siyu.Params):
        days: int = Field(30, ge=1, le=365, title="互动频次窗口（天）")
        often_from: int = Field(8, ge=1, le=1000, title="窗口内多少次互动算活跃")
        value_days: int = Field(180, ge=1, le=730, title="价值贡献窗口（天）")
        spend_from: float = Field(500, ge=0, le=10_000_000, title="消费多少算有价值")
        shares_from: int = Field(3, ge=1, le=1000, title="分享多少次算有价值")
        silent_days: int = Field(30, ge=1, le=730, title="多少天无互动算待唤醒")
        order: tuple[Tier, Tier, Tier] = Field(("high", "potential", "awaken"), title="服务顺序")

        @field_validator("order")
        @classmethod
        def each_once(cls, order: tuple[Tier, Tier, Tier]) -> tuple[Tier, Tier, Tier]:
            if len(set(order)) < len(order):
                raise ValueError("a tier stands twice in the order")
            return order

    silent = DaysSince("interaction")

    def tags(self, p: Params) -> Iterable[Tag]:
        often = Count("interaction", days=p.days)
        spent = Total("order.paid", "amount", days=p.value_days)
        shared = Count("content.shared", days=p.value_days)
        valuable = (spent >= p.spend_from) | (shared >= p.shares_from)
        here = self.silent <= p.silent_days
        high = here & (often >= p.often_from) & valuable
        tiers = {"high": high, "potential": here & ~high, "awaken": self.silent > p.silent_days}
        for tier in TITLES:
            yield Tag(
                f"interest.tier_{tier}",
                TITLES[tier],
                tiers[tier],
                BECAUSE,
                facts={"often": often, "spent": spent, "shared": shared},
            )
        for place, tier in enumerate(p.order, 1):
            because = f"of the tier {TITLES[tier]}, last interaction {{silent}} days ago"
            yield Tag(f"interest.serve_{place}", f"服务顺序 {place}", HasTag(f"interest.tier_{tier}"), because)
