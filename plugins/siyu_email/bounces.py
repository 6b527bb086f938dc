"""Mail that came back: delivery status notifications (RFC 3464), read into what became of our messages."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from typing import Literal

from siyu import InputError, Report

from siyu_email.letters import KEY_HEADER, key_in

__all__ = ["MOST_BYTES", "reports"]

MOST_BYTES = 2 * 1024 * 1024
_MEANS: dict[str, Literal["bounced", "delivered"]] = {"failed": "bounced", "delivered": "delivered"}


def reports(raw: bytes, secret: str = "") -> list[Report]:
    """What a mail says of messages of ours; nothing, if it is no such notification or not about one of ours.

    ``secret`` is the password that they were sent with: it signs their keys. A delay is no news: another one follows.
    """
    if len(raw) > MOST_BYTES:
        raise InputError(f"a mail of {len(raw):,} bytes", field="raw", remedy=f"read at most {MOST_BYTES:,}")
    mail = message_from_bytes(raw, policy=default)
    if mail.get_content_type() != "multipart/report":
        return []
    key = next((key for each in _originals(mail) if (key := key_in(each, secret)) is not None), None)
    if key is None:
        return []
    return [
        Report(key, _MEANS[action], detail=detail)
        for action, detail in (_status(each) for each in _recipients(mail))
        if action in _MEANS
    ][:1]


def _originals(mail: EmailMessage) -> Iterator[str]:
    """The keys in the mail, or the headers of it, that was sent back."""
    for part in mail.walk():
        if part.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers"):
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                yield from message_from_bytes(content).get_all(KEY_HEADER, [])
        elif part is not mail:
            yield from map(str, part.get_all(KEY_HEADER, []))


def _recipients(mail: EmailMessage) -> Iterator[Message]:
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            for block in part.get_payload():
                if isinstance(block, Message) and "Action" in block:
                    yield block


def _status(block: Message) -> tuple[str, str]:
    words = (str(block.get(name, "")).strip() for name in ("Status", "Diagnostic-Code"))
    return str(block["Action"]).strip().lower(), " ".join(filter(None, words))[:500]
