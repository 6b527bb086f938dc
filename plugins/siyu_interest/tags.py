"""B2: interests, from what a user says, asks, looks at, reads, joins and buys."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Annotated

import siyu
from siyu import Count, Expr, Fact, Field, Mentions, Row, Segmenter, Table, Tag, Word

__all__ = ["Interest", "Interests"]

Words = Annotated[tuple[Word, ...], Field(max_length=50)]
"""Perhaps none."""


class Interest(Row):
    """What speaks for an interest."""

    words: Words = Field((), title="群聊或咨询中说到的词")
    categories: Words = Field((), title="浏览或购买的品类")
    topics: Words = Field((), title="阅读的文章主题")
    activities: Words = Field((), title="参加的活动类型")


DEFAULTS = (
    Interest(
        key="parenting",
        title="母婴育儿",
        words=("奶粉", "纸尿裤", "辅食", "宝宝"),
        categories=("奶粉", "纸尿裤", "辅食", "童装"),
        topics=("育儿", "孕期"),
        activities=("亲子活动", "妈妈课堂"),
    ),
    Interest(
        key="skincare",
        title="护肤",
        words=("护肤", "面霜", "精华", "敏感肌", "面膜"),
        categories=("护肤", "面膜", "精华", "面霜", "爽肤水"),
        topics=("护肤",),
        activities=("护肤打卡", "新品试用"),
    ),
    Interest(
        key="makeup",
        title="彩妆",
        words=("口红", "粉底", "眼影", "彩妆"),
        categories=("彩妆", "口红", "粉底", "眼影"),
        topics=("彩妆", "化妆教程"),
        activities=("妆容打卡",),
    ),
    Interest(
        key="pets",
        title="宠物",
        words=("猫粮", "狗粮", "猫砂", "铲屎官"),
        categories=("猫粮", "狗粮", "猫砂", "宠物用品"),
        topics=("养宠",),
        activities=("晒宠",),
    ),
    Interest(
        key="fitness",
        title="运动健身",
        words=("健身", "减脂", "蛋白粉", "瑜伽"),
        categories=("蛋白粉", "运动装备", "瑜伽"),
        topics=("健身", "减脂"),
        activities=("运动打卡",),
    ),
)


class Interests(Segmenter):
    """兴趣标签"""

    class Params(siyu.Params):
        interests: Table[Interest] = Field(DEFAULTS, title="兴趣表")
        days: int = Field(90, ge=1, le=730, title="观察窗口（天）")
        points: int = Field(2, ge=1, le=100, title="多少分起算有兴趣")
        deed: int = Field(2, ge=1, le=100, title="一次购买或参加活动算几分（其他各 1 分）")

    def tags(self, p: Params) -> Iterable[Tag]:
        for row in p.interests:
            signs: dict[str, tuple[int, str, Fact]] = {}
            if row.words:
                signs["said"] = (1, "said in groups {said} times", Mentions("group.message", *row.words, days=p.days))
                signs["asked"] = (1, "asked {asked} times", Mentions("service.asked", *row.words, days=p.days))
            if row.topics:
                read = Count("article.opened", {"topic": row.topics}, p.days)
                signs["read"] = (1, "read {read} times", read)
            if row.activities:
                joined = Count("activity.joined", {"activity": row.activities}, p.days)
                signs["joined"] = (p.deed, "joined {joined} times", joined)
            if row.categories:
                looked = Count("product.viewed", {"category": row.categories}, p.days)
                bought = Count("order.paid", {"category": row.categories}, p.days)
                signs["looked"] = (1, "looked {looked} times", looked)
                signs["bought"] = (p.deed, "bought {bought} times", bought)
            if not signs:
                continue
            points = reduce(Expr.__add__, [weight * fact for weight, _, fact in signs.values()])
            words = ", ".join(said for _, said, _ in signs.values())
            yield Tag(
                f"interest.{row.key}",
                row.title,
                points >= p.points,
                f"{words} in {{days}} days; of interest from {{points}} points, {{deed}} for buying or joining",
                facts={name: fact for name, (_, _, fact) in signs.items()},
            )
