"""How the audit log is read: what is noted in it, and beside it the history of how plugins are set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import strawberry
from siyu import InputError
from siyu.flow.tokens import Right

from siyu_graphql.audit.types import AuditEntry, AuditFilter
from siyu_graphql.context import NO_BRAND, Info, OfBrand
from siyu_graphql.fields import computed
from siyu_graphql.nodes import Find, by_number
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Term, Window, of_brand
from siyu_graphql.scalars import JSON, checked_text

__all__ = ["AuditQueries", "audit_log_of_brand", "find_entry"]

MOST_KINDS = 20


def _entry(brand_id: int, row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        brand_id=brand_id,
        number=row["id"],
        before=_json(row["before"]),
        after=_json(row["after"]),
        **{name: row[name] for name in ("at", "by", "what", "target", "users", "operation", "request_id")},
    )


def _json(text: str | None) -> JSON | None:
    return None if text is None else JSON(json.loads(text))


# Even numbers are entries of the log, odd ones changes of settings.
ENTRIES = Listing(
    "(SELECT id * 2 AS id, brand_id, at, by, what, target, users, operation, request_id, before, after FROM audit_entry"
    " UNION ALL SELECT id * 2 + 1, brand_id, at, by, 'setPlugin', plugin, NULL, '', '', before, after"
    " FROM setting_change) t",
    "t.id, t.at, t.by, t.what, t.target, t.users, t.operation, t.request_id, t.before, t.after",
    _entry,
    Order((("at", datetime), ("id", int)), descending=True),
)
_found: Find = by_number(ENTRIES)

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


async def find_entry(info: Info, brand_id: int, name: str) -> Any:
    """The entry of that number."""
    info.context.access.require(Right.AUDIT)
    return await _found(info, brand_id, name)


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
    terms = []
    if wanted is not None and wanted.what is not None:
        if len(wanted.what) > MOST_KINDS:
            raise InputError(f"{len(wanted.what)} kinds", field="filter.what", remedy=f"give at most {MOST_KINDS}")
        terms.append(Term("t.what = ANY({}::text[])", ([checked_text(each, "filter.what") for each in wanted.what],)))
    if wanted is not None and wanted.by is not None:
        terms.append(Term("t.by = {}", (checked_text(wanted.by, "filter.by"),)))
    if wanted is not None and wanted.since is not None:
        terms.append(Term("t.at >= {}", (wanted.since,)))
    return of_brand(info, brand_id, ENTRIES, window, *terms)
