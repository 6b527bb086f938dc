"""Mail that came back: delivery status notifications (RFC 3464), read into what became of our messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from typing import Literal

from siyu import InputError, Report

from siyu_email.letters import KEY_HEADER, key_in

__all__ = ["MOST_BYTES", "is_dead", "reports"]

MOST_BYTES = 2 * 1024 * 1024
_MEANS: dict[str, Literal["bounced", "delivered"]] = {"failed": "bounced", "delivered": "delivered"}
_CODE = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_ID = re.compile(r"<([^<>@\s]+)@[^<>\s]*>")
# RFC 3463: a bad address, a mailbox that is closed, a domain that is not there. Not a full mailbox, nor what somebody
# there has against the message or its sender.
_DEAD = re.compile(r"5\.(1\.(?![78]$)\d+|2\.1|4\.4|4\.310)")


def reports(raw: bytes, secret: str = "") -> list[Report]:
    """What a mail says of messages of ours; nothing, if it is no such notification or not about one of ours.

    ``secret`` is the password that they were sent with: it signs their keys, which stand in their Message-ID, and in a
    header of our own for servers that change it. A delay is no news: another one follows.
    """
    if len(raw) > MOST_BYTES:
        raise InputError(f"a mail of {len(raw):,} bytes", field="raw", remedy=f"read at most {MOST_BYTES:,}")
    mail = message_from_bytes(raw, policy=default)
    if mail.get_content_type() != "multipart/report":
        return []
    key = next((key for each in _signed(mail) if (key := key_in(each, secret)) is not None), None)
    if key is None:
        return []
    return [
        Report(key, _MEANS[action], detail=detail, dead=dead)
        for action, detail, dead in (_status(each) for each in _recipients(mail))
        if action in _MEANS
    ][:1]


def _signed(mail: EmailMessage) -> Iterator[str]:
    """What may be a key: in the mail, or its headers, that was sent back, and in what the notification answers."""
    for part in mail.walk():
        if part.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers"):
            content = part.get_payload(decode=True)
            if isinstance(content, bytes):
                yield from _keys(message_from_bytes(content))
        else:
            yield from _keys(part)


def _keys(headers: Message) -> Iterator[str]:
    yield from map(str, headers.get_all(KEY_HEADER, []))
    for name in ("Message-ID", "In-Reply-To", "References"):
        for value in headers.get_all(name, []):
            yield from _ID.findall("".join(str(value).split()))


def _recipients(mail: EmailMessage) -> Iterator[Message]:
    for part in mail.walk():
        if part.get_content_type() == "message/delivery-status":
            for block in part.get_payload():
                if isinstance(block, Message) and "Action" in block:
                    yield block


def _status(block: Message) -> tuple[str, str, str]:
    """What was done, in which words, and the address if it is dead."""
    status, diagnosis = (" ".join(str(block.get(name, "")).split()) for name in ("Status", "Diagnostic-Code"))
    action = str(block["Action"]).strip().lower()
    address = next((_address(block[name]) for name in ("Original-Recipient", "Final-Recipient") if name in block), "")
    dead = action == "failed" and is_dead(status, diagnosis)
    return action, " ".join(filter(None, (status, diagnosis)))[:500], address if dead else ""


def is_dead(status: str, diagnosis: str) -> bool:
    """Whether the address takes no mail any more, by a status (RFC 3463) or else by a server's own words."""
    code = _CODE.search(status)
    if code is None or code[1].endswith(".0.0"):
        # Some only say that it failed, and the server's own words what for.
        code = _CODE.search(diagnosis)
    return code is not None and _DEAD.fullmatch(code[1]) is not None


def _address(field: object) -> str:
    """Of ``rfc822; ann@example.com`` the address."""
    return str(field).rpartition(";")[2].strip().strip("<>")[:320]
