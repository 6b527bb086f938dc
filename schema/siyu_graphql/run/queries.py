"""How runs are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.filters import one_of
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand
from siyu_graphql.run.types import Run, RunStatus

__all__ = ["RUNS", "run_of", "runs_of_brand"]

SHOWN = ("kind", "phase", "progress", "at", "users", "changes", "error", "started_at", "finished_at")


def run_of(brand_id: int, row: Mapping[str, Any]) -> Run:
    """The run of a row."""
    return Run(
        brand_id=brand_id,
        number=row["id"],
        status=RunStatus(row["status"]),
        seconds=json.loads(row["seconds"]),
        **{name: row[name] for name in SHOWN},
    )


Statuses = Annotated[list[RunStatus] | None, strawberry.argument(description="Only those that are so far.")]
Kinds = Annotated[list[str] | None, strawberry.argument(description="Only of these kinds: `refresh`, `import`.")]

RUNS = Listing("run t", "t.id, t.status, t.seconds, " + ", ".join(f"t.{name}" for name in SHOWN), run_of)


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
