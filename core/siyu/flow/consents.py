"""What users say to messages, recorded for them: a yes or a no is an event like any other."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from siyu.contract.errors import InputError, NotFound
from siyu.contract.events import CONSENT_GIVEN, CONSENT_WITHDRAWN
from siyu.contract.playbooks import Purpose
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, Recorded, record
from siyu.store.models import Brand, Identity

__all__ = ["record_consent"]


async def record_consent(
    ctx: Context,
    brand: Brand,
    user_id: int,
    *,
    given: bool,
    purpose: Purpose | None = None,
    channel: str | None = None,
    source: str | None = None,
    wording: str | None = None,
    at: datetime | None = None,
) -> Recorded:
    """Record that a user said yes or no to messages of a ``purpose`` by a ``channel`` (of each that is left out, all);
    what was said last counts."""
    if channel is not None and channel not in ctx.plugins.channels:
        remedy = f"channels are: {', '.join(sorted(ctx.plugins.channels))}"
        raise NotFound(f"no channel {channel!r}", field="channel", remedy=remedy)
    name = await Identity.filter(brand_id=brand.id, user_id=user_id).order_by("id").first()
    if name is None:
        raise NotFound(f"{brand.slug} has no user {user_id}", field="user", remedy="give one of its users")
    said = {"purpose": purpose, "channel": channel, "source": source, "wording": wording}
    payload = {each: text for each, text in said.items() if text is not None}
    kind = CONSENT_GIVEN if given else CONSENT_WITHDRAWN
    recorded = await record(
        ctx, brand, [IncomingEvent(f"consent/{uuid4().hex}", kind, {name.kind: name.value}, payload, at)]
    )
    for refused in recorded.rejected:
        raise InputError(
            refused.message, field=(refused.field or "user").removeprefix("payload."), remedy=refused.remedy
        )
    return recorded
