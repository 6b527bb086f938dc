"""Channels: how messages and tasks leave the house."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Any, ClassVar, Literal, TypeAlias

from siyu.contract.rules import Declaration

__all__ = ["Channel", "Heard", "Message", "Outcome", "Receipt", "Report"]


@dataclass(frozen=True)
class Message:
    """What a channel is handed. ``key`` is the idempotency key of the action, ``to`` the user's name of the kind that
    the channel asks for, ``body`` what there is besides the text: kind, title, url, role, deadline. ``leave`` is what
    the reader may send to the API's ``/unsubscribe/`` to get no more messages of this purpose by this channel."""

    action_id: int
    key: str
    brand: str
    user_id: int
    text: str
    purpose: str
    at: datetime
    to: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    leave: str = ""


Outcome: TypeAlias = Literal["sent", "failed", "later", "unknown"]


@dataclass(frozen=True)
class Receipt:
    """What became of one message: it left, it never will, it may be tried again (``later``), or nobody knows.
    ``detail`` is read by operators. ``dead`` says that the address takes no messages any more: nothing is sent there
    until its user says yes to messages again."""

    action_id: int
    outcome: Outcome
    detail: str = ""
    dead: bool = False


Heard: TypeAlias = Literal["delivered", "opened", "clicked", "replied", "bounced"]


@dataclass(frozen=True)
class Report:
    """What is heard of a message later. ``key`` is its idempotency key, ``at`` when it happened (None: now).

    ``dead`` is the address of its user that takes no messages any more, where it bounced for good: nothing is sent
    there until its user says yes to messages again.
    """

    key: str
    what: Heard
    at: datetime | None = None
    detail: str = ""
    dead: str = ""


class Channel(Declaration, ABC):
    """A way for messages to leave the house."""

    repeatable: ClassVar[bool] = False
    """Delivering the same key twice has the effect of delivering it once. Where that is not so, a message whose outcome
    is not known is never handed over again: it is shown to a person."""
    address: ClassVar[str] = ""
    """The kind of identity that it sends to; users without one are not written to. Empty: it needs none."""
    hours: ClassVar[tuple[time, time] | None] = None
    """From when to when, in the brand's zone, it may be used at all, whatever a brand's settings say."""
    batch: ClassVar[int] = 50
    """Messages that it is handed at once, which it delivers within a minute; after that nothing is known of them."""
    counts: ClassVar[bool] = True
    """Whether what it delivers reaches the user, and is held to caps and quiet hours; a task for staff does not."""

    def per_second(self, p: Any) -> float:
        """How many messages a second it may be handed at most, by all workers of the brand together; 0: any number."""
        return 0

    def reports(self, raw: bytes, p: Any) -> Sequence[Report]:
        """What something that came back (a bounced mail, as it is) says of messages that the channel was handed. Of
        what is about none of them it says nothing."""
        return ()

    @abstractmethod
    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        """Deliver a batch and say what became of each message; raising means that nothing is known."""
