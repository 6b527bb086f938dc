"""Facts as they are shown."""

from __future__ import annotations

from enum import Enum

import strawberry
from siyu.flow import facts

from siyu_graphql.scalars import JSON

__all__ = ["FactKind", "NamedFact", "UserFact"]


@strawberry.enum(description="What a value is.")
class FactKind(Enum):
    NUMBER = strawberry.enum_value("number", description="A number: a count, days, an amount in the currency's unit.")
    TEXT = strawberry.enum_value("text", description="A text.")
    FLAG = strawberry.enum_value("flag", description="True or false.")
    DATE = strawberry.enum_value("date", description="A day, as a text like `2026-11-21`.")


@strawberry.type(description="A fact that users can be found and ordered by, under the name that a rule gives it.")
class NamedFact:
    plugin: str = strawberry.field(description="The name of the plugin whose rule it is.")
    rule: str = strawberry.field(description="The key of the rule, as its parameters are grouped.")
    name: str = strawberry.field(description="What the rule calls it.")
    fact: str = strawberry.field(description="Its declaration. Equal ones are one fact, whoever declares them.")
    words: str = strawberry.field(description="Its declaration in words.")
    kind: FactKind = strawberry.field(description="What the value is.")


@strawberry.type(description="A fact of the user, under the name that a rule gives it.")
class UserFact(NamedFact):
    value: JSON | None = strawberry.field(description="Its value; null where it is missing.")
    text: str = strawberry.field(description="Its value as reasons say it.")

    @classmethod
    def of(cls, it: facts.UserFact) -> UserFact:
        """As it is shown."""
        return cls(
            plugin=it.plugin,
            rule=it.rule,
            name=it.name,
            fact=it.fact,
            words=it.words,
            kind=FactKind(it.kind),
            value=None if it.value is None else JSON(it.value),
            text=it.text,
        )
