"""How playbooks are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry
from siyu.flow import plugins
from siyu.flow.context import Context, brand_by_id
from siyu.flow.foresee import foresee
from siyu.flow.programs import by_name
from siyu.flow.tokens import Right
from siyu.flow.why import reasons
from siyu.store.db import Connection as DatabaseConnection
from siyu.store.enrolments import how_many

from siyu_graphql.action.types import Purpose
from siyu_graphql.context import Info, OfBrand, OfUser
from siyu_graphql.filters import one_of
from siyu_graphql.paging import After, Before, Connection, First, Last, Listing, Window, of_brand, of_user
from siyu_graphql.playbook.types import (
    Enrolment,
    EnrolmentStatus,
    ExpectedMessages,
    HeldMessages,
    Playbook,
    PlaybookPreview,
)
from siyu_graphql.scalars import JSON, checked_json, checked_text

__all__ = [
    "ENROLMENTS",
    "enrolments_of_brand",
    "enrolments_of_user",
    "find_playbook",
    "playbooks_now",
    "playbooks_of_brand",
    "preview_of_playbook",
]

SHOWN = ("playbook", "due_at", "listens", "because", "why", "began_at", "ended_at")

Status = Annotated[
    list[EnrolmentStatus] | None, strawberry.argument(description="In one of these states; all if left out.")
]


def _enrolment(brand_id: int, row: Mapping[str, Any]) -> Enrolment:
    return Enrolment(
        brand_id=brand_id,
        number=row["id"],
        user_id=row["user_id"],
        status=EnrolmentStatus(row["status"]),
        step=row["step_key"] if row["status"] == "active" else None,
        version=row["version"],
        **{name: row[name] for name in SHOWN},
    )


_VERSION = "FROM playbook_version v WHERE v.brand_id = t.brand_id AND v.id = t.version_id"
ENROLMENTS = Listing(
    "enrolment t",
    "t.id, t.user_id, t.status, " + ", ".join(f"t.{name}" for name in SHOWN) + ","
    f" (SELECT v.version {_VERSION}) AS version, (SELECT v.content->'steps'->t.step->>'key' {_VERSION}) AS step_key",
    _enrolment,
)


async def playbooks_of_brand(brand: strawberry.Parent[OfBrand], info: Info) -> list[Playbook]:
    async with info.context.loaders.connection(brand.brand_id) as connection:
        return await playbooks_now(info.context.ctx, connection, brand.brand_id)


async def preview_of_playbook(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    playbook: Annotated[str, strawberry.argument(description="Its plugin's name and its key: `care.first_touch`.")],
    days: Annotated[int, strawberry.argument(description="How far to look ahead, 1 to 90.")] = 30,
    params: Annotated[
        JSON | None, strawberry.argument(description="All parameters of its plugin; as they are if left out.")
    ] = None,
) -> PlaybookPreview | None:
    info.context.access.require(Right.CONFIGURE)
    values = None if params is None else checked_json(params, "params")
    row = await brand_by_id(brand.brand_id)
    found = await foresee(info.context.ctx, row, checked_text(playbook, "playbook"), days=days, params=values)
    meant = reasons(info.context.ctx)
    return PlaybookPreview(
        at=found.at,
        entering=found.entering,
        under_way=found.under_way,
        expected=[
            ExpectedMessages(
                day=each.day,
                step=each.step,
                channel=each.channel,
                purpose=Purpose(each.purpose),
                messages=each.messages,
                passing=each.passing,
                delayed=each.delayed,
                held=[
                    HeldMessages(reason=reason, meaning=meant.get(reason, ""), messages=number)
                    for reason, number in each.held.items()
                ],
            )
            for each in found.expected
        ],
    )


async def find_playbook(info: Info, brand_id: int, name: str) -> Playbook | None:
    """The playbook of that name (``plugin.key``) that is on."""
    async with info.context.loaders.connection(brand_id) as connection:
        return next(
            (e for e in await playbooks_now(info.context.ctx, connection, brand_id) if e.made.name == name), None
        )


async def playbooks_now(ctx: Context, connection: DatabaseConnection, brand_id: int) -> list[Playbook]:
    """The playbooks of a brand that are on, with how many are under way."""
    made = by_name(ctx, await plugins.cohorts(ctx, brand_id))
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for name, status, number in await how_many(connection, brand_id):
        counts[name][status] = number
    return [
        Playbook(brand_id=brand_id, number=each.name, made=each, counts=counts[each.name])
        for _, each in sorted(made.items())
    ]


async def enrolments_of_brand(
    brand: strawberry.Parent[OfBrand],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    status: Status = None,
) -> Connection[Enrolment]:
    return of_brand(
        info, brand.brand_id, ENROLMENTS, Window(first, after, last, before), *one_of("status", status, "status")
    )


async def enrolments_of_user(
    user: strawberry.Parent[OfUser],
    info: Info,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
    status: Status = None,
) -> Connection[Enrolment]:
    return of_user(
        info,
        user.brand_id,
        user.user_id,
        ENROLMENTS,
        Window(first, after, last, before),
        *one_of("status", status, "status"),
    )
