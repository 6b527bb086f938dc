"""Leaving: a signed token in a message with which its reader ends all of its purpose by its channel."""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime

from siyu.contract.errors import InputError
from siyu.flow.context import Context, brand_by_id, now
from siyu.flow.happening import happened
from siyu.store.db import Connection

__all__ = ["Leaving", "leave", "read", "secret", "token"]

MOST_LETTERS = 500


@dataclass(frozen=True)
class Leaving:
    """What a token ends: messages of a purpose to a user by a channel."""

    brand_id: int
    user_id: int
    purpose: str
    channel: str


async def secret(connection: Connection) -> bytes:
    """What tokens of this installation are signed with."""
    return str(await connection.fetchval("SELECT secret FROM installation")).encode()


def token(secret: bytes, wanted: Leaving) -> str:
    """The token, made of what may stand in a link. It does not age: who wants to go may do so years later."""
    said = f"{wanted.brand_id}:{wanted.user_id}:{wanted.purpose}:{wanted.channel}".encode()
    return f"{_letters(said)}.{_letters(_signature(secret, said))}"


def read(secret: bytes, token: str) -> Leaving:
    """What a token ends, or :class:`InputError`."""
    try:
        said, signature = (_bytes(part) for part in token[:MOST_LETTERS].split("."))
        if hmac.compare_digest(signature, _signature(secret, said)):
            brand, user, purpose, channel = said.decode().split(":", 3)
            return Leaving(int(brand), int(user), purpose, channel)
    except ValueError:
        pass
    raise InputError("the link is not whole", field="token", remedy="open it as it stands in the message")


async def leave(ctx: Context, wanted: Leaving, at: datetime | None = None) -> None:
    """Record that the user has withdrawn their consent; done again within the minute it changes nothing."""
    brand = await brand_by_id(wanted.brand_id)
    at = at or now(brand)
    payload = {"purpose": wanted.purpose, "channel": wanted.channel, "source": "unsubscribe"}
    key = f"unsubscribe/{wanted.user_id}/{wanted.channel}/{wanted.purpose}/{at:%Y%m%dT%H%M}"
    async with ctx.db.transaction() as connection:
        await happened(connection, brand, wanted.user_id, key, "consent.withdrawn", payload, at)


def _signature(secret: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, b"unsubscribe " + said, "sha256")[:16]


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(letters: str) -> bytes:
    return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
