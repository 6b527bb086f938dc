"""Attributes of users as plugins declare them."""

from __future__ import annotations

from enum import Enum

import strawberry
from siyu import AttributeKind as Declared

__all__ = ["AttributeKind", "AttributeType"]


@strawberry.enum(description="What the text of an attribute stands for.")
class AttributeType(Enum):
    TEXT = strawberry.enum_value("text", description="A text.")
    INTEGER = strawberry.enum_value("integer", description="A whole number.")
    MONEY = strawberry.enum_value("money", description="An amount in the brand's currency, with two decimals.")
    FLAG = strawberry.enum_value("flag", description="True or false.")
    DATE = strawberry.enum_value("date", description="A day, as a text like `2026-11-21`.")


@strawberry.type(description="An attribute of users that rules look at. Profiles may have others, too.")
class AttributeKind:
    name: str = strawberry.field(description="Its name in the profile.")
    title: str = strawberry.field(description="What people call it.")
    type: AttributeType = strawberry.field(description="What its text stands for; to rules, any other is missing.")
    values: list[str] = strawberry.field(
        description="The texts that are allowed, in their order; to rules, any other is missing. None where all are."
    )
    personal: bool = strawberry.field(description="Whether it tells who somebody is, or is nobody else's business.")

    @classmethod
    def of(cls, it: Declared) -> AttributeKind:
        """As it is shown."""
        return cls(
            name=it.name, title=it.title, type=AttributeType(it.type), values=list(it.values), personal=it.personal
        )
