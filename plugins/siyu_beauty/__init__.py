"""Beauty: skin type by age band, and the steps that a routine lacks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Annotated

import siyu
from siyu import Age, Attribute, AttributeKind, Count, Field, HasTag, Row, Segmenter, Table, Tag, Words, hookimpl

Years = Annotated[int, Field(ge=1, le=119)]
SKINS = {
    "dry": ("干性肌肤", ["dry", "干性", "干皮"]),
    "oily": ("油性肌肤", ["oily", "油性", "油皮"]),
    "combination": ("混合性肌肤", ["combination", "混合性", "混合"]),
    "sensitive": ("敏感性肌肤", ["sensitive", "敏感性", "敏感肌"]),
    "normal": ("中性肌肤", ["normal", "中性"]),
}


class SkinByAge(Segmenter):
    """肤质 × 年龄段

    Skin type and age band are tags of their own; crossed, they are a third (B3). Where the birthday is not known, the
    band that a survey names will do: ``25-29``, ``50+``.
    """

    class Params(siyu.Params):
        bounds: Annotated[tuple[Years, ...], Field(min_length=1, max_length=9)] = Field(
            (18, 25, 30, 40, 50), title="年龄段起点（岁）"
        )

    skin = Attribute("skin_type")
    age = Age("birthday")
    band = Attribute("age")

    def tags(self, p: Params) -> Iterable[Tag]:
        for skin, (title, values) in SKINS.items():
            yield Tag(f"beauty.skin_{skin}", title, self.skin.is_in(values), "skin type {skin}")
        bounds = sorted(set(p.bounds))
        for low, high in zip_longest(bounds, bounds[1:]):
            band = f"{low}-{high - 1}" if high else f"{low}+"
            key = f"{low}_{high - 1}" if high else f"{low}_up"
            known = self.age.between(low, high - 1) if high else self.age >= low
            told = self.age.is_missing() & (self.band == band)
            yield Tag(
                f"beauty.age_{key}", f"{band} 岁", known.because("{age} years old") | told.because("says: {band}")
            )
            for skin, (title, _) in SKINS.items():
                both = HasTag(f"beauty.skin_{skin}") & HasTag(f"beauty.age_{key}")
                yield Tag(f"beauty.{skin}_{key}", f"{title} {band} 岁", both, f"skin type {{skin}}, {band} years old")


class Gap(Row):
    """Who uses the one and lacks the other."""

    uses: Words = Field(("护肤",), title="买过的品类")
    lacks: Words = Field(("面霜",), title="没有买的品类")
    days: int = Field(180, ge=1, le=730, title="多少天内")


class RoutineGaps(Segmenter):
    """护肤步骤缺口"""

    class Params(siyu.Params):
        gaps: Table[Gap] = Field(
            (
                Gap(key="cream", title="用水不用霜", uses=("爽肤水", "化妆水"), lacks=("面霜", "乳液"), days=180),
                Gap(key="cleanser", title="该补洁面了", uses=("爽肤水", "面霜", "精华"), lacks=("洁面",), days=90),
                Gap(key="sunscreen", title="护肤不防晒", uses=("面霜", "精华"), lacks=("防晒",), days=180),
                Gap(key="remover", title="化妆不卸妆", uses=("粉底", "口红", "彩妆"), lacks=("卸妆",), days=180),
            ),
            title="步骤表",
        )

    def tags(self, p: Params) -> Iterable[Tag]:
        for row in p.gaps:
            uses = Count("order.paid", {"category": row.uses}, row.days)
            lacks = Count("order.paid", {"category": row.lacks}, row.days)
            yield Tag(
                f"beauty.gap_{row.key}",
                row.title,
                (uses > 0) & (lacks == 0),
                f"bought the one {{uses}} times and the other {{lacks}} times in {row.days} days",
                facts={"uses": uses, "lacks": lacks},
            )


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [
        AttributeKind("skin_type", "肤质", values=[value for _, values in SKINS.values() for value in values]),
        AttributeKind("birthday", "生日", "date", personal=True),
        AttributeKind("age", "年龄段（问卷）"),
    ]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [SkinByAge, RoutineGaps]
