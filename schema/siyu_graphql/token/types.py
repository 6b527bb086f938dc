"""Tokens as they are shown: to their bearers, and to those who manage them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry
from siyu.flow import tokens

from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode

__all__ = ["AccessToken", "CreateTokenPayload", "RevokeTokenPayload", "Right", "Role"]


@strawberry.enum(description="What a token is for.")
class Role(Enum):
    VIEWER = strawberry.enum_value(tokens.Role.VIEWER.value, description="Reads.")
    DEVELOPER = strawberry.enum_value(
        tokens.Role.DEVELOPER.value, description="Reads, also the schema, and reports events."
    )
    OPERATOR = strawberry.enum_value(
        tokens.Role.OPERATOR.value,
        description="As a developer, and asks for refreshes, merges users, keeps segments, and acts for users.",
    )
    ADMIN = strawberry.enum_value(
        tokens.Role.ADMIN.value,
        description="All that, and sets plugins, sees personal data, manages tokens and reads the audit log.",
    )


@strawberry.enum(description="Something that a token may allow.")
class Right(Enum):
    READ = strawberry.enum_value(tokens.Right.READ.value, description="Read, but no personal data.")
    INTROSPECT = strawberry.enum_value(tokens.Right.INTROSPECT.value, description="Ask for the schema itself.")
    RECORD = strawberry.enum_value(tokens.Right.RECORD.value, description="Report events.")
    REFRESH = strawberry.enum_value(
        tokens.Right.REFRESH.value, description="Ask for refreshes, and for failing rules to be tried."
    )
    MERGE = strawberry.enum_value(tokens.Right.MERGE.value, description="Merge users, and part them.")
    SEGMENT = strawberry.enum_value(tokens.Right.SEGMENT.value, description="Make, change and delete segments.")
    ACT = strawberry.enum_value(tokens.Right.ACT.value, description="Start playbooks, and look after tasks.")
    EXPORT = strawberry.enum_value(
        tokens.Right.EXPORT.value, description="Have files made and taken in, and the links to them."
    )
    CONFIGURE = strawberry.enum_value(tokens.Right.CONFIGURE.value, description="Set plugins, and preview that.")
    PERSONAL = strawberry.enum_value(
        tokens.Right.PERSONAL.value,
        description="See phone numbers, e-mail addresses and the like as they are, of which the audit log keeps a row.",
    )
    TOKENS = strawberry.enum_value(tokens.Right.TOKENS.value, description="List, make and revoke tokens.")
    AUDIT = strawberry.enum_value(tokens.Right.AUDIT.value, description="Read the audit log.")


@strawberry.type(description="An access token, without its secret, which only its bearer knows.")
class AccessToken(BrandNode):
    prefix: str = strawberry.field(description="The eight letters after `siyu_`, to tell it from others.")
    name: str = strawberry.field(description="What it is for; empty if it was given no name.")
    role: Role = strawberry.field(description="What it allows.")
    personal: bool = strawberry.field(description="Whether it sees personal data although its role does not.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null if it does not by itself.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked; null if it was not.")
    used_at: datetime | None = strawberry.field(description="When it was last used, to a minute; null if never.")


@strawberry.type(description="The token that was made.")
class CreateTokenPayload(Payload):
    secret: str | None = strawberry.field(
        default=None, description="What its bearer sends (`Authorization: Bearer …`). Shown this once; nobody keeps it."
    )
    token: AccessToken | None = strawberry.field(default=None, description="The token; null where it was refused.")


@strawberry.type(description="The token that was revoked.")
class RevokeTokenPayload(Payload):
    token: AccessToken | None = strawberry.field(default=None, description="The token; null where it was refused.")
