"""How events are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import strawberry

from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.event.types import Event, RejectedEvent
from siyu_graphql.paging import After, Connection, First, Listing, Order, of_brand, of_user

__all__ = ["EVENTS", "REJECTED_EVENTS", "events_of_user", "rejected_events"]


def _event(brand_id: int, row: Mapping[str, Any]) -> Event:
    return Event(
        brand_id=brand_id,
        number=row["id"],
        key=row["key"],
        kind=row["kind"],
        at=row["at"],
        payload=json.loads(row["payload"]),
        received_at=row["received_at"],
    )


EVENTS = Listing(
    "event t",
    "t.id, t.key, t.kind, t.at, t.payload, t.received_at",
    _event,
    Order((("at", datetime), ("id", int)), descending=True),
)


def _rejected(brand_id: int, row: Mapping[str, Any]) -> RejectedEvent:
    return RejectedEvent(
        brand_id=brand_id,
        number=row["id"],
        field=row["field"],
        reason=row["reason"],
        received=json.loads(row["received"]),
        received_at=row["received_at"],
    )


REJECTED_EVENTS = Listing("rejected_event t", "t.id, t.field, t.reason, t.received, t.received_at", _rejected)


async def events_of_user(
    user: strawberry.Parent[OfUser], info: Info, first: First = 20, after: After = None
) -> Connection[Event]:
    return of_user(info, user.brand_id, user.user_id, EVENTS, first, after)


async def rejected_events(
    brand: strawberry.Parent[OfBrand], info: Info, first: First = 20, after: After = None
) -> Connection[RejectedEvent]:
    return of_brand(info, brand.brand_id, REJECTED_EVENTS, first, after)
