"""E-mail: messages by SMTP, with one-click unsubscribing, advertising marked as such, and bounces read.

The password of the server stands in an environment variable, never in the parameters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import siyu
from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from siyu import Channel, Field, InputError, Message, Receipt, Report, hookimpl

from siyu_email.bounces import is_dead, reports
from siyu_email.letters import Sender, address_of, mail

__all__ = ["Email", "reports", "siyu_channels"]

BUDGET_SECONDS = 45.0
"""After which no further message of a batch is begun: the batch is to be done within a minute."""
OUT_OF_TIME = "there was no time left for it"


class Email(Channel):
    """电子邮件"""

    address = "email"
    # Few receivers drop a Message-ID that they have seen: what may have arrived is not sent again.
    repeatable = False
    batch = 50

    class Params(siyu.Params):
        host: str = Field("localhost", max_length=200, pattern=r"^[A-Za-z0-9.:\[\]_-]+$", title="SMTP 服务器")
        port: int = Field(587, ge=1, le=65535, title="端口")
        tls: Literal["starttls", "tls", "none"] = Field("starttls", title="加密方式")
        user: str = Field("", max_length=200, title="用户名（空 = 不登录）")
        password_env: str = Field(
            "",
            max_length=80,
            pattern=r"^(SIYU_EMAIL_[A-Z0-9_]+)?$",
            title="存放密码的环境变量（以 SIYU_EMAIL_ 开头；也用于给邮件编号签名）",
        )
        sender: str = Field("", max_length=200, title="发件地址")
        sender_name: str = Field("", max_length=100, pattern=r"^[^\r\n]*$", title="发件人名称")
        bounces: str = Field("", max_length=200, title="退信地址（空 = 发件地址）")
        reply_to: str = Field("", max_length=200, title="回复地址（空 = 发件地址）")
        unsubscribe: str = Field(
            "",
            max_length=300,
            pattern=r"^(https://[^\s<>]+/)?$",
            title="退订链接的开头，如 https://api.example.com/unsubscribe/",
        )
        ad_mark: str = Field(
            "[广告]", max_length=20, pattern=r"^[^\r\n]*$", title="营销邮件标题的前缀（法规要求标明“广告”或“AD”）"
        )
        seconds: float = Field(10, ge=0.1, le=30, title="等服务器答复的秒数")
        rate: float = Field(0, ge=0, le=10_000, title="每秒最多发多少封（0 = 不限）")

    def per_second(self, p: Params) -> float:
        return p.rate

    def reports(self, raw: bytes, p: Params) -> Sequence[Report]:
        secret = _password(p)
        if not secret:
            raise InputError(
                "no secret signs the keys of mail, so that anybody could say that one came back",
                field="password_env",
                remedy="set it, also where there is no user to log in, and send with it",
            )
        return reports(raw, secret)

    async def deliver(self, messages: Sequence[Message], p: Params) -> Sequence[Receipt]:
        sender = Sender(p.sender, p.sender_name, p.bounces, p.reply_to, p.unsubscribe, p.ad_mark, _password(p))
        ends = asyncio.get_running_loop().time() + BUDGET_SECONDS
        line = _Line(p)
        receipts = []
        try:
            for message in messages:
                if asyncio.get_running_loop().time() > ends:
                    receipts.append(Receipt(message.action_id, "later", OUT_OF_TIME))
                else:
                    receipts.append(await _sent(line, sender, message))
        finally:
            await line.close()
        return receipts


class _Line:
    """A connection to the server, made when it is needed and again where it was lost; once it cannot be made, never."""

    def __init__(self, p: Email.Params) -> None:
        self._p = p
        self._smtp: SMTP | None = None
        self._dead: Exception | None = None

    async def open(self) -> SMTP:
        """The connection, fresh for a message."""
        if self._dead is not None:
            raise self._dead
        if self._smtp is not None and self._smtp.is_connected:
            return self._smtp
        p = self._p
        smtp = SMTP(
            hostname=p.host,
            port=p.port,
            username=p.user or None,
            password=_password(p) or None,
            local_hostname=p.sender.rpartition("@")[2] or "localhost",
            timeout=p.seconds,
            use_tls=p.tls == "tls",
            start_tls=p.tls == "starttls",
        )
        try:
            await smtp.connect()
        except (SMTPException, OSError, ValueError) as error:
            self._dead = error
            smtp.close()
            raise
        self._smtp = smtp
        return smtp

    async def close(self) -> None:
        """Say goodbye, if there is anybody."""
        if self._smtp is not None and self._smtp.is_connected:
            with suppress(SMTPException, OSError):
                await self._smtp.quit()
        if self._smtp is not None:
            self._smtp.close()


async def _sent(line: _Line, sender: Sender, message: Message) -> Receipt:
    """What became of a message. Until the server has all of it nothing has left; after that, only its answer tells."""
    number = message.action_id
    try:
        made, to = mail(sender, message), address_of(message.to, "to")
        if sender.bounces:
            address_of(sender.bounces, "bounces")
    except (InputError, ValueError) as error:
        return Receipt(number, "failed", str(error))
    try:
        smtp = await line.open()
    except (SMTPException, OSError, ValueError) as error:
        return Receipt(number, "later", _words(error))
    try:
        await smtp.mail(sender.bounces or sender.address)
        await smtp.rcpt(to)
    except SMTPRecipientRefused as error:
        await _again(smtp)
        return replace(_refused(number, error), dead=error.code >= 500 and is_dead("", error.message))
    except SMTPResponseException as error:
        await _again(smtp)
        return _refused(number, error)
    except (SMTPException, OSError, ValueError) as error:
        smtp.close()
        return Receipt(number, "later", _words(error))
    try:
        await smtp.data(made.as_bytes())
    except (SMTPServerDisconnected, SMTPTimeoutError, OSError) as error:
        smtp.close()
        return Receipt(number, "unknown", f"it was handed over, and then: {_words(error)}")
    except SMTPResponseException as error:
        await _again(smtp)
        return _refused(number, error)
    return Receipt(number, "sent")


async def _again(smtp: SMTP) -> None:
    """Begin anew on the same connection, if it still is one."""
    if smtp.is_connected:
        try:
            await smtp.rset()
        except (SMTPException, OSError):
            smtp.close()


def _refused(number: int, error: SMTPResponseException) -> Receipt:
    passing = 400 <= error.code < 500
    return Receipt(number, "later" if passing else "failed", f"{error.code} {error.message}")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _password(p: Email.Params) -> str:
    return os.environ.get(p.password_env, "") if p.password_env else ""


@hookimpl
def siyu_channels() -> list[type[Channel]]:
    return [Email]
