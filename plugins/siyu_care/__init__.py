"""关怀 · 从首触到道别的用户关怀流程

Care from the first touch to the farewell: what brands that keep their customers do for them, each at its moment (D1 to
D8 of the ledger). Every playbook can be set, and every text replaced, for a brand.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time, timedelta

import siyu
from siyu import (
    Arm,
    Assign,
    Attribute,
    AttributeKind,
    Condition,
    Count,
    Cycle,
    Daily,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Field,
    Happened,
    Last,
    OnDate,
    Playbook,
    Segmenter,
    Send,
    Split,
    StageChanged,
    StageOf,
    Stop,
    Tag,
    TagGained,
    Total,
    Wait,
    When,
    hookimpl,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEXT_MORNING = time(10)


class Channelled(siyu.Params):
    """Of every playbook: by which channel it speaks."""

    channel: str = Field("outbox", min_length=1, max_length=80, title="通道")


# -- 引入: stay --------------------------------------------------------------------------------------------------


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


# -- 成长: buy more often, and more ------------------------------------------------------------------------------


class SecondOrder(Playbook):
    """促二购"""

    goal = "order.paid"
    orders = Count("order.paid")

    class Params(Channelled):
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
        yield Split(
            "offer",
            {
                "coupon": Arm(
                    1,
                    [
                        Send(
                            p.channel,
                            {
                                "zh": "{{ name }}，给您一张回头客券，下一单直接减。",
                                "en": "{{ name }}, here is a coupon for coming back: off your next order.",
                            },
                            "sales",
                            key="coupon",
                        )
                    ],
                ),
                "praise": Arm(
                    1,
                    [
                        Send(
                            p.channel,
                            {
                                "zh": "{{ name }}，和您买了同款的人，给这一件的评价最高。",
                                "en": "{{ name }}, those who bought the same rate this one best of all.",
                            },
                            "sales",
                            key="praise",
                            because={"zh": "因为您买过同类商品", "en": "because of what you bought"},
                        )
                    ],
                ),
            },
        )
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


# -- 成熟: last longer, take part --------------------------------------------------------------------------------


class Valued(Segmenter):
    """贵宾"""

    spent = Total("order.paid", "amount", days=365)
    orders = Count("order.paid", days=365)

    class Params(siyu.Params):
        spent: int = Field(3000, ge=0, title="一年消费满（元）")
        orders: int = Field(6, ge=1, title="一年购买满（次）")

    def tags(self, p: Params) -> Iterable[Tag]:
        yield Tag(
            "care.vip",
            "贵宾",
            when=(self.spent >= p.spent) & (self.orders >= p.orders),
            because="spent {spent} in {orders} orders within a year",
        )


class FollowVip(Playbook):
    """贵宾专人跟进"""

    reentry = 180
    Params = Channelled

    def trigger(self, p: Channelled) -> TagGained:
        return TagGained("care.vip")

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Assign(
            "adviser",
            {"zh": "新贵宾：请亲自联系", "en": "A new VIP: get in touch in person"},
            {
                "zh": "谢谢对方，问问近况，说说专属权益。",
                "en": "Thank them, ask how they are, tell them what is theirs.",
            },
            key="call",
            within=2 * DAY,
            escalate_to="operator",
        )


class Mature(Playbook):
    """成熟期陪伴"""

    reentry = 365

    class Params(Channelled):
        trial_days: int = Field(14, ge=3, le=90, title="几天后邀请试用")

    def trigger(self, p: Params) -> StageChanged:
        return StageChanged("lifecycle", after=frozenset({"mature"}))

    def audience(self, p: Params) -> Condition:
        return DaysSince("order.paid") <= 90

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，谢谢您一直选择{{ brand }}。老朋友的专属权益为您打开了。",
                "en": "{{ name }}, thank you for staying with {{ brand }}. What we keep for old friends is yours now.",
            },
            key="thanks",
        )
        yield Wait(3 * DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，用着主品的人，多半也会配上这一样。",
                "en": "{{ name }}, most who use what you use pair it with this.",
            },
            "sales",
            key="pairing",
            because={"zh": "因为您常买相关商品", "en": "because of what you often buy"},
        )
        yield Wait(p.trial_days * DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，新品上市前想请您先试：用过之后，留不留由您投票。",
                "en": "{{ name }}, would you try something before it is out? Your vote decides whether it stays.",
            },
            key="trial",
        )


# -- 休眠: come back ---------------------------------------------------------------------------------------------


class Dormant(Playbook):
    """沉默唤醒"""

    reentry = 180
    goal = "order.paid"
    reason = Last("survey.answered", "reason", days=60)

    class Params(Channelled):
        answer_days: int = Field(7, ge=2, le=30, title="几天没有回应再问")
        postcard_days: int = Field(180, ge=30, le=380, title="几天后寄手写明信片")

    def trigger(self, p: Params) -> StageChanged:
        return StageChanged("lifecycle", after=frozenset({"dormant", "decline"}))

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，好久不见，最近还好吗？给老朋友留了一张券，想用的时候再用。",
                "en": "{{ name }}, it has been a while. How are you? There is a coupon for old friends here.",
            },
            key="miss_you",
        )
        yield Wait(
            p.answer_days * DAY,
            event="interaction",
            heard=[Stop("back")],
            silent=[
                Send(
                    p.channel,
                    {
                        "zh": "{{ name }}，哪里没做好，想听您说句实话：一道选择题，答完有小礼物。",
                        "en": "{{ name }}, what could we do better? One question, and a small gift for the answer.",
                    },
                    key="survey",
                )
            ],
        )
        yield Wait(
            14 * DAY,
            event="survey.answered",
            heard=[
                When(
                    self.reason == "price",
                    then=[
                        Send(
                            p.channel,
                            {
                                "zh": "{{ name }}，给您申请了一个老客价。",
                                "en": "{{ name }}, here is a price for old friends.",
                            },
                            "sales",
                            key="discount",
                        ),
                        Stop("price"),
                    ],
                ),
                When(
                    self.reason == "dissatisfied",
                    then=[
                        Assign(
                            "service",
                            {"zh": "客户不满意：请联系", "en": "Dissatisfied: get in touch"},
                            {
                                "zh": "先道歉，听完，再说怎么补救。",
                                "en": "Say sorry, hear them out, then say how it is put right.",
                            },
                            key="make_good",
                            within=DAY,
                            escalate_to="operator",
                        ),
                        Stop("dissatisfied"),
                    ],
                ),
                Send(
                    p.channel,
                    {
                        "zh": "{{ name }}，这几个月我们做了这些新东西，大家是这么说的。",
                        "en": "{{ name }}, this is what is new with us, and what people say of it.",
                    },
                    key="news",
                ),
            ],
        )
        yield Wait(p.postcard_days * DAY)
        yield Assign(
            "operator",
            {"zh": "寄一张手写明信片", "en": "Write a postcard by hand"},
            key="postcard",
            within=7 * DAY,
        )


# -- 流失: part as friends ---------------------------------------------------------------------------------------


class Farewell(Playbook):
    """好聚好散"""

    reentry = 365
    goal = "order.paid"
    Params = Channelled

    def trigger(self, p: Channelled) -> StageChanged:
        return StageChanged("lifecycle", after=frozenset({"lost"}))

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Wait(DAY, until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，以后就不常打扰您了。一份小礼物留作纪念，门一直为您开着。",
                "en": "{{ name }}, we will not trouble you any more. A small gift; the door stays open.",
            },
            key="gift",
        )


class _BigDay(Playbook):
    reentry = "day"
    Params = Channelled

    def audience(self, p: Channelled) -> Condition:
        return StageOf("lifecycle") == "lost"

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，一年里最划算的一天，只在今天跟您说一声。",
                "en": "{{ name }}, the best prices of the year are today. This is all we wanted to say.",
            },
            "sales",
            key="today",
        )


class MidYear(_BigDay):
    """618 大促"""

    def trigger(self, p: Channelled) -> OnDate:
        return OnDate(6, 18)


class DoubleEleven(_BigDay):
    """双十一大促"""

    def trigger(self, p: Channelled) -> OnDate:
        return OnDate(11, 11)


# -- moments -----------------------------------------------------------------------------------------------------


class Birthday(Playbook):
    """生日祝福"""

    reentry = "year"
    Params = Channelled

    def trigger(self, p: Channelled) -> Daily:
        return Daily(DaysUntil("birthday", yearly=True) == 0)

    def steps(self, p: Channelled) -> Iterable[siyu.Step]:
        yield Wait(until=NEXT_MORNING)
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，生日快乐！{{ brand }}给您备了一份小礼物。",
                "en": "Happy birthday, {{ name }}! {{ brand }} has a small present for you.",
            },
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


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [AttributeKind("birthday", "生日", "date", personal=True)]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [RunningOut, Valued]


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [
        FirstTouch,
        Onboarding,
        SecondOrder,
        Replenishment,
        FollowVip,
        Mature,
        Dormant,
        Farewell,
        MidYear,
        DoubleEleven,
        Birthday,
        JoiningDay,
        NewYear,
        CareCycle,
    ]
