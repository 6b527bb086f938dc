"""Filters on the payload of events: which of them a fact looks at.

``{"category": "pet_food"}`` is equality, ``{"category": ["tea", "coffee"]}`` membership,
``{"amount": Within(100, 500)}`` a range, ``{"text": Contains("formula", "奶粉")}`` words in a text. A field of the
lines of an event (the ``items`` of an order) is named like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from siyu.contract.conditions import EXACT, Lit, Scalar, lift
from siyu.contract.errors import RuleError

__all__ = ["Contains", "OneOf", "Test", "Where", "Within", "plain", "where_of"]


@dataclass(frozen=True)
class OneOf:
    """The value is one of these."""

    values: tuple[Scalar, ...]

    def __repr__(self) -> str:
        return repr(list(self.values) if len(self.values) > 1 else self.values[0])


@dataclass(frozen=True)
class Within:
    """The number lies between ``low`` and ``high``, both included; None is no bound."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise RuleError("Within() without a bound", remedy="give low, high or both")
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is not None:
                if isinstance(bound, bool) or not isinstance(bound, int | float | Decimal):
                    raise RuleError(f"Within({name}={bound!r})", field=name, remedy="give a number")
                exact = plain(bound)
                # 500 and 500.0, as a parameter may come, are one bound.
                object.__setattr__(self, name, int(exact) if abs(exact) <= EXACT and exact == int(exact) else exact)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise RuleError(f"{self!r} holds nothing", remedy="give the smaller number first")


@dataclass(frozen=True, init=False)
class Contains:
    """The text contains one of the words, whatever their case."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        if not words or not all(isinstance(word, str) and word.strip() for word in words):
            raise RuleError(f"Contains{words!r}", remedy="give at least one word")
        object.__setattr__(self, "words", tuple(sorted({plain(word.lower()) for word in words})))

    @property
    def spellings(self) -> tuple[str, ...]:
        """The words as they may stand in a text made lower-case: for engines, a sigma that ends a word is σ or ς."""
        found: list[str] = []
        for word in self.words:
            letters = ["σς" if letter in "σς" else letter for letter in word]
            found += map("".join, itertools.product(*letters))
        return tuple(found)

    def __repr__(self) -> str:
        return f"Contains({', '.join(map(repr, self.words))})"


Test = OneOf | Within | Contains
Where = tuple[tuple[str, Test], ...]


def where_of(where: Mapping[str, Any]) -> Where:
    """The filter in one canonical order, so that equal filters are equal facts."""
    if not isinstance(where, Mapping) or not all(isinstance(field, str) for field in where):
        raise RuleError(f"{where!r} is no filter", field="where", remedy="give fields and values: {'category': 'tea'}")
    result: list[tuple[str, Test]] = []
    for field, wanted in sorted(where.items()):
        if isinstance(wanted, Within | Contains):
            result.append((field, wanted))
            continue
        values = tuple(wanted) if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
        if not values or not all(isinstance(value, str | int | bool) for value in values):
            raise RuleError(
                f"where={{{field!r}: {wanted!r}}}",
                field=field,
                remedy="filter by a text, a whole number, a flag, Within(...) or Contains(...)",
            )
        different = sorted(set(map(plain, values)), key=lambda v: (type(v).__name__, v))
        result.append((field, OneOf(tuple(different))))
    return tuple(result)


def plain(value: Any) -> Any:
    """The value without the enumeration that it may be a member of: names of facts are made of values."""
    literal = lift(value)
    assert isinstance(literal, Lit)
    return literal.value
