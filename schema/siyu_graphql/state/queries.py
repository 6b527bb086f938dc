"""How fitted states are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import strawberry
from siyu.flow import states
from siyu.store.db import Connection as DatabaseConnection

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Term, Window, of_brand
from siyu_graphql.scalars import JSON
from siyu_graphql.state.types import FittedState

__all__ = ["FittedRule"]


def _state(_: int, row: Mapping[str, Any]) -> FittedState:
    return FittedState(
        version=row["version"], since=row["since"], current=row["current"], state=JSON(json.loads(row["state"]))
    )


STATES = Listing(states.SOURCE, "t.id, t.version, t.since, t.current, t.state", _state)


@strawberry.type(description="A rule that looks at all users before it decides: each refresh fits it, or it is pinned.")
class FittedRule:
    brand_id: strawberry.Private[int]
    plugin: strawberry.Private[str]
    version: strawberry.Private[str | None]
    key: str = strawberry.field(description="The key of the rule, as its parameters are grouped.")

    @computed("The state that it is kept to in place of fitting. Null where each refresh fits it.")
    async def pinned(self, info: Info) -> FittedState | None:
        if self.version is None:
            return None
        return await info.context.loaders.load(_by_version, self.brand_id, (self.plugin, self.key, self.version))

    @computed("The states that it had, each once, the latest first.")
    async def states(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[FittedState]:
        mine = Term("t.plugin = {} AND t.rule = {}", (self.plugin, self.key))
        return of_brand(info, self.brand_id, STATES, Window(first, after, last, before), mine)


async def _by_version(
    connection: DatabaseConnection, brand_id: int, pins: Sequence[states.Pin]
) -> dict[states.Pin, FittedState]:
    """Batch: states of rules in versions of the rulebook; rarely more than one."""
    found = {pin: await states.find(connection, brand_id, *pin) for pin in pins}
    return {
        pin: FittedState(version=each.version, since=each.since, current=each.current, state=JSON(each.state))
        for pin, each in found.items()
        if each is not None
    }
