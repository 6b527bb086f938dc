"""Freshness as it is shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.paging import one
from siyu_graphql.run.queries import RUNS
from siyu_graphql.run.types import Run

__all__ = ["Freshness"]


@strawberry.type(
    description="How fresh a tag or a stage is: the last run that looked at all users, and what came of it."
    " Where the rule fails it is the last run in which it did not."
)
class Freshness:
    brand_id: strawberry.Private[int]
    run_id: strawberry.Private[int | None]
    as_of: datetime | None = strawberry.field(
        description="The moment for which all users were looked at. Null before the first refresh."
    )
    lag: float | None = strawberry.field(description="Seconds from then to the brand's present.")
    seconds: float | None = strawberry.field(
        description="What the run cost, for all tags and stages together: its passes serve all rules at once."
        " Null until it has ended."
    )
    users: int = strawberry.field(description="How many users were looked at.")
    gained: int = strawberry.field(description="How many users got the tag, or entered the stage, in that run.")
    lost: int = strawberry.field(description="How many users lost the tag, or left the stage, in that run.")
    error: str | None = strawberry.field(description="Why the rule fails, where it does: what it last decided stands.")
    error_since: datetime | None = strawberry.field(description="When the rule was first seen to fail.")

    @computed("The run itself. Null before the first refresh.")
    async def run(self, info: Info) -> Run | None:
        if self.run_id is None:
            return None
        return await one(info, RUNS, self.brand_id, self.run_id)
