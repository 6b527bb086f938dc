"""Filters as clients write them: what all kinds of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry
from pydantic.alias_generators import to_camel
from siyu.flow.filters import MomentRange, between, combined, limited
from siyu.store.keyset import Term
from strawberry.relay import GlobalID

from siyu_graphql.nodes import number_in
from siyu_graphql.scalars import checked_text

__all__ = ["DateTimeRange", "data_of", "moments", "narrowed", "of_user_id", "one_of"]


@strawberry.input(description="From a moment on, up to a moment, or both.")
class DateTimeRange:
    gte: datetime | None = strawberry.field(default=None, description="At this moment or later.")
    gt: datetime | None = strawberry.field(default=None, description="Later than this moment.")
    lte: datetime | None = strawberry.field(default=None, description="At this moment or earlier.")
    lt: datetime | None = strawberry.field(default=None, description="Earlier than this moment.")


def data_of(value: Any) -> Any:
    """What a client has written in an input, as plain data: what was left out is left out."""
    if is_dataclass(value):
        given = ((each.name, getattr(value, each.name)) for each in fields(value))
        return {_NAMES.get(name, name): data_of(each) for name, each in given if each is not None}
    if isinstance(value, list):
        return [data_of(each) for each in value]
    return value.value if isinstance(value, Enum) else value


_NAMES = {"and_": "AND", "or_": "OR", "not_": "NOT", "in_": "in"}


def moments(column: str, wanted: DateTimeRange | None) -> Iterable[Term]:
    """A moment within a range; a row that has none is in no range."""
    if wanted is None:
        return ()
    terms = between(column, MomentRange(**data_of(wanted)))
    return (Term(f"({sql}) IS TRUE", values) for sql, values in terms)


def one_of(column: str, wanted: Sequence[Any] | None, field: str = "") -> Iterable[Term]:
    """A text among those that are wanted; ``field`` is their name where it is not the column's, in a filter."""
    if wanted is not None:
        field = field or f"filter.{to_camel(column)}"
        limited(data_of(wanted), field)
        texts = tuple(checked_text(data_of(each), field) for each in wanted)
        yield Term(f"t.{column} = ANY({{}}::text[])", (texts,))


def of_user_id(brand_id: int, user: GlobalID | None) -> Iterable[Term]:
    """Of a user and all whom they stand for; of one who is not the brand's there is nothing."""
    if user is not None:
        number = number_in(user, "User", brand_id)
        yield Term("FALSE") if number is None else Term(_OF_USER, (number, number))


_OF_USER = """t.user_id IN (
    SELECT {}::bigint UNION ALL SELECT m.user_id FROM merged_user m WHERE m.brand_id = t.brand_id AND m.into_id = {})"""


def narrowed(filter: Any, terms: Callable[[Any], Iterable[Term]]) -> tuple[Term, ...]:
    """The conditions of a filter with ``and_``, ``or_`` and ``not_``; ``terms`` are those that one has itself."""
    if filter is None:
        return ()
    limited(data_of(filter), "filter")
    return (combined(filter, lambda each, _: terms(each)),)
