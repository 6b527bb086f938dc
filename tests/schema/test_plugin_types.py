"""What plugins declare appears by itself, typed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
import siyu_graphql
from siyu import Age, Attribute, AttributeKind, Count, Last, PluginError, Segmenter, Tag, hookimpl
from siyu.contract.manager import PluginManager
from siyu.flow import plugins as settings
from siyu.flow.context import Context
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.store.models import Brand
from siyu_graphql import hooks

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEAUTY = "beauty { skinType birthday age skinByAge { skin age band } reason }"


class Visits(Segmenter):
    """How often."""

    key = "visits"
    count = Count("article.opened")
    of_the_club = Attribute("club")
    years = Age("born")
    topic = Last("article.opened", "topic")

    def tags(self, p: Any) -> Any:
        yield Tag("palace.often", "often", when=self.count > 3)


CLUB = [
    AttributeKind("club", "Club", values=["gold", "银"]),
    AttributeKind("points", "Points", "integer"),
    AttributeKind("spent_last_year", "Spent", "money"),
    AttributeKind("vip", "VIP", "flag"),
    AttributeKind("born", "Born", "date", personal=True),
]


def made(attributes: Sequence[AttributeKind] = (), rules: Sequence[Any] = ()) -> ModuleType:
    module = ModuleType("made")

    def siyu_attributes() -> Any:
        return list(attributes)

    def siyu_segmenters() -> Any:
        return list(rules)

    for hook in (siyu_attributes, siyu_segmenters):
        setattr(module, hook.__name__, hookimpl(hook))
    return module


def manager(name: str = "palace", **declared: Any) -> PluginManager:
    loaded = PluginManager.load(extra_specs=[hooks])
    loaded.register(name, made(**declared))
    loaded.check()
    return loaded


@pytest.fixture
async def palace(api: Any, brand: Brand) -> AsyncIterator[Any]:
    """The API where a plugin of another house is installed."""
    ctx = Context(api.ctx.db, manager(attributes=CLUB, rules=[Visits]), api.ctx.home)
    client = type(api)(ctx, api.token)
    yield client
    await client.http.aclose()


async def known(ctx: Context, brand: Brand, member: str, **attributes: Any) -> None:
    await record(ctx, brand, [IncomingEvent(f"p{member}", "profile.updated", {"member": member}, attributes, AT)])


async def read(client: Any, fields: str) -> list[Any]:
    data = await client.data(f'{{ brand(slug: "shop") {{ users {{ nodes {{ {fields} }} }} }} }}')
    return list(data["brand"]["users"]["nodes"])


async def test_attributes_and_facts_are_there_under_the_plugins_name(api: Any, brand: Brand) -> None:
    await settings.enable(api.ctx, brand, "beauty")
    await known(api.ctx, brand, "1", skin_type="oily", birthday="1990-06-01", age="30-39")
    await known(api.ctx, brand, "2", skin_type="purple", birthday="one day")
    one, two = await read(api, BEAUTY)
    assert one["beauty"] == {
        "skinType": "oily",
        "birthday": "1990-06-01",
        "age": "30-39",
        "skinByAge": {"skin": "oily", "age": 35, "band": "30-39"},
        "reason": None,
    }
    empty = {"skin": None, "age": None, "band": None}
    assert two["beauty"] == {"skinType": None, "birthday": None, "age": None, "skinByAge": empty, "reason": None}


async def test_where_the_plugin_is_off_all_is_null_with_the_reason(api: Any, brand: Brand) -> None:
    await known(api.ctx, brand, "1", skin_type="oily")
    [user] = await read(api, BEAUTY)
    assert user["beauty"].pop("reason") == "the plugin beauty is off for this user"
    assert set(user["beauty"].values()) == {None}
    await settings.enable(api.ctx, brand, "beauty", percent=50)
    for member in range(2, 40):
        await known(api.ctx, brand, str(member), skin_type="oily")
    skins = [user["beauty"]["skinType"] for user in await read(api, BEAUTY)]
    reasons = [user["beauty"]["reason"] for user in await read(api, BEAUTY)]
    assert set(skins) == {"oily", None}
    assert [skin is None for skin in skins] == [reason is not None for reason in reasons]


async def test_each_type_of_attribute_and_fact_is_of_its_own(palace: Any, brand: Brand) -> None:
    await settings.enable(palace.ctx, brand, "palace")
    texts = {"club": "银", "points": "12", "spent_last_year": "99.5", "vip": "yes", "born": "1990-02-28"}
    await known(palace.ctx, brand, "1", **texts)
    await known(palace.ctx, brand, "2", club="tin", points=str(2**40), spent_last_year="much", vip="perhaps", born="x")
    opened = [
        IncomingEvent(f"a{n}", "article.opened", {"member": "1"}, {"topic": "tea"}, AT.replace(hour=n)) for n in (1, 2)
    ]
    await record(palace.ctx, brand, opened)
    await refresh(palace.ctx, brand.id)
    fields = "palace { club points spentLastYear vip born visits { count ofTheClub years topic } }"
    one, two = await read(palace, fields)
    assert one["palace"] == {
        "club": "银",
        "points": 12,
        "spentLastYear": "99.50",
        "vip": True,
        "born": "1990-02-28",
        "visits": {"count": 2.0, "ofTheClub": "银", "years": 35.0, "topic": "tea"},
    }
    nothing = dict.fromkeys(("club", "points", "spentLastYear", "vip", "born"))
    assert two["palace"] == nothing | {"visits": {"count": 0.0, "ofTheClub": None, "years": None, "topic": None}}
    types = await palace.data('{ __type(name: "PalaceFacts") { fields { name description type { name } } } }')
    found = {each["name"]: (each["type"]["name"], each["description"]) for each in types["__type"]["fields"]}
    assert found["spentLastYear"] == ("Decimal", "Spent.")
    assert found["points"][0] == "Int"
    assert found["vip"][0] == "Boolean"
    assert found["born"][0] == "Date"
    assert found["club"] == ("String", "Club. One of: gold, 银.")


async def test_a_page_is_read_at_once(api: Any, brand: Brand) -> None:
    await settings.enable(api.ctx, brand, "beauty")

    async def statements(members: range) -> int:
        for member in members:
            await known(api.ctx, brand, str(member), skin_type="oily")
        with api.statements() as sent:
            assert len(await read(api, BEAUTY)) == members.stop
        return len(sent)

    await statements(range(1))  # by which the rulebooks are bound
    assert await statements(range(1, 3)) == await statements(range(3, 15))


async def test_facts_of_many_are_counted(api: Any, brand: Brand) -> None:
    await settings.enable(api.ctx, brand, "mother_baby")
    for member in range(41):
        await known(api.ctx, brand, str(member), due_date="2026-03-01")
    rules = "motherBaby { dueDate babyAge { age } formulaIntent { age } }"
    query = '{ brand(slug: "shop") { users(first: %d) { nodes { %s } } } }'
    data = await api.data(query % (74, rules))
    assert len(data["brand"]["users"]["nodes"]) == 41
    answer = await api.ask(query % (75, rules))
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"TOO_LARGE"}
    assert "errors" not in await api.ask(query % (41, "motherBaby { dueDate }"))


class Again(Visits):
    """The same under the key of an attribute."""

    key = "club"


@pytest.mark.parametrize(
    ("name", "declared", "says"),
    [
        ("tags", {"attributes": CLUB}, r"siyu and tags both add User\.tags"),
        ("palace", {"attributes": CLUB, "rules": [Again]}, "attribute 'club' and the rule 'club' are both palace.club"),
        ("palace", {"attributes": [AttributeKind("肤质", "Skin")]}, "'肤质' is no name in GraphQL .use words of small"),
        ("palace", {"attributes": [AttributeKind("reason", "Why")]}, "'reason' and siyu both add palace.reason"),
        ("palace-two", {"attributes": CLUB}, "entry point 'palace-two' is no name in GraphQL"),
        (
            "palace",
            {"attributes": [AttributeKind("a_b", "One"), AttributeKind("aB", "Other")]},
            "two attributes have one name in GraphQL",
        ),
    ],
)
def test_what_cannot_be_named_is_left_out_alone(name: str, declared: Any, says: str) -> None:
    schema = siyu_graphql.build_schema(manager(name, **declared))
    assert list(schema.refused) == [name]
    with pytest.raises(PluginError, match=says):
        raise schema.refused[name]
    assert "type BeautyFacts" in schema.as_str()


def test_two_schemas_know_nothing_of_each_other() -> None:
    with_it = siyu_graphql.build_schema(manager(attributes=CLUB)).as_str()
    assert "palace" in with_it
    assert "palace" not in siyu_graphql.print_sdl()
