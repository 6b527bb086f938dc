"""Runs as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.scalars import JSON

__all__ = ["RefreshBrandPayload", "Run", "RunStatus"]


@strawberry.enum(description="How far a run is.")
class RunStatus(Enum):
    RUNNING = strawberry.enum_value("running", description="Is under way.")
    DONE = strawberry.enum_value("done", description="Is done.")
    FAILED = strawberry.enum_value("failed", description="Ended with an error; what stood before still stands.")


@strawberry.type(description="One refresh or import of the brand.")
class Run(BrandNode):
    kind: str = strawberry.field(description="What is done: `refresh`, `import`.")
    status: RunStatus = strawberry.field(description="How far it is.")
    phase: str = strawberry.field(description="What it is at; empty at the end.")
    progress: float = strawberry.field(description="The share that is done, 0 to 1.")
    at: datetime = strawberry.field(description="The moment that it decides for.")
    users: int = strawberry.field(description="How many users were looked at.")
    changes: int = strawberry.field(description="How many tags and stages changed.")
    seconds: JSON = strawberry.field(description="Seconds by phase.")
    error: str | None = strawberry.field(description="Why it failed.")
    started_at: datetime = strawberry.field(description="When it began.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")


@strawberry.type(description="Whether the refresh was asked for.")
class RefreshBrandPayload(Payload):
    queued: bool = strawberry.field(
        default=False, description="Whether it will be made. It shows in `brand.runs` as soon as it begins."
    )
