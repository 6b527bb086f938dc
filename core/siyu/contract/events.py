"""Event kinds: what can happen to a user, and the shape of its payload.

A payload is a Pydantic model of flat, exact fields, so that every field becomes a typed column: ``str``, ``int``,
``bool``, ``date``, ``Money`` and ``Literal[...]`` of texts; all may be optional. One field may be a list of
:class:`Line` models (the items of an order); it becomes a table of its own, named ``kind.field``.
There are no floats: sums must not depend on the order in which events arrive.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import polars as pl
import pydantic

from siyu.contract.attributes import AttributeKind
from siyu.contract.conditions import Kind
from siyu.contract.errors import InputError, RuleError
from siyu.contract.facts import (
    Age,
    Attribute,
    Contains,
    DaysUntil,
    EventFact,
    Fact,
    First,
    Last,
    Max,
    Mean,
    Min,
    OneOf,
    Share,
    Test,
    Total,
    Values,
    Within,
)

__all__ = [
    "CONSENT_GIVEN",
    "CONSENT_WITHDRAWN",
    "MOMENT",
    "PROFILE_UPDATED",
    "TAG_ADDED",
    "Catalog",
    "Column",
    "EventKind",
    "Line",
    "Money",
    "Payload",
    "Source",
]

PROFILE_UPDATED = "profile.updated"
"""The kind whose payload sets attributes: any names, texts as values."""
CONSENT_GIVEN, CONSENT_WITHDRAWN = "consent.given", "consent.withdrawn"
"""The kinds that say what may be sent: of a ``purpose``, by a ``channel``; of each that is left out, all."""
TAG_ADDED = "tag.added"
"""The kind by which playbooks give tags."""

MONEY_AS_NUMBER = pydantic.PlainSerializer(float, return_type=float, when_used="json")
Money = Annotated[Decimal, pydantic.Field(max_digits=13, decimal_places=2), MONEY_AS_NUMBER]
"""An amount in the brand's currency with two decimals; kept as integer cents where sums are made."""

Text = Annotated[str, pydantic.StringConstraints(max_length=4000)]
Integer = Annotated[int, pydantic.Field(ge=-(2**53), le=2**53)]


class Payload(pydantic.BaseModel):
    """Base of the payload of an event kind."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Line(Payload):
    """Base of one line in a list field of a payload."""


ColumnType = Literal["text", "integer", "flag", "date", "money"]
MOMENT = pl.Datetime("us", "UTC")
_DTYPES: Mapping[ColumnType, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "flag": pl.Boolean(),
    "date": pl.Date(),
    "money": pl.Int64(),  # cents, so that sums are exact in any order
}


@dataclass(frozen=True)
class Column:
    """A typed column of a table of events."""

    name: str
    type: ColumnType

    @property
    def kind(self) -> Kind:
        """The kind of expression that the column can stand in."""
        return "number" if self.type in ("integer", "money") else self.type  # type: ignore[return-value]


@dataclass(frozen=True)
class Source:
    """A table of events: one row an event, or one row a line where ``lines`` names the list field."""

    kind: str
    columns: tuple[Column, ...]
    lines: str | None = None

    @property
    def name(self) -> str:
        """``order.paid``, or ``order.paid.items`` for its lines."""
        return f"{self.kind}.{self.lines}" if self.lines else self.kind

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The columns of the table as a frame. Lines carry the ``event_id`` of their event."""
        fixed: dict[str, pl.DataType] = {"user_id": pl.Int64(), "at": MOMENT}
        if self.lines:
            fixed["event_id"] = pl.Int64()
        return {**fixed, **{column.name: _DTYPES[column.type] for column in self.columns}}

    @property
    def order(self) -> list[str]:
        """The columns that its rows are put in the order of. What was given of an attribute lies together."""
        first = ["name"] if self.kind == PROFILE_UPDATED else []
        return [*first, "user_id", "at", *(["event_id"] if self.lines else [])]

    def column(self, name: str) -> Column | None:
        """The column of that name, if it has one."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class EventKind:
    """A kind of event.

    ``groups`` are names under which facts can address many kinds at once; ``interaction`` means that the user did
    something. The payload of :data:`PROFILE_UPDATED` is open.
    """

    name: str
    title: str
    payload: type[Payload] = Payload
    groups: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """Its tables: the events, then the lines of its list field."""
        if self.name == PROFILE_UPDATED:
            return (Source(self.name, (Column("name", "text"), Column("value", "text"))),)
        columns, lines = _columns(self.name, self.payload)
        tables = [Source(self.name, tuple(columns))]
        for name, model in lines.items():
            tables.append(Source(self.name, tuple(_columns(self.name, model)[0]), lines=name))
        return tuple(tables)


class Catalog:
    """All event kinds and attributes that are known, and what facts mean over them.

    ``attributes`` are by the plugin that declares them.
    """

    def __init__(
        self, kinds: Iterable[EventKind], attributes: Mapping[str, Iterable[AttributeKind]] | None = None
    ) -> None:
        self.kinds: dict[str, EventKind] = {}
        self.groups: dict[str, list[str]] = {}
        self.attributes = _merged(attributes or {})
        for kind in kinds:
            if kind.name in self.kinds:
                raise RuleError("two plugins declare this event kind", field=kind.name, remedy="rename one of them")
            self.kinds[kind.name] = kind
            _ = kind.sources
            for group in kind.groups:
                self.groups.setdefault(group, []).append(kind.name)
        if clash := set(self.kinds) & set(self.groups):
            raise RuleError("a group has the name of a kind", field=min(clash), remedy="rename the group")

    @property
    def sources(self) -> list[Source]:
        """Every table of every kind."""
        return [source for kind in self.kinds.values() for source in kind.sources]

    def kind(self, name: str) -> EventKind:
        """The kind of that name, or an :class:`InputError` with the names that there are."""
        if name not in self.kinds:
            raise InputError(f"no event kind {name!r}", field="kind", remedy=f"kinds are: {', '.join(self.kinds)}")
        return self.kinds[name]

    def resolve(self, fact: Fact) -> list[Source]:
        """The tables a fact reads; a :class:`RuleError` names what does not exist, with what does."""
        if fact.inner:
            return list({source.name: source for each in fact.inner for source in self.resolve(each)}.values())
        if not isinstance(fact, EventFact):
            return [self.kinds[PROFILE_UPDATED].sources[0]]
        if fact.event in self.groups:
            if fact.where or fact.fields or isinstance(fact, Share):
                raise RuleError(
                    f"{fact!r} looks into the payload of a group",
                    field=fact.event,
                    remedy="name a single kind",
                )
            return [self.kinds[name].sources[0] for name in sorted(self.groups[fact.event])]
        kind = self.kinds.get(fact.event)
        if kind is None or kind.name == PROFILE_UPDATED:
            valid = ", ".join(sorted({*self.kinds, *self.groups} - {PROFILE_UPDATED}))
            raise RuleError(f"{fact!r}: no such event kind", field=fact.event, remedy=f"kinds and groups are: {valid}")
        return [_source(fact, kind)]

    def declared(self, fact: Fact) -> Fact:
        """The fact as its attribute is declared; a :class:`RuleError` where it is not, with those that are."""
        if not isinstance(fact, Attribute | DaysUntil | Age):
            return fact
        kind = self.attributes.get(fact.attribute)
        if kind is None:
            like = get_close_matches(fact.attribute, self.attributes) or sorted(self.attributes)
            raise RuleError(
                f"{fact!r}: no plugin declares such an attribute",
                field=fact.attribute,
                remedy=f"declared are: {', '.join(like) or 'none'}; declare your own in siyu_attributes",
            )
        if isinstance(fact, Attribute):
            return fact.declared(kind)
        if kind.type != "date":
            raise RuleError(f"{fact!r} reckons with a {kind.type}", field=kind.name, remedy="take a date")
        return fact

    def check(self, fact: Fact) -> None:
        """Refuse a fact that cannot be computed, by the name of what is not there or is something else."""
        self.resolve(fact)
        for each in fact.inner:
            self.check(each)
        if self.declared(fact).name != fact.name:
            raise RuleError(
                f"{fact!r}: declared is {self.declared(fact)!r}",
                field=getattr(fact, "attribute", None),
                remedy="make it a fact of the rule's class, or say the same",
            )


def _merged(attributes: Mapping[str, Iterable[AttributeKind]]) -> dict[str, AttributeKind]:
    """By name; what several plugins declare in the same way is one, and personal if one of them says so."""
    found: dict[str, tuple[str, AttributeKind]] = {}
    for plugin, kinds in attributes.items():
        for kind in kinds:
            first, other = found.get(kind.name, (plugin, kind))
            if not kind.means(other):
                raise RuleError(
                    f"{first} and {plugin} declare the attribute {kind.name!r}, and not as the same",
                    field=kind.name,
                    remedy="rename one of them, or give both the same type and values",
                )
            found[kind.name] = (first, replace(other, personal=other.personal or kind.personal))
    return {name: kind for name, (_, kind) in found.items()}


def _source(fact: EventFact, kind: EventKind) -> Source:
    filters = (*fact.where, *(fact.of if isinstance(fact, Share) else ()))
    wanted = [*(name for name, _ in filters), *fact.fields]
    for source in kind.sources:
        if all(source.column(name) for name in wanted):
            break
    else:
        valid = "; ".join(f"{s.name}: {', '.join(c.name for c in s.columns)}" for s in kind.sources)
        unknown = next((n for n in wanted if not any(s.column(n) for s in kind.sources)), wanted[-1])
        raise RuleError(
            f"{fact!r}: the payload has no such field (or not beside the others)",
            field=unknown,
            remedy=f"fields are {valid}",
        )
    for name, test in filters:
        column = source.column(name)
        assert column is not None
        if not _fits(column, test):
            raise RuleError(
                f"{fact!r}: {name} is a {column.type}", field=name, remedy="compare it with one of its kind"
            )
    for name in fact.fields:
        column = source.column(name)
        assert column is not None
        if isinstance(fact, Total | Mean | Max | Min) and column.kind != "number":
            raise RuleError(f"{fact!r} reckons with a {column.type}", field=name, remedy="take an int or a Money")
        if isinstance(fact, Values) and column.type != "text":
            raise RuleError(f"{fact!r} lists a {column.type}", field=name, remedy="take a text")
        if isinstance(fact, First | Last) and column.kind != fact.kind:
            raise RuleError(f"{fact!r}: {name} is a {column.kind}", field=name, remedy=f"say kind={column.kind!r}")
    return source


def _fits(column: Column, test: Test) -> bool:
    match test:
        case Within():
            return column.kind == "number"
        case Contains():
            return column.type == "text"
        case OneOf(values):
            kinds = {"text": str, "flag": bool, "integer": int}
            wanted = kinds.get(column.type)
            return wanted is not None and all(type(value) is wanted for value in values)


def _columns(kind: str, model: type[Payload]) -> tuple[list[Column], dict[str, type[Line]]]:
    columns: list[Column] = []
    lines: dict[str, type[Line]] = {}
    for name, info in model.model_fields.items():
        if name in ("user_id", "at", "event_id"):
            raise RuleError(f"{name!r} is a name of siyu's own", field=f"{kind}.{name}", remedy="rename the field")
        annotation = _strip_optional(info.annotation)
        if get_origin(annotation) in (list, tuple):
            line = get_args(annotation)[0]
            if not (isinstance(line, type) and issubclass(line, Line)) or issubclass(model, Line) or lines:
                raise RuleError(
                    "a payload may have one list, of a class that inherits siyu.Line", field=f"{kind}.{name}"
                )
            lines[name] = line
        else:
            column = Column(name, _column_type(annotation, f"{kind}.{name}"))
            if column.type == "money" and MONEY_AS_NUMBER not in (*get_args(annotation), *info.metadata):
                raise RuleError("a Decimal of any precision", field=f"{kind}.{name}", remedy="use siyu.Money")
            columns.append(column)
    return columns, lines


def _strip_optional(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _column_type(annotation: Any, where: str) -> ColumnType:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal and all(isinstance(arg, str) for arg in get_args(annotation)):
        return "text"
    plain: Mapping[Any, ColumnType] = {
        str: "text",
        bool: "flag",
        int: "integer",
        date: "date",
        Decimal: "money",
    }
    if annotation in plain:
        return plain[annotation]
    raise RuleError(
        f"a payload field of type {annotation!r}",
        field=where,
        remedy="use str, int, bool, date, siyu.Money or Literal",
    )
