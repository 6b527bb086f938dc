"""引入, newcomers: that they stay (D1, D2)."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Assign,
    Attribute,
    Count,
    Field,
    Happened,
    Playbook,
    Send,
    Stop,
    Wait,
    When,
)

from siyu_care.common import DAY, HOUR, NEXT_MORNING, Channelled


class FirstTouch(Playbook):
    """新客首触"""

    orders = Count("order.paid")

    class Params(Channelled):
        hello_hours: int = Field(1, ge=1, le=24, title="顾问几小时内问好")
        follow_up_hours: int = Field(24, ge=2, le=30, title="多久没有互动再跟进（小时）")

    def trigger(self, p: Params) -> Happened:
        return Happened("contact.added")

    def ends(self, p: Params) -> Iterable[str]:
        yield "contact.removed"

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，您好！我是{{ brand }}的{{ adviser.name }}。"
                "选品、用法、售后都可以直接问我。先送您一份见面礼，现在就能用。",
                "en": "Hello {{ name }}, I am {{ adviser.name }} of {{ brand }}. "
                "Ask me about products, how to use them, or an order. Here is a small welcome gift, good from today.",
            },
            "service",
            key="greeting",
            urgent=True,
        )
        yield Assign(
            "adviser",
            {"zh": "向新客户问好", "en": "Say hello to a new contact"},
            {
                "zh": "看看对方从哪里来、想要什么，用自己的话问好。",
                "en": "See where they came from and what they look for; say hello in your own words.",
            },
            key="say_hello",
            within=p.hello_hours * HOUR,
            escalate_to="operator",
        )
        yield Wait(HOUR)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，三分钟认识{{ brand }}：我们从哪里来，又为什么只做这几样东西。",
                "en": "{{ name }}, {{ brand }} in three minutes: where we come from, and why we make so few things.",
            },
            key="story",
        )
        yield When(
            self.orders > 0,
            then=[
                Wait(3 * HOUR),
                Send(
                    p.channel,
                    {
                        "zh": "{{ name }}，照您买过的，我挑了几样常被一起用的，先给您看看，不急着买。",
                        "en": "{{ name }}, going by what you bought, here are a few things that go well with it. "
                        "Just to look at.",
                    },
                    key="recommendation",
                    because={"zh": "因为您在我们这里买过东西", "en": "because you have bought from us"},
                ),
            ],
        )
        yield Wait(
            p.follow_up_hours * HOUR,
            event="interaction",
            silent=[
                Send(
                    p.channel,
                    {
                        "zh": "{{ name }}，见面礼还给您留着。想先了解哪一类？回个数字就行：1 用法 2 成分 3 活动。",
                        "en": "{{ name }}, your gift is still here. What would you like to know first? "
                        "1 how to use it, 2 what is in it, 3 what is on.",
                    },
                    key="follow_up",
                )
            ],
        )
        yield Wait(12 * HOUR, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，花半分钟告诉我您的需要（三个选择题），之后我只发跟您有关的。",
                "en": "{{ name }}, half a minute: three questions about what you need, "
                "so that I send you only what is yours.",
            },
            key="survey",
        )


class Onboarding(Playbook):
    """新手任务"""

    viewed = Count("product.viewed", days=30)
    birthday = Attribute("birthday")

    class Params(Channelled):
        products: int = Field(3, ge=1, le=20, title="看几件商品")
        days: int = Field(7, ge=2, le=30, title="几天内完成")

    def trigger(self, p: Params) -> Happened:
        return Happened("contact.added")

    def ends(self, p: Params) -> Iterable[str]:
        yield "contact.removed"

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        done = (self.viewed >= p.products) & ~self.birthday.is_missing()
        gift = Send(
            p.channel,
            {
                "zh": "{{ name }}，新手任务完成！小礼物已放进您的卡包。",
                "en": "{{ name }}, all done! Your little gift is in your wallet.",
            },
            key="gift",
        )
        yield Wait(DAY, until=NEXT_MORNING)
        yield When(done, then=[gift, Stop("done before it was asked")])
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，两步领小礼物：填上生日，再看看三件感兴趣的商品。",
                "en": "{{ name }}, two steps to a small gift: tell us your birthday, "
                "and look at three products that you like.",
            },
            key="tasks",
        )
        yield Wait((p.days - 1) * DAY)
        yield When(
            done,
            then=[
                Send(
                    p.channel,
                    {
                        "zh": "{{ name }}，任务都完成啦，小礼物请收好。",
                        "en": "{{ name }}, well done. Here is your gift.",
                    },
                    key="late_gift",
                )
            ],
        )
