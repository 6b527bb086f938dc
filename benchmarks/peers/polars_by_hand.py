"""Polars as somebody who knows it well would write these rules, over the same columns with texts as codes."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
from polars import col

from benchmarks import rulebook
from benchmarks.peers import Peer
from benchmarks.peers.book import STAGE, Book

__all__ = ["PolarsByHand", "coded"]

_CODES = {
    "channel": pl.Enum(rulebook.CHANNELS),
    "level": pl.Enum(rulebook.LEVELS),
    "skin": pl.Enum(rulebook.SKINS),
    "city": pl.Enum(rulebook.CITIES),
}


def coded(facts: pl.DataFrame) -> pl.DataFrame:
    """The facts with texts as members of enumerations."""
    return facts.cast(_CODES)  # type: ignore[arg-type]


def rules() -> list[pl.Expr]:
    """The tags, missing as false, and the stage."""
    gap = (col("since_first") - col("since_order")) / (col("orders") - 1)
    baby = col("milk_90") + col("diapers_90")
    vip = (col("spent_365") >= 5000) | (col("level") == "platinum").fill_null(False)
    tags = {
        "loyal": (col("orders_365") >= 6) & (col("since_order") <= 45),
        "vip": vip,
        "winback": vip & (col("since_order") > 60),
        "rising": (col("orders_90") >= 2) & (col("spent_90") * 4 > col("spent_365") * 1.45),
        "fading": (col("orders_365") >= 4) & (col("spent_90") * 4 < col("spent_365") * 0.5),
        "big_basket": (col("basket") >= 300) | (col("biggest") >= 1200),
        "small_basket": col("basket").is_between(0.01, 80) & (col("orders") >= 3),
        "late": (col("orders") > 1) & (col("since_order") > 2 * gap),
        "one_time": (col("orders") == 1) & col("since_first").is_between(30, 365),
        "never_bought": col("since_order").is_null(),
        "online_buyer": (col("online") >= 0.8) & (col("orders_365") >= 3),
        "store_buyer": (col("channel") == "store") & ~(col("online") > 0.5).fill_null(False),
        "app_buyer": col("channel").is_in(["app", "live"]) & (col("spent") >= 100),
        "baby": baby >= 2,
        "milk_running_out": col("since_milk").is_between(21, 45) & (col("milk_90") >= 1),
        "beauty_lover": ((col("care_90") >= 2) & (col("makeup_180") >= 1)) | (col("beauty_30") >= 5),
        "care_first": (col("spent_365") > 0) & (col("spent_care_365") / col("spent_365") >= 0.4),
        "pets": (col("pet_food_90") > 0) & (col("milk_90") == 0),
        "gift_giver": (col("toys_180") >= 2) & (baby <= 0),
        "high_intent": (col("parenting_7") > 0) | (col("asked_7") > 0),
        "quiet_reader": (col("since_read") <= 7) & col("since_said").is_null(),
        "talkative": (col("said_30") >= 10) | ((col("said_30") >= 5) & (col("read_7") >= 2)),
        "reader": (col("read_30") >= 6) & (col("orders_30") == 0),
        "silent": (col("silent") >= 30) & (col("busy_30") <= 0),
        "birthday_soon": col("birthday").is_between(0, 7) & col("consent"),
        "young_dry": col("age").is_between(18, 29) & (col("skin") == "dry"),
        "expecting": col("due").is_between(date(2026, 1, 1), date(2026, 9, 30)),
        "big_city": col("city").is_in(rulebook.CITIES[:4]) & ~col("level").is_in(["gold", "platinum"]).fill_null(False),
        "points_to_spend": col("member") & (col("points") >= 1000) & col("consent"),
        "incomplete": col("skin").is_null() | col("age").is_null(),
    }
    stages = pl.Enum(["lost", "dormant", "mature", "growth", "intro"])
    stage = (
        pl.when(col("silent") >= 120)
        .then(pl.lit("lost", stages))
        .when(col("silent") >= 30)
        .then(pl.lit("dormant", stages))
        .when((col("orders_90") >= 4) | ((col("orders_90") >= 2) & (col("spent_365") >= 3000)))
        .then(pl.lit("mature", stages))
        .when(col("orders") >= 1)
        .then(pl.lit("growth", stages))
        .otherwise(pl.lit("intro", stages))
    )
    return [*(when.fill_null(False).alias(tag) for tag, when in tags.items()), stage.alias(STAGE)]


class PolarsByHand(Peer):
    """One select."""

    name = f"Polars {pl.__version__} by hand, coded"

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._rules = rules()

    def take(self, facts: pl.DataFrame) -> None:
        self._facts = coded(facts)

    def run(self) -> Any:
        return self._facts.select(self._rules)

    def answers(self) -> pl.DataFrame:
        answers: pl.DataFrame = self.run()
        return answers.cast({STAGE: pl.String})
