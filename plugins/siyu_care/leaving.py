"""休眠 and 流失, leaving: that they come back, or part as friends (D6, D7)."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Assign,
    Condition,
    Field,
    Last,
    OnDate,
    Playbook,
    Send,
    StageChanged,
    StageOf,
    Stop,
    Wait,
    When,
)

from siyu_care.common import BENEFIT, DAY, NEXT_MORNING, Channelled, Giving, give, with_gift


class Dormant(Playbook):
    """沉默唤醒"""

    reentry = 180
    goal = "order.paid"
    reason = Last("survey.answered", "reason", days=60)

    class Params(Giving):
        survey_gift: str = Field("", pattern=BENEFIT, title="答问卷送什么（权益的键；留空则不送）")
        answer_days: int = Field(7, ge=2, le=30, title="几天没有回应再问")
        postcard_days: int = Field(180, ge=30, le=380, title="几天后寄手写明信片")

    def trigger(self, p: Params) -> StageChanged:
        return StageChanged("lifecycle", after=frozenset({"dormant", "decline"}))

    def steps(self, p: Params) -> Iterable[siyu.Step]:
        yield Wait(DAY, until=NEXT_MORNING)
        yield from give(p.gift)
        yield Send(
            p.channel,
            with_gift(
                p.gift,
                {
                    "zh": "{{ name }}，好久不见，最近还好吗？{gift}",
                    "en": "{{ name }}, it has been a while. How are you?{gift}",
                },
                {
                    "zh": "给老朋友留了一张券，想用的时候再用：{code}。",
                    "en": " There is a coupon for old friends here: {code}.",
                },
            ),
            key="miss_you",
        )
        prize = (
            {"zh": "，答完有小礼物", "en": ", and a small gift for the answer"}
            if p.survey_gift
            else {"zh": "", "en": ""}
        )
        thanks = with_gift(
            p.survey_gift,
            {"zh": "{{ name }}，谢谢您说实话。{gift}", "en": "{{ name }}, thank you for telling us.{gift}"},
            {"zh": "这是您的小礼物：{code}。", "en": " Here is your small gift: {code}."},
        )
        answered = [*give(p.survey_gift, "survey_present"), Send(p.channel, thanks, "service", key="thanks")]
        yield Wait(
            p.answer_days * DAY,
            event="interaction",
            heard=[Stop("back")],
            silent=[
                Send(
                    p.channel,
                    {
                        "zh": f"{{{{ name }}}}，哪里没做好，想听您说句实话：一道选择题{prize['zh']}。",
                        "en": f"{{{{ name }}}}, what could we do better? One question{prize['en']}.",
                    },
                    key="survey",
                )
            ],
        )
        yield Wait(
            14 * DAY,
            event="survey.answered",
            heard=[
                *(answered if p.survey_gift else []),
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


class Farewell(Playbook):
    """好聚好散"""

    reentry = 365
    goal = "order.paid"
    Params = Giving

    def trigger(self, p: Giving) -> StageChanged:
        return StageChanged("lifecycle", after=frozenset({"lost"}))

    def steps(self, p: Giving) -> Iterable[siyu.Step]:
        yield Wait(DAY, until=NEXT_MORNING)
        yield from give(p.gift)
        yield Send(
            p.channel,
            with_gift(
                p.gift,
                {
                    "zh": "{{ name }}，以后就不常打扰您了。{gift}门一直为您开着。",
                    "en": "{{ name }}, we will not trouble you any more.{gift} The door stays open.",
                },
                {"zh": "一份小礼物留作纪念：{code}。", "en": " A small gift to remember us by: {code}."},
            ),
            key="goodbye",
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
