"""A message as mail: headers that receivers and the law ask for, text, and the same as simple HTML."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from siyu import InputError, Message

__all__ = ["KEY_HEADER", "Sender", "address_of", "key_in", "mail"]

KEY_HEADER = "X-Siyu-Key"
"""The idempotency key of the action, signed, as in the Message-ID: a bounce brings one of them back."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_AD = re.compile(r"\s*[\[(【（]?\s*(?:广告|AD\b)", re.IGNORECASE)
MOST_SUBJECT = 200
LEAVE = "退订 / Unsubscribe"


class _Policy(EmailPolicy):
    """As mail goes out; but what Python would fold inside a link or a key it would encode, and then it is none."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        if name in (KEY_HEADER, "Message-ID", "List-Unsubscribe"):
            return f"{name}: {value}\r\n".encode()
        return super().fold_binary(name, value)


POLICY = _Policy(linesep="\r\n", cte_type="7bit")


@dataclass(frozen=True)
class Sender:
    """Who sends, and how."""

    address: str
    name: str = ""
    bounces: str = ""
    reply_to: str = ""
    unsubscribe: str = ""
    ad_mark: str = ""
    secret: str = field(default="", repr=False)


def mail(sender: Sender, message: Message) -> EmailMessage:
    """The mail that a message is, the same each time but for its date; :class:`siyu.InputError` says what it lacks."""
    address = address_of(sender.address, "sender")
    made = EmailMessage(POLICY)
    made["From"] = Address(sender.name, addr_spec=address)
    made["To"] = Address(addr_spec=address_of(message.to, "to"))
    if sender.reply_to:
        made["Reply-To"] = Address(addr_spec=address_of(sender.reply_to, "reply_to"))
    made["Subject"] = _subject(sender, message)
    made["Date"] = format_datetime(datetime.now(UTC))
    key = _signed(sender, message.key)
    made["Message-ID"] = f"<{key}@{address.rpartition('@')[2]}>"
    made[KEY_HEADER] = key
    made["Feedback-ID"] = ":".join(_plain(part) for part in (message.purpose, _source(message), message.brand, "siyu"))
    made["Auto-Submitted"] = "auto-generated"
    link = _link(sender, message)
    if link:
        made["List-Unsubscribe"] = f"<{link}>"
        made["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    url = str(message.body.get("url", ""))
    footer = f"\n\n--\n{LEAVE}: {link}" if link else ""
    made.set_content("\n\n".join(filter(None, (message.text, url))) + footer + "\n")
    made.add_alternative(_html(message.text, url, link), subtype="html")
    return made


def address_of(text: str, field: str) -> str:
    """The address, or :class:`siyu.InputError`. One that a header would read as several is none."""
    local, _, domain = text.strip().rpartition("@")
    try:
        found = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        found = ""
    if not _ADDRESS.fullmatch(found) or ".." in found:
        raise InputError(f"{text[:100]!r} is no e-mail address", field=field, remedy="write it like ann@example.com")
    return found


def key_in(header: str, secret: str) -> str | None:
    """The idempotency key in :data:`KEY_HEADER` or a Message-ID, if we wrote it."""
    encoded, _, signature = "".join(header.split()).partition(".")
    try:
        key = base64.urlsafe_b64decode(encoded.encode()).decode()
    except ValueError:
        return None
    return key if hmac.compare_digest(signature.encode(), _signature(secret, key).encode()) else None


def _signed(sender: Sender, key: str) -> str:
    return f"{base64.urlsafe_b64encode(key.encode()).decode()}.{_signature(sender.secret, key)}"


def _signature(secret: str, key: str) -> str:
    return hmac.new(secret.encode(), key.encode(), hashlib.sha256).hexdigest()[:32]


def _subject(sender: Sender, message: Message) -> str:
    title = str(message.body.get("title", "")) or message.text.partition("\n")[0]
    subject = " ".join(title.split())[:MOST_SUBJECT]
    marked = message.purpose != "sales" or not sender.ad_mark or _AD.match(subject)
    return subject if marked else f"{sender.ad_mark} {subject}"


def _link(sender: Sender, message: Message) -> str:
    asked = message.purpose != "service" and sender.unsubscribe and message.leave
    return f"{sender.unsubscribe}{message.leave}" if asked else ""


def _source(message: Message) -> str:
    return message.key.partition("/")[0]


def _plain(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", part)[:60]


def _html(text: str, url: str, leave: str) -> str:
    parts = [f"<p>{'<br>'.join(html.escape(line) for line in each.splitlines())}</p>" for each in text.split("\n\n")]
    if url.startswith(("https://", "http://")):
        parts.append(f'<p><a href="{html.escape(url)}">{html.escape(url)}</a></p>')
    if leave:
        parts.append(f'<p style="color:#888;font-size:12px"><a href="{html.escape(leave)}">{LEAVE}</a></p>')
    return f'<!doctype html><html><meta charset="utf-8"><body>{"".join(parts)}</body></html>\n'
