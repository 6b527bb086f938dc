"""GoRules ZEN: one decision with an expression a tag and one for the stage, asked for each user."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import polars as pl
import zen
from siyu.contract.conditions import Leaf

from benchmarks.peers import Peer
from benchmarks.peers.book import STAGE, Book
from benchmarks.peers.text import Guarded

__all__ = ["Zen"]


class _Expressions(Guarded):
    date = "date('{}')"

    def fact(self, leaf: Leaf) -> str:
        # There are no dates in JSON.
        name = super().fact(leaf)
        return f"date({name})" if leaf.kind == "date" else name


class Zen(Peer):
    """A graph of input, expressions and output, as its editor saves it."""

    name = f"zen-engine {version('zen-engine')}"
    one_by_one = True

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        text = _Expressions(book)
        keyed = {tag: text.condition(when) for tag, when in book.tags.items()}
        stages = [f"{text.condition(when)} ? '{stage}' : " for stage, when in book.stages.items()]
        keyed[STAGE] = "".join(stages) + "null"
        expressions = [{"id": key, "key": key, "value": value} for key, value in keyed.items()]
        nodes = [
            {"id": "in", "type": "inputNode", "name": "facts"},
            {"id": "do", "type": "expressionNode", "name": "rules", "content": {"expressions": expressions}},
            {"id": "out", "type": "outputNode", "name": "decisions"},
        ]
        edges = [
            {"id": f"{source}-{target}", "sourceId": source, "targetId": target, "type": "edge"}
            for source, target in (("in", "do"), ("do", "out"))
        ]
        self._decision = zen.ZenEngine().create_decision(json.dumps({"nodes": nodes, "edges": edges}))

    def take(self, facts: pl.DataFrame) -> None:
        dates = pl.selectors.date()
        self._users = facts.with_columns(dates.cast(pl.String)).to_dicts()

    def run(self) -> Any:
        evaluate = self._decision.evaluate
        return [evaluate(user)["result"] for user in self._users]

    def answers(self) -> pl.DataFrame:
        return pl.DataFrame(self.run()).select(*self.book.tags, STAGE)
