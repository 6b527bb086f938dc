"""What plans are made from: how the fields of a type are read from rows, declared once a type.

A field that is not declared, or that is no longer resolved by the function that its declaration stands for, is one
that plans do not know: documents that ask for it are answered by resolvers, as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from siyu_graphql.paging import Listing, Term
from siyu_graphql.plans.pages import Choice

__all__ = [
    "Catalog",
    "Column",
    "Ended",
    "Field",
    "Fields",
    "Found",
    "Global",
    "Known",
    "Named",
    "One",
    "Paged",
    "Several",
    "Shown",
    "Told",
    "Whole",
    "Why",
    "columns",
]

Resolver: TypeAlias = Callable[..., Any]
Scope: TypeAlias = Callable[..., tuple[Listing[Any], Sequence[Term] | Choice]]
"""``scope(brand_id, personal, **arguments)``: which rows a list has, by its arguments but ``first`` and its like."""
Find: TypeAlias = Callable[..., Awaitable[int | None]]
"""``await find(connection, brand_id, personal, **arguments)``: the number of the row that the arguments name."""


@dataclass(frozen=True)
class Column:
    """The value of a column, written as the type of the field has it."""

    name: str


@dataclass(frozen=True)
class Shown:
    """JSON in a column, with what is personal in it as the bearer may see it; ``whose`` is the column of the user."""

    resolver: Resolver
    name: str
    whose: str


@dataclass(frozen=True)
class Named:
    """A value of a user's in a column, of the kind that another column says, as the bearer may see it."""

    resolver: Resolver
    kind: str
    name: str


@dataclass(frozen=True)
class Told:
    """A text in a column that may quote personal data of the user whose number is in ``whose``, as the bearer may see
    it; ``users`` is where what is known of them is."""

    resolver: Resolver
    name: str
    whose: str
    users: Listing[Any]


@dataclass(frozen=True)
class Global:
    """The global id of a row that has a column ``id``."""


@dataclass(frozen=True)
class Known:
    """What the catalog of the list says in that column."""

    name: str


@dataclass(frozen=True)
class Why:
    """A part of the rule that decided, as it stood in the version of the rulebook that the row names."""

    resolver: Resolver
    part: Literal["because", "rule", "version"]
    key: Column | Known
    track: Column | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Ended:
    """That a merge ended it, where ``merge_id`` says so; otherwise ``why``, or null."""

    resolver: Resolver
    why: Why | None = None


@dataclass(frozen=True)
class Catalog:
    """A small table of a brand that is kept at hand: ``keys`` tell its rows, in the order of ``sql``."""

    sql: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Several:
    """A list that each user has whole: the rows of ``table`` with its ``user_id``.

    The columns ``by`` tell its rows apart. They are its order, or, with a ``catalog``, the keys of that, whose order it
    has then. ``only`` names an argument, and the column that it is compared with. ``theirs`` are the rows of those who
    count as the user, too.
    """

    resolver: Resolver
    table: str
    by: tuple[str, ...]
    catalog: Catalog | None = None
    only: str | None = None
    theirs: bool = False


@dataclass(frozen=True)
class Whole:
    """A list that a brand has whole: the rows of ``listing``, ordered so, of which ``keep(row, **arguments)`` holds."""

    resolver: Resolver
    listing: Listing[Any]
    order: str
    keep: Callable[..., bool]


@dataclass(frozen=True)
class Paged:
    """A connection: of a brand, or of a user and of those who count as that one; then all have the order of
    ``of_user``."""

    resolver: Resolver
    scope: Scope
    of_user: Listing[Any] | None = None


@dataclass(frozen=True)
class Found:
    """A user whom the arguments name, or whom that one counts as."""

    resolver: Resolver
    listing: Listing[Any]
    find: Find


@dataclass(frozen=True)
class One:
    """A user: the one whose ``id`` is in ``column``, or whom that one counts as."""

    resolver: Resolver
    listing: Listing[Any]
    column: str


Field: TypeAlias = Column | Shown | Named | Told | Global | Known | Why | Ended | Several | Whole | Paged | Found | One
Fields: TypeAlias = Mapping[str, Field]
"""The fields of a type by their names in Python."""


def columns(*names: str, **others: str) -> dict[str, Field]:
    """Fields that are columns: named like them, or ``field="column"``."""
    return {**{name: Column(name) for name in names}, **{name: Column(other) for name, other in others.items()}}
