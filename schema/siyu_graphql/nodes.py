"""Global ids: opaque to clients, a type, a brand and a number to us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import strawberry
from siyu import InputError, NotFound
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID, Node

from siyu_graphql.context import Info
from siyu_graphql.paging import Listing, one

__all__ = ["BrandNode", "Find", "by_number", "find_node", "number_in", "number_of", "numbers_in", "users_in"]

Find: TypeAlias = Callable[[Info, int, str], Awaitable[Any]]
"""``await find(info, brand_id, name)``: the node of that name (a number, most often) in a brand, or None."""


@strawberry.type(description="Something that belongs to a brand.")
class BrandNode(Node):
    """Base of the nodes below a brand; ``number`` tells it from others of its type in the brand."""

    brand_id: strawberry.Private[int]
    number: strawberry.Private[int | str]

    @classmethod
    def resolve_id(cls, root: BrandNode, *, info: Any) -> str:
        return f"{root.brand_id}:{root.number}"


def by_number(listing: Listing[Any], right: Right = Right.READ) -> Find:
    """How nodes with a numeric ``id`` in a listing are found by who has the right."""

    async def find(info: Info, brand_id: int, name: str) -> Any:
        info.context.access.require(right)
        number = number_of(name)
        return None if number is None else await one(info, listing, brand_id, number)

    return find


async def find_node(info: Info, kinds: Mapping[str, Find], id: GlobalID) -> Any:
    """The node with that id, or :class:`siyu.NotFound`, also where it is another brand's."""
    info.context.access.require(Right.READ)
    brand, _, name = id.node_id.partition(":")
    brand_id = number_of(brand, most=2**31)
    find = kinds.get(id.type_name)
    found = None
    if find is not None and brand_id is not None and info.context.access.sees(brand_id):
        found = await find(info, brand_id, name)
    if found is None:
        raise NotFound(f"nothing with the id {str(id)!r}", field="id", remedy="ids come from `id` fields")
    return found


def number_in(id: GlobalID, type_name: str, brand_id: int) -> int | None:
    """The number in the id of a node of that type and brand; None where it is another's."""
    brand, _, name = id.node_id.partition(":")
    return number_of(name) if id.type_name == type_name and brand == str(brand_id) else None


def users_in(ids: Sequence[GlobalID], brand_id: int, most: int) -> list[int]:
    """The numbers of users of a brand, of whom a mutation may name so many."""
    return numbers_in(ids, "User", brand_id, most)


def numbers_in(ids: Sequence[GlobalID], type_name: str, brand_id: int, most: int) -> list[int]:
    """The numbers of nodes of a brand, of which a mutation may name so many."""
    one = type_name.lower()
    many = f"{one}s"
    if len(ids) > most:
        raise InputError(f"{len(ids)} {many}", field=many, remedy=f"give at most {most:,} in one call")
    found = []
    for each in ids:
        number = number_in(each, type_name, brand_id)
        if number is None:
            raise InputError(f"{each} is no {one} of the brand", field=many, remedy=f"give ids of `{many}`")
        found.append(number)
    return found


def number_of(text: str, *, most: int = 2**63) -> int | None:
    """The number that a text is, None where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return number if (number := int(text)) < most else None
