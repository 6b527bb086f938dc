"""How runs are followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry
from siyu import NotFound
from siyu.flow.runs import follow
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.fields import followed
from siyu_graphql.nodes import number_in
from siyu_graphql.run.queries import RUNS
from siyu_graphql.run.types import Run

__all__ = ["RunSubscriptions"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
RunId = Annotated[
    GlobalID | None,
    strawberry.argument(description="The `id` of the run. Without it, the refresh under way or else the next one."),
]


@strawberry.type
class RunSubscriptions:
    @followed(
        "A run of the brand as it stands, then each time it has changed; ends when the run has ended."
        " Who reads slowly gets the newest, not all."
    )
    async def run_progress(self, info: Info, brand: BrandSlug, run: RunId = None) -> AsyncGenerator[Run, None]:
        found = await visible_brand(info, brand)
        number = None if run is None else number_in(run, "Run", found.id)
        if run is not None and number is None:
            raise NotFound(f"no run with the id {str(run)!r}", field="run", remedy="`brand.runs` lists them")
        async with aclosing(follow(info.context.ctx, found.id, number)) as rows:
            async for row in rows:
                yield RUNS.node(found.id, row)
