"""Which events."""

from __future__ import annotations

from collections.abc import Iterable

import strawberry
from siyu.store.keyset import Term
from strawberry.relay import GlobalID

from siyu_graphql.filters import DateTimeRange, moments, narrowed, of_user_id, one_of

__all__ = ["EventFilter", "events_where"]


@strawberry.input(description="Which events. What is left out does not restrict; what is given must hold all together.")
class EventFilter:
    and_: list[EventFilter] | None = strawberry.field(default=None, name="AND", description="All of these hold.")
    or_: list[EventFilter] | None = strawberry.field(
        default=None, name="OR", description="At least one of these holds; of an empty list none does."
    )
    not_: EventFilter | None = strawberry.field(default=None, name="NOT", description="This does not hold.")
    kind: list[str] | None = strawberry.field(default=None, description="Of one of these kinds: `order.paid`.")
    key: list[str] | None = strawberry.field(default=None, description="Reported under one of these ids.")
    user: GlobalID | None = strawberry.field(default=None, description="Of this user, by `id`.")
    at: DateTimeRange | None = strawberry.field(default=None, description="Which happened then.")
    received_at: DateTimeRange | None = strawberry.field(default=None, description="Of which siyu was told then.")


def events_where(brand_id: int, filter: EventFilter | None) -> tuple[Term, ...]:
    """The filter as conditions."""

    def terms(each: EventFilter) -> Iterable[Term]:
        for column in ("kind", "key"):
            yield from one_of(column, getattr(each, column))
        yield from of_user_id(brand_id, each.user)
        for column in ("at", "received_at"):
            yield from moments(column, getattr(each, column))

    return narrowed(filter, terms)
