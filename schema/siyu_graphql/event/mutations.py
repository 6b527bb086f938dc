"""How events are reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import strawberry
from siyu import InputError
from siyu.flow.ingest import MAX_EVENTS, IncomingEvent, Recorded, record
from siyu.flow.tokens import Right
from siyu.store.models import Brand

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.event.types import EventInput, RecordEventsPayload, Rejection
from siyu_graphql.mutations import mutation

__all__ = ["EventMutations", "follow_up", "record_events"]


@strawberry.type
class EventMutations:
    @mutation(
        Right.RECORD,
        RecordEventsPayload,
        "Report what happened. Good events are kept although others are refused; the same events again change nothing.",
    )
    async def record_events(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        events: Annotated[list[EventInput], strawberry.argument(description=f"At most {MAX_EVENTS:,}.")],
    ) -> RecordEventsPayload | None:
        found = await visible_brand(info, brand)
        incoming = [_incoming(event, f"events.{index}") for index, event in enumerate(events)]
        recorded = await record_events(info, found, incoming)
        return RecordEventsPayload(
            accepted=recorded.new,
            duplicates=recorded.duplicate,
            rejected=[
                Rejection(index=r.index, field=r.field, message=r.message, remedy=r.remedy) for r in recorded.rejected
            ],
        )


async def record_events(info: Info, brand: Brand, events: Sequence[IncomingEvent]) -> Recorded:
    """Record what happened to users of a brand; what it means for them is decided in a moment."""
    recorded = await record(info.context.ctx, brand, events)
    await follow_up(info, brand, recorded)
    return recorded


async def follow_up(info: Info, brand: Brand, recorded: Recorded) -> None:
    """Ask for the work that recorded events make."""
    if recorded.new:
        await info.context.push("decide", brand.id)
    if recorded.occasions:
        await info.context.push("playbooks", brand.id)


def _incoming(event: EventInput, where: str) -> IncomingEvent:
    """The event for the core, which judges it; what it has no shape for refuses the call."""
    user = {name.kind: name.value for name in event.user}
    if len(user) < len(event.user):
        raise InputError("two names of one kind", field=f"{where}.user", remedy="name a user once by each kind")
    payload: object = {} if event.payload is None else event.payload
    if not isinstance(payload, dict):
        raise InputError("the payload is no object", field=f"{where}.payload", remedy='send one, like {"amount": 5}')
    return IncomingEvent(id=event.id, kind=event.kind, user=user, at=event.at, payload=payload)
