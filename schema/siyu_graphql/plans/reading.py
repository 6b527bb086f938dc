"""What one statement reads: rows, and beside each the lists that hang on it as one array a column.

Arrays of plain columns cost the database half of what JSON aggregates do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from siyu.flow.context import Context
from siyu.flow.kept import Kept
from siyu.store.db import Connection
from siyu.store.merges import persons

from siyu_graphql.paging import Listing, Order, Where
from siyu_graphql.personal import Personal

__all__ = [
    "KNOWN",
    "PERSON",
    "All",
    "AtHand",
    "Columns",
    "Elements",
    "Found",
    "Joined",
    "Nested",
    "Numbers",
    "Request",
    "Shape",
    "Total",
    "ordered",
]

Row: TypeAlias = Sequence[Any]
Numbers: TypeAlias = "Callable[[Request], Iterable[int]]"
"""Numbers of rows, however often."""


_OWN = (
    ", own AS (SELECT id, id AS person FROM u UNION ALL SELECT user_id, into_id FROM merged_user"
    " WHERE brand_id = $1 AND into_id = ANY(ARRAY(SELECT id FROM u)))"
)
"""The users whom each ``u`` stands for, itself included."""


class Columns(Protocol):
    """Rows whose columns are asked for by name while a plan is made."""

    def column(self, name: str) -> int:
        """Where in a row the column will be."""


class AtHand(dict[Any, Any]):
    """What is kept in memory by key; what is not is noted, and stood in for by ``blank``."""

    def __init__(self, blank: Any, known: Mapping[Any, Any] | None = None) -> None:
        super().__init__(known or {})
        self._blank = blank
        self.missing: set[Any] = set()

    def __missing__(self, key: Any) -> Any:
        self.missing.add(key)
        return self._blank


@dataclass
class Request:
    """What one run of a plan has read so far.

    ``inputs`` are the arguments of fields, by number; ``merged`` is whether the brand has users who count as others;
    ``selections`` are who passes tests of facts, kept for the requests that follow.
    """

    ctx: Context
    selections: Kept[Any, Any]
    brand_id: int
    merged: bool
    personal: Personal
    inputs: list[Any] = field(default_factory=list)
    catalogs: list[AtHand] = field(default_factory=list)
    rules: AtHand = field(default_factory=lambda: AtHand(None))
    rows: dict[int, Any] = field(default_factory=dict)
    shown: dict[int, Iterable[Row]] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)


def ordered(rows: str, order: Order) -> str:
    """What follows ORDER BY where the rows are called so."""
    direction = " DESC" if order.descending else ""
    return ", ".join(f"{rows}.{name}{direction}" for name, _ in order.columns)


PERSON, KNOWN = "person", "known"
"""Of a list that hangs on a user: that user's number, and attributes."""
OF_PERSON = {PERSON: "id", KNOWN: "attributes"}


class Elements:
    """The columns of a list that hangs on a row."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def column(self, name: str) -> int:
        """Where in an element the column is."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    @property
    def arrays(self) -> list[tuple[int, str]]:
        """The columns that have to be read, with their numbers."""
        return [(number, name) for number, name in enumerate(self.names) if name not in OF_PERSON]

    def zipped(self, places: Sequence[int]) -> str:
        """The code that makes elements from the arrays of a row."""
        values = (
            f"repeat(r[{place}])" if name in OF_PERSON else f"r[{place}]"
            for name, place in zip(self.names, places, strict=True)
        )
        return f"zip({', '.join(values)})"


@dataclass(frozen=True)
class Joined:
    """Lists that rows have whole, all read by one scan of ``table``."""

    elements: Elements
    table: str
    order: str
    theirs: bool

    def sql(self, name: str, request: Request) -> str:
        """What follows the rows."""
        arrays = [f"array_agg({column}{self.order}) AS a{n}" for n, column in self.elements.arrays]
        if self.theirs and request.merged:
            return (
                f"LEFT JOIN (SELECT o.person, {', '.join(arrays)} FROM own o JOIN {self.table} ON brand_id = $1"
                f" AND user_id = o.id GROUP BY o.person) {name} ON {name}.person = u.id"
            )
        # The numbers as one array are looked for in one pass of the index.
        return (
            f"LEFT JOIN (SELECT user_id, {', '.join(arrays)} FROM {self.table} WHERE brand_id = $1"
            f" AND user_id = ANY(ARRAY(SELECT id FROM u)) GROUP BY user_id) {name} ON {name}.user_id = u.id"
        )


@dataclass(frozen=True)
class Nested:
    """Lists of which each row shows a page, whose rows ``source`` gives as ``c``."""

    elements: Elements
    source: Callable[[Request, list[Any]], str]

    def sql(self, name: str, request: Request, values: list[Any]) -> str:
        """What follows the rows."""
        arrays = ", ".join(f"array_agg(c.{column}) AS a{n}" for n, column in self.elements.arrays)
        return f"LEFT JOIN LATERAL (SELECT {arrays} FROM {self.source(request, values)}) {name} ON true"


@dataclass(frozen=True)
class Total:
    """How many rows each row's list has: as many as ``source`` gives."""

    source: Callable[[Request, list[Any]], str]

    def sql(self, name: str, request: Request, values: list[Any]) -> str:
        """What follows the rows."""
        return f"LEFT JOIN LATERAL (SELECT count(*) AS a0 FROM {self.source(request, values)}) {name} ON true"


class Shape:
    """The columns of a statement, and the lists that hang on its rows, which are called ``u``."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.columns: list[str] = []
        self._joined: list[Joined] = []
        self._nested: list[Nested | Total] = []

    def column(self, name: str, of: str = "u") -> int:
        """Where in a row the column is."""
        sql = f"{of}.{name}"
        if sql not in self.columns:
            self.columns.append(sql)
        return self.columns.index(sql)

    def join(self, joined: Joined) -> list[int]:
        """Where in a row the arrays are, one for each column of the list."""
        self._joined.append(joined)
        return self._arrays(f"j{len(self._joined) - 1}", joined.elements)

    def nest(self, nested: Nested) -> list[int]:
        """As :meth:`join`."""
        self._nested.append(nested)
        return self._arrays(f"n{len(self._nested) - 1}", nested.elements)

    def count(self, total: Total) -> int:
        """Where in a row the number is."""
        self._nested.append(total)
        return self.column("a0", f"n{len(self._nested) - 1}")

    def _arrays(self, name: str, elements: Elements) -> list[int]:
        return [
            self.column(OF_PERSON[column]) if column in OF_PERSON else self.column(f"a{n}", name)
            for n, column in enumerate(elements.names)
        ]

    def sql(self, inner: str, order: Order | None, values: list[Any], request: Request) -> str:
        """The statement over the rows of ``inner``; what it is ordered by comes last in each."""
        columns = [*self.columns, *(f"u.{name}" for name, _ in order.columns)] if order else self.columns
        own = _OWN if request.merged else ""
        parts = [f"WITH u AS MATERIALIZED ({inner}){own} SELECT {', '.join(columns)} FROM u"]
        parts += [joined.sql(f"j{number}", request) for number, joined in enumerate(self._joined)]
        parts += [nested.sql(f"n{number}", request, values) for number, nested in enumerate(self._nested)]
        if order:
            parts.append(f"ORDER BY {ordered('u', order)}")
        return " ".join(parts)

    def read(self, request: Request, rows: Any, shown: Iterable[Row]) -> None:
        """Note what was read, and what of it is shown."""
        request.rows[self.number] = rows
        request.shown[self.number] = shown


@dataclass(frozen=True)
class All:
    """Read rows of a brand whole, and keep some."""

    shape: Shape
    listing: Listing[Any]
    order: str
    keep: Callable[..., bool]
    arguments: int

    async def __call__(self, connection: Connection, request: Request) -> None:
        where = Where(request.brand_id)
        sql = f"SELECT {self.listing.columns} FROM {self.listing.source} WHERE {where.sql} ORDER BY {self.order}"
        arguments = request.inputs[self.arguments]
        rows = [row for row in await connection.fetch(sql, *where.values) if self.keep(row, **arguments)]
        columns = [column.removeprefix("u.") for column in self.shape.columns]
        self.shape.read(request, [[row[column] for column in columns] for row in rows], [])


@dataclass(frozen=True)
class Found:
    """Read rows by number: those that ``numbers`` gives."""

    shape: Shape
    listing: Listing[Any]
    numbers: Numbers

    async def __call__(self, connection: Connection, request: Request) -> None:
        await read_by_number(connection, request, self.shape, self.listing, self.numbers(request))


async def read_by_number(
    connection: Connection,
    request: Request,
    shape: Shape,
    listing: Listing[Any],
    numbers: Iterable[int],
) -> None:
    """Read users by number, or whom they count as; the first column of ``shape`` is the number."""
    whom = {number: number for number in numbers}
    if request.merged:
        whom = await persons(connection, request.brand_id, list(whom))
    rows: dict[int, Row] = {}
    if whom:
        where = Where(request.brand_id)
        where.add("t.id = ANY({}::bigint[])", list(set(whom.values())))
        inner = f"SELECT {listing.columns} FROM {listing.source} WHERE {where.sql}"
        sql = shape.sql(inner, None, where.values, request)
        rows = {row[0]: row for row in await connection.fetch(sql, *where.values)}
    found = {number: rows[person] for number, person in whom.items() if person in rows}
    shape.read(request, found, rows.values())


def numbers_in_rows(shape: Shape, place: int, request: Request) -> Iterator[int]:
    """The numbers that a column of what is shown names."""
    return (row[place] for row in request.shown[shape.number] if row[place] is not None)


def numbers_in_lists(shape: Shape, place: int, limit: int, request: Request) -> Iterator[int]:
    """The numbers that a column of the lists that hang on what is shown names."""
    for row in request.shown[shape.number]:
        yield from (number for number in (row[place] or ())[:limit] if number is not None)
