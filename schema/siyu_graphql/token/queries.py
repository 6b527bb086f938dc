"""How tokens are listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry
from siyu.flow.tokens import Right
from siyu.store import models

from siyu_graphql.context import NO_BRAND, Info, OfBrand
from siyu_graphql.fields import computed
from siyu_graphql.nodes import Find, by_number
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand
from siyu_graphql.token.types import AccessToken, Role

__all__ = ["TokenQueries", "find_token", "token_of", "tokens_of_brand"]

SHOWN = ("prefix", "name", "personal", "created_at", "expires_at", "revoked_at", "used_at")


def _token(brand_id: int, row: Mapping[str, Any]) -> AccessToken:
    return AccessToken(
        brand_id=brand_id, number=row["id"], role=Role(row["role"]), **{name: row[name] for name in SHOWN}
    )


def token_of(row: models.AccessToken) -> AccessToken:
    """The token of a row."""
    shown = {name: getattr(row, name) for name in SHOWN}
    return AccessToken(brand_id=row.brand_id or NO_BRAND, number=row.id, role=Role(row.role), **shown)


TOKENS = Listing(
    "(SELECT id, coalesce(brand_id, 0) AS brand_id, role, " + ", ".join(SHOWN) + " FROM access_token) t",
    "t.id, t.role, " + ", ".join(f"t.{name}" for name in SHOWN),
    _token,
)
_found: Find = by_number(TOKENS)


async def tokens_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Connection[AccessToken]:
    info.context.access.require(Right.TOKENS)
    return of_brand(info, brand.brand_id, TOKENS, Window(first, after, last, before))


async def find_token(info: Info, brand_id: int, name: str) -> Any:
    """The token of that number."""
    info.context.access.require(Right.TOKENS)
    return await _found(info, brand_id, name)


@strawberry.type
class TokenQueries:
    @computed(
        "The tokens for all brands, the latest first. Needs the right to manage tokens and a token for all brands;"
        " those for one are under `brand`."
    )
    async def tokens(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[AccessToken] | None:
        info.context.access.require(Right.TOKENS)
        return of_brand(info, NO_BRAND, TOKENS, Window(first, after, last, before))
