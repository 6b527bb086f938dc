"""B8: lipstick buyers open make-up tutorials. Such pairs are learnt from the data and used to choose content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import polars as pl
import siyu
from siyu import Count, Field, FittedSegmenter, State, Tag, Values

__all__ = ["ContentAffinity"]


class ContentAffinity(FittedSegmenter):
    """内容偏好

    Of the users who both buy and read: how much more often do the buyers of a category open a topic than all of them
    do? That is the lift; pairs with too few users, or too little of it, say nothing.
    """

    class Params(siyu.Params):
        least_users: int = Field(20, ge=1, le=1_000_000, title="至少多少人既买又读")
        least_lift: float = Field(1.2, ge=1, le=100, title="提升度至少多少")
        most: int = Field(5, ge=1, le=50, title="每个主题最多几个品类")
        days: int = Field(180, ge=1, le=730, title="购买多少天内有效")

    bought = Values("order.paid", "category")
    opened = Values("article.opened", "topic")

    def fit(self, facts: pl.DataFrame, p: Params) -> State:
        """The pairs that go together, the strongest of each topic first."""
        both = facts.drop_nulls().with_row_index("user")
        users = len(both)

        def listed(name: str) -> pl.DataFrame:
            """A row for each user and value; values of too few users are left out, their pairs are of fewer still."""
            rows = both.select("user", pl.col(name).str.split("\n")).explode(name)
            return rows.filter(pl.len().over(name) >= p.least_users).with_columns(
                pl.len().over(name).alias(f"of_{name}")
            )

        pairs = listed("bought").join(listed("opened"), on="user").group_by("bought", "opened")
        found = pairs.agg(pl.len().alias("users"), pl.first("of_bought"), pl.first("of_opened")).with_columns(
            lift=(pl.col("users") * users / (pl.col("of_bought") * pl.col("of_opened"))).round(4)
        )
        kept = found.filter((pl.col("users") >= p.least_users) & (pl.col("lift") >= p.least_lift))
        ranked = kept.sort("opened", "lift", "bought", descending=[False, True, False])
        top = ranked.group_by("opened", maintain_order=True).head(p.most)
        return {"pairs": top.select("opened", "bought", "users", "lift").rows(), "users": users}

    def tags(self, p: Params, state: State) -> Iterable[Tag]:
        topics: dict[str, list[tuple[str, float]]] = {}
        for topic, category, _, lift in state["pairs"]:
            topics.setdefault(topic, []).append((category, lift))
        for topic, found in topics.items():
            bought = Count("order.paid", {"category": [category for category, _ in found]}, p.days)
            pairs = ", ".join(f"{category[:40]} ×{lift:.1f}" for category, lift in found)
            because = _literal(f"; whose buyers open {topic[:40]} more often than others: {pairs}")
            yield Tag(
                f"interest.affinity_{_key(topic)}",
                f"内容偏好：{topic[:40]}",
                bought > 0,
                "bought {bought} times in {days} days" + because,
                facts={"bought": bought},
            )


def _key(topic: str) -> str:
    """The topic where it can stand in a key, else a short hash of it."""
    fits = re.fullmatch(r"[a-z][a-z0-9_]{0,39}", topic)
    return topic if fits else "t" + hashlib.sha256(topic.encode()).hexdigest()[:10]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
