"""How tokens are listed."""

from __future__ import annotations

import strawberry
from siyu.flow.tokens import Right
from siyu.store import models

from siyu_graphql.context import NO_BRAND, Info, OfBrand
from siyu_graphql.fields import computed
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand
from siyu_graphql.token.types import AccessToken, Role

__all__ = ["TOKENS", "TokenQueries", "token_of", "tokens_of_brand"]

SHOWN = ("prefix", "name", "personal", "created_at", "expires_at", "revoked_at", "used_at")


TOKENS = Listing.of(
    "(SELECT id, coalesce(brand_id, 0) AS brand_id, role, " + ", ".join(SHOWN) + " FROM access_token)",
    AccessToken,
    SHOWN,
    role=Role,
)


def token_of(row: models.AccessToken) -> AccessToken:
    """The token of a row."""
    return TOKENS.node(row.brand_id or NO_BRAND, vars(row))


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
