"""Moments of a user's own: birthdays, anniversaries, the care of what was bought (D8)."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Condition,
    Daily,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Field,
    Happened,
    OnDate,
    Playbook,
    Send,
    Wait,
)

from siyu_care.common import DAY, NEXT_MORNING, Channelled, Giving, give, with_gift


class Birthday(Playbook):
    """生日祝福"""

    reentry = "year"
    Params = Giving

    def trigger(self, p: Giving) -> Daily:
        return Daily(DaysUntil("birthday", yearly=True) == 0)

    def steps(self, p: Giving) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield from give(p.gift)
        yield Send(
            p.channel,
            with_gift(
                p.gift,
                {
                    "zh": "{{ name }}，生日快乐！愿您天天都有小确幸。{gift}",
                    "en": "Happy birthday, {{ name }}, and many happy days!{gift}",
                },
                {
                    "zh": "{{ brand }}给您备了一份小礼物：{code}。",
                    "en": " {{ brand }} has a small present for you: {code}.",
                },
            ),
            key="wish",
            because={"zh": "因为今天是您的生日", "en": "because it is your birthday"},
        )


class JoiningDay(Playbook):
    """入会周年"""

    reentry = 300
    Params = Channelled

    def trigger(self, p: Channelled) -> Daily:
        return Daily(DaysSinceFirst("contact.added").is_in([365 * years for years in range(1, 11)]))

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，今天是我们认识的周年，谢谢您一路同行。",
                "en": "{{ name }}, it is our anniversary today. Thank you for the company.",
            },
            key="anniversary",
        )


class NewYear(Playbook):
    """新年问候"""

    reentry = "day"

    class Params(Channelled):
        days: int = Field(180, ge=7, le=720, title="最近多少天内有过互动")

    def trigger(self, p: Params) -> OnDate:
        return OnDate(1, 1)

    def audience(self, p: Params) -> Condition:
        return DaysSince("interaction") <= p.days

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，新年好！愿您新的一年平安顺遂。",
                "en": "Happy new year, {{ name }}. We wish you a good one.",
            },
            key="greeting",
        )


class CareCycle(Playbook):
    """使用关怀"""

    reentry = 60

    class Params(Channelled):
        days: int = Field(30, ge=3, le=365, title="购买几天后")

    def trigger(self, p: Params) -> Happened:
        return Happened("order.paid")

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(p.days * DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，用了一阵子，该做一次保养了：三步，五分钟。",
                "en": "{{ name }}, after a while in use it wants a little care: three steps, five minutes.",
            },
            "service",
            key="care",
            because={"zh": "因为您在我们这里买过", "en": "because you bought from us"},
        )
