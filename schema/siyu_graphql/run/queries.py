"""How runs are read."""

from __future__ import annotations

import json
from typing import Annotated

import strawberry

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.filters import one_of
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand
from siyu_graphql.run.types import Run, RunStatus

__all__ = ["RUNS", "runs_of_brand"]

Statuses = Annotated[list[RunStatus] | None, strawberry.argument(description="Only those that are so far.")]
Kinds = Annotated[list[str] | None, strawberry.argument(description="Only of these kinds: `refresh`, `import`.")]

RUNS = Listing.of(
    "run",
    Run,
    ("kind", "phase", "progress", "at", "users", "changes", "error", "started_at", "finished_at"),
    status=RunStatus,
    seconds=json.loads,
)


async def runs_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    status: Statuses = None,
    kind: Kinds = None,
) -> Connection[Run]:
    terms = (*one_of("status", status, "status"), *one_of("kind", kind, "kind"))
    return of_brand(info, brand.brand_id, RUNS, Window(first, after, last, before), *terms)
