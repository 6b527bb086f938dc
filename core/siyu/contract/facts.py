"""Facts: columns declared over events, one value per user as of a moment.

A fact is declared, not programmed. Two equal declarations are one fact, computed once, whoever declares them.
Days are calendar days of the brand's time zone: yesterday evening is one day ago this morning. A window of
``days=7`` is today and the six days before.

``where`` filters on the payload: ``{"category": "pet_food"}`` is equality, ``{"category": ["tea", "coffee"]}``
membership. A field of the lines of an event (the ``items`` of an order) is named like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from siyu.contract.conditions import Kind, Leaf, Lit, Scalar, lift
from siyu.contract.errors import RuleError

__all__ = ["Attribute", "Count", "DaysSince", "DaysSinceFirst", "Fact", "Total", "Where"]

Where = tuple[tuple[str, tuple[Scalar, ...]], ...]
MAX_WINDOW_DAYS = 3660


class Fact(Leaf):
    """Base of all facts."""

    __slots__ = ()

    def _repr(self, *shown: object, **named: object) -> str:
        parts = [repr(value) for value in shown]
        parts += [f"{key}={value!r}" for key, value in named.items() if value not in (None, {})]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Attribute(Fact):
    """The latest value of an attribute of the user's profile; missing (or ``default``) where never given.

    ``values`` lists the values allowed; anything else that was stored counts as missing.
    """

    attribute: str
    values: tuple[str, ...] = ()
    default: str | None = None
    kind: ClassVar[Kind] = "text"  # type: ignore[misc]

    def __init__(self, attribute: str, values: Sequence[str] = (), default: str | None = None) -> None:
        if isinstance(values, str):
            raise RuleError(f"values={values!r} is one text", field=attribute, remedy="give a list of texts")
        if default is not None and values and default not in values:
            raise RuleError(
                f"default {default!r} is not among the values",
                field=attribute,
                remedy=f"use one of {list(values)}",
            )
        object.__setattr__(self, "attribute", attribute)
        object.__setattr__(self, "values", tuple(map(_plain, values)))
        object.__setattr__(self, "default", None if default is None else _plain(default))

    @property
    def name(self) -> str:
        return self._repr(self.attribute, values=list(self.values) or None, default=self.default)


@dataclass(frozen=True, eq=False, repr=False)
class EventFact(Fact):
    """A fact over the events of one kind, or of a group of kinds such as ``interaction``."""

    event: str
    where: Where = ()
    days: int | None = None
    kind: ClassVar[Kind] = "number"  # type: ignore[misc]

    def __init__(self, event: str, where: Mapping[str, Any] | None = None, days: int | None = None) -> None:
        object.__setattr__(self, "event", event)
        object.__setattr__(self, "where", _where(where or {}))
        object.__setattr__(self, "days", _window(days))

    @property
    def name(self) -> str:
        where = {field: list(values) if len(values) > 1 else values[0] for field, values in self.where}
        return self._repr(*self._subject(), where=where, days=self.days)

    def _subject(self) -> tuple[str, ...]:
        return (self.event,)


class Count(EventFact):
    """How many events; 0 where there were none. With a filter on lines: events with such a line."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, repr=False)
class Total(EventFact):
    """The sum of a number in the payload; 0 where there were no events. Money sums exactly, in its own unit."""

    field: str = ""

    def __init__(self, event: str, field: str, where: Mapping[str, Any] | None = None, days: int | None = None) -> None:
        super().__init__(event, where, days)
        object.__setattr__(self, "field", field)

    def _subject(self) -> tuple[str, ...]:
        return (self.event, self.field)


class _Since(EventFact):
    __slots__ = ()

    def __init__(self, event: str, where: Mapping[str, Any] | None = None) -> None:
        super().__init__(event, where)


class DaysSince(_Since):
    """Calendar days since the last event; missing where there was none."""

    __slots__ = ()


class DaysSinceFirst(_Since):
    """Calendar days since the first event; missing where there was none."""

    __slots__ = ()


def _window(days: int | None) -> int | None:
    if days is not None and not 1 <= days <= MAX_WINDOW_DAYS:
        raise RuleError(f"a window of {days} days", field="days", remedy=f"use 1 to {MAX_WINDOW_DAYS}, or None")
    return days


def _where(where: Mapping[str, Any]) -> Where:
    """The filter in one canonical order, so that equal filters are equal facts."""
    result = []
    for field, wanted in sorted(where.items()):
        values = tuple(wanted) if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
        if not values or not all(isinstance(value, str | int | bool) for value in values):
            raise RuleError(
                f"where={{{field!r}: {wanted!r}}}",
                field=field,
                remedy="filter by a text, a whole number or a flag",
            )
        result.append((field, tuple(sorted(set(map(_plain, values)), key=lambda v: (type(v).__name__, v)))))
    return tuple(result)


def _plain(value: Scalar) -> Scalar:
    """The value without the enumeration that it may be a member of: names of facts are made of values."""
    literal = lift(value)
    assert isinstance(literal, Lit)
    return literal.value
