"""Pets: who has a cat or a dog, and whose food runs out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import siyu
from siyu import Attribute, AttributeKind, Count, Cycle, DaysSince, Field, Segmenter, Tag, hookimpl

Word = Annotated[str, Field(min_length=1, max_length=50, pattern=r"\S")]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]
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
            yield Tag(
                f"pets.{kind}",
                f"养{title}",
                self.pet.is_in([*values, *PETS["both"][1]]) | (self.pet.is_missing() & (bought > 0)),
                "says: {pet}; bought for such a pet {bought} times in {days} days",
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
            last, cycle = DaysSince("order.paid", food), Cycle("order.paid", food, days=365)
            own = last.between(cycle * (1 - p.early), cycle * p.rounds)
            usual = cycle.is_missing() & last.between(p.bag_days * (1 - p.early), p.bag_days * p.rounds)
            yield Tag(
                f"pets.{kind}_food_running_out",
                f"{PETS[kind][0]}粮快吃完",
                own | usual,
                "last food {last} days ago; buys every {cycle} days, {bag_days} where there is no rhythm yet",
                facts={"last": last, "cycle": cycle},
            )


@hookimpl
def siyu_attributes() -> list[AttributeKind]:
    return [AttributeKind("pet", "宠物", values=[value for _, values in PETS.values() for value in values])]


@hookimpl
def siyu_segmenters() -> list[type[Segmenter]]:
    return [KindOfPet, FoodRunningOut]
