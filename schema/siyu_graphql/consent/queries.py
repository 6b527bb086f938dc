"""How consents are read."""

from __future__ import annotations

from datetime import datetime

from siyu_graphql.action.types import Purpose
from siyu_graphql.consent.types import Consent
from siyu_graphql.paging import Listing, Order, pages_of_user

__all__ = ["CONSENTS", "consents_of_user"]

CONSENTS = Listing(
    "consent t",
    "t.id, t.purpose, t.channel, t.given, t.at, t.event_id",
    lambda brand_id, row: Consent(
        brand_id=brand_id,
        event_id=row["event_id"],
        purpose=Purpose(row["purpose"]) if row["purpose"] else None,
        channel=row["channel"] or None,
        given=row["given"],
        at=row["at"],
    ),
    Order((("at", datetime), ("id", int)), descending=True),
)

consents_of_user = pages_of_user(CONSENTS)
