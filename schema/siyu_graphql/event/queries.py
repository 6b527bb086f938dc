"""How events are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import strawberry

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.event.filters import EventFilter, events_where
from siyu_graphql.event.types import Event, RejectedEvent
from siyu_graphql.paging import (
    After,
    Before,
    Connection,
    First,
    Last,
    Listing,
    Order,
    Window,
    of_brand,
    of_user,
    pages_of_brand,
)

__all__ = ["EVENTS", "REJECTED_EVENTS", "events_of_brand", "events_of_user", "rejected_events"]


def _event(brand_id: int, row: Mapping[str, Any]) -> Event:
    return Event(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["user_id"],
        key=row["key"],
        kind=row["kind"],
        at=row["at"],
        received_at=row["received_at"],
        known=json.loads(row["payload"]),
    )


EVENTS = Listing(
    "event t",
    "t.id, t.user_id, t.key, t.kind, t.at, t.payload, t.received_at",
    _event,
    Order((("at", datetime), ("id", int)), descending=True),
)


def _rejected(brand_id: int, row: Mapping[str, Any]) -> RejectedEvent:
    return RejectedEvent(
        brand_id=brand_id,
        number=row["id"],
        field=row["field"],
        why=row["reason"],
        came=json.loads(row["received"]),
        received_at=row["received_at"],
    )


REJECTED_EVENTS = Listing("rejected_event t", "t.id, t.field, t.reason, t.received, t.received_at", _rejected)


RECEIVED = EVENTS.ordered(Order((("id", int),), descending=True))

Filter = Annotated[EventFilter | None, strawberry.argument(description="Which of them; all if left out.")]


async def events_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
) -> Connection[Event]:
    window = Window(first, after, last, before)
    return of_brand(info, brand.brand_id, RECEIVED, window, *events_where(brand.brand_id, filter))


async def events_of_user(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
) -> Connection[Event]:
    window = Window(first, after, last, before)
    return of_user(info, user.brand_id, user.user_id, EVENTS, window, *events_where(user.brand_id, filter))


rejected_events = pages_of_brand(REJECTED_EVENTS)
