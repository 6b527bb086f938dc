"""Actions: how playbooks say what is to be done, and how channels carry it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from siyu.contract.rules import Declaration

__all__ = ["Channel", "Message", "Playbook", "Receipt", "Send", "StageChanged"]


@dataclass(frozen=True)
class StageChanged:
    """A trigger: a user moved in ``track`` from one of ``before`` to one of ``after`` (empty = any other)."""

    track: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Send:
    """A step: send ``text`` by the channel with that key. ``purpose`` is what consent is asked for."""

    channel: str
    text: str
    purpose: Literal["service", "care", "sales"] = "care"


class Playbook(Declaration):
    """A trigger and what follows from it.

    Each time the trigger fires for a user, one action for each step is planned: at most one for a user, a
    playbook, a step and a moment.
    """

    def trigger(self, p: Any) -> StageChanged:
        """What sets it off, under parameters ``p``."""
        raise NotImplementedError

    def steps(self, p: Any) -> Iterable[Send]:
        """What is done, in order."""
        raise NotImplementedError


@dataclass(frozen=True)
class Message:
    """What a channel is handed. ``key`` is the idempotency key of the action."""

    action_id: int
    key: str
    brand: str
    user_id: int
    text: str
    purpose: str
    at: datetime


Outcome = Literal["sent", "failed"]


@dataclass(frozen=True)
class Receipt:
    """What became of one message. ``detail`` is read by operators."""

    action_id: int
    outcome: Outcome
    detail: str = ""


class Channel(Declaration):
    """A way for messages to leave the house.

    ``repeatable`` says that delivering the same key twice has the effect of delivering it once. Where it is
    false, a message whose outcome is not known is never handed over again: it is shown to a person.
    """

    repeatable: ClassVar[bool] = False

    async def deliver(self, messages: Sequence[Message], p: Any) -> Sequence[Receipt]:
        """Deliver a batch and say what became of each message; raising means that nothing is known."""
        raise NotImplementedError
