"""RFM: how recently, how often and for how much a user has bought.

Each of the three is scored 1 to ``bins`` (``bins`` is best), by quantiles of the buyers of the brand or by fixed
cuts. A value equal to a cut falls below it, as in the intervals ``(a, b]`` of ``pandas.qcut``. A score of
``high_from`` or more is high, which gives the eight classes of the usual model; beside them stands the plain reading.

The literature on customer-base models means something else by the same words: see :class:`CustomerBase`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import polars as pl
import siyu
from siyu import (
    DAY,
    Count,
    DaysSince,
    DaysSinceFirst,
    Distinct,
    Field,
    FittedSegmenter,
    Formula,
    Score,
    Segmenter,
    State,
    Tag,
    Total,
    hookimpl,
)

CLASSES = {
    # (recent, often, much): key, title
    (True, True, True): ("important_value", "重要价值"),
    (True, False, True): ("important_development", "重要发展"),
    (False, True, True): ("important_retention", "重要保持"),
    (False, False, True): ("important_winback", "重要挽留"),
    (True, True, False): ("general_value", "一般价值"),
    (True, False, False): ("general_development", "一般发展"),
    (False, True, False): ("general_retention", "一般保持"),
    (False, False, False): ("general_winback", "一般挽留"),
}
BECAUSE = (
    "last order {recency} days ago (recent: up to {recent}), {frequency} orders (often: more than {often}), "
    "{monetary} spent (much: more than {much})"
)


class RFM(FittedSegmenter):
    """RFM 用户价值"""

    key = "rfm"

    class Params(siyu.Params):
        method: Literal["quantile", "fixed"] = Field("quantile", title="分档方法")
        bins: int = Field(5, ge=2, le=10, title="分档数（分位法）")
        high_from: int = Field(4, ge=2, le=10, title="几分起算高")
        recency_cuts: tuple[int, ...] = Field((14, 30, 60, 90), min_length=1, max_length=9, title="最近购买天数分界")
        frequency_cuts: tuple[int, ...] = Field((1, 3, 6, 12), min_length=1, max_length=9, title="购买次数分界")
        monetary_cuts: tuple[float, ...] = Field((50, 200, 500, 1000), min_length=1, max_length=9, title="消费金额分界")
        sleeping_days: int = Field(90, ge=1, le=1000, title="多少天未购买算沉睡")

    recency = DaysSince("order.paid")
    frequency = Count("order.paid")
    monetary = Total("order.paid", "amount")

    def fit(self, facts: pl.DataFrame, p: Params) -> State:
        """The cuts between scores, ascending, and where high begins."""
        buyers = facts.filter(pl.col("frequency") > 0)
        cuts: dict[str, list[float]] = {
            "recency": sorted(p.recency_cuts),
            "frequency": sorted(p.frequency_cuts),
            "monetary": sorted(p.monetary_cuts),
        }
        if p.method == "quantile":
            shares = [step / p.bins for step in range(1, p.bins)]
            cuts = {name: [buyers.get_column(name).quantile(q, "linear") or 0.0 for q in shares] for name in cuts}
        return {
            **cuts,
            # A high recency score is a *small* number of days.
            "recent": cuts["recency"][max(0, len(cuts["recency"]) + 1 - p.high_from)],
            "often": cuts["frequency"][min(p.high_from - 2, len(cuts["frequency"]) - 1)],
            "much": cuts["monetary"][min(p.high_from - 2, len(cuts["monetary"]) - 1)],
        }

    def tags(self, p: Params, state: State) -> Iterable[Tag]:
        bought = self.frequency > 0
        recent, often, much = (
            self.recency <= state["recent"],
            self.frequency > state["often"],
            self.monetary > state["much"],
        )
        scores = {
            "recency_score": Score(self.recency, state["recency"], reverse=True),
            "frequency_score": Score(self.frequency, state["frequency"]),
            "monetary_score": Score(self.monetary, state["monetary"]),
        }
        for high, (name, title) in CLASSES.items():
            parts = [yes if wanted else ~yes for yes, wanted in zip((recent, often, much), high, strict=True)]
            yield Tag(f"rfm.{name}", title, bought & parts[0] & parts[1] & parts[2], BECAUSE, scores)
        yield Tag("rfm.potential", "潜在用户", self.frequency == 0, "has never bought")
        yield Tag("rfm.high_value", "高价值用户", recent & much, BECAUSE, scores)
        yield Tag(
            "rfm.sleeping",
            "沉睡用户",
            self.recency > p.sleeping_days,
            "last order {recency} days ago; sleeping after {sleeping_days}",
        )


class CustomerBase(Segmenter):
    """复购

    The summary that customer-base models are fitted on, as Fader and Hardie define it (Fader, Hardie and Lee 2005,
    "RFM and CLV"): a day's purchases are one transaction, and the first is where the customer begins, not a repeat.
    Its tags are given where asked for: the days of each user cost as much as all other facts of this plugin together.
    """

    class Params(siyu.Params):
        tags: bool = Field(False, title="给出复购标签")
        patience: float = Field(2, ge=1, le=20, title="超过自己购买间隔的几倍算迟到")
        trial_days: int = Field(30, ge=1, le=730, title="首购多少天后仍未复购算只买一次")

    frequency = Distinct("order.paid", DAY, repeat=True)
    recency = Formula(DaysSinceFirst("order.paid") - DaysSince("order.paid"))
    age = DaysSinceFirst("order.paid")
    monetary = Formula(
        Total("order.paid", "amount", repeat=True) / Distinct("order.paid", DAY, repeat=True),
    )

    def tags(self, p: Params) -> Iterable[Tag]:
        if not p.tags:
            return
        summary = "{frequency} repeat days of {monetary} on average, the last {recency} days after the first, "
        yield Tag("rfm.repeat", "复购用户", self.frequency > 0, summary + "{age} days ago")
        yield Tag(
            "rfm.one_time",
            "只买过一次",
            (self.frequency == 0) & (self.age >= p.trial_days),
            "first bought {age} days ago and not since; expected within {trial_days}",
        )
        yield Tag(
            "rfm.late",
            "该买未买",
            self.age - self.recency > p.patience * self.recency / self.frequency,
            summary + "{age} days ago; late when silent for {patience} times the usual gap",
        )


@hookimpl
def siyu_segmenters() -> list[type[Segmenter | FittedSegmenter]]:
    return [RFM, CustomerBase]
