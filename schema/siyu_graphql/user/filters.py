"""Which users, and in which order."""

from __future__ import annotations

from enum import Enum

import strawberry
from siyu import InputError
from siyu.flow import filters
from siyu.flow.filters import FactName, filter_of

from siyu_graphql.cost import priced
from siyu_graphql.filters import DateTimeRange, data_of
from siyu_graphql.scalars import JSON

__all__ = [
    "FACT_TEST",
    "AttributeFilter",
    "Direction",
    "FactFilter",
    "FactInput",
    "StageFilter",
    "UserFilter",
    "UserOrder",
    "UserOrderField",
]

FACT_TEST = 200
"""The cost of a fact that all users are tested for or ordered by."""
FRESH = (
    " Facts of all users are computed when they are asked for and kept for a minute, as is a `totalCount` over them:"
    " `asOf` of the connection says as of when. Who came later has none yet."
)


@strawberry.input(description="A stage of a track.")
class StageFilter:
    track: str = strawberry.field(description="The track: `lifecycle`.")
    key: str = strawberry.field(description="The key of the stage, not its title: `dormant`, as `brand.stages` has it.")


@strawberry.input(
    description="What an attribute of the user is. A user who has not got it is not equal to anything; what is given"
    " must hold together."
)
class AttributeFilter:
    name: str = strawberry.field(description="The name of the attribute: `skin_type`.")
    eq: str | None = strawberry.field(
        default=None, description="This value. That of a personal attribute needs the right to see personal data."
    )
    in_: list[str] | None = strawberry.field(default=None, name="in", description="One of these values, as `eq`.")
    is_missing: bool | None = strawberry.field(default=None, description="Whether the user has not got it.")


@strawberry.input(description="A fact, by the name that a rule gives it: as `brand.facts` lists them.")
class FactInput:
    plugin: str = strawberry.field(description="The name of the plugin: `rfm`. It must be on.")
    rule: str | None = strawberry.field(
        default=None, description="The key of the rule; it may be left out where the name means one fact."
    )
    name: str = strawberry.field(description="What the rule calls it: `recency`.")


@strawberry.input(
    description="What a fact of the user is, as `brand.facts` lists them: numbers, texts, true or false, days like"
    " `2026-11-21`. A fact that is missing compares false; what is given must hold together." + FRESH
)
class FactFilter(FactInput):
    eq: JSON | None = strawberry.field(default=None, description="This value.")
    in_: list[JSON] | None = strawberry.field(default=None, name="in", description="One of these values.")
    gte: JSON | None = strawberry.field(default=None, description="This value or more.")
    gt: JSON | None = strawberry.field(default=None, description="More than this value.")
    lte: JSON | None = strawberry.field(default=None, description="This value or less.")
    lt: JSON | None = strawberry.field(default=None, description="Less than this value.")
    is_missing: bool | None = strawberry.field(default=None, description="Whether it is missing.")


@strawberry.input(
    description="Which users. What is left out does not restrict; what is given must hold all together."
    " A tag or stage that the brand does not have is one that nobody has, so mind the keys: `brand.tags`,"
    " `brand.stages` and `brand.facts` list what there is."
    f" At most {filters.MOST_DEPTH} levels, and {filters.MOST_CONDITIONS} values in all."
)
class UserFilter:
    and_: list[UserFilter] | None = strawberry.field(default=None, name="AND", description="All of these hold.")
    or_: list[UserFilter] | None = strawberry.field(
        default=None, name="OR", description="At least one of these holds; of an empty list none does."
    )
    not_: UserFilter | None = strawberry.field(default=None, name="NOT", description="This does not hold.")
    tag: list[str] | None = strawberry.field(
        default=None, description="With all of these tags, by key: `rfm.high_value`."
    )
    any_tag: list[str] | None = strawberry.field(default=None, description="With at least one of these tags, by key.")
    stage: StageFilter | None = strawberry.field(default=None, description="Who stand in this stage.")
    any_stage: list[StageFilter] | None = strawberry.field(
        default=None, description="Who stand in at least one of these stages."
    )
    attribute: list[AttributeFilter] | None = strawberry.field(
        default=None, description="Whose attributes are all of this."
    )
    source: list[str] | None = strawberry.field(
        default=None, description="Who came from at least one of these: the `source` of a `contact.added` event."
    )
    identity: list[str] | None = strawberry.field(
        default=None, description="Who go by names of all of these kinds: `phone`."
    )
    first_seen: DateTimeRange | None = strawberry.field(default=None, description="Whose first event was then.")
    last_seen: DateTimeRange | None = strawberry.field(default=None, description="Whose latest event was then.")
    fact: list[FactFilter] | None = strawberry.field(
        default=None,
        description="Whose facts are all of this. Each test costs as much as 200 objects.",
        metadata=priced(FACT_TEST),
    )

    def checked(self, field: str = "filter") -> filters.UserFilter:
        """It as the core knows it; what is wrong is an :class:`siyu.InputError`."""
        return filter_of(data_of(self), field)


@strawberry.enum(description="What users can be ordered by.")
class UserOrderField(Enum):
    ID = strawberry.enum_value("id", description="The order in which siyu came to know them.")
    LAST_SEEN = strawberry.enum_value("last_seen", description="The moment of the latest event.")
    FIRST_SEEN = strawberry.enum_value("first_seen", description="The moment of the first event.")


@strawberry.enum(description="Which end comes first.")
class Direction(Enum):
    ASC = strawberry.enum_value("asc", description="The smallest or earliest first.")
    DESC = strawberry.enum_value("desc", description="The greatest or latest first.")


@strawberry.input(
    description="An order of users: by a field or by a fact; by id where neither is given. Among equals"
    " the order is stable."
)
class UserOrder:
    field: UserOrderField | None = strawberry.field(default=None, description="What to order by.")
    fact: FactInput | None = strawberry.field(
        default=None,
        description="A fact to order by. Who has no value comes last, whichever end is first. It costs as"
        " much as 200 objects." + FRESH,
        metadata=priced(FACT_TEST),
    )
    direction: Direction = strawberry.field(default=Direction.ASC, description="Which end comes first.")

    def checked(self) -> FactName | None:
        """The fact to order by, if it is one."""
        if self.fact is None:
            return None
        if self.field is not None:
            raise InputError("both a field and a fact are given", field="orderBy.fact", remedy="order by one of them")
        return FactName(**data_of(self.fact))
