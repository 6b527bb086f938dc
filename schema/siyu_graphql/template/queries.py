"""How templates are read, and tried on a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import strawberry
from siyu import NotFound
from siyu.flow import content
from siyu.flow.content import Entry
from siyu.flow.context import brand_by_id
from siyu.flow.tokens import Right
from strawberry.relay import GlobalID

from siyu_graphql.context import Info, OfBrand
from siyu_graphql.nodes import number_in
from siyu_graphql.paging import (
    After,
    Before,
    Connection,
    First,
    Last,
    Listing,
    Order,
    Term,
    Window,
    of_all,
    of_brand,
)
from siyu_graphql.scalars import checked_text
from siyu_graphql.template.types import Template, TemplatePreview
from siyu_graphql.user.queries import find_user

__all__ = ["preview_of_template", "templates_of_brand", "versions_of_template"]

ORDER = Order((("key", str), ("channel", str), ("language", str), ("version", int)))
FIELDS = tuple(Entry.__dataclass_fields__)
VERSIONS = Listing(
    "template t",
    "t.id, " + ", ".join(f"t.{name}" for name in FIELDS),
    lambda _, row: Template.of(Entry(**{name: row[name] for name in FIELDS})),
)

Prefix = Annotated[
    str | None, strawberry.argument(description="Only those whose key begins so: `care.`, `care.first_touch.`.")
]
Own = Annotated[
    bool | None,
    strawberry.argument(description="Only the brand's own, or (false) only the playbooks'; both if left out."),
]
Key = Annotated[str, strawberry.argument(description="The key, as `templates` has it.")]
Draft = Annotated[
    str | None, strawberry.argument(description="To try this instead, which is not kept; what there is if left out.")
]


async def templates_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    key: Prefix = None,
    own: Own = None,
) -> Connection[Template]:
    info.context.loaders.check(brand.brand_id)

    async def entries() -> Sequence[tuple[Mapping[str, Any], Template]]:
        found = await content.library(info.context.ctx, await brand_by_id(brand.brand_id))
        return [
            (vars(each), Template.of(each))
            for each in found
            if (key is None or each.key.startswith(key)) and (own is None or own is (each.version > 0))
        ]

    return of_all(ORDER, Window(first, after, last, before), entries)


async def versions_of_template(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    key: Key,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[Template]:
    mine = Term("t.key = {}", (checked_text(key, "key"),))
    return of_brand(info, brand.brand_id, VERSIONS, Window(first, after, last, before), mine)


async def preview_of_template(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    key: Key,
    user: Annotated[GlobalID, strawberry.argument(description="To whom, by `id`.")],
    channel: Annotated[str, strawberry.argument(description="By which channel; that of the step if left out.")] = "",
    text: Draft = None,
    title: Draft = None,
    url: Draft = None,
    because: Draft = None,
) -> TemplatePreview | None:
    info.context.access.require(Right.PERSONAL)
    number = number_in(user, "User", brand.brand_id)
    reader = None if number is None else await find_user(info, brand.brand_id, str(number))
    if reader is None:
        raise NotFound(f"no user with the id {str(user)!r}", field="user", remedy="give the id of one of `users`")
    # Whatever is tried may name what is personal, say it in other words, or depend on it.
    info.context.personal.may_see(brand.brand_id, reader.user_id)
    parts = {"text": text, "title": title, "url": url, "because": because}
    draft = {name: checked_text(each, name) for name, each in parts.items() if each is not None}
    said = await content.preview(
        info.context.ctx,
        await brand_by_id(brand.brand_id),
        checked_text(key, "key"),
        reader.user_id,
        channel=checked_text(channel, "channel"),
        draft=draft or None,
    )
    return TemplatePreview(title=said.title, text=said.text, url=said.url, wrong=said.wrong or None)
