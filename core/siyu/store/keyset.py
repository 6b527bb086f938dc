"""Reading long lists: conditions that are put together, and orders in which a reader goes on from a row.

A :class:`Term` is a condition on rows of a table that is called ``t``. Terms are plain values: who reads a page, who
counts and who reads for many users at once use the same ones. An :class:`Order` has no ties, and its cursors hold the
sort key of a row: pages neither skip nor repeat where rows are added meanwhile, and deep ones cost what the first does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from siyu.contract.errors import InputError

__all__ = ["Order", "Term", "Where", "all_of", "any_of", "decoded", "encoded", "negated"]


class Term(NamedTuple):
    """A condition that is true or false, never null; each ``{}`` in ``sql`` stands for one of ``values``."""

    sql: str
    values: tuple[Any, ...] = ()


def all_of(terms: Iterable[Term]) -> Term:
    """What holds where all hold, so also where there are none."""
    return _joined(terms, " AND ", "TRUE")


def any_of(terms: Iterable[Term]) -> Term:
    """What holds where one of them holds, so nowhere where there are none."""
    return _joined(terms, " OR ", "FALSE")


def negated(term: Term) -> Term:
    """What holds where the term does not."""
    return Term(f"NOT ({term.sql})", term.values)


def _joined(terms: Iterable[Term], word: str, none: str) -> Term:
    terms = list(terms)
    if len(terms) < 2:
        return terms[0] if terms else Term(none)
    return Term(f"({word.join(term.sql for term in terms)})", tuple(v for term in terms for v in term.values))


class Where:
    """Conditions and their parameters, the brand always first."""

    def __init__(self, brand_id: int, *terms: Term) -> None:
        self.values: list[Any] = [brand_id]
        self._parts = ["t.brand_id = $1"]
        self.narrow(*terms)

    def narrow(self, *terms: Term) -> None:
        """And all of ``terms``."""
        for sql, values in terms:
            self.add(sql, *values)

    def add(self, sql: str, *values: Any) -> None:
        """And ``sql``, in which each ``{}`` stands for one of ``values``."""
        first = len(self.values) + 1
        self.values += values
        self._parts.append(sql.format(*(f"${number}" for number in range(first, len(self.values) + 1))))

    def copy(self) -> Where:
        """One that can be narrowed further by itself."""
        other = copy(self)
        other.values, other._parts = list(self.values), list(self._parts)
        return other

    @property
    def sql(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self._parts)


@dataclass(frozen=True)
class Order:
    """An order without ties: ``columns`` (name and type, ``int``, ``str`` or ``datetime``) end with a unique one."""

    columns: tuple[tuple[str, type], ...]
    descending: bool = False

    @property
    def sql(self) -> str:
        """What follows ORDER BY."""
        return ", ".join(f"t.{name} {'DESC' if self.descending else 'ASC'}" for name, _ in self.columns)

    @property
    def reversed(self) -> Order:
        """From the other end."""
        return Order(self.columns, not self.descending)

    def beyond(self, key: Sequence[Any]) -> Term:
        """Only rows after the one with that sort key."""
        columns = ", ".join(f"t.{name}" for name, _ in self.columns)
        # The driver refuses a number that is too large for its column.
        places = ", ".join("{}::bigint" if kind is int else "{}" for _, kind in self.columns)
        return Term(f"({columns}) {'<' if self.descending else '>'} ({places})", tuple(key))

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The sort key of a row."""
        return tuple(row[name] for name, _ in self.columns)

    def sorted(self, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Rows in this order."""
        return sorted(rows, key=self.key_of, reverse=self.descending)

    def cursor(self, row: Mapping[str, Any]) -> str:
        """The cursor of a row."""
        values = [row[name].isoformat() if kind is datetime else row[name] for name, kind in self.columns]
        return encoded(self._name, *values)

    def key(self, cursor: str, field: str = "after") -> tuple[Any, ...]:
        """The sort key in a cursor; one of another list or order is an :class:`siyu.InputError`."""
        values = decoded(cursor, self._name, field)
        try:
            return tuple(_value(kind, value) for (_, kind), value in zip(self.columns, values, strict=True))
        except (ValueError, TypeError, OverflowError):
            raise _no_cursor(field) from None

    @property
    def _name(self) -> str:
        return ("-" if self.descending else "+") + ",".join(name for name, _ in self.columns)


def encoded(name: str, *values: Any) -> str:
    """A cursor of the list or order ``name``."""
    return base64.urlsafe_b64encode(json.dumps([name, *values]).encode()).decode().rstrip("=")


def decoded(cursor: str, name: str, field: str) -> list[Any]:
    """The values in a cursor of ``name``, or an :class:`siyu.InputError`."""
    values: list[Any]
    try:
        found, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if found == name:
            return values
    except (ValueError, TypeError, RecursionError):
        pass
    raise _no_cursor(field)


def _no_cursor(field: str) -> InputError:
    wanted = "a startCursor" if field == "before" else "an endCursor"
    return InputError("not a cursor of this list", field=field, remedy=f"use {wanted} of the same list")


def _value(kind: type, value: Any) -> Any:
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment.astimezone(UTC)  # which is too much for some at the end of time, also for the driver
    if kind is str and isinstance(value, str) and "\x00" not in value and value.isascii():
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    raise ValueError(value)
