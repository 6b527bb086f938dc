"""How the audit log is read: what is noted in it, and beside it the history of how plugins are set."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import strawberry
from siyu.flow.tokens import Right

from siyu_graphql.audit.types import AuditEntry, AuditFilter
from siyu_graphql.context import NO_BRAND, Info, OfBrand
from siyu_graphql.fields import computed
from siyu_graphql.filters import DateTimeRange, moments, one_of
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Window, of_brand
from siyu_graphql.scalars import JSON

__all__ = ["ENTRIES", "AuditQueries", "audit_log_of_brand"]


def _json(text: str | None) -> JSON | None:
    return None if text is None else JSON(json.loads(text))


# Even numbers are entries of the log, odd ones changes of settings.
ENTRIES = Listing.of(
    "(SELECT id * 2 AS id, brand_id, at, by, what, target, users, operation, request_id, before, after FROM audit_entry"
    " UNION ALL SELECT id * 2 + 1, brand_id, at, by, 'setPlugin', plugin, NULL, '', '', before, after"
    " FROM setting_change)",
    AuditEntry,
    ("at", "by", "what", "target", "users", "operation", "request_id"),
    Order((("at", datetime), ("id", int)), descending=True),
    before=_json,
    after=_json,
)

Filter = Annotated[AuditFilter | None, strawberry.argument(description="Which of them; all if left out.")]


async def audit_log_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
) -> Connection[AuditEntry]:
    return _log(info, brand.brand_id, Window(first, after, last, before), filter)


@strawberry.type
class AuditQueries:
    @computed(
        "What was done that belongs to no brand, the latest first: tokens for all brands. Needs the right to read the"
        " audit log and a token for all brands; what belongs to one is under `brand`."
    )
    async def audit_log(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Filter = None,
    ) -> Connection[AuditEntry] | None:
        return _log(info, NO_BRAND, Window(first, after, last, before), filter)


def _log(info: Info, brand_id: int, window: Window, wanted: AuditFilter | None) -> Connection[AuditEntry]:
    info.context.access.require(Right.AUDIT)
    if wanted is None:
        return of_brand(info, brand_id, ENTRIES, window)
    terms = (
        *one_of("what", wanted.what),
        *one_of("by", None if wanted.by is None else [wanted.by]),
        *moments("at", DateTimeRange(gte=wanted.since)),
    )
    return of_brand(info, brand_id, ENTRIES, window, *terms)
