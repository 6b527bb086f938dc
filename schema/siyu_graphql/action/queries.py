"""How actions are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry

from siyu_graphql.action.filters import ActionFilter, actions_where
from siyu_graphql.action.types import Action, ActionStatus, Purpose
from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand, of_user

__all__ = ["ACTIONS", "actions_of_brand", "actions_of_user"]

SHOWN = (
    *("key", "plugin", "playbook", "step", "channel", "because", "detail", "reason", "attempts", "asked_by"),
    *("rulebook_id", "enrolment_id"),
    *("planned_at", "due_at", "done_at"),
)


def _action(brand_id: int, row: Mapping[str, Any]) -> Action:
    return Action(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["user_id"],
        purpose=Purpose(row["purpose"]),
        status=ActionStatus(row["status"]),
        urgent=row["lane"] == 0,
        said=row["text"],
        log=json.loads(row["log"]),
        **{name: row[name] for name in SHOWN},
    )


COLUMNS = ", ".join(f"t.{name}" for name in ("id", "user_id", "purpose", "status", "lane", "text", *SHOWN))
ACTIONS = Listing("action t", f"{COLUMNS}, t.log::text AS log", _action)

Filter = Annotated[ActionFilter | None, strawberry.argument(description="Which of them; all if left out.")]


async def actions_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
) -> Connection[Action]:
    window = Window(first, after, last, before)
    return of_brand(info, brand.brand_id, ACTIONS, window, *actions_where(brand.brand_id, filter))


async def actions_of_user(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    filter: Filter = None,
) -> Connection[Action]:
    window = Window(first, after, last, before)
    return of_user(info, user.brand_id, user.user_id, ACTIONS, window, *actions_where(user.brand_id, filter))
