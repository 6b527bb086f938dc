"""成熟, mature: that they last longer, and take part (D5)."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Assign,
    Condition,
    Count,
    DaysSince,
    Field,
    Playbook,
    Segmenter,
    Send,
    StageChanged,
    Tag,
    TagGained,
    Total,
    Wait,
)

from siyu_care.common import DAY, NEXT_MORNING, Channelled


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
