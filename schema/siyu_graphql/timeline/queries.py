"""How timelines are read: one list over all tables that know something of a user."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import strawberry
from siyu.flow.filters import limited
from siyu.store.keyset import Term

from siyu_graphql.context import Info, OfUser
from siyu_graphql.filters import DateTimeRange, data_of, moments
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Order, Window, of_user
from siyu_graphql.timeline.types import TimelineEntry, TimelineKind

__all__ = ["timeline_of_user"]

Kinds = Annotated[list[TimelineKind] | None, strawberry.argument(description="Only entries of these kinds.")]
At = Annotated[DateTimeRange | None, strawberry.argument(description="Only entries of then.")]

_DECIDED = "rulebook_id, why, NULL::bigint"
_NOTHING = "NULL::bigint, NULL::text, NULL::bigint"
_NEITHER = "NULL::int, NULL::text, NULL::text"
_STAGE = "NULL::int, track, stage"
_PARTS = (
    (TimelineKind.EVENT, "event", "at", _NEITHER, _NOTHING),
    (TimelineKind.TAG_GAINED, "tag_assignment", "since", "tag_id, NULL, NULL", _DECIDED),
    (TimelineKind.TAG_GAINED, "tag_history", "since", "tag_id, NULL, NULL", _DECIDED),
    (TimelineKind.TAG_LOST, "tag_history", "until", "tag_id, NULL, NULL", "ended_rulebook_id, ended_why, merge_id"),
    (TimelineKind.STAGE_LEFT, "stage_history", "until", _STAGE, "NULL, NULL, merge_id"),
    (TimelineKind.STAGE_ENTERED, "user_stage", "since", _STAGE, _DECIDED),
    (TimelineKind.STAGE_ENTERED, "stage_history", "since", _STAGE, _DECIDED),
    (TimelineKind.ACTION_PLANNED, "action", "planned_at", _NEITHER, _NOTHING),
    (TimelineKind.ACTION_DONE, "action", "done_at", _NEITHER, _NOTHING),
)
_COLUMNS = "brand_id, user_id, at, kind, id, tag_id, track, stage, rulebook_id, why, merge_id"
_SOURCE = " UNION ALL ".join(
    f"SELECT brand_id, user_id, {at}, {kind.value}, id, {subject}, {decided} FROM {table} WHERE {at} IS NOT NULL"
    for kind, table, at, subject, decided in _PARTS
)


def _entry(brand_id: int, row: Mapping[str, Any]) -> TimelineEntry:
    return TimelineEntry(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["person"],
        tag_id=row["tag_id"],
        in_track=row["track"],
        in_stage=row["stage"],
        rulebook_id=row["rulebook_id"],
        why=row["why"],
        merge=row["merge_id"],
        at=row["at"],
        kind=TimelineKind(row["kind"]),
    )


TIMELINE = Listing(
    f"({_SOURCE}) t ({_COLUMNS})",
    "t.at, t.kind, t.id, t.tag_id, t.track, t.stage, t.rulebook_id, t.why, t.merge_id",
    _entry,
    # Of one moment what follows from the other comes later: a decision after the event, an action after the decision.
    Order((("at", datetime), ("kind", int), ("id", int)), descending=True),
)


async def timeline_of_user(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    kinds: Kinds = None,
    at: At = None,
) -> Connection[TimelineEntry]:
    terms = list(moments("at", at))
    if kinds is not None:
        limited(data_of(kinds), "kinds")
        terms.append(Term("t.kind = ANY({}::int[])", (tuple(kind.value for kind in kinds),)))
    return of_user(info, user.brand_id, user.user_id, TIMELINE, Window(first, after, last, before), *terms)
