"""Work that waits: the database says what is due, and jobs find it there."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.context import Info, OfBrand

__all__ = ["Waiting", "waiting_of_brand"]

MOST = 100_000


@strawberry.type(
    description="The work of a brand that waits to be done: what its jobs will find. Numbers go"
    f" to {MOST:,}, and stay there where there is more."
)
class Waiting:
    marks: int = strawberry.field(
        description="Marks of users to be decided: one for each time that new events of a user were recorded."
    )
    actions_due: int = strawberry.field(description="Actions that are due and not begun.")
    due_since: datetime | None = strawberry.field(description="When the oldest of them became due; null without any.")
    actions_under_way: int = strawberry.field(description="Actions that a channel is carrying out.")
    actions_later: int = strawberry.field(description="Actions that are planned for later.")


async def waiting_of_brand(brand: strawberry.Parent[OfBrand], info: Info) -> Waiting:
    async with info.context.loaders.connection(brand.brand_id) as connection:
        row = await connection.fetchrow(_WAITING, brand.brand_id)
    return Waiting(**row)


def _counted(rows: str) -> str:
    return f"SELECT count(*) FROM (SELECT FROM {rows} LIMIT {MOST}) t"


_PLANNED = "action WHERE brand_id = $1 AND status = 'planned' AND due_at"
_WAITING = f"""
SELECT ({_counted("dirty_user WHERE brand_id = $1")}) AS marks,
    ({_counted(_PLANNED + " <= now()")}) AS actions_due,
    (SELECT min(due_at) FROM {_PLANNED} <= now()) AS due_since,
    ({_counted("action WHERE brand_id = $1 AND status = 'leased'")}) AS actions_under_way,
    ({_counted(_PLANNED + " > now()")}) AS actions_later
"""
