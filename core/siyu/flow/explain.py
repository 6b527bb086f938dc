"""Explain one user: what the rules say now, what was tried, and what is kept. Nothing is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from siyu.contract.errors import NotFound
from siyu.contract.facts import with_alternatives
from siyu.engine import explain as engine
from siyu.engine.evaluate import Decider
from siyu.engine.explain import RULE_GONE, Standing, TriedTag, TriedTrack, render
from siyu.engine.facts import compute
from siyu.flow.context import Context, aware, now
from siyu.flow.rulebooks import bound_now
from siyu.store.decisions import Decisions
from siyu.store.lake import Lake
from siyu.store.models import Brand

__all__ = ["Explanation", "explain", "explain_users"]


@dataclass(frozen=True)
class Explanation:
    """Every tag and track of the rulebook ``version``, tried for a user ``at`` a moment.

    ``gone`` are the tags and stages that stand although the rulebook no longer has their rules: the next refresh
    takes them back. ``fenced`` are those that stand because their rule fails: they stay until it is tried again.
    """

    user_id: int
    at: datetime
    version: str
    tags: tuple[TriedTag, ...]
    tracks: tuple[TriedTrack, ...]
    gone: tuple[Standing, ...]
    fenced: tuple[Standing, ...]


async def explain(ctx: Context, brand: Brand, user_id: int, at: datetime | None = None) -> Explanation:
    """What the brand's rules, as they are set now, say of a user and why.

    Without ``at`` as of the brand's present, beside what stands; with it as of that moment, beside what stood then.
    """
    found = await explain_users(ctx, brand, [user_id], at)
    if user_id not in found:
        raise NotFound(
            f"nothing was known of the user at {at or now(brand)}", field="at", remedy="ask for a later moment"
        )
    return found[user_id]


async def explain_users(
    ctx: Context, brand: Brand, users: Sequence[int], at: datetime | None = None
) -> dict[int, Explanation]:
    """:func:`explain` for a few users at once, by user; those of whom nothing was known at that moment are left out."""
    aware(at, "at")
    catalog = ctx.plugins.catalog
    async with ctx.db.view() as connection:
        here = await bound_now(ctx, connection, brand.id)
        rows = await Decisions(ctx.home, brand.id).standing(connection, users, at)
        history = await Lake(ctx.home, brand.id, catalog).of_users(connection, users)
    moment, bound = at or here.at, here.bound
    wanted = with_alternatives(bound.facts)
    facts = await asyncio.to_thread(compute, wanted, catalog, history, moment, here.days)
    stands: dict[int, list[Standing]] = {user: [] for user in users}
    for row in rows:
        stands[row["user_id"]].append(_standing(row))
    return {
        row["user_id"]: _explanation(decider, row, stands[row["user_id"]], moment)
        for cohort, decider in zip(bound.cohorts, bound.deciders, strict=True)
        for row in cohort.of(facts).iter_rows(named=True)
    }


def _explanation(decider: Decider, facts: Mapping[str, Any], stands: Sequence[Standing], at: datetime) -> Explanation:
    tags, tracks = engine.explain(decider, facts, stands, at)
    known = {(None, tag.key) for tag in tags} | {(track.key, s.key) for track in tracks for s in track.stages}
    left = [each for each in stands if (each.track, each.key) not in known]
    kept = decider.rulebook.standing
    fenced = tuple(
        each for each in left if (each.key in kept.tags if each.track is None else each.track in kept.tracks)
    )
    gone = tuple(each for each in left if each not in fenced)
    return Explanation(facts["user_id"], at.astimezone(UTC), decider.rulebook.version, tags, tracks, gone, fenced)


def _standing(row: Any) -> Standing:
    because = render(json.loads(row["reason"]), json.loads(row["why"])) if row["reason"] else RULE_GONE
    return Standing(row["track"], row["key"], row["since"], row["version"], because)
