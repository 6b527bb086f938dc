"""Fitted states as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.scalars import JSON

__all__ = ["FittedState"]


@strawberry.type(description="What a rule learned from all users when the brand was refreshed: cuts between scores, …")
class FittedState:
    version: str = strawberry.field(
        description="The first version of the brand's rulebook that had it. `pinState` takes it."
    )
    since: datetime = strawberry.field(description="When that version was made.")
    current: bool = strawberry.field(description="Whether users are decided by it now.")
    state: JSON = strawberry.field(description="The state itself, as the rule keeps it.")
