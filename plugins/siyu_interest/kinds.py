"""The event kinds that tell of interest, beyond the common ones."""

from __future__ import annotations

from typing import Annotated

from siyu import EventKind, Field, Payload

__all__ = ["KINDS"]

Text = Annotated[str, Field(max_length=4000)]


class Joined(Payload):
    """An activity; ``activity`` is its kind (check-in, live stream, group-buy), ``name`` the one that it was."""

    activity: Text
    name: Text | None = None


class Asked(Payload):
    """A question put to customer service."""

    text: Text
    topic: Text | None = None


class Shared(Payload):
    """Content or a product that was passed on."""

    article: Text | None = None
    topic: Text | None = None


INTERACTION = frozenset({"interaction"})
KINDS = (
    EventKind("activity.joined", "参加活动", Joined, INTERACTION),
    EventKind("service.asked", "咨询客服", Asked, INTERACTION),
    EventKind("content.shared", "分享内容", Shared, INTERACTION),
)
