"""Which actions."""

from __future__ import annotations

from collections.abc import Iterable

import strawberry
from siyu.store.keyset import Term
from strawberry.relay import GlobalID

from siyu_graphql.action.types import ActionStatus, Purpose
from siyu_graphql.filters import DateTimeRange, moments, narrowed, of_user_id, one_of

__all__ = ["ActionFilter", "actions_where"]


@strawberry.input(
    description="Which actions. What is left out does not restrict; what is given must hold all together."
)
class ActionFilter:
    and_: list[ActionFilter] | None = strawberry.field(default=None, name="AND", description="All of these hold.")
    or_: list[ActionFilter] | None = strawberry.field(
        default=None, name="OR", description="At least one of these holds; of an empty list none does."
    )
    not_: ActionFilter | None = strawberry.field(default=None, name="NOT", description="This does not hold.")
    status: list[ActionStatus] | None = strawberry.field(default=None, description="In one of these states.")
    plugin: list[str] | None = strawberry.field(default=None, description="Of one of these plugins.")
    playbook: list[str] | None = strawberry.field(default=None, description="Of one of these playbooks, by key.")
    channel: list[str] | None = strawberry.field(default=None, description="By one of these channels, by key.")
    purpose: list[Purpose] | None = strawberry.field(default=None, description="For one of these purposes.")
    user: GlobalID | None = strawberry.field(default=None, description="For this user, by `id`.")
    planned_at: DateTimeRange | None = strawberry.field(default=None, description="Planned then.")
    due_at: DateTimeRange | None = strawberry.field(default=None, description="To be carried out then.")
    done_at: DateTimeRange | None = strawberry.field(default=None, description="Whose outcome was noted then.")


def actions_where(brand_id: int, filter: ActionFilter | None) -> tuple[Term, ...]:
    """The filter as conditions."""

    def terms(each: ActionFilter) -> Iterable[Term]:
        for column in ("status", "plugin", "playbook", "channel", "purpose"):
            yield from one_of(column, getattr(each, column))
        yield from of_user_id(brand_id, each.user)
        for column in ("planned_at", "due_at", "done_at"):
            yield from moments(column, getattr(each, column))

    return narrowed(filter, terms)
