"""Mother and baby: how old the baby is, what it needs next, and who is asking for it.

The baby's age is that of the attribute ``baby_birthday``, else of ``due_date``; where neither is known it is presumed
from what is bought.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time
from typing import Annotated

import siyu
from pydantic import field_validator
from siyu import (
    Age,
    AttributeKind,
    Condition,
    Count,
    DaysSinceFirst,
    Field,
    HasTag,
    Mentions,
    Playbook,
    Segmenter,
    Send,
    Step,
    Tag,
    TagGained,
    Wait,
    hookimpl,
)

Word = Annotated[str, Field(min_length=1, max_length=50, pattern=r"\S")]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]
MONTH = 30.4375
BANDS = {
    # first and last full month; before birth they are negative
    "pregnancy": ("孕期", -10, -1),
    "baby_0_6": ("宝宝 0–6 个月", 0, 5),
    "baby_6_12": ("宝宝 6–12 个月", 6, 11),
    "baby_12_24": ("宝宝 1–2 岁", 12, 23),
    "baby_24_36": ("宝宝 2–3 岁", 24, 35),
}


class BabyRule(Segmenter):
    """What all rules about the baby know."""

    born = Age("baby_birthday", "months")
    due = Age("due_date", "months")

    def aged(self, first: float, last: float) -> Condition:
        """Whether the baby is known to be that many months old."""
        return self.born.between(first, last) | (self.born.is_missing() & self.due.between(first, last))

    def unknown(self) -> Condition:
        return self.born.is_missing() & self.due.is_missing()


class BabyAge(BabyRule):
    """宝宝月龄"""

    class Params(siyu.Params):
        pregnancy: Words = Field(("孕妇装", "叶酸", "待产包", "孕妇奶粉"), title="孕期品类")
        baby_0_6: Words = Field(("一段奶粉", "新生儿纸尿裤", "奶瓶"), title="0–6 个月品类")
        baby_6_12: Words = Field(("二段奶粉", "辅食", "米粉"), title="6–12 个月品类")
        baby_12_24: Words = Field(("三段奶粉", "学步鞋", "学步裤"), title="1–2 岁品类")
        baby_24_36: Words = Field(("四段奶粉", "儿童餐具", "拉拉裤"), title="2–3 岁品类")
        days: int = Field(60, ge=1, le=365, title="不知生日时，看最近多少天的购买")

    def tags(self, p: Params) -> Iterable[Tag]:
        bought = {band: Count("order.paid", {"category": getattr(p, band)}, p.days) for band in BANDS}
        bands = list(BANDS)
        for number, (band, (title, first, last)) in enumerate(BANDS.items()):
            presumed = self.unknown() & (bought[band] > 0)
            for later in bands[number + 1 :]:  # a baby only grows: things for a later age tell more
                presumed &= bought[later] == 0
            yield Tag(
                f"mother_baby.{band}",
                title,
                self.aged(first, last) | presumed,
                "{born} full months since birth, {due} since the due date; where neither is known: "
                "bought such things {bought} times in {days} days",
                facts={"bought": bought[band]},
            )


class NextProduct(siyu.Params):
    """One row of the table: what a baby needs from which month."""

    key: str = Field("new", pattern=r"^[a-z][a-z0-9_]{0,39}$", title="标识")
    title: str = Field("新品", min_length=1, max_length=40, title="名称")
    month: int = Field(12, ge=-9, le=72, title="从几个月起需要")
    categories: Words = Field(("新品",), title="品类")


class NextProducts(BabyRule):
    """下一阶段商品"""

    class Params(siyu.Params):
        products: Annotated[tuple[NextProduct, ...], Field(max_length=50)] = Field(
            (
                NextProduct(key="newborn", title="待产与新生儿用品", month=-1, categories=("待产包", "奶瓶")),
                NextProduct(key="solid_food", title="辅食", month=6, categories=("辅食", "米粉")),
                NextProduct(key="walking_shoes", title="学步鞋", month=12, categories=("学步鞋",)),
                NextProduct(key="toddler_milk", title="三段奶粉", month=12, categories=("三段奶粉",)),
                NextProduct(key="tableware", title="儿童餐具", month=18, categories=("儿童餐具",)),
            ),
            title="商品表",
        )
        newborn: Words = Field(("一段奶粉", "新生儿纸尿裤", "奶瓶"), title="不知生日时，首次购买即视为出生的品类")
        ahead: int = Field(1, ge=0, le=12, title="提前几个月")
        until: int = Field(2, ge=0, le=24, title="之后几个月内仍提醒")

        @field_validator("products")
        @classmethod
        def each_once(cls, rows: tuple[NextProduct, ...]) -> tuple[NextProduct, ...]:
            if len({row.key for row in rows}) < len(rows):
                raise ValueError("two products have the same key")
            return rows

    def tags(self, p: Params) -> Iterable[Tag]:
        first_bought = DaysSinceFirst("order.paid", {"category": p.newborn})
        for row in p.products:
            bought = Count("order.paid", {"category": row.categories})
            first, last = row.month - p.ahead, row.month + p.until
            presumed = self.unknown() & first_bought.between(first * MONTH, (last + 1) * MONTH)
            yield Tag(
                f"mother_baby.next_{row.key}",
                f"下一阶段：{row.title}",
                (self.aged(first, last) | presumed) & (bought == 0),
                "{born} full months since birth, {due} since the due date, first newborn's things {first_bought} days "
                f"ago; needed from month {row.month}, never bought",
                facts={"first_bought": first_bought},
            )


class FormulaIntent(BabyRule):
    """奶粉高意向"""

    class Params(siyu.Params):
        topics: Words = Field(("育儿", "喂养"), title="文章主题")
        words: Words = Field(("奶粉", "转奶", "几段"), title="群里问到的词")
        days: int = Field(1, ge=0, le=30, title="几天之内（0 为当天）")
        oldest: int = Field(36, ge=1, le=72, title="宝宝多少个月起不再推荐")

    def tags(self, p: Params) -> Iterable[Tag]:
        read = Count("article.opened", {"topic": p.topics}, p.days + 1)
        asked = Mentions("group.message", *p.words, days=p.days + 1)
        yield Tag(
            "mother_baby.intent_formula",
            "奶粉高意向",
            ((read > 0) | (asked > 0)) & ~(self.born >= p.oldest),
            "opened {read} articles and asked {asked} times, today or {days} days back; baby {born} months old",
            facts={"read": read, "asked": asked},
        )
        yield Tag(
            "mother_baby.intent_first_tin",
            "新生儿奶粉高意向",
            HasTag("mother_baby.intent_formula") & (HasTag("mother_baby.pregnancy") | HasTag("mother_baby.baby_0_6")),
            "opened {read} articles and asked {asked} times, with a baby on its way or under six months",
            facts={"read": read, "asked": asked},
        )


class NextStage(Playbook):
    """下一阶段提醒"""

    goal = "order.paid"
    reentry = 20

    class Params(siyu.Params):
        channel: str = Field("outbox", min_length=1, max_length=80, title="通道")

    def trigger(self, p: Params) -> TagGained:
        return TagGained("mother_baby.next_*")

    def steps(self, p: Params) -> Iterable[Step]:
        yield Wait(until=time(10))
        yield Send(
            p.channel,
            {
                "zh": "{{ name }}，宝宝快进入下一个阶段了。我按月龄列了一张清单，提前备好就不慌。",
                "en": "{{ name }}, your little one is nearly at the next stage. Here is what other parents had ready.",
            },
            key="list",
            because={"zh": "因为宝宝到了这个月龄", "en": "because of your baby's age"},
        )


@hookimpl
def siyu_playbooks() -> list[type[Playbook]]:
    return [NextStage]


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [
        AttributeKind("baby_birthday", "宝宝生日", "date", personal=True),
        AttributeKind("due_date", "预产期", "date", personal=True),
    ]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [BabyAge, NextProducts, FormulaIntent]
