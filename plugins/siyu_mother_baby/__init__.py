"""Mother and baby: how old the baby is, what it needs next, and who is asking for formula."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import (
    Age,
    AttributeKind,
    Count,
    DaysSinceFirst,
    Field,
    FirstKnown,
    HasTag,
    Mentions,
    Row,
    Segmenter,
    Table,
    Tag,
    Words,
    hookimpl,
)

from siyu_mother_baby.playbooks import NextStage

DAYS_A_MONTH = 30.4375
AGE = FirstKnown(Age("baby_birthday", "months"), Age("due_date", "months"))
BANDS = {
    # the first and the last full month; before birth they are negative
    "pregnancy": ("孕期", -10, -1),
    "baby_0_6": ("宝宝 0–6 个月", 0, 5),
    "baby_6_12": ("宝宝 6–12 个月", 6, 11),
    "baby_12_24": ("宝宝 1–2 岁", 12, 23),
    "baby_24_36": ("宝宝 2–3 岁", 24, 35),
}


class BabyAge(Segmenter):
    """宝宝月龄

    As the birthday says, else the due date; where neither is known, as what is bought for the oldest baby says.
    """

    class Params(siyu.Params):
        pregnancy: Words = Field(("孕妇装", "叶酸", "待产包", "孕妇奶粉"), title="孕期品类")
        baby_0_6: Words = Field(("一段奶粉", "新生儿纸尿裤", "奶瓶"), title="0–6 个月品类")
        baby_6_12: Words = Field(("二段奶粉", "辅食", "米粉"), title="6–12 个月品类")
        baby_12_24: Words = Field(("三段奶粉", "学步鞋", "学步裤"), title="1–2 岁品类")
        baby_24_36: Words = Field(("四段奶粉", "儿童餐具", "拉拉裤"), title="2–3 岁品类")
        days: int = Field(60, ge=1, le=365, title="不知生日时，看最近多少天的购买")

    age = AGE

    def tags(self, p: Params) -> Iterable[Tag]:
        presumed = self.age.is_missing()
        for band, (title, first, last) in reversed(BANDS.items()):
            bought = Count("order.paid", {"category": getattr(p, band)}, p.days)
            yield Tag(
                f"mother_baby.{band}",
                title,
                self.age.between(first, last).because("{age} full months since birthday or due date")
                | (presumed & (bought > 0)).because("bought such things {bought} times in {days} days, no later ones"),
                facts={"bought": bought},
            )
            presumed &= bought == 0


class NextProduct(Row):
    """What a baby needs from a month on."""

    month: int = Field(12, ge=-9, le=72, title="从几个月起需要")
    categories: Words = Field(("新品",), title="品类")


class NextProducts(Segmenter):
    """下一阶段商品

    Where no date is known, the first of a newborn's things were bought at birth.
    """

    class Params(siyu.Params):
        products: Table[NextProduct] = Field(
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

    def tags(self, p: Params) -> Iterable[Tag]:
        age = FirstKnown(AGE, DaysSinceFirst("order.paid", {"category": p.newborn}) / DAYS_A_MONTH)
        for row in p.products:
            never = Count("order.paid", {"category": row.categories}) == 0
            yield Tag(
                f"mother_baby.next_{row.key}",
                f"下一阶段：{row.title}",
                (age >= row.month - p.ahead) & (age < row.month + p.until + 1) & never,
                f"{{age}} months old; needed from month {row.month}, never bought",
                facts={"age": age},
            )


class FormulaIntent(Segmenter):
    """奶粉高意向"""

    class Params(siyu.Params):
        topics: Words = Field(("育儿", "喂养"), title="文章主题")
        words: Words = Field(("奶粉", "转奶", "几段"), title="群里问到的词")
        days: int = Field(1, ge=0, le=30, title="几天之内（0 为当天）")
        oldest: int = Field(36, ge=1, le=72, title="宝宝多少个月起不再推荐")

    age = AGE

    def tags(self, p: Params) -> Iterable[Tag]:
        asks = {
            "read": Count("article.opened", {"topic": p.topics}, p.days + 1),
            "asked": Mentions("group.message", *p.words, days=p.days + 1),
        }
        yield Tag(
            "mother_baby.intent_formula",
            "奶粉高意向",
            ((asks["read"] > 0) | (asks["asked"] > 0)) & ~(self.age >= p.oldest),
            "opened {read} articles and asked {asked} times, today or {days} days back; baby {age} months old",
            facts=asks,
        )
        yield Tag(
            "mother_baby.intent_first_tin",
            "新生儿奶粉高意向",
            HasTag("mother_baby.intent_formula") & (HasTag("mother_baby.pregnancy") | HasTag("mother_baby.baby_0_6")),
            "opened {read} articles and asked {asked} times, with a baby on its way or under six months",
            facts=asks,
        )


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [
        AttributeKind("baby_birthday", "宝宝生日", "date", personal=True),
        AttributeKind("due_date", "预产期", "date", personal=True),
    ]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [BabyAge, NextProducts, FormulaIntent]


@hookimpl
def siyu_playbooks() -> list[type[siyu.Playbook]]:
    return [NextStage]
