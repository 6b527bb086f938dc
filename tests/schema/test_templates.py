"""What messages say is read, set, tried on a user and ended, and as whom the brand speaks."""

from __future__ import annotations

from typing import Any

import pytest
from siyu.flow import plugins
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.tokens import create_token
from siyu.store.models import AuditEntry, Brand, Identity, Template
from strawberry.relay import to_base64

KEY = "lifecycle.welcome_back.send_1"
LIST = """query ($key: String, $own: Boolean, $first: Int, $after: String, $last: Int, $before: String) {
  brand(slug: "shop") { templates(key: $key, own: $own, first: $first, after: $after, last: $last, before: $before) {
    totalCount pageInfo { hasNextPage endCursor startCursor }
    nodes { key channel language version kind purpose title text because wrong by } } } }"""
SET = """mutation ($key: String!, $text: String!, $title: String = "", $because: String = "", $channel: String = "",
    $language: String = "", $kind: MessageKind = TEXT) {
  setTemplate(brand: "shop", key: $key, text: $text, title: $title, because: $because, channel: $channel,
    language: $language, kind: $kind) { template { version active } userErrors { code field message remedy } } }"""
END = """mutation ($key: String!, $language: String = "") {
  endTemplate(brand: "shop", key: $key, language: $language) {
    template { version active } userErrors { field remedy } } }"""
VERSIONS = """query ($key: String!) { brand(slug: "shop") {
  templateVersions(key: $key) { nodes { version text active by } } } }"""
TRY = """query ($key: String!, $user: ID!, $text: String, $because: String) { brand(slug: "shop") {
  previewTemplate(key: $key, user: $user, text: $text, because: $because) { title text url wrong } } }"""


@pytest.fixture
async def api(api: Any, brand: Brand) -> Any:
    """Of a brand with a playbook, and a user of whom a name is known."""
    await plugins.enable(api.ctx, brand, "lifecycle")
    await record(api.ctx, brand, [IncomingEvent("a", "profile.updated", {"member": "a"}, {"nickname": "小安"})])
    return api


async def user(brand: Brand) -> str:
    found = await Identity.get(brand_id=brand.id, value="a")
    return to_base64("User", f"{brand.id}:{found.user_id}")


async def listed(api: Any, **wanted: Any) -> list[Any]:
    found: list[Any] = (await api.data(LIST, **wanted))["brand"]["templates"]["nodes"]
    return found


async def written(api: Any, text: str, key: str = KEY, **given: Any) -> Any:
    return (await api.data(SET, key=key, text=text, **given))["setTemplate"]


async def tried(api: Any, brand: Brand, **given: Any) -> Any:
    return (await api.data(TRY, **{"key": KEY, "user": await user(brand), **given}))["brand"]["previewTemplate"]


async def test_the_texts_of_playbooks_are_listed_beside_the_brands_own(api: Any) -> None:
    [default] = await listed(api)
    assert default["text"].startswith("好久不见")
    assert (default["key"], default["version"], default["channel"], default["by"]) == (KEY, 0, "outbox", "")
    assert (default["kind"], default["purpose"], default["wrong"]) == ("TEXT", "CARE", None)
    made = await written(api, "{{ name }}，{{ brand }}想您了", language="zh")
    assert made["userErrors"] == []
    assert (made["template"]["version"], made["template"]["active"]) == (1, True)
    await written(api, "春天来了", key="spring")
    assert [(each["key"], each["version"]) for each in await listed(api)] == [(KEY, 1), (KEY, 0), ("spring", 1)]
    assert [each["key"] for each in await listed(api, own=True)] == [KEY, "spring"]
    assert [each["version"] for each in await listed(api, own=False, key="lifecycle.")] == [0]
    assert await AuditEntry.filter(what="setTemplate", target=KEY, by="root").count() == 1


async def test_long_lists_are_read_page_by_page_from_both_ends(api: Any) -> None:
    for key in ("a", "b", "c"):
        await written(api, "text", key=key)
    seen: list[str] = []
    after = None
    while True:
        page = (await api.data(LIST, first=2, after=after))["brand"]["templates"]
        assert page["totalCount"] == 4
        seen += [each["key"] for each in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == ["a", "b", "c", KEY]
    assert [each["key"] for each in await listed(api, last=2)] == ["c", KEY]
    assert [each["key"] for each in await listed(api, last=2, before=after)] == ["b", "c"]
    refused = await api.ask(LIST, after="eA")
    assert refused["errors"][0]["extensions"]["field"] == "after"


async def test_a_text_is_tried_on_a_user_set_and_ended(api: Any, brand: Brand) -> None:
    draft = await tried(api, brand, text="{{ name }}，{{ brand }}想您了", because="因为您喜欢茶")
    assert draft == {"title": "", "text": f"小安，{brand.name}想您了\n因为您喜欢茶", "url": "", "wrong": None}
    assert not await Template.exists()
    await written(api, "{{ name }}，回来吧")
    assert (await tried(api, brand))["text"] == "小安，回来吧"
    assert (await tried(api, brand, text="{{ user.language }}"))["wrong"].startswith("user.language: there is no")
    await written(api, "{{ name }}，再来")
    ended = (await api.data(END, key=KEY))["endTemplate"]
    assert ended == {"template": {"version": 3, "active": False}, "userErrors": []}
    assert (await tried(api, brand))["text"].startswith("好久不见")
    versions = (await api.data(VERSIONS, key=KEY))["brand"]["templateVersions"]["nodes"]
    assert [(each["version"], each["text"], each["active"], each["by"]) for each in versions] == [
        (3, "", False, "root"),
        (2, "{{ name }}，再来", True, "root"),
        (1, "{{ name }}，回来吧", True, "root"),
    ]


async def test_trying_is_for_those_who_see_personal_data_and_is_noted_as_read(api: Any, brand: Brand) -> None:
    guess = "{% if name == '小安' %}yes{% endif %}"
    refused = await api.ask(TRY, await create_token("operator", brand), key=KEY, user=await user(brand), text=guess)
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await tried(api, brand, text=guess))["text"] == "yes"
    assert await AuditEntry.filter(what="readPersonalData", users=1).count() == 1


@pytest.mark.parametrize(
    ("given", "field", "remedy"),
    [
        ({"text": "{{ user.nickmane }}"}, "text", "user.nickname"),
        ({"text": "{% for x in name %}{% endfor %}"}, "text", "filters"),
        ({"text": "{{ name.__class__ }}"}, "text", ""),
        ({"text": " "}, "text", "give one"),
        ({"text": "x" * 20_001}, "text", "20,000"),
        ({"text": "\x00"}, "text", "plain text"),
        ({"because": "{{ nothing }}"}, "because", "names are"),
        ({"key": "lifecycle.nothing.at_all"}, "key", KEY),
        ({"key": "\x00"}, "key", KEY),
        ({"channel": "pigeon"}, "channel", "outbox"),
        ({"language": "Chinese"}, "language", "zh"),
    ],
    ids=str,
)
async def test_a_text_that_cannot_be_said_is_refused(api: Any, given: dict[str, Any], field: str, remedy: str) -> None:
    refused = await written(api, **{"text": "hello", **given})
    [error] = refused["userErrors"]
    assert (refused["template"], error["field"]) == (None, field)
    assert error["message"]
    assert remedy in error["remedy"]
    assert not await Template.exists()


async def test_what_is_not_there_is_neither_tried_nor_ended(api: Any, brand: Brand) -> None:
    for given, field in (({"key": "nothing"}, "key"), ({"user": to_base64("User", "99:1")}, "user")):
        answer = await api.ask(TRY, **{"key": KEY, "user": await user(brand), **given})
        assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        assert answer["errors"][0]["extensions"]["field"] == field
    [error] = (await api.data(END, key=KEY, language="zh"))["endTemplate"]["userErrors"]
    assert (error["field"], bool(error["remedy"])) == ("key", True)


VOICE = """{ brand(slug: "shop") { voice { language called { language text } adviser { language name role tone }
  staff { staff personas { language name } } } } }"""
SPEAK = """mutation ($voice: VoiceInput!) { setVoice(brand: "shop", voice: $voice) {
  voice { language } userErrors { code field message remedy } } }"""


async def test_a_brand_speaks_as_whom_it_says(api: Any, brand: Brand) -> None:
    before = (await api.data(VOICE))["brand"]["voice"]
    assert before["called"][0] == {"language": "zh", "text": "朋友"}
    assert before["adviser"][0] == {"language": "zh", "name": "小助手", "role": "顾问", "tone": "亲切"}
    li = {"language": "zh", "name": "小李"}
    adviser = {"language": "zh", "name": "小茶", "role": "茶艺师"}
    voice = {"adviser": [adviser], "staff": [{"staff": "li", "personas": [li]}]}
    made = (await api.data(SPEAK, voice=voice))["setVoice"]
    assert made == {"voice": {"language": "zh"}, "userErrors": []}
    after = (await api.data(VOICE))["brand"]["voice"]
    assert after["adviser"] == [{**adviser, "tone": "亲切"}]
    assert after["staff"] == [{"staff": "li", "personas": [li]}]
    assert after["called"] == before["called"]
    assert (await tried(api, brand, text="我是{{ adviser.role }}{{ adviser.name }}"))["text"] == "我是茶艺师小茶"
    assert await AuditEntry.filter(what="setVoice").count() == 1


@pytest.mark.parametrize(
    ("voice", "field"),
    [
        ({"language": "Chinese"}, "voice.language"),
        ({"adviser": [{"language": "zh", "name": "a\nb"}]}, "voice.adviser.zh.name"),
        ({"called": [{"language": "zh", "text": "a"}, {"language": "zh", "text": "b"}]}, "voice.called"),
        ({"called": [{"language": "zh", "text": "\x00"}]}, "voice.called.zh"),
    ],
    ids=str,
)
async def test_a_voice_that_cannot_be_is_refused(api: Any, brand: Brand, voice: Any, field: str) -> None:
    refused = (await api.data(SPEAK, voice=voice))["setVoice"]
    [error] = refused["userErrors"]
    assert (refused["voice"], error["code"], error["field"]) == (None, "INVALID_INPUT", field)
    assert error["remedy"]
    await brand.refresh_from_db()
    assert brand.voice == {}
