"""Explain one user: what the rules say now, what was tried, and what is kept. Nothing is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_jsonable_python

from siyu.contract.errors import InputError, NotFound
from siyu.engine import explain as engine
from siyu.engine.cohorts import Cohort
from siyu.engine.evaluate import Decider
from siyu.engine.explain import RULE_GONE, Standing, TriedTag, TriedTrack, render
from siyu.engine.facts import compute
from siyu.engine.rulebook import Rulebook, bind_fenced
from siyu.flow import fences
from siyu.flow.context import Context, now, zone
from siyu.flow.plugins import cohorts, content_of, kept_rulebooks, states_of
from siyu.flow.rulebooks import needed
from siyu.store.db import Connection
from siyu.store.decisions import Decisions
from siyu.store.lake import Lake
from siyu.store.models import Brand, Identity, MergedUser

__all__ = ["Explanation", "explain", "explain_users", "moment_of", "rulebooks_now", "user_named"]


@dataclass(frozen=True)
class Explanation:
    """Every tag and track of the rulebook ``version``, tried for a user ``at`` a moment.

    ``gone`` are the tags and stages that stand although the rulebook no longer has their rules: the next refresh
    takes them back.
    """

    user_id: int
    at: datetime
    version: str
    tags: tuple[TriedTag, ...]
    tracks: tuple[TriedTrack, ...]
    gone: tuple[Standing, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        data: dict[str, Any] = to_jsonable_python(self)
        return data


async def explain(ctx: Context, brand: Brand, user_id: int, at: datetime | None = None) -> Explanation:
    """What the brand's rules, as they are set now, say of a user and why.

    Without ``at`` as of the brand's present, beside what stands; with it as of that moment, beside what stood then.
    """
    found = await explain_users(ctx, brand, [user_id], at)
    if user_id not in found:
        raise NotFound(f"nothing is known of user {user_id} at {at or now(brand)}", field="user")
    return found[user_id]


async def explain_users(
    ctx: Context, brand: Brand, users: Sequence[int], at: datetime | None = None
) -> dict[int, Explanation]:
    """:func:`explain` for a few users at once, by user; those of whom nothing was known at that moment are left out."""
    moment = moment_of(brand, at)
    catalog, days = ctx.plugins.catalog, zone(brand.zone)
    # One view of the database, and the database sees to it that nothing is written.
    async with ctx.db.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rulebooks = await rulebooks_now(ctx, connection, brand.id)
        rows = await Decisions(ctx.home, brand.id).standing(connection, users, at)
        frames = await Lake(ctx.home, brand.id, catalog).of_users(connection, users)
    wanted = needed([rulebook for _, rulebook in rulebooks])
    facts = await asyncio.to_thread(compute, wanted, catalog, frames, moment, days)
    stands: dict[int, list[Standing]] = {user: [] for user in users}
    for row in rows:
        stands[row["user_id"]].append(_standing(row))
    return {
        row["user_id"]: _explanation(Decider(rulebook, days), row, stands[row["user_id"]], moment)
        for cohort, rulebook in rulebooks
        for row in cohort.of(facts).iter_rows(named=True)
    }


def moment_of(brand: Brand, at: datetime | None) -> datetime:
    """The moment that is asked for, the brand's present if none is."""
    if at is not None and at.tzinfo is None:
        raise InputError(f"the moment {at} has no time zone", field="at", remedy="write it like 2027-01-01T00:00Z")
    return at or now(brand)


async def rulebooks_now(ctx: Context, connection: Connection, brand_id: int) -> list[tuple[Cohort, Rulebook]]:
    """The rules as they are set now, by cohort, with what was fitted last; fenced ones are not asked."""
    fenced = {**await fences.known(brand_id), **await fences.refused(ctx, brand_id)}
    kept = await kept_rulebooks(connection, brand_id)
    found = []
    for cohort in await cohorts(ctx, brand_id):
        content = content_of(kept, cohort)
        states = states_of(content)
        rulebook, _ = await asyncio.to_thread(bind_fenced, cohort.on, states, fenced=fenced, previous=content)
        found.append((cohort, rulebook))
    return found


async def user_named(brand: Brand, kind: str, value: str) -> int:
    """The user who goes by a name, or whom they count as; or :class:`NotFound`."""
    found = await Identity.get_or_none(brand_id=brand.id, kind=kind, value=value)
    if found is None:
        raise NotFound(f"nobody goes by {kind}={value}", field="user", remedy="give a name that an event came with")
    merged = await MergedUser.get_or_none(brand_id=brand.id, user_id=found.user_id)
    return int(merged.into_id if merged else found.user_id)


def _explanation(decider: Decider, facts: Mapping[str, Any], stands: Sequence[Standing], at: datetime) -> Explanation:
    tags, tracks = engine.explain(decider, facts, stands, at)
    known = {(None, tag.key) for tag in tags} | {(track.key, s.key) for track in tracks for s in track.stages}
    gone = tuple(each for each in stands if (each.track, each.key) not in known)
    return Explanation(facts["user_id"], at.astimezone(UTC), decider.rulebook.version, tags, tracks, gone)


def _standing(row: Any) -> Standing:
    because = render(json.loads(row["reason"]), json.loads(row["why"])) if row["reason"] else RULE_GONE
    return Standing(row["track"], row["key"], row["since"], row["version"], because)
