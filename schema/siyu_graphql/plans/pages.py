"""Pages of lists: which rows they have, of a brand or of each user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from siyu.store.db import Connection

from siyu_graphql.paging import Listing, Order, Term, Where, Window
from siyu_graphql.plans.reading import Request, Shape, ordered

__all__ = ["Choice", "Chosen", "Counted", "Page", "Paged", "all_of_user", "rows_of_user"]


class Choice(Protocol):
    """Rows that are chosen by more than SQL knows."""

    async def choose(self, connection: Connection, request: Request, page: Page) -> tuple[Term, datetime | None]:
        """The rows of the page and one more, where there is more, and as of when they were chosen."""

    async def count(self, request: Request) -> int:
        """How many rows there are on all pages."""


@dataclass(frozen=True)
class Page:
    """A page as the arguments of this request have it: the part ``window`` of the rows of which ``terms`` hold, or
    which are a ``choice``."""

    listing: Listing[Any]
    terms: Sequence[Term]
    window: Window
    limit: int
    within: Sequence[Term]
    choice: Choice | None = None
    as_of: datetime | None = None

    @classmethod
    def of(cls, listing: Listing[Any], rows: Sequence[Term] | Choice, window: Window) -> Page:
        """The page; an :class:`siyu.InputError` where there can be none."""
        terms, choice = (rows, None) if isinstance(rows, Sequence) else ((), rows)
        return cls(listing, terms, window, window.limit, window.terms(listing.order), choice)

    @property
    def order(self) -> Order:
        """In which its rows are read: from its end, if it is asked for so."""
        return self.listing.order.reversed if self.window.backward else self.listing.order

    @property
    def backward(self) -> bool:
        """Whether its rows are read from its end."""
        return self.window.backward

    def rows(self, where: Where) -> str:
        """The statement of its rows and one more, where there is more."""
        return (
            f"SELECT {self.listing.columns} FROM {self.listing.source} WHERE {where.sql}"
            f" ORDER BY {self.order.sql} LIMIT {self.limit + 1:d}"
        )

    def follows(self, more: bool) -> bool:
        """Whether there are rows after it, as :meth:`siyu_graphql.paging.Window.page` says it."""
        return self.window.before is not None or (more and not self.backward)

    def precedes(self, more: bool) -> bool:
        """Whether there are rows before it."""
        return self.window.after is not None or (more and self.backward)

    def cursor(self, values: Sequence[Any]) -> str:
        """The cursor of a row of which these are the values that it is ordered by, as JSON."""
        row = {
            name: datetime.fromisoformat(value.strip('"')) if kind is datetime else value
            for (name, kind), value in zip(self.order.columns, values, strict=True)
        }
        return f'"{self.listing.order.cursor(row)}"'


@dataclass(frozen=True)
class Chosen:
    """Choose the rows of a page, where that takes more than SQL."""

    page: int

    async def __call__(self, connection: Connection, request: Request) -> None:
        page: Page = request.inputs[self.page]
        if page.choice is not None:
            rows, as_of = await page.choice.choose(connection, request, page)
            request.inputs[self.page] = replace(page, terms=(rows,), within=(), as_of=as_of)


@dataclass(frozen=True)
class Paged:
    """Read a page of a brand's rows."""

    shape: Shape
    page: int

    async def __call__(self, connection: Connection, request: Request) -> None:
        page: Page = request.inputs[self.page]
        where = Where(request.brand_id, *page.terms, *page.within)
        sql = self.shape.sql(page.rows(where), page.order, where.values, request)
        rows = await connection.fetch(sql, *where.values)
        self.shape.read(request, rows, rows[: page.limit])


@dataclass(frozen=True)
class Counted:
    """Count a brand's rows."""

    page: int

    async def __call__(self, connection: Connection, request: Request) -> None:
        page: Page = request.inputs[self.page]
        if page.choice is not None:
            request.totals[self.page] = await page.choice.count(request)
        else:
            where = Where(request.brand_id, *page.terms)
            request.totals[self.page] = await page.listing.count(connection, where)


def rows_of_user(number: int, request: Request, values: list[Any]) -> str:
    """The rows of a page of a user, which is called ``u``, as ``c``."""
    page: Page = request.inputs[number]
    where = _of_user(request, values, "o.id" if request.merged else "u.id", *page.terms, *page.within)
    rows = page.rows(where)
    if request.merged:
        # Of several who count as one, each gives its first rows.
        rows = (
            f"SELECT x.* FROM own o CROSS JOIN LATERAL ({rows}) x WHERE o.person = u.id"
            f" ORDER BY {ordered('x', page.order)} LIMIT {page.limit + 1:d}"
        )
    return f"({rows}) c"


def all_of_user(number: int, request: Request, values: list[Any]) -> str:
    """All rows of a user's list, to be counted."""
    page: Page = request.inputs[number]
    where = _of_user(request, values, "o.id" if request.merged else "u.id", *page.terms)
    if request.merged:
        return f"own o CROSS JOIN LATERAL (SELECT FROM {page.listing.source} WHERE {where.sql}) x WHERE o.person = u.id"
    return f"{page.listing.source} WHERE {where.sql}"


def _of_user(request: Request, values: list[Any], user: str, *terms: Term) -> Where:
    where = Where(request.brand_id)
    where.values = values  # one statement, one list of parameters
    where.add(f"t.user_id = {user}")
    where.narrow(*terms)
    return where
