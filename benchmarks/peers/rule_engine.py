"""rule-engine: a Rule a tag, and the stages tried in their order."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import polars as pl
import rule_engine

from benchmarks.peers import Peer
from benchmarks.peers.book import STAGE, Book
from benchmarks.peers.text import Guarded

__all__ = ["RuleEngine"]


class _Expressions(Guarded):
    date = 'd"{}"'


class RuleEngine(Peer):
    """Rules parsed once, matched against each user."""

    name = f"rule-engine {version('rule-engine')}"
    one_by_one = True

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        text = _Expressions(book)
        self._tags = [rule_engine.Rule(text.condition(when)) for when in book.tags.values()]
        self._stages = [(stage, rule_engine.Rule(text.condition(when))) for stage, when in book.stages.items()]

    def take(self, facts: pl.DataFrame) -> None:
        self._users = facts.to_dicts()

    def run(self) -> Any:
        return [
            (
                *(rule.matches(user) for rule in self._tags),
                next((stage for stage, rule in self._stages if rule.matches(user)), None),
            )
            for user in self._users
        ]

    def answers(self) -> pl.DataFrame:
        return pl.DataFrame(self.run(), schema=[*self.book.tags, STAGE], orient="row")
