"""How facts are put into passes over the events, in whichever engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal

from siyu.contract.events import Catalog, Source
from siyu.contract.facts import Cycle, Distinct, EventFact, Fact, First, Last, Total, Values, Within

__all__ = ["DATE", "INTEGER", "MONEY", "adds_up", "base", "bounds", "cents", "is_total_of_repeats", "repeats"]

# How a text must be written to stand for a number or a date. Engines differ in what else they would read: 1.5 as a
# whole number, 1e3, inf, blanks around it.
INTEGER = r"\A[+-]?0*[0-9]{1,16}\z"
MONEY = r"\A[+-]?(0*[0-9]{1,15}(\.[0-9]*)?|\.[0-9]+)\z"
DATE = r"\A[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}\z"


def base(facts: Sequence[Fact]) -> list[Fact]:
    """The facts with those that formulas and scores are made of in their place, each once."""
    found: dict[str, Fact] = {}
    for fact in facts:
        found |= {each.name: each for each in (base(fact.inner) if fact.inner else [fact])}
    return list(found.values())


def repeats(fact: Fact) -> bool:
    """Whether it leaves out the user's first day."""
    return isinstance(fact, Total | Distinct) and fact.repeat


def is_total_of_repeats(fact: Fact) -> bool:
    """Whether it is all but what fell on the first day: a sum that is shared, less a small one of its own."""
    return isinstance(fact, Total) and fact.repeat and not fact.days


def adds_up(fact: EventFact) -> bool:
    """Whether it can share a pass: a count, a sum, a newest moment."""
    if is_total_of_repeats(fact):
        return True
    return not (isinstance(fact, Distinct | First | Last | Cycle | Values) or repeats(fact))


def cents(fact: EventFact, catalog: Catalog) -> bool:
    """Whether what it reads is money, which tables hold in whole cents."""
    source = catalog.resolve(fact)[0]
    return any(column.type == "money" for name in fact.fields if (column := source.column(name)))


def bounds(test: Within, source: Source, field: str) -> tuple[float | None, float | None]:
    """The bounds as the table counts: of money in whole cents, rounded inwards. No amount reaches 10^13."""

    def whole(bound: float | None, rounded: Callable[[Decimal], int]) -> float | None:
        if bound is None or column is None or column.type != "money":
            return bound
        return max(-(10**16), min(10**16, rounded(Decimal(repr(bound)) * 100)))

    column = source.column(field)
    return whole(test.low, math.ceil), whole(test.high, math.floor)
