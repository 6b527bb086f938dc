"""Entries of the audit log as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry

from siyu_graphql.nodes import BrandNode
from siyu_graphql.scalars import JSON

__all__ = ["AuditEntry", "AuditFilter"]


@strawberry.type(
    description="Something that somebody did, or personal data that somebody read. Entries are only ever appended."
)
class AuditEntry(BrandNode):
    at: datetime = strawberry.field(description="When it was.")
    by: str = strawberry.field(description="Who: the name of a token or its prefix, a subject, or `cli`.")
    what: str = strawberry.field(
        description="What was done: the name of the mutation, `readPersonalData`, or `setPlugin` for any change of how"
        " a plugin is set."
    )
    target: str = strawberry.field(description="What it was done to, where it has a name: a plugin, a segment, a user.")
    users: int | None = strawberry.field(description="Of how many users personal data was read.")
    operation: str = strawberry.field(description="The name of the operation in the client's document, if it had one.")
    request_id: str = strawberry.field(description="The request, as `X-Request-Id` and the log name it.")
    before: JSON | None = strawberry.field(description="What was so before, where that is kept.")
    after: JSON | None = strawberry.field(description="What was so from then on, where that is kept.")


@strawberry.input(description="Which entries. What is left out does not restrict.")
class AuditFilter:
    what: list[str] | None = strawberry.field(default=None, description="Where this was done: `readPersonalData`, …")
    by: str | None = strawberry.field(default=None, description="What this one did.")
    since: datetime | None = strawberry.field(default=None, description="Not before this moment.")
