"""成长, growing: that they buy more often, and more (D3, D4)."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Arm,
    Condition,
    Count,
    Cycle,
    DaysSince,
    Field,
    Happened,
    Playbook,
    Segmenter,
    Send,
    Split,
    Tag,
    TagGained,
    Wait,
)

from siyu_care.common import DAY, NEXT_MORNING, Channelled, Giving, give, with_gift


class SecondOrder(Playbook):
    """促二购"""

    goal = "order.paid"
    orders = Count("order.paid")

    class Params(Giving):
        tips_days: int = Field(2, ge=1, le=14, title="首购几天后讲用法")
        days: int = Field(7, ge=3, le=60, title="首购几天后没有二购")

    def trigger(self, p: Params) -> Happened:
        return Happened("order.paid")

    def audience(self, p: Params) -> Condition:
        return self.orders == 1

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(p.tips_days * DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，用得还顺手吗？这里有三个老用户常用的小窍门。",
                "en": "{{ name }}, how is it going? Three small tricks from those who have used it for years.",
            },
            "service",
            key="tips",
            because={"zh": "因为您刚收到第一单", "en": "because your first order has just arrived"},
        )
        yield Wait(max(p.days - p.tips_days, 1) * DAY)
        praise = Send(
            p.channel,
            {
                "zh": "{{ name }}，和您买了同款的人，给这一件的评价最高。",
                "en": "{{ name }}, those who bought the same rate this one best of all.",
            },
            "sales",
            key="praise",
            because={"zh": "因为您买过同类商品", "en": "because of what you bought"},
        )
        coupon = Send(
            p.channel,
            with_gift(
                p.gift,
                {"zh": "{{ name }}，谢谢您选了我们。{gift}", "en": "{{ name }}, thank you for choosing us.{gift}"},
                {
                    "zh": "给您一张回头客券，下一单直接减：{code}。",
                    "en": " Here is a coupon for coming back, off your next order: {code}.",
                },
            ),
            "sales",
            key="coupon",
        )
        if p.gift:
            arms = {"coupon": Arm(1, [*give(p.gift), coupon]), "praise": Arm(1, [praise])}
            yield Split("offer", arms)
        else:
            yield praise
        yield Wait(5 * DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，配成一套更划算：加上搭档，整套立减。",
                "en": "{{ name }}, it is less as a set: add its partner and save on both.",
            },
            "sales",
            key="bundle",
        )


class RunningOut(Segmenter):
    """快用完了"""

    silent = DaysSince("order.paid")
    cycle = Cycle("order.paid")

    class Params(siyu.Params):
        early_days: int = Field(3, ge=0, le=14, title="提前几天")

    def tags(self, p: Params) -> Iterable[Tag]:
        yield Tag(
            "care.running_out",
            "快用完了",
            when=(self.silent >= self.cycle - p.early_days) & (self.silent <= self.cycle * 2),
            because="last order {silent} days ago; orders every {cycle} days",
        )


class Replenishment(Playbook):
    """补货提醒"""

    reentry = 14
    goal = "order.paid"
    Params = Channelled

    def trigger(self, p: Channelled) -> TagGained:
        return TagGained("care.running_out")

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，按您平时的用量，常买的那几样差不多要见底了，要不要帮您照旧备一份？",
                "en": "{{ name }}, going by your own rhythm the usual is nearly used up. Shall I put the same aside?",
            },
            key="reminder",
            because={"zh": "因为您一直按这个周期购买", "en": "because you buy it about this often"},
        )
