"""Facts: columns declared over events, one value per user as of a moment.

A fact is declared, not programmed. Two equal declarations are one fact, computed once, whoever declares them.
Days are calendar days of the brand's time zone: yesterday evening is one day ago this morning. A window of
``days=7`` is today and the six days before.

``where`` filters on the payload: see :mod:`siyu.contract.filters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, Literal, get_args

from siyu.contract.attributes import KIND_OF, AttributeKind, AttributeType, texts
from siyu.contract.conditions import Arithmetic, Expr, Kind, Leaf, Scalar, Tree, lift, same_kind
from siyu.contract.errors import RuleError
from siyu.contract.filters import Contains, OneOf, Test, Where, Within, plain, where_of

__all__ = [
    "DAY",
    "Age",
    "Attribute",
    "Contains",
    "Count",
    "Cycle",
    "DaysSince",
    "DaysSinceFirst",
    "DaysUntil",
    "Distinct",
    "EventFact",
    "Fact",
    "First",
    "FirstKnown",
    "Formula",
    "Last",
    "Max",
    "Mean",
    "Mentions",
    "Min",
    "OneOf",
    "Score",
    "Share",
    "Test",
    "Total",
    "Values",
    "Where",
    "Within",
    "with_alternatives",
]

MAX_WINDOW_DAYS = 3660
DAY = "@day"
"""In the place of a field: the calendar day of the event."""
_LIKELY: Mapping[Kind, AttributeType] = {"text": "text", "number": "integer", "flag": "flag", "date": "date"}


class Fact(Leaf):
    """Base of all facts."""

    __slots__ = ()

    @property
    def inner(self) -> tuple[Fact, ...]:
        """The facts that it is made of, if it is made of others."""
        return ()

    def _repr(self, *shown: object, **named: object) -> str:
        parts = [repr(value) for value in shown]
        parts += [f"{key}={value!r}" for key, value in named.items() if value is not None and value != {}]
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Attribute(Fact):
    """The latest value of an attribute of the user's profile; missing (or ``default``) where never given.

    What its text stands for, and which texts are allowed, is as the attribute is declared
    (:class:`~siyu.AttributeKind`), and need not be said by a fact of a rule's class. One that is made elsewhere, or
    stands in a fact of facts (:class:`Formula`, ...), says ``type`` and ``values`` itself, and says the same.
    """

    attribute: str
    values: tuple[str, ...] = ()
    default: Scalar | None = None
    type: AttributeType = "text"
    explicit: bool = True

    def __init__(
        self,
        attribute: str,
        values: Sequence[str] = (),
        default: Scalar | None = None,
        type: AttributeType | None = None,
    ) -> None:
        _named(attribute, "attribute")
        values = texts(attribute, values, type)
        # Until the declaration is known, what the default is will do.
        known = type or ("text" if values or default is None else _LIKELY[lift(default).kind])
        if default is not None and lift(default).kind != KIND_OF[known]:
            raise RuleError(f"default {default!r} is no {known}", field=attribute, remedy=f"give a {known}")
        if default is not None and values and default not in values:
            raise RuleError(
                f"default {default!r} is not among the values",
                field=attribute,
                remedy=f"use one of {list(values)}",
            )
        object.__setattr__(self, "attribute", attribute)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "default", None if default is None else plain(default))
        object.__setattr__(self, "type", known)
        object.__setattr__(self, "explicit", type is not None)

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        return KIND_OF[self.type]

    @cached_property
    def name(self) -> str:
        shown = None if self.type == "text" else self.type
        return self._repr(self.attribute, values=list(self.values) or None, default=self.default, type=shown)

    def declared(self, kind: AttributeKind) -> Attribute:
        """The same fact with type and values as declared; a :class:`RuleError` where it says otherwise."""
        for said, declared in ((self.explicit and self.type, kind.type), (self.values, kind.values)):
            if said and said != declared:
                raise RuleError(
                    f"{self!r}: declared is {declared!r}", field=self.attribute, remedy="leave out type and values"
                )
        return Attribute(self.attribute, kind.values, self.default, kind.type)


@dataclass(frozen=True, eq=False, repr=False)
class DaysUntil(Fact):
    """Days until a date that an attribute names; negative when it has passed, missing where there is none.

    ``yearly`` means its next anniversary, today included: 0 to 365. Whoever was born on 29 February celebrates on the
    28th where the year has no such day.
    """

    attribute: str
    yearly: bool = False
    kind: Kind = "number"

    def __post_init__(self) -> None:
        _named(self.attribute, "attribute")
        _flag(self.yearly, "yearly")

    @cached_property
    def name(self) -> str:
        return self._repr(self.attribute, yearly=self.yearly or None)


@dataclass(frozen=True, eq=False, repr=False)
class Age(Fact):
    """Full years (or months) since a date that an attribute names; negative before it, missing where there is none.

    A month is full on the same day of the next, or on its last where it has no such day: whoever was born on 31 August
    is a month old on 30 September, and on 29 February a year on the 28th.
    """

    attribute: str
    unit: Literal["years", "months"] = "years"
    kind: Kind = "number"

    def __post_init__(self) -> None:
        _named(self.attribute, "attribute")
        if self.unit not in ("years", "months"):
            raise RuleError(f"unit={self.unit!r}", field=self.attribute, remedy="units are: years, months")

    @cached_property
    def name(self) -> str:
        return self._repr(self.attribute, unit=None if self.unit == "years" else self.unit)


@dataclass(frozen=True, eq=False, repr=False)
class Formula(Fact):
    """Arithmetic on other facts that deserves a name: ``recency = Formula(DaysSinceFirst(...) - DaysSince(...))``.

    Double precision; missing where one of them is, as in any condition.
    """

    expr: Expr
    kind: Kind = "number"

    def __post_init__(self) -> None:
        if not (isinstance(self.expr, Expr) and self.inner) or self.expr.kind != "number":
            raise RuleError(f"Formula({self.expr!r})", remedy="give arithmetic on facts that are numbers")

    @cached_property
    def inner(self) -> tuple[Fact, ...]:
        return tuple(leaf for leaf in self.expr.leaves() if isinstance(leaf, Fact))

    @cached_property
    def name(self) -> str:
        return self._repr(self.expr)


@dataclass(frozen=True, eq=False, repr=False)
class Score(Fact):
    """The band that a number falls into, 1 to one more than there are ``cuts``: a value equal to a cut falls below it.

    ``reverse`` counts from the other end, for numbers of which few are good. Missing where the number is.
    """

    of: Fact
    cuts: tuple[float, ...]
    reverse: bool
    kind: Kind = "number"

    def __init__(self, of: Fact, cuts: Sequence[float], *, reverse: bool = False) -> None:
        if not isinstance(of, Fact) or of.kind != "number":
            raise RuleError(f"Score({of!r})", field="of", remedy="give a fact that is a number")
        if not isinstance(cuts, Sequence) or not cuts or not all(map(_finite, cuts)):
            raise RuleError(f"cuts={cuts!r}", field="cuts", remedy="give a list of at least one number")
        _flag(reverse, "reverse")
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "cuts", tuple(sorted(map(float, cuts))))
        object.__setattr__(self, "reverse", reverse)

    @property
    def inner(self) -> tuple[Fact, ...]:
        return (self.of,)

    @cached_property
    def name(self) -> str:
        return self._repr(self.of, cuts=list(self.cuts), reverse=self.reverse or None)


@dataclass(frozen=True, eq=False, repr=False)
class FirstKnown(Fact):
    """The value of the first of several facts that has one (SQL's COALESCE); missing where none has.

    They are of one kind; arithmetic will do, and the last may be a plain value, for whoever has none of the others:
    ``FirstKnown(Cycle("order.paid"), 30)``. Numbers are in double precision, as in a :class:`Formula`.
    """

    of: tuple[Expr, ...]
    kind: Kind

    def __init__(self, *of: Fact | Arithmetic | Scalar) -> None:
        given = tuple(Formula(each) if isinstance(each, Arithmetic) else lift(each) for each in of)
        if len(given) < 2 or not all(isinstance(each, Fact) for each in given[:-1]):
            raise RuleError(
                f"FirstKnown({', '.join(map(repr, of))})",
                field="of",
                remedy="give facts, two or more, or a plain value as the last",
            )
        for each in given[1:]:
            same_kind(given[0], each)
        object.__setattr__(self, "of", given)
        object.__setattr__(self, "kind", given[0].kind)

    @property
    def inner(self) -> tuple[Fact, ...]:
        return tuple(each for each in self.of if isinstance(each, Fact))

    def parts(self) -> list[Tree]:
        return list(self.of)

    @cached_property
    def name(self) -> str:
        return self._repr(*self.of)


@dataclass(frozen=True, eq=False, repr=False)
class EventFact(Fact):
    """A fact over the events of one kind, or of a group of kinds such as ``interaction``."""

    event: str
    where: Where = ()
    days: int | None = None
    kind: Kind = "number"

    def __init__(self, event: str, where: Mapping[str, Any] | None = None, days: int | None = None) -> None:
        object.__setattr__(self, "event", _named(event, "event"))
        object.__setattr__(self, "where", where_of({} if where is None else where))
        object.__setattr__(self, "days", _window(days))

    @cached_property
    def name(self) -> str:
        return self._repr(*self._subject(), **self._options())

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the payload that it reads besides those of ``where``."""
        return ()

    def _subject(self) -> tuple[object, ...]:
        return (self.event,)

    def _options(self) -> dict[str, object]:
        return {"where": dict(self.where), "days": self.days}


class Count(EventFact):
    """How many events; 0 where there were none. With a filter on lines: events with such a line."""

    __slots__ = ()


class Mentions(EventFact):
    """How many events whose text contains one of the words, whatever their case; 0 where there were none."""

    __slots__ = ()

    def __init__(self, event: str, *words: str, field: str = "text", days: int | None = None) -> None:
        super().__init__(event, {field: Contains(*words)}, days)


class Cycle(EventFact):
    """The user's own rhythm: the median number of days between the days on which it happened.

    Missing where it happened on fewer than ``least`` days (three: one gap is no rhythm).
    """

    least: int

    def __init__(
        self, event: str, where: Mapping[str, Any] | None = None, days: int | None = None, *, least: int = 3
    ) -> None:
        super().__init__(event, where, days)
        if type(least) is not int or least < 2:
            raise RuleError(
                f"least={least!r}", field="least", remedy="a gap needs two days: give a whole number from 2"
            )
        object.__setattr__(self, "least", least)

    def _options(self) -> dict[str, object]:
        return {**super()._options(), "least": self.least}


@dataclass(frozen=True, eq=False, repr=False)
class _FieldFact(EventFact):
    field: str = ""

    def __init__(self, event: str, field: str, where: Mapping[str, Any] | None = None, days: int | None = None) -> None:
        super().__init__(event, where, days)
        object.__setattr__(self, "field", _named(field, "field"))

    @property
    def fields(self) -> tuple[str, ...]:
        return () if self.field == DAY else (self.field,)

    def _subject(self) -> tuple[object, ...]:
        return (self.event, self.field)


class _Repeatable(_FieldFact):
    repeat: bool

    def __init__(
        self,
        event: str,
        field: str,
        where: Mapping[str, Any] | None = None,
        days: int | None = None,
        *,
        repeat: bool = False,
    ) -> None:
        super().__init__(event, field, where, days)
        object.__setattr__(self, "repeat", _flag(repeat, "repeat"))

    def _options(self) -> dict[str, object]:
        return {**super()._options(), "repeat": self.repeat or None}


class Total(_Repeatable):
    """The sum of a number in the payload; 0 where there were no events. Money sums exactly, in its own unit.

    ``repeat`` leaves out the user's first day with such an event, however long ago: what followed the first purchase.
    """

    __slots__ = ()


class Mean(_FieldFact):
    """The mean of a number in the payload; missing where there was none."""

    __slots__ = ()


class Max(_FieldFact):
    """The greatest of a number in the payload; missing where there was none."""

    __slots__ = ()


class Min(_FieldFact):
    """The smallest of a number in the payload; missing where there was none."""

    __slots__ = ()


class Distinct(_Repeatable):
    """How many different values a field had, or (:data:`DAY`) on how many days it happened; 0 where there were none.

    ``repeat`` leaves out the user's first day with such an event, as in :class:`Total`.
    """

    __slots__ = ()


class Values(_FieldFact):
    """The different values of a text field, sorted, a line each; missing where there were none.

    For :meth:`~siyu.FittedSegmenter.fit`, which must find out what there is before it can count it.
    """

    kind: Kind = "text"


class _Value(_FieldFact):
    """A value of the payload itself. Its kind is the field's, known once the catalog has resolved it."""

    def __init__(
        self,
        event: str,
        field: str,
        where: Mapping[str, Any] | None = None,
        days: int | None = None,
        *,
        kind: Kind = "text",
    ) -> None:
        super().__init__(event, field, where, days)
        if kind not in get_args(Kind):
            raise RuleError(f"kind={kind!r}", field="kind", remedy=f"kinds are: {', '.join(get_args(Kind))}")
        object.__setattr__(self, "kind", kind)

    def _options(self) -> dict[str, object]:
        return {**super()._options(), "kind": None if self.kind == "text" else self.kind}


class First(_Value):
    """A field of the first event; missing where there was none. Say ``kind="number"`` where it is no text."""

    __slots__ = ()


class Last(_Value):
    """A field of the latest event; missing where there was none. Say ``kind="number"`` where it is no text."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, repr=False)
class Share(EventFact):
    """The share, 0 to 1, of the events for which ``of`` holds; missing where there were no events."""

    of: Where = ()

    def __init__(
        self,
        event: str,
        of: Mapping[str, Any],
        where: Mapping[str, Any] | None = None,
        days: int | None = None,
    ) -> None:
        super().__init__(event, where, days)
        object.__setattr__(self, "of", where_of(of))
        if not self.of:
            raise RuleError("Share(of={})", field="of", remedy="say which events are counted")

    def _subject(self) -> tuple[object, ...]:
        return (self.event, dict(self.of))


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


def with_alternatives(facts: Iterable[Leaf]) -> list[Fact]:
    """The facts, each :class:`FirstKnown` followed by those that it is the first of; each once."""
    found: dict[str, Fact] = {}
    for fact in facts:
        assert isinstance(fact, Fact)
        found.setdefault(fact.name, fact)
        if isinstance(fact, FirstKnown):
            for each in with_alternatives(fact.inner):
                found.setdefault(each.name, each)
    return list(found.values())


def _named(value: str, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RuleError(f"{field}={value!r}", field=field, remedy="give its name, a text")
    return plain(value)  # type: ignore[no-any-return]


def _flag(value: bool, field: str) -> bool:
    if not isinstance(value, bool):
        raise RuleError(f"{field}={value!r}", field=field, remedy="use True or False")
    return value


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _window(days: int | None) -> int | None:
    if days is not None and (type(days) is not int or not 1 <= days <= MAX_WINDOW_DAYS):
        raise RuleError(
            f"a window of {days!r} days", field="days", remedy=f"use a whole number, 1 to {MAX_WINDOW_DAYS}, or None"
        )
    return days
