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

from siyu_care.common import DAY, HOUR, NEXT_MORNING, Giving, give, with_gift


class FirstTouch(Playbook):
    """新客首触"""

    orders = Count("order.paid")

    class Params(Giving):
        hello_hours: int = Field(1, ge=1, le=24, title="顾问几小时内问好")
        follow_up_hours: int = Field(24, ge=2, le=30, title="多久没有互动再跟进（小时）")

    def trigger(self, p: Params) -> Happened:
        return Happened("contact.added")

    def ends(self, p: Params) -> Iterable[str]:
        yield "contact.removed"

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield from give(p.gift, urgent=True)
        yield Send(
            p.channel,
            with_gift(
                p.gift,
                {
                    "zh": "{{ name }}，您好！我是{{ brand }}的{{ adviser.name }}。"
                    "选品、用法、售后都可以直接问我。{gift}",
                    "en": "Hello {{ name }}, I am {{ adviser.name }} of {{ brand }}. "
                    "Ask me about products, how to use them, or an order.{gift}",
                },
                {
                    "zh": "先送您一份见面礼，现在就能用：{code}。",
                    "en": " Here is a small welcome gift, good from today: {code}.",
                },
            ),
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
                    with_gift(
                        p.gift,
                        {
                            "zh": "{{ name }}，{gift}想先了解哪一类？回个数字就行：1 用法 2 成分 3 活动。",
                            "en": "{{ name }}, {gift}what would you like to know first? "
                            "1 how to use it, 2 what is in it, 3 what is on.",
                        },
                        {"zh": "见面礼（{code}）还给您留着。", "en": "your gift ({code}) is still here; "},
                    ),
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

    class Params(Giving):
        products: int = Field(3, ge=1, le=20, title="看几件商品")
        days: int = Field(7, ge=2, le=30, title="几天内完成")

    def trigger(self, p: Params) -> Happened:
        return Happened("contact.added")

    def ends(self, p: Params) -> Iterable[str]:
        yield "contact.removed"

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        done = (self.viewed >= p.products) & ~self.birthday.is_missing()
        done_words = with_gift(
            p.gift,
            {"zh": "{{ name }}，新手任务完成，谢谢您！{gift}", "en": "{{ name }}, all done, thank you!{gift}"},
            {"zh": "这是您的小礼物：{code}。", "en": " Here is your little gift: {code}."},
        )
        yield Wait(DAY, until=NEXT_MORNING)
        thanks = [*give(p.gift), Send(p.channel, done_words, key="thanks")]
        yield When(done, then=[*thanks, Stop("done before it was asked")])
        prize = {"zh": "领小礼物", "en": " to a small gift"} if p.gift else {"zh": "，让我更懂您", "en": ""}
        yield Send(
            p.channel,
            {
                "zh": f"{{{{ name }}}}，两步{prize['zh']}：填上生日，再看看{p.products}件感兴趣的商品。",
                "en": f"{{{{ name }}}}, two steps{prize['en']}: tell us your birthday, "
                f"and look at {p.products} products that you like.",
            },
            key="tasks",
        )
        yield Wait((p.days - 1) * DAY)
        yield When(done, then=[*give(p.gift, "late_present"), Send(p.channel, done_words, key="late_thanks")])
