"""How tokens are made and ended. The audit log keeps both beside the token itself, so the mutations note nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import strawberry
from siyu import InputError
from siyu.flow import tokens
from siyu.flow.tokens import Right

from siyu_graphql.context import Info, require_all_brands, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.scalars import checked_text
from siyu_graphql.token.queries import token_of
from siyu_graphql.token.types import CreateTokenPayload, RevokeTokenPayload, Role

__all__ = ["TokenMutations"]


@strawberry.type
class TokenMutations:
    @mutation(
        Right.TOKENS,
        CreateTokenPayload,
        "Make an access token. Its secret is shown this once. Whoever manages one brand makes tokens for that one.",
        noted=False,
    )
    async def create_token(
        self,
        info: Info,
        role: Annotated[Role, strawberry.argument(description="What it allows.")],
        brand: Annotated[
            str | None, strawberry.argument(description="The slug of the only brand that it sees; null: all brands.")
        ] = None,
        name: Annotated[str, strawberry.argument(description="What it is for, at most 200 letters.")] = "",
        expires_at: Annotated[
            datetime | None, strawberry.argument(description="When it ends; null: when it is revoked.")
        ] = None,
        personal: Annotated[
            bool, strawberry.argument(description="Whether it sees personal data although its role does not.")
        ] = False,
    ) -> CreateTokenPayload | None:
        access = info.context.access
        target = None if brand is None else await visible_brand(info, brand)
        if target is None:
            require_all_brands(info)
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InputError(f"{expires_at.isoformat()} is past", field="expiresAt", remedy="give a moment to come")
        made = await tokens.make_token(
            tokens.Role[role.name], target, checked_text(name, "name"), expires_at, personal=personal, by=access.by
        )
        return CreateTokenPayload(secret=made.secret, token=token_of(made.row))

    @mutation(Right.TOKENS, RevokeTokenPayload, "End a token at once.", noted=False)
    async def revoke_token(
        self,
        info: Info,
        prefix: Annotated[str, strawberry.argument(description="The eight letters after `siyu_`.")],
    ) -> RevokeTokenPayload | None:
        access = info.context.access
        row = await tokens.revoke(checked_text(prefix, "prefix"), within=access, by=access.by)
        return RevokeTokenPayload(token=token_of(row))
