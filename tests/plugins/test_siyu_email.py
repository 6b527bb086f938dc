"""siyu_email against a real SMTP server: what arrives, what is refused, and what nobody knows."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
import siyu_email
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from siyu import InputError, Message, PluginError, Report
from siyu.contract.manager import PluginManager
from siyu_email import Email, reports
from siyu_email.letters import KEY_HEADER, Sender, mail

AT = datetime(2026, 5, 1, 4, tzinfo=UTC)
MESSAGE = Message(
    1,
    "care.touch/hello/7",
    "shop",
    3,
    "小红，您好！\n第二行\n\n另一段 <b>",
    "care",
    AT,
    "ann@example.com",
    {"title": "一封信", "url": "https://shop.example/?a=1&b=2"},
    "t" * 120 + ".sig",
)
Hook = Callable[[SMTP, Session, Envelope, str], Awaitable[str]]


@dataclass
class Post:
    """A mail server that keeps what it gets, and says what a test wants it to."""

    port: int = 0
    got: list[tuple[str, list[str], EmailMessage]] = field(default_factory=list)
    sessions: int = 0
    rcpt: Callable[[str], str] = lambda address: "250 OK"
    data: Callable[[SMTP], Awaitable[str]] | None = None
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, name: str, lines: list[str]) -> Any:
        self.sessions += 1
        session.host_name = name
        return lines

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.rcpt(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        made = message_from_bytes(envelope.content, policy=default)
        self.got.append((str(envelope.mail_from), list(envelope.rcpt_tos), made))
        return await self.data(server) if self.data else "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def params(self, **how: Any) -> Email.Params:
        return Email.Params(
            **{"host": "127.0.0.1", "port": self.port, "tls": "none", "sender": "hi@shop.example", "seconds": 2, **how}
        )

    @property
    def texts(self) -> list[str]:
        return [made.get_body(("plain",)).get_content() for _, _, made in self.got]  # type: ignore[union-attr]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async for made in serving():
        yield made


async def serving(**how: Any) -> AsyncIterator[Post]:
    made, loop = Post(), asyncio.get_running_loop()

    def session() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it takes passwords without TLS: here it does
            return SMTP(
                made, loop=loop, hostname="post", authenticator=made.authenticate, auth_require_tls=False, **how
            )

    server = await loop.create_server(session, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def messages(*to: str) -> list[Message]:
    return [replace(MESSAGE, action_id=n, key=f"k/{n}", to=each) for n, each in enumerate(to, 1)]


async def outcomes(params: Email.Params, *sent: Message) -> list[tuple[str, str]]:
    receipts = await Email().deliver(sent, params)
    assert [each.action_id for each in receipts] == [each.action_id for each in sent]
    return [(each.outcome, each.detail) for each in receipts]


# -- what arrives -------------------------------------------------------------------------------------------------


async def test_a_message_arrives_as_text_and_html_with_all_that_receivers_ask_for(post: Post) -> None:
    params = post.params(
        sender_name="茶铺", reply_to="help@shop.example", unsubscribe="https://api.example/unsubscribe/"
    )
    assert await outcomes(params, MESSAGE) == [("sent", "")]
    [(sender, to, made)] = post.got
    assert (sender, to) == ("hi@shop.example", ["ann@example.com"])
    assert str(made["From"]) == "茶铺 <hi@shop.example>"
    assert (made["To"], made["Reply-To"], made["Subject"]) == ("ann@example.com", "help@shop.example", "一封信")
    assert made["List-Unsubscribe"] == f"<https://api.example/unsubscribe/{MESSAGE.leave}>"
    assert made["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert made["Feedback-ID"] == "care:care.touch:shop:siyu"
    assert made["Message-ID"].endswith("@shop.example>")
    text, html = (made.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert text.replace("\r\n", "\n").startswith(
        "小红，您好！\n第二行\n\n另一段 <b>\n\nhttps://shop.example/?a=1&b=2\n"
    )
    assert "退订" in text
    assert "<p>小红，您好！<br>第二行</p><p>另一段 &lt;b&gt;</p>" in html
    assert 'href="https://shop.example/?a=1&amp;b=2"' in html
    assert f'href="https://api.example/unsubscribe/{MESSAGE.leave}"' in html


def test_a_long_link_is_folded_nowhere() -> None:
    raw = mail(Sender("hi@shop.example", unsubscribe="https://api.example/unsubscribe/"), MESSAGE).as_bytes()
    assert f"List-Unsubscribe: <https://api.example/unsubscribe/{MESSAGE.leave}>\r\n".encode() in raw
    raw.decode("ascii")


@pytest.mark.parametrize(
    ("purpose", "title", "subject"),
    [
        ("sales", "新品上市", "[广告] 新品上市"),
        ("sales", "（广告）新品", "（广告）新品"),
        ("sales", "AD: new", "AD: new"),
        ("sales", "Adventures", "[广告] Adventures"),
        ("care", "问候", "问候"),
        ("care", "一\r\nBcc: x@y.z\n二", "一 Bcc: x@y.z 二"),
        ("care", "", "小红，您好！"),
    ],
)
def test_what_sells_says_so_in_its_subject(purpose: str, title: str, subject: str) -> None:
    made = mail(Sender("hi@shop.example", ad_mark="[广告]"), replace(MESSAGE, purpose=purpose, body={"title": title}))
    assert made["Subject"] == subject
    assert made["Bcc"] is None


def test_a_service_message_cannot_be_unsubscribed_from() -> None:
    made = mail(Sender("a@b.example", unsubscribe="https://x.example/"), replace(MESSAGE, purpose="service"))
    assert made["List-Unsubscribe"] is None
    assert "退订" not in made.as_string()


async def test_a_batch_goes_over_one_connection_and_logs_in_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIYU_EMAIL_SHOP", "right")
    params = post.params(user="me", password_env="SIYU_EMAIL_SHOP")
    assert await outcomes(params, *messages(*["a@x.example"] * 20)) == [("sent", "")] * 20
    assert (len(post.got), post.logins) == (20, [(b"me", b"right")])
    assert len({made["Message-ID"] for _, _, made in post.got}) == 20
    monkeypatch.setenv("SIYU_EMAIL_SHOP", "wrong")
    [(outcome, detail)] = await outcomes(params, MESSAGE)
    assert (outcome, "535" in detail, "wrong" in detail) == ("later", True, False), detail


# -- what is refused ----------------------------------------------------------------------------------------------


async def test_what_the_server_refuses_fails_for_good_or_comes_later_by_its_words(post: Post) -> None:
    said = {"full@x.example": "452 mailbox full", "gone@x.example": "550 5.1.1 no such user"}
    post.rcpt = lambda address: said.get(address, "250 OK")
    sent = messages("ann@x.example", "full@x.example", "gone@x.example", "bob@x.example")
    assert await outcomes(post.params(), *sent) == [
        ("sent", ""),
        ("later", "452 mailbox full"),
        ("failed", "550 5.1.1 no such user"),
        ("sent", ""),
    ]
    assert [to for _, to, _ in post.got] == [["ann@x.example"], ["bob@x.example"]]


@pytest.mark.parametrize(("answer", "outcome"), [("451 greylisted", "later"), ("554 spam", "failed")])
async def test_what_is_refused_after_the_text_is_not_sent(post: Post, answer: str, outcome: str) -> None:
    async def says(_: SMTP) -> str:
        return answer if len(post.got) == 1 else "250 OK"

    post.data = says
    found = await outcomes(post.params(), *messages("a@x.example", "b@x.example"))
    assert found == [(outcome, answer), ("sent", "")]


@pytest.mark.parametrize(
    "to", ["", "ann", "a@x.example, b@x.example", "a@x.example\r\nBcc: b@x.example", "<a@x.example>", "a@-x", "a@b..c"]
)
async def test_an_address_that_is_none_fails_alone(post: Post, to: str) -> None:
    bad, good = messages(to, "b@x.example")
    [(outcome, detail), other] = await outcomes(post.params(), bad, good)
    assert (outcome, "no e-mail address" in detail, other) == ("failed", True, ("sent", ""))
    assert [each for _, each, _ in post.got] == [["b@x.example"]]


async def test_without_a_sender_nothing_is_sent(post: Post) -> None:
    [(outcome, detail)] = await outcomes(post.params(sender=""), MESSAGE)
    assert (outcome, detail.startswith("sender:")) == ("failed", True)
    assert post.sessions == 0


async def test_a_server_that_offers_no_encryption_gets_no_mail_where_it_is_asked_for(post: Post) -> None:
    [(outcome, detail)] = await outcomes(post.params(tls="starttls"), MESSAGE)
    assert (outcome, "STARTTLS" in detail.upper()) == ("later", True)
    [(outcome, _)] = await outcomes(post.params(tls="tls"), MESSAGE)
    assert outcome == "later"
    assert post.got == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password_env", "DATABASE_URL"),
        ("unsubscribe", "http://plain.example/"),
        ("sender_name", "a\r\nBcc: x"),
        ("host", "a b"),
        ("password", "secret"),
    ],
)
def test_parameters_that_would_leak_or_break_are_refused(field: str, value: str) -> None:
    manager = PluginManager()
    plugin = manager.register("email", siyu_email)
    manager.check()
    with pytest.raises(PluginError) as caught:
        plugin.params({"email": {field: value}})
    assert caught.value.field == f"email.{field}"


# -- what nobody knows --------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_has_been_handed_nothing() -> None:
    params = Email.Params(host="127.0.0.1", port=1, tls="none", sender="a@b.example", seconds=1)
    found = await outcomes(params, *messages("a@x.example", "b@x.example"))
    assert {outcome for outcome, _ in found} == {"later"}


async def test_a_line_that_breaks_after_the_text_leaves_one_message_unknown_and_the_rest_go_on(post: Post) -> None:
    async def breaks(server: SMTP) -> str:
        if len(post.got) == 2:
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return "250 OK"

    post.data = breaks
    found = await outcomes(post.params(), *messages("a@x.example", "b@x.example", "c@x.example"))
    assert [outcome for outcome, _ in found] == ["sent", "unknown", "sent"]
    assert "handed over" in found[1][1]
    assert [to for _, [to], _ in post.got] == ["a@x.example", "b@x.example", "c@x.example"]


async def test_a_server_that_does_not_answer_in_time_leaves_the_message_unknown(post: Post) -> None:
    async def sleeps(_: SMTP) -> str:
        if len(post.got) == 1:
            await asyncio.sleep(1)
        return "250 OK"

    post.data = sleeps
    found = await outcomes(post.params(seconds=0.2), *messages("a@x.example", "b@x.example"))
    assert [outcome for outcome, _ in found] == ["unknown", "sent"]


async def test_what_there_is_no_time_for_comes_later(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(_: SMTP) -> str:
        await asyncio.sleep(0.2)
        return "250 OK"

    post.data = slow
    monkeypatch.setattr(siyu_email, "BUDGET_SECONDS", 0.3)
    found = await outcomes(post.params(), *messages(*["a@x.example"] * 4))
    assert [outcome for outcome, _ in found] == ["sent", "sent", "later", "later"]
    assert found[-1][1] == siyu_email.OUT_OF_TIME


def test_it_may_not_be_asked_twice() -> None:
    assert Email.repeatable is False
    assert Email().per_second(Email.Params(rate=3)) == 3


# -- what comes back ----------------------------------------------------------------------------------------------

BOUNCE = """\
From: MAILER-DAEMON@mx.example
To: hi@shop.example
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I'm sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ann@example.com
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b
Content-Type: {kind}

{original}
--b--
"""


def bounce(action: str = "failed", kind: str = "text/rfc822-headers", secret: str = "s") -> bytes:
    made = mail(Sender("hi@shop.example", secret=secret), MESSAGE)
    original = made.as_bytes().decode().replace("\r\n", "\n")
    if kind == "text/rfc822-headers":
        original = original.partition("\n\n")[0] + "\n"
    return BOUNCE.format(action=action, kind=kind, original=original).encode()


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
def test_a_bounce_is_read_into_what_became_of_its_message(kind: str) -> None:
    detail = "5.1.1 smtp; 550 5.1.1 no such user"
    assert reports(bounce(kind=kind), "s") == [Report(MESSAGE.key, "bounced", detail=detail, dead="ann@example.com")]


def test_what_is_no_bounce_of_ours_says_nothing() -> None:
    assert reports(bounce("delayed"), "s") == []
    assert [each.what for each in reports(bounce("delivered"), "s")] == ["delivered"]
    assert reports(bounce(secret="another's"), "s") == []
    assert reports(mail(Sender("hi@shop.example"), MESSAGE).as_bytes()) == []
    assert reports(b"") == []
    assert reports(b"\xff\x00 nonsense") == []
    nothing = bounce().replace(KEY_HEADER.encode(), b"X-Other").replace(b"Message-ID", b"X-Id")
    assert reports(nothing, "s") == []
    with pytest.raises(InputError, match="bytes"):
        reports(b"x" * 3_000_000)
