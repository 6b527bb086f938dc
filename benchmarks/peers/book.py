"""The rules as they are given to others: conditions over facts with short names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from siyu.contract.conditions import Condition, Expr, Lit
from siyu.contract.facts import Attribute, Count, Fact, Mentions, Total
from siyu.contract.manager import PluginManager
from siyu.engine.evaluate import Decider, stage_column
from siyu.engine.facts import compute
from siyu.engine.rulebook import bind

from benchmarks import rulebook

__all__ = ["STAGE", "Book", "literals"]

STAGE = "stage"


@dataclass(frozen=True)
class Book:
    """The conditions of the tags and, in the order in which they are tried, of the stages; the facts by name."""

    decider: Decider
    facts: dict[str, Fact]
    dtypes: dict[str, pl.DataType]
    tags: dict[str, Condition]
    stages: dict[str, Condition]

    @classmethod
    def load(cls) -> Book:
        """The rules of :mod:`benchmarks.rulebook`, bound as for a brand that has them on."""
        manager = PluginManager()
        plugin = manager.register("bench", rulebook)
        manager.check()
        bound = bind([(plugin, plugin.params())], {})
        schema = compute(bound.facts, manager.catalog, {}, rulebook.AT, rulebook.ZONE).schema
        return cls(
            Decider(bound, rulebook.ZONE),
            {rulebook.NAMES[fact.name]: fact for fact in bound.facts},
            {rulebook.NAMES[fact.name]: schema[fact.name] for fact in bound.facts},
            {rule.tag.key.removeprefix("bench."): rule.tag.when for rule in bound.tags},
            {stage.key: stage.when for stage in bound.tracks[0].stages},
        )

    def name(self, leaf: Expr) -> str:
        """The short name of a fact."""
        return rulebook.NAMES[repr(leaf)]

    def missing(self, *exprs: Expr) -> list[str]:
        """The names of the facts in them that may have no value: counts and sums always have one."""
        names = dict.fromkeys(self.name(leaf) for expr in exprs for leaf in expr.leaves())
        return [name for name in names if _may_miss(self.facts[name])]

    def siyu_frame(self, facts: pl.DataFrame) -> pl.DataFrame:
        """Facts by short name as the engine has them."""
        named = (pl.col(name).alias(fact.name) for name, fact in self.facts.items())
        return facts.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("user_id"), *named)

    def answers(self, decided: pl.DataFrame) -> pl.DataFrame:
        """What siyu decided, as others answer: a column a tag, and the stage."""
        stage = pl.col(stage_column(rulebook.Journey.key)).cast(pl.String).alias(STAGE)
        return decided.select(*(pl.col(f"bench.{tag}").alias(tag) for tag in self.tags), stage)


def literals(exprs: tuple[Expr, ...]) -> Iterator[Lit]:
    """The literals that a membership lists."""
    return (expr for expr in exprs if isinstance(expr, Lit))


def _may_miss(fact: Fact) -> bool:
    given = isinstance(fact, Attribute) and fact.default is not None
    return not (isinstance(fact, Count | Total | Mentions) or given)
