"""What messages say: a playbook's texts, a brand's own in their place, and what is known of the user in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, ClassVar

import pytest
from siyu import (
    Assign,
    AttributeKind,
    Channel,
    InputError,
    Manual,
    Message,
    NotFound,
    Playbook,
    Receipt,
    Send,
    hookimpl,
)
from siyu.contract.manager import PluginManager
from siyu.contract.playbooks import Step
from siyu.flow import content, plugins, unsubscribe
from siyu.flow.content import Composed, end_text, library, preview, set_text, versions
from siyu.flow.context import Context
from siyu.flow.dispatch import dispatch
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.merging import merge_users
from siyu.flow.playbooks import carry_on, start
from siyu.flow.voice import set_voice, voice_of
from siyu.store.models import Action, AuditEntry, Brand, Identity, OutboxMessage

from tests.core.conftest import new_brand

NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
HELLO = "made.touch.hello"


class Touch(Playbook):
    """First touch."""

    reentry = "always"

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send(
            "outbox",
            {"zh": "{{ name }}，我是{{ brand }}的{{ adviser.name }}", "en": "Hello {{ name }}, from {{ brand }}"},
            key="hello",
            because={"zh": "因为您在{{ user.city | default('这里') }}", "en": ""},
        )


class Calls(Playbook):
    """A person calls."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Assign("adviser", "给{{ name }}打电话", "{{ user.city }}", "call", timedelta(hours=2), "manager")


class Letter(Playbook):
    """With a link."""

    def trigger(self, p: Any) -> Manual:
        return Manual()

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send(
            "post", "{{ name }}好", "care", "letter", "link", "给{{ name }}", "https://x.example/{{ user.city }}"
        )


class Mailbox(Channel):
    """Keeps what it is handed."""

    key = "post"
    got: ClassVar[list[Message]] = []

    async def deliver(self, messages: Sequence[Message], p: Any) -> list[Receipt]:
        self.got.extend(messages)
        return [Receipt(message.action_id, "sent") for message in messages]


def made() -> PluginManager:
    module = ModuleType("made")

    def siyu_playbooks() -> list[type[Playbook]]:
        return [Touch, Calls, Letter]

    def siyu_channels() -> list[type[Channel]]:
        return [Mailbox]

    def siyu_attributes() -> list[AttributeKind]:
        return [
            AttributeKind("city", "城市"),
            AttributeKind("points", "积分", "integer"),
            AttributeKind("vip", "VIP", "flag"),
            AttributeKind("born", "生日", "date"),
            AttributeKind("level", "等级", values=["gold", "silver"]),
        ]

    hooks = (siyu_playbooks, siyu_attributes, siyu_channels)
    vars(module).update({hook.__name__: hookimpl(hook) for hook in hooks})
    manager = PluginManager()
    manager.register("made", module)
    manager.check()
    return manager


@pytest.fixture
async def ctx(house: Context, shop: Brand) -> Context:
    opened = replace(house, plugins=made(), programs={})
    await plugins.enable(opened, shop, "made")
    return opened


async def user(ctx: Context, brand: Brand, name: str = "1", **attributes: Any) -> int:
    """A user with attributes."""
    event = IncomingEvent(f"p-{name}-{len(attributes)}", "profile.updated", {"member": name}, attributes, NOON)
    done = await record(ctx, brand, [event])
    assert not done.rejected
    return int((await Identity.get(brand_id=brand.id, kind="member", value=name)).user_id)


async def says(ctx: Context, brand: Brand, user_id: int, key: str = HELLO, **how: Any) -> str:
    found = await preview(ctx, brand, key, user_id, **how)
    assert not found.wrong, found.wrong
    return found.text


async def test_a_message_says_what_is_known_of_its_user(ctx: Context, shop: Brand) -> None:
    ann = await user(ctx, shop, "1", nickname="小红", city="上海")
    assert await says(ctx, shop, ann) == "小红，我是Shop的小助手\n因为您在上海"
    nobody = await user(ctx, shop, "2", nickname="  ")
    assert await says(ctx, shop, nobody) == "朋友，我是Shop的小助手\n因为您在这里"
    other = await user(ctx, shop, "3", language="en-GB", nickname="Ann")
    assert await says(ctx, shop, other) == "Hello Ann, from Shop"
    none = await user(ctx, shop, "4", language="fr")
    assert await says(ctx, shop, none) == "朋友，我是Shop的小助手\n因为您在这里"


async def test_attributes_are_read_as_rules_read_them(ctx: Context, shop: Brand) -> None:
    text = (
        "{{ user.points | default('0') }} {% if user.vip %}VIP{% endif %}"
        " {{ user.born | default('x') | date('%-m月') if user.born else '-' }} {{ user.level | default('none') }}"
    )
    await set_text(ctx, shop, "all", text)
    ann = await user(ctx, shop, "1", points="12", vip="yes", born="2020-02-29", level="gold")
    assert await says(ctx, shop, ann, "all") == "12 VIP 2月 gold"
    bob = await user(ctx, shop, "2", points="many", vip="no", born="soon", level="wood")
    assert await says(ctx, shop, bob, "all") == "0  - none"


async def test_a_value_that_is_missing_fails_the_action_and_no_other(ctx: Context, shop: Brand) -> None:
    await set_text(ctx, shop, HELLO, "您在{{ user.city }}吗？")
    ann, bob = await user(ctx, shop, "1", city="上海"), await user(ctx, shop, "2")
    await start(ctx, shop, "made.touch", [ann, bob], occasion="x")
    await carry_on(ctx, shop.id)
    assert await dispatch(ctx, shop.id) == 2
    rows = {row.user_id: row for row in await Action.filter(brand_id=shop.id)}
    assert (rows[ann].status, rows[bob].status) == ("sent", "failed")
    assert "there is no user.city" in rows[bob].detail
    assert [row.text for row in await OutboxMessage.filter(brand_id=shop.id)] == ["您在上海吗？\n因为您在上海"]
    assert rows[ann].text == "您在上海吗？\n因为您在上海"
    assert rows[ann].body["kind"] == "text"


async def test_a_channel_is_handed_all_that_is_said_and_how_the_reader_may_leave(ctx: Context, shop: Brand) -> None:
    ann = await user(ctx, shop, "1", nickname="小红", city="shanghai")
    await start(ctx, shop, "made.letter", [ann], occasion="x")
    await carry_on(ctx, shop.id)
    await dispatch(ctx, shop.id)
    message = Mailbox.got.pop()
    assert message.text == "小红好"
    assert dict(message.body) == {"kind": "link", "title": "给小红", "url": "https://x.example/shanghai"}
    async with ctx.db.connection() as connection:
        secret = await unsubscribe.secret(connection)
    assert unsubscribe.read(secret, message.leave) == unsubscribe.Leaving(shop.id, ann, "care", "post")
    [row] = await Action.filter(brand_id=shop.id)
    assert (row.text, row.body) == (message.text, dict(message.body))


async def test_what_was_said_once_stays_as_it_was(ctx: Context, shop: Brand) -> None:
    row = {"id": 1, "text": "kept", "body": '{"title": "t"}', "version_id": 9, "step": "hello"}
    async with ctx.db.connection() as connection:
        found = await content.compose(ctx, connection, shop, [row])
    assert found == {1: Composed("kept", {"title": "t"})}
    assert found[1].title == "t"


async def test_a_text_of_the_brand_stands_in_place_of_the_playbooks_by_language_and_channel(
    ctx: Context, shop: Brand
) -> None:
    ann, bob = await user(ctx, shop, "1"), await user(ctx, shop, "2", language="en")
    await set_text(ctx, shop, HELLO, "Hi", language="en", by="me")
    assert await says(ctx, shop, bob) == "Hi"
    assert await says(ctx, shop, ann) == "朋友，我是Shop的小助手\n因为您在这里"
    await set_text(ctx, shop, HELLO, "所有人", because="因为")
    assert await says(ctx, shop, ann) == "所有人\n因为"
    assert await says(ctx, shop, bob) == "Hi"
    await set_text(ctx, shop, HELLO, "任务渠道", channel="tasks")
    assert await says(ctx, shop, ann) == "所有人\n因为"
    await set_text(ctx, shop, HELLO, "发件箱", channel="outbox")
    assert (await says(ctx, shop, ann)).startswith("发件箱")
    await end_text(ctx, shop, HELLO, channel="outbox")
    assert await says(ctx, shop, ann) == "所有人\n因为"
    with pytest.raises(NotFound, match="no text"):
        await end_text(ctx, shop, HELLO, channel="outbox")


async def test_every_version_is_kept_and_the_newest_counts(ctx: Context, shop: Brand) -> None:
    ann = await user(ctx, shop)
    first = await set_text(ctx, shop, "promo", "一", title="A", purpose="sales", kind="link", url="https://x", by="a")
    second = await set_text(ctx, shop, "promo", "二", by="b")
    assert (first.version, second.version) == (1, 2)
    assert await says(ctx, shop, ann, "promo") == "二"
    await end_text(ctx, shop, "promo", by="c")
    assert [(each.version, each.text, each.active, each.by) for each in await versions(shop, "promo")] == [
        (3, "", False, "c"),
        (2, "二", True, "b"),
        (1, "一", True, "a"),
    ]
    with pytest.raises(NotFound):
        await preview(ctx, shop, "promo", ann)


async def test_the_library_shows_the_playbooks_texts_and_the_brands_own(ctx: Context, shop: Brand) -> None:
    await set_text(ctx, shop, HELLO, "您好")
    found = [(each.key, each.language, each.version) for each in await library(ctx, shop)]
    assert found == [
        ("made.calls.call", "", 0),
        ("made.letter.letter", "", 0),
        (HELLO, "zh", 0),
        (HELLO, "en", 0),
        (HELLO, "", 1),
    ]


async def test_one_brands_texts_are_not_anothers(ctx: Context, shop: Brand) -> None:
    other = await new_brand()
    await plugins.enable(ctx, other, "made")
    await set_text(ctx, other, HELLO, "theirs")
    assert "theirs" not in await says(ctx, shop, await user(ctx, shop))
    assert {each.version for each in await library(ctx, shop)} == {0}
    with pytest.raises(NotFound):
        await versions(shop, HELLO)


@pytest.mark.parametrize(
    ("how", "field", "says"),
    [
        ({"key": "made.touch.helo"}, "key", "made.touch.hello"),
        ({"key": "Promo!"}, "key", "letters, digits"),
        ({"channel": "pigeon"}, "channel", "outbox"),
        ({"language": "English"}, "language", "zh or en"),
        ({"kind": "poem"}, "kind", "mini_program"),
        ({"purpose": "fun"}, "purpose", "sales"),
        ({"text": " "}, "text", "give one"),
        ({"text": "{{ user.ctiy }}"}, "text", "user.city"),
        ({"title": "{{ user.vip }}"}, "title", "{% if user.vip %}"),
        ({"url": "{% for %}"}, "url", "mend"),
        ({"text": "x" * 10_000_000}, "text", "20,000"),
        ({"text": "a\x00b"}, "text", "plain text"),
        ({"because": "\ud800"}, "because", "plain text"),
    ],
)
async def test_a_bad_text_is_refused_by_name(
    ctx: Context, shop: Brand, how: dict[str, str], field: str, says: str
) -> None:
    with pytest.raises((InputError, NotFound)) as caught:
        await set_text(ctx, shop, **{"key": HELLO, "text": "hello", **how})
    assert caught.value.field == field
    assert says in str(caught.value.remedy)


async def test_a_draft_is_previewed_and_not_kept(ctx: Context, shop: Brand) -> None:
    ann = await user(ctx, shop, nickname="小红")
    assert await says(ctx, shop, ann, draft={"text": "{{ name }}好"}) == "小红好\n因为您在这里"
    assert (await preview(ctx, shop, HELLO, ann, draft={"text": "{{ user.city }}"})).wrong.startswith("user.city")
    with pytest.raises(InputError):
        await preview(ctx, shop, HELLO, ann, draft={"text": "{{ nobody }}"})
    with pytest.raises(NotFound):
        await versions(shop, HELLO)


async def test_whoever_looks_after_a_user_speaks_to_them(ctx: Context, shop: Brand) -> None:
    await set_text(ctx, shop, "who", "{{ adviser.name }}/{{ adviser.role }}/{{ adviser.tone }}/{{ name }}")
    ann, bob = await user(ctx, shop, "1"), await user(ctx, shop, "2")
    added = [
        IncomingEvent(f"c{number}", "contact.added", {"member": "1"}, {"staff": staff}, NOON + timedelta(hours=number))
        for number, staff in enumerate(["lin", "wang"])
    ]
    await record(ctx, shop, added)
    voice = {
        "called": {"zh": "亲"},
        "adviser": {"zh": {"name": "小茶"}},
        "staff": {"wang": {"zh": {"name": "王姐", "role": "茶艺师", "tone": "稳重"}}},
    }
    await set_voice(shop, voice, by="me")
    assert await says(ctx, shop, ann, "who") == "王姐/茶艺师/稳重/亲"
    assert await says(ctx, shop, bob, "who") == "小茶/顾问/亲切/亲"
    assert voice_of(await Brand.get(id=shop.id)).adviser["zh"].name == "小茶"
    [noted] = await AuditEntry.filter(brand_id=shop.id, what="setVoice")
    assert (noted.by, noted.after["called"]) == ("me", {"zh": "亲"})  # type: ignore[index]


@pytest.mark.parametrize(
    ("voice", "field"),
    [
        ({"adviser": {"zh": {}}}, "voice.adviser.zh.name"),
        ({"adviser": {"zh": {"name": "a\nb"}}}, "voice.adviser.zh.name"),
        ({"called": {"Chinese": "x"}}, "voice.called.Chinese.[key]"),
        ({"langauge": "zh"}, "voice.langauge"),
    ],
)
async def test_a_bad_voice_is_refused_by_name(shop: Brand, voice: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        await set_voice(shop, voice)
    assert caught.value.field == field
    assert (await Brand.get(id=shop.id)).voice == {}


async def test_a_merged_user_is_spoken_to_as_the_one_who_stands_for_both(ctx: Context, shop: Brand) -> None:
    ann, other = await user(ctx, shop, "1", nickname="小红"), await user(ctx, shop, "2", city="上海")
    await merge_users(ctx, shop, ann, other, by="me", force=True)
    assert await says(ctx, shop, other) == "小红，我是Shop的小助手\n因为您在上海"
