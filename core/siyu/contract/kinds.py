"""The kinds of events, names and attributes that every brand has, contributed as any plugin would.

Plugins add their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from siyu.contract.attributes import AttributeKind
from siyu.contract.events import (
    CONSENT_GIVEN,
    CONSENT_WITHDRAWN,
    PROFILE_UPDATED,
    TAG_ADDED,
    EventKind,
    Integer,
    Line,
    Money,
    Payload,
    Text,
)
from siyu.contract.identities import IdentityKind
from siyu.contract.markers import hookimpl

__all__ = ["siyu_attributes", "siyu_event_kinds", "siyu_identity_kinds"]

_DID_SOMETHING = frozenset({"interaction"})
_OF_OURS = frozenset({"message"})


class OrderLine(Line):
    """One product in an order."""

    product: Text | None = None
    category: Text | None = None
    department: Text | None = None
    quantity: Integer = 1
    amount: Money | None = None


class Order(Payload):
    """What was bought; ``amount`` is what the user paid."""

    amount: Money
    quantity: Integer | None = None
    store: Text | None = None
    channel: Text | None = None
    discount: Money | None = None
    items: tuple[OrderLine, ...] = ()


class Contact(Payload):
    """Where a contact came from: ``state`` is the channel code."""

    source: Text | None = None
    state: Text | None = None
    staff: Text | None = None


class Coupon(Payload):
    """A coupon and the campaign it belongs to."""

    coupon: Text | None = None
    campaign: Text | None = None


class Campaign(Payload):
    """A campaign that reached the user."""

    campaign: Text
    type: Text | None = None


class Article(Payload):
    """A piece of content."""

    article: Text | None = None
    topic: Text | None = None


class Viewed(Payload):
    """A product that was looked at."""

    product: Text | None = None
    category: Text | None = None


class Answers(Payload):
    """What somebody said to a survey, and (of who went silent) why: ``price``, ``forgot``, ``dissatisfied``."""

    survey: Text | None = None
    reason: Text | None = None


class Done(Payload):
    """What a person did for the user, and what came of it."""

    plugin: Text | None = None
    playbook: Text | None = None
    step: Text | None = None
    role: Text | None = None
    outcome: Text | None = None
    by: Text | None = None


class Consent(Payload):
    """What may be sent from now on, or no longer; without ``purpose`` or ``channel``, of all. ``wording`` is the
    version of the text that was agreed to."""

    purpose: Literal["service", "care", "sales"] | None = None
    channel: Text | None = None
    source: Text | None = None
    wording: Text | None = None


class Reached(Payload):
    """What became of a message of ours; ``detail`` is the link that was clicked, the words that came back, ..."""

    action: Text
    channel: Text | None = None
    plugin: Text | None = None
    playbook: Text | None = None
    step: Text | None = None
    purpose: Text | None = None
    detail: Text | None = None


class Added(Payload):
    """A tag that somebody was given, and by which step."""

    tag: Text
    by: Text | None = None


class Words(Payload):
    """Something the user wrote."""

    text: Text
    group: Text | None = None


@hookimpl
def siyu_event_kinds() -> Iterable[EventKind]:
    """The common vocabulary."""
    yield EventKind(PROFILE_UPDATED, "资料更新")
    yield EventKind("contact.added", "添加联系人", Contact, _DID_SOMETHING)
    yield EventKind("contact.removed", "删除联系人", Contact)
    yield EventKind("order.paid", "订单支付", Order, _DID_SOMETHING)
    yield EventKind("order.refunded", "订单退款", Order)
    yield EventKind("coupon.redeemed", "使用优惠券", Coupon, _DID_SOMETHING)
    yield EventKind("campaign.received", "收到活动", Campaign)
    yield EventKind("article.opened", "阅读文章", Article, _DID_SOMETHING)
    yield EventKind("product.viewed", "浏览商品", Viewed, _DID_SOMETHING)
    yield EventKind("survey.answered", "回答问卷", Answers, _DID_SOMETHING)
    yield EventKind(TAG_ADDED, "打标签", Added)
    yield EventKind("task.done", "任务完成", Done)
    yield EventKind("group.message", "群消息", Words, _DID_SOMETHING)
    yield EventKind(CONSENT_GIVEN, "同意接收", Consent)
    yield EventKind(CONSENT_WITHDRAWN, "退订", Consent)
    yield EventKind("message.delivered", "消息送达", Reached, _OF_OURS)
    yield EventKind("message.bounced", "消息退回", Reached, _OF_OURS)
    for what, title in (("opened", "打开消息"), ("clicked", "点击消息"), ("replied", "回复消息")):
        yield EventKind(f"message.{what}", title, Reached, _OF_OURS | _DID_SOMETHING)


@hookimpl
def siyu_attributes() -> Iterable[AttributeKind]:
    """What messages are written with: how somebody is called, and in which language."""
    return [AttributeKind("nickname", "昵称", personal=True), AttributeKind("language", "语言")]


@hookimpl
def siyu_identity_kinds() -> Iterable[IdentityKind]:
    """Names that are given to one person each. Of some a person has several: one an app, one a phone."""
    return [
        IdentityKind("member", "会员号", single=True),
        IdentityKind("unionid", "微信 UnionID", single=True),
        IdentityKind("openid", "微信 OpenID"),
        IdentityKind("external_userid", "企业微信客户"),
        IdentityKind("phone", "手机号"),
        IdentityKind("email", "邮箱"),
    ]
