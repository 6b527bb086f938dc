"""Mail that comes back, as Postfix, Exchange and Gmail write it, from our channel to a real server and back again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from siyu import InputError, Message, NotFound
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.dispatch import send_due
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.reports import MOST_RAW, came_back
from siyu.store.actions import plan_actions
from siyu.store.models import Action, Brand, Event, Identity
from siyu_email import reports
from siyu_email.letters import Sender, mail

from tests.plugins.test_siyu_email import Post, serving

NOON = datetime(2026, 6, 10, 4, tzinfo=UTC)
DAY = timedelta(days=1)

POSTFIX = """\
Return-Path: <>
Received: by mail.shop.example (Postfix) id 4Xk2QD1TNyz9; Wed, 10 Jun 2026 12:00:03 +0800 (CST)
Date: Wed, 10 Jun 2026 12:00:03 +0800 (CST)
From: MAILER-DAEMON@mail.shop.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounces@shop.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4Xk2QC6yPPz9.1781092803/mail.shop.example"
Content-Transfer-Encoding: 8bit
Message-Id: <4Xk2QD1TNyz9@mail.shop.example>

This is a MIME-encapsulated message.

--4Xk2QC6yPPz9.1781092803/mail.shop.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mail.shop.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<{to}>: host mx.example.com[203.0.113.5] said: {diagnosis} (in reply to RCPT TO command)

--4Xk2QC6yPPz9.1781092803/mail.shop.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.shop.example
X-Postfix-Queue-ID: 4Xk2QC6yPPz9
X-Postfix-Sender: rfc822; bounces@shop.example
Arrival-Date: Wed, 10 Jun 2026 12:00:02 +0800 (CST)

Final-Recipient: rfc822; {to}
Original-Recipient: rfc822;{to}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: smtp; {diagnosis}

--4Xk2QC6yPPz9.1781092803/mail.shop.example
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers
Content-Transfer-Encoding: 8bit

Return-Path: <bounces@shop.example>
{headers}
--4Xk2QC6yPPz9.1781092803/mail.shop.example--
"""
# It sends back the headers as a message, those of others left out, and answers the Message-ID.
EXCHANGE = """\
From: <postmaster@example.onmicrosoft.com>
To: <bounces@shop.example>
Date: Wed, 10 Jun 2026 04:00:05 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="_000_SEYPR02MB1234_"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: en-US
Message-ID: <7f0b5e0b-2b8e-4c3c-b6b5-1d1f2a0e9c11@SEYPR02MB1234.apcprd02.prod.outlook.com>
In-Reply-To: {message_id}
References: {message_id}
Subject: Undeliverable: hello
Auto-Submitted: auto-replied

--_000_SEYPR02MB1234_
Content-Type: text/html; charset="us-ascii"

<html><body><p>Your message to {to} couldn't be delivered.</p></body></html>

--_000_SEYPR02MB1234_
Content-Type: message/delivery-status

Reporting-MTA: dns;SEYPR02MB1234.apcprd02.prod.outlook.com
Received-From-MTA: dns;mail.shop.example
Arrival-Date: Wed, 10 Jun 2026 04:00:04 +0000

Final-Recipient: rfc822;{to}
Action: {action}
Status: {status}
Diagnostic-Code: smtp;{diagnosis}
X-Display-Name: {to}

--_000_SEYPR02MB1234_
Content-Type: message/rfc822

From: shop <hi@shop.example>
To: <{to}>
Subject: hello
Message-ID: {message_id}

--_000_SEYPR02MB1234_--
"""
# It folds the answer of the server over lines, and sends the whole mail back.
GMAIL = """\
Return-Path: <>
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: bounces@shop.example
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
References: {message_id}
In-Reply-To: {message_id}
X-Failed-Recipients: {to}
Message-ID: <66671e85.050a0220.1d2f3.4b5c.GMR@mx.google.com>
Date: Tue, 09 Jun 2026 21:00:05 -0700 (PDT)
MIME-Version: 1.0
Content-Type: multipart/report; boundary="000000000000b4c5d6061a7f8e9d"; report-type=delivery-status

--000000000000b4c5d6061a7f8e9d
Content-Type: multipart/related; boundary="000000000000b4c5e9061a7f8e9e"

--000000000000b4c5e9061a7f8e9e
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to {to}.

--000000000000b4c5e9061a7f8e9e--
--000000000000b4c5d6061a7f8e9d
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Received-From-MTA: dns; hi@shop.example
Arrival-Date: Tue, 09 Jun 2026 21:00:04 -0700 (PDT)
X-Original-Message-ID: {message_id}

Final-Recipient: rfc822; {to}
Action: {action}
Status: {status}
Remote-MTA: dns; gmail-smtp-in.l.google.com. (142.251.2.26, the server for the domain gmail.com.)
Diagnostic-Code: smtp; {diagnosis}
Last-Attempt-Date: Tue, 09 Jun 2026 21:00:05 -0700 (PDT)

--000000000000b4c5d6061a7f8e9d
Content-Type: message/rfc822

{original}

--000000000000b4c5d6061a7f8e9d--
"""
# Exim has no codes of its own; the server's words have some, or none.
EXIM = POSTFIX.replace("Original-Recipient: rfc822;{to}\n", "")


def came(form: str, post: Post, place: int, status: str, diagnosis: str, *, action: str = "failed") -> bytes:
    """What a server sends back of the mail that it got as the so-manieth."""
    _, [to], made = post.got[place]
    original = made.as_bytes().decode("ascii", "replace")
    return form.format(
        to=to,
        action=action,
        status=status,
        diagnosis=diagnosis,
        message_id=made["Message-ID"],
        headers=original.replace("\r\n", "\n").partition("\n\n")[0],
        original=original,
    ).encode()


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async for made in serving():
        yield made


@pytest.fixture
async def shop(ctx: Context, brand: Brand, post: Post, monkeypatch: pytest.MonkeyPatch) -> Brand:
    """A brand that writes to five users."""
    monkeypatch.setenv("SIYU_EMAIL_SHOP", "right")
    await set_up(ctx, brand, post)
    return brand


async def set_up(ctx: Context, brand: Brand, post: Post) -> None:
    await plugins.enable(ctx, brand, "email")
    server = {"host": "127.0.0.1", "port": post.port, "tls": "none", "password_env": "SIYU_EMAIL_SHOP"}
    params = {**server, "sender": "hi@shop.example", "bounces": "bounces@shop.example"}
    await plugins.configure(ctx, brand, "email", {"email": params})
    names = ({"member": f"{n}", "email": f"Ann{n}@example.com"} for n in range(5))
    events = [IncomingEvent(f"c{n}", "contact.added", who, {}, NOON - 300 * DAY) for n, who in enumerate(names)]
    assert not (await record(ctx, brand, events)).rejected
    await writes(ctx, brand, NOON)


async def writes(ctx: Context, brand: Brand, at: datetime) -> None:
    users = sorted({row.user_id for row in await Identity.filter(brand_id=brand.id)})
    usual = {"plugin": "care", "playbook": "p", "channel": "email", "purpose": "care", "text": "hello", "because": ""}
    rows = [{**usual, "user_id": each, "step": f"s{at}", "key": f"care.p/s{at.day}/{each}"} for each in users]
    async with ctx.db.transaction() as connection:
        await plan_actions(connection, brand.id, pl.DataFrame(rows), at=at)
    await send_due(ctx, brand.id, at=at)


async def became(brand: Brand) -> list[tuple[str, str]]:
    rows = await Action.filter(brand_id=brand.id).order_by("planned_at", "user_id")
    return [(row.status, row.reason) for row in rows]


NO_SUCH = "550 5.1.1 <ann0@example.com>: Recipient address rejected: User unknown in virtual mailbox table"
NOT_FOUND = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
NO_ACCOUNT = (
    "550-5.1.1 The email account that you tried to reach does not exist. Please try\n"
    " 550-5.1.1 double-checking the recipient's email address for typos or\n"
    " 550 5.1.1 unnecessary spaces. 98e67ed59e1d1-2c2f8 - gsmtp"
)
FULL = "452-4.2.2 The recipient's inbox is out of storage space.\n 452 4.2.2 98e67ed59e1d1 - gsmtp"
REFUSED = "550 5.7.1 Message contains content that was identified as spam"


async def test_an_address_that_is_no_good_gets_no_more_mail_and_one_that_is_full_does(
    ctx: Context, shop: Brand, post: Post
) -> None:
    assert [sender for sender, _, _ in post.got] == ["bounces@shop.example"] * 5
    back = [
        came(POSTFIX, post, 0, "5.1.1", NO_SUCH),
        came(EXCHANGE, post, 1, "5.1.10", NOT_FOUND),
        came(GMAIL, post, 2, "5.1.1", NO_ACCOUNT),
        came(GMAIL, post, 3, "4.2.2", FULL),
        came(POSTFIX, post, 4, "5.7.1", REFUSED),
    ]
    for raw in (*back, back[0]):
        assert (await came_back(ctx, shop, "email", raw)).known == 1
    assert await became(shop) == [("failed", "bounced")] * 5
    first = await Action.filter(brand_id=shop.id).order_by("user_id").first()
    assert first is not None
    assert "User unknown in virtual mailbox table" in first.detail
    assert await Event.filter(brand_id=shop.id, kind="message.bounced").count() == 5

    await writes(ctx, shop, NOON + 8 * DAY)
    assert (await became(shop))[5:] == [("suppressed", "no_address")] * 3 + [("sent", "")] * 2
    assert [to for _, [to], _ in post.got[5:]] == ["Ann3@example.com", "Ann4@example.com"]


async def test_an_address_that_the_server_refuses_for_good_gets_no_more_mail(
    ctx: Context, shop: Brand, post: Post
) -> None:
    said = {"Ann0@example.com": "550 5.1.1 no such user", "Ann1@example.com": "550 5.7.1 not from you"}
    said |= {"Ann2@example.com": "450 4.2.1 try again", "Ann3@example.com": "450 5.1.1 odd"}
    post.rcpt = lambda address: said.get(address, "250 OK")
    await writes(ctx, shop, NOON + 8 * DAY)
    assert [status for status, _ in (await became(shop))[5:]] == ["failed", "failed", "held", "held", "sent"]
    post.rcpt = lambda address: "250 OK"
    await writes(ctx, shop, NOON + 16 * DAY)
    assert (await became(shop))[10:].count(("suppressed", "no_address")) == 1
    [dead] = await Identity.filter(brand_id=shop.id, dead_since__isnull=False)
    assert dead.value == "Ann0@example.com"


async def test_another_address_or_a_new_yes_brings_mail_again(ctx: Context, shop: Brand, post: Post) -> None:
    for place in range(3):
        await came_back(ctx, shop, "email", came(POSTFIX, post, place, "5.1.1", NO_SUCH))
    now = datetime.now(UTC)
    news = [
        IncomingEvent("new", "contact.added", {"member": "0", "email": "new@example.com"}, {}, NOON + DAY),
        IncomingEvent("yes", "consent.given", {"member": "1"}, {}, max(now, NOON) + timedelta(minutes=1)),
    ]
    assert not (await record(ctx, shop, news)).rejected
    await writes(ctx, shop, NOON + 8 * DAY)
    assert [to for _, [to], _ in post.got[5:]] == [
        "new@example.com",
        "Ann1@example.com",
        "Ann3@example.com",
        "Ann4@example.com",
    ]
    assert (await became(shop))[5:].count(("suppressed", "no_address")) == 1


async def test_what_came_back_is_of_one_brand_alone(ctx: Context, shop: Brand, post: Post) -> None:
    raw = came(POSTFIX, post, 0, "5.1.1", NO_SUCH)
    other = await Brand.create(slug="other", name="Other", replayed_to=NOON)
    with pytest.raises(NotFound, match="no channel"):
        await came_back(ctx, other, "email", raw)
    await set_up(ctx, other, post)
    assert (await came_back(ctx, other, "email", raw)).known == 0
    assert not await Identity.filter(brand_id=other.id).exclude(dead_since=None).exists()
    assert await became(shop) == [("sent", "")] * 5


async def test_nobody_else_can_say_that_mail_came_back(
    ctx: Context, shop: Brand, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = came(POSTFIX, post, 0, "5.1.1", NO_SUCH)
    assert (await came_back(ctx, shop, "email", raw.replace(b"Ann0@", b"Ann1@"))).known == 1
    assert not await Identity.filter(brand_id=shop.id).exclude(dead_since=None).exists(), (
        "that is not whom it was sent to"
    )
    monkeypatch.setenv("SIYU_EMAIL_SHOP", "another")
    assert (await came_back(ctx, shop, "email", raw)).known == 0
    monkeypatch.delenv("SIYU_EMAIL_SHOP")
    with pytest.raises(InputError) as unsigned:
        await came_back(ctx, shop, "email", raw)
    assert unsigned.value.field == "password_env"
    with pytest.raises(InputError, match="bytes"):
        await came_back(ctx, shop, "email", b"x" * (MOST_RAW + 1))


@pytest.mark.parametrize("form", [POSTFIX, EXCHANGE, GMAIL, EXIM])
@pytest.mark.parametrize(
    ("status", "diagnosis", "dead"),
    [
        ("5.1.1", NO_SUCH, True),
        ("5.0.0", NO_ACCOUNT, True),
        ("5.4.310", "550 5.4.310 DNS domain nowhere.example does not exist", True),
        ("5.2.1", "550 5.2.1 The email account that you tried to reach is disabled", True),
        ("5.2.2", "552 5.2.2 Mailbox full", False),
        ("4.4.7", "421 4.4.7 Delivery time expired", False),
        ("5.1.8", "550 5.1.8 Sender address rejected: Domain not found", False),
        ("5.0.0", "550 rejected", False),
        ("5.7.1", REFUSED, False),
    ],
)
async def test_what_servers_say_is_understood_whoever_writes_it(
    post: Post, form: str, status: str, diagnosis: str, dead: bool
) -> None:
    message = Message(1, "care.touch/hello/7", "shop", 3, "hello", "care", NOON, "ann@example.com")
    post.got.append(("", ["ann@example.com"], mail(Sender("hi@shop.example", secret="s"), message)))
    [told] = reports(came(form, post, 0, status, diagnosis), "s")
    assert (told.key, told.what, told.dead) == (message.key, "bounced", "ann@example.com" if dead else "")
    assert diagnosis.split()[-1] in told.detail
    assert reports(came(form, post, 0, "4.4.1", diagnosis, action="delayed"), "s") == []
