"""The schema itself: committed, described, and open to plugins."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import siyu
import siyu_graphql
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    is_specified_scalar_type,
)
from siyu import PluginError, hookimpl
from siyu.contract.manager import PluginManager
from siyu.store.models import Brand
from siyu_graphql import Contribution, Info, Payload, Right, computed, hooks, mutation, visible_brand


def undescribed(schema: GraphQLSchema) -> list[str]:
    """Names of types, fields, arguments and values without a description."""
    found: dict[str, str | None] = {}
    for name, kind in schema.type_map.items():
        if name.startswith("__") or is_specified_scalar_type(kind):
            continue
        found[name] = kind.description
        if isinstance(kind, GraphQLEnumType):
            found |= {f"{name}.{key}": value.description for key, value in kind.values.items()}
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            for field, definition in kind.fields.items():
                found[f"{name}.{field}"] = definition.description
                for arg, argument in getattr(definition, "args", {}).items():
                    found[f"{name}.{field}({arg})"] = argument.description
    return [name for name, description in found.items() if not (description or "").strip()]


def test_the_committed_schema_is_the_one_that_is_served(plugins: PluginManager) -> None:
    committed = resources.files(siyu_graphql).joinpath("schema.graphql").read_text(encoding="utf-8")
    assert siyu_graphql.print_sdl(plugins) + "\n" == committed, "make sdl writes it anew"


def test_everything_is_described(plugins: PluginManager) -> None:
    assert undescribed(siyu_graphql.build_schema(plugins)._schema) == []


def test_two_schemas_can_live_side_by_side(plugins: PluginManager) -> None:
    assert siyu_graphql.print_sdl(plugins) == siyu_graphql.print_sdl(plugins)


def test_the_public_names_are_there_and_sorted() -> None:
    assert siyu_graphql.__all__ == sorted(siyu_graphql.__all__, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(siyu_graphql, name) for name in siyu_graphql.__all__)


# -- plugins ------------------------------------------------------------------------------------------------------


@strawberry.type(description="A shade.")
class Shade:
    name: str = strawberry.field(description="Its name.")


@strawberry.type
class BeautyQueries:
    @computed("The shades of a brand.")
    async def shades(self, info: Info, brand: str) -> list[Shade]:
        return [Shade(name=(await visible_brand(info, brand)).name)]


@strawberry.type(description="What became of it.")
class MixPayload(Payload):
    mixed: bool = strawberry.field(default=False, description="Whether it was mixed.")


@strawberry.type
class BeautyMutations:
    @mutation(Right.CONFIGURE, MixPayload, "Mix a shade.")
    async def mix_shade(self, info: Info, brand: str) -> MixPayload | None:
        await visible_brand(info, brand)
        return MixPayload(mixed=True)


@strawberry.type
class ClashingQueries:
    @strawberry.field
    def brands(self) -> list[str]:
        return []


@strawberry.type
class AlsoShades:
    @strawberry.field
    def shades(self) -> list[str]:
        return []


@strawberry.type
class UnguardedMutations:
    @strawberry.mutation
    def wipe(self) -> bool:
        return True


@strawberry.type(name="Tag")
class AnotherTag:
    name: str


@strawberry.type
class TagQueries:
    @strawberry.field
    def another(self) -> AnotherTag | None:
        return None


@strawberry.type
class Fine:
    @computed("A plugin that nothing is wrong with.")
    def fine(self) -> str:
        return "well"


def manager(**contributions: Any) -> PluginManager:
    """All installed plugins, and one for each contribution."""
    loaded = PluginManager.load(extra_specs=[hooks])
    for name, contribution in contributions.items():

        def siyu_graphql_types(contribution: Any = contribution) -> Any:
            return contribution

        loaded.register(name, SimpleNamespace(siyu_graphql_types=hookimpl(siyu_graphql_types), __doc__=name))
    loaded.check()
    return loaded


BEAUTY = Contribution(query=BeautyQueries, mutation=BeautyMutations)


async def test_a_plugin_adds_fields_and_types(api: Any, brand: Brand) -> None:
    ctx = type(api.ctx)(api.ctx.db, manager(palette=BEAUTY), api.ctx.home)
    client = type(api)(ctx, api.token)
    data = await client.data('{ shades(brand: "shop") { name } version }')
    assert data == {"shades": [{"name": "Shop"}], "version": siyu.__version__}
    assert (await client.data('mutation { mixShade(brand: "shop") { mixed } }'))["mixShade"] == {"mixed": True}
    answer = await client.ask('mutation { mixShade(brand: "nope") { mixed userErrors { code } } }')
    assert answer["data"]["mixShade"] == {"mixed": False, "userErrors": [{"code": "NOT_FOUND"}]}
    await client.http.aclose()


@pytest.mark.parametrize(
    ("contributions", "says"),
    [
        ({"palette": Contribution(query=ClashingQueries)}, r"siyu and palette both add Query\.brands"),
        ({"a": BEAUTY, "b": Contribution(query=AlsoShades)}, r"(a and b|b and a) both add Query\.shades"),
        ({"palette": Contribution(mutation=UnguardedMutations)}, "wipe of palette asks for no right"),
        ({"palette": Contribution(query=TagQueries)}, "Type Tag is defined multiple times.*siyu_graphql.tag.types"),
        ({"palette": BeautyQueries}, "siyu_graphql_types of plugin palette returned"),
    ],
)
async def test_what_clashes_is_left_out_alone_naming_both(
    contributions: Any, says: str, api: Any, brand: Brand
) -> None:
    ctx = type(api.ctx)(api.ctx.db, manager(fine=Contribution(query=Fine), **contributions), api.ctx.home)
    client = type(api)(ctx, api.token)
    data = await client.data('{ fine version brand(slug: "shop") { plugins { name status { state error } } } }')
    assert data["fine"] == "well"
    wrong = {each["name"]: each["status"] for each in data["brand"]["plugins"] if each["status"]["error"]}
    assert list(wrong) == [list(contributions)[-1]]
    [status] = wrong.values()
    assert status["state"] == "OFF"
    assert re.search(says, status["error"])
    await client.http.aclose()


def test_a_clash_between_those_that_come_with_siyu_is_an_error() -> None:
    with patch("siyu_graphql.schema._ours", return_value=True):
        loaded = manager()
        ours = next(iter(loaded.plugins.values()))
        loaded.plugins[ours.name] = replace(ours, name="tags")
        with pytest.raises(PluginError, match=r"siyu and \w+ both add User\.tags"):
            siyu_graphql.build_schema(loaded)
