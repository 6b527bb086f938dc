"""B5: high intent is tagged at once and answered the next day."""

from __future__ import annotations

from collections.abc import Iterable

import siyu
from siyu import Count, Field, Mentions, Segmenter, Tag, Words

__all__ = ["HighIntent"]


class HighIntent(Segmenter):
    """高意向"""

    class Params(siyu.Params):
        topics: Words = Field(("育儿", "parenting"), title="文章主题")
        words: Words = Field(("奶粉", "formula"), title="群里问到的词")
        days: int = Field(1, ge=0, le=30, title="几天之内（0 为当天）")

    def tags(self, p: Params) -> Iterable[Tag]:
        read = Count("article.opened", {"topic": p.topics}, days=p.days + 1)
        asked = Mentions("group.message", *p.words, days=p.days + 1)
        yield Tag(
            "interest.high_intent",
            "高意向",
            (read > 0) | (asked > 0),
            "opened {read} articles on {topics} and asked {asked} times about {words}, today or {days} days back",
            facts={"read": read, "asked": asked},
        )
