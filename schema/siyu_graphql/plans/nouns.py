"""The types that plans know, and where their fields are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from siyu.flow import filters
from siyu.store.db import Connection
from strawberry.relay import GlobalID

from siyu_graphql.action.filters import ActionFilter, actions_where
from siyu_graphql.action.queries import ACTIONS, actions_of_brand, actions_of_user
from siyu_graphql.action.types import Action
from siyu_graphql.event.filters import EventFilter, events_where
from siyu_graphql.event.queries import (
    EVENTS,
    RECEIVED,
    events_of_brand,
    events_of_user,
)
from siyu_graphql.event.types import Event, Identity, IdentityInput
from siyu_graphql.nodes import number_in
from siyu_graphql.paging import Listing, Term
from siyu_graphql.personal import Personal
from siyu_graphql.plans.document import Unplanned
from siyu_graphql.plans.facts import ByFacts
from siyu_graphql.plans.mapping import (
    Catalog,
    Column,
    Ended,
    Field,
    Fields,
    Found,
    Global,
    Known,
    Named,
    One,
    Paged,
    Scope,
    Several,
    Shown,
    Told,
    Whole,
    Why,
    columns,
)
from siyu_graphql.plans.pages import Choice
from siyu_graphql.reasons import Decided
from siyu_graphql.stage import queries as stage
from siyu_graphql.stage.types import PastStage
from siyu_graphql.tag import queries as tag
from siyu_graphql.tag.types import PastTag
from siyu_graphql.task.queries import TASKS, tasks_of_brand, tasks_of_user, tasks_where
from siyu_graphql.task.types import Task
from siyu_graphql.user.filters import UserFilter, UserOrder
from siyu_graphql.user.loaders import users_by_identity
from siyu_graphql.user.personal import require_attributes
from siyu_graphql.user.queries import USERS, order_of_users, plain_users, user_of_brand, users_of_brand
from siyu_graphql.user.types import User

__all__ = ["BRAND", "FIELDS"]

TAGS = Catalog(
    "SELECT id, key, title, plugin FROM tag WHERE brand_id = $1 ORDER BY key", ("id",), ("key", "title", "plugin")
)
STAGES = Catalog(
    "SELECT track, key, title, plugin FROM stage WHERE brand_id = $1 ORDER BY track, key",
    ("track", "key"),
    ("title", "plugin"),
)


def _why(key: Column | Known, track: Column | None = None) -> dict[str, Field]:
    return {
        "because": Why(Decided.because, "because", key, track),
        "rule": Why(Decided.rule, "rule", key, track),
        "rulebook_version": Why(Decided.rulebook_version, "version", key, track),
    }


def _shown(row: Mapping[str, Any], include_inactive: bool = False, track: str | None = None) -> bool:
    return (row["active"] or include_inactive) and (track is None or row["track"] == track)


def _users(
    brand_id: int, personal: Personal, filter: UserFilter | None = None, order_by: UserOrder | None = None
) -> tuple[Listing[Any], Sequence[Term] | Choice]:
    checked = filter.checked() if filter else EVERYBODY
    require_attributes(personal, brand_id, checked)
    plain = plain_users(checked, order_by)
    if plain is not None:
        return plain[0], plain[1:]
    if order_by is not None and order_by.checked() is not None:
        raise Unplanned
    return USERS.ordered(order_of_users(order_by)), ByFacts(checked)


def _actions(brand_id: int, _: Personal, filter: ActionFilter | None = None) -> tuple[Listing[Any], Sequence[Term]]:
    return ACTIONS, list(actions_where(brand_id, filter))


def _tasks(brand_id: int, _: Personal, **wanted: Any) -> tuple[Listing[Any], Sequence[Term]]:
    return TASKS, tasks_where(**wanted)


def _events(brand_id: int, _: Personal, filter: EventFilter | None = None) -> tuple[Listing[Any], Sequence[Term]]:
    return EVENTS, list(events_where(brand_id, filter))


def _received(brand_id: int, _: Personal, filter: EventFilter | None = None) -> tuple[Listing[Any], Sequence[Term]]:
    return RECEIVED, list(events_where(brand_id, filter))


def _of(listing: Listing[Any]) -> Scope:
    return lambda brand_id, personal: (listing, ())


async def _user(
    connection: Connection,
    brand_id: int,
    personal: Personal,
    id: GlobalID | None = None,
    identity: IdentityInput | None = None,
) -> int | None:
    if (id is None) is (identity is None):
        return None
    if id is not None:
        return number_in(id, "User", brand_id)
    assert identity is not None
    personal.asked(brand_id, identity.kind, "identity")
    name = (identity.kind, identity.value)
    return (await users_by_identity(connection, brand_id, [name])).get(name)


EVERYBODY = filters.UserFilter()
NODE: Fields = {"_id": Global()}
CATALOGED = columns("key", "title", "plugin", "users", "as_of", "active")

FIELDS: Mapping[str, Fields] = {
    "User": {
        **NODE,
        **columns("first_seen", "last_seen"),
        "attributes": Shown(User.attributes, "attributes", whose="id"),
        "identities": Several(User.identities, "identity", by=("kind", "value"), theirs=True),
        "tags": Several(tag.tags_of_user, "tag_assignment", by=("tag_id",), catalog=TAGS),
        "stages": Several(stage.stages_of_user, "user_stage", by=("track", "stage"), catalog=STAGES, only="track"),
        "tag_history": Paged(tag.tag_history, _of(tag.PAST), of_user=tag.PAST),
        "stage_history": Paged(stage.stage_history, _of(stage.PAST), of_user=stage.PAST),
        "actions": Paged(actions_of_user, _actions, of_user=ACTIONS),
        "tasks": Paged(tasks_of_user, _tasks, of_user=TASKS),
        "events": Paged(events_of_user, _events, of_user=EVENTS),
    },
    "Identity": {**columns("kind"), "value": Named(Identity.value, kind="kind", name="value")},
    "UserTag": {
        **columns("since"),
        **{name: Known(name) for name in TAGS.columns},
        **_why(Known("key")),
    },
    "UserStage": {
        **columns("track", "since", key="stage"),
        **{name: Known(name) for name in STAGES.columns},
        **_why(Column("stage"), Column("track")),
    },
    "PastTag": {
        **columns("key", "title", "plugin", "since", "until"),
        **_why(Column("key")),
        "ended_because": Ended(
            PastTag.ended_because, Why(PastTag.ended_because, "because", Column("key"), prefix="ended_")
        ),
    },
    "PastStage": {
        **columns("track", "title", "plugin", "since", "until", key="stage"),
        **_why(Column("stage"), Column("track")),
        "ended_because": Ended(PastStage.ended_because),
    },
    "Action": {
        **NODE,
        **columns("plugin", "playbook", "channel", "purpose", "because", "status", "detail", "attempts"),
        "text": Told(Action.text, "text", "user_id", USERS),
        **columns("step", "reason", "key", "asked_by"),
        **columns("planned_at", "due_at", "done_at"),
        "user": One(Action.user, USERS, "user_id"),
    },
    "Task": {
        **NODE,
        **columns("role", "deadline", "escalate_to", "status", "assignee", "outcome"),
        **columns("made_at", "taken_at", "escalated_at", "done_at"),
        "title": Told(Task.title, "title", "user_id", USERS),
        "text": Told(Task.text, "text", "user_id", USERS),
        "user": One(Task.user, USERS, "user_id"),
    },
    "Event": {
        **NODE,
        **columns("key", "kind", "at", "received_at"),
        "payload": Shown(Event.payload, "payload", whose="user_id"),
        "user": One(Event.user, USERS, "user_id"),
    },
    "Tag": {**NODE, **CATALOGED},
    "Stage": {**NODE, **CATALOGED, **columns("track")},
}

BRAND: Fields = {
    "_id": Global(),
    **columns("slug", "name", "zone", "now", "refreshed_at", refresh_asked_at="refresh_asked"),
    "user": Found(user_of_brand, USERS, _user),
    "users": Paged(users_of_brand, _users),
    "actions": Paged(actions_of_brand, _actions),
    "tasks": Paged(tasks_of_brand, _tasks),
    "events": Paged(events_of_brand, _received),
    "tags": Whole(tag.tags_of_brand, tag.TAGS, "t.key", _shown),
    "stages": Whole(stage.stages_of_brand, stage.STAGES, stage.STAGES.order.sql, _shown),
}
