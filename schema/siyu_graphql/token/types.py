"""Tokens as they are shown to their bearers."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry
from siyu.flow import tokens

from siyu_graphql.brand.types import Brand

__all__ = ["Me", "Role"]


@strawberry.enum(description="What a token is for.")
class Role(Enum):
    VIEWER = strawberry.enum_value(tokens.Role.VIEWER.value, description="Reads.")
    DEVELOPER = strawberry.enum_value(tokens.Role.DEVELOPER.value, description="Reads, and reports events.")
    OPERATOR = strawberry.enum_value(
        tokens.Role.OPERATOR.value,
        description="Reads, reports events, asks for refreshes, merges users, keeps segments.",
    )
    ADMIN = strawberry.enum_value(tokens.Role.ADMIN.value, description="All that, and sets plugins.")


@strawberry.type(description="The bearer of the token.")
class Me:
    role: Role = strawberry.field(description="What the token allows.")
    name: str = strawberry.field(description="The token's name; empty if it was given none.")
    prefix: str = strawberry.field(description="The beginning of the token, to tell it from others.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null if it does not.")
    brand: Brand | None = strawberry.field(description="The only brand that it may see; null if it may see all.")
