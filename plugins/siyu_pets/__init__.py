"""Pets: who has a cat or a dog, and whose food runs out."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import Attribute, AttributeKind, Count, Cycle, DaysSince, Field, FirstKnown, Segmenter, Tag, Words, hookimpl

PETS = {
    "cat": ("猫", ["cat", "猫", "猫咪"]),
    "dog": ("狗", ["dog", "狗", "狗狗", "犬"]),
    "both": ("猫和狗", ["both", "猫和狗", "猫狗双全"]),
}


class KindOfPet(Segmenter):
    """养宠类型

    What the user says counts; of those who have said nothing, what they buy.
    """

    class Params(siyu.Params):
        cat: Words = Field(("猫粮", "猫砂", "猫零食", "猫罐头"), title="养猫的品类")
        dog: Words = Field(("狗粮", "狗零食", "狗罐头", "牵引绳"), title="养狗的品类")
        days: int = Field(180, ge=1, le=730, title="看最近多少天的购买")

    pet = Attribute("pet")

    def tags(self, p: Params) -> Iterable[Tag]:
        for kind in ("cat", "dog"):
            title, values = PETS[kind]
            bought = Count("order.paid", {"category": getattr(p, kind)}, p.days)
            says = self.pet.is_in([*values, *PETS["both"][1]])
            buys = self.pet.is_missing() & (bought > 0)
            yield Tag(
                f"pets.{kind}",
                f"养{title}",
                says.because("says: {pet}") | buys.because("bought for such a pet {bought} times in {days} days"),
                facts={"bought": bought},
            )


class FoodRunningOut(Segmenter):
    """快断粮

    By the user's own rhythm, the median number of days between purchases; by what a bag lasts where there is none yet.
    Whoever is silent for many rounds has gone elsewhere, and another rule's business.
    """

    class Params(siyu.Params):
        cat: Words = Field(("猫粮", "猫罐头"), title="猫的主粮品类")
        dog: Words = Field(("狗粮", "狗罐头"), title="狗的主粮品类")
        bag_days: int = Field(30, ge=3, le=180, title="一袋吃几天（没有自己的节奏时）")
        early: float = Field(0.2, ge=0, le=0.9, title="提前量（占一轮的比例）")
        rounds: float = Field(3, ge=1, le=20, title="几轮未买就不再提醒")

    def tags(self, p: Params) -> Iterable[Tag]:
        for kind in ("cat", "dog"):
            food = {"category": getattr(p, kind)}
            last = DaysSince("order.paid", food)
            lasts = FirstKnown(Cycle("order.paid", food, days=365), p.bag_days)
            yield Tag(
                f"pets.{kind}_food_running_out",
                f"{PETS[kind][0]}粮快吃完",
                last.between(lasts * (1 - p.early), lasts * p.rounds),
                "last food {last} days ago; it lasts {lasts} days",
                facts={"last": last, "lasts": lasts},
            )


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [AttributeKind("pet", "宠物", values=[value for _, values in PETS.values() for value in values])]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [KindOfPet, FoodRunningOut]
