"""Why a user has a tag or stands in a stage: the rulebook as it stood, with the values that stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import strawberry
from siyu.engine.explain import RULE_GONE, render
from siyu.store.db import Connection

from siyu_graphql.context import Info
from siyu_graphql.fields import computed

__all__ = ["MERGED", "Decided", "Decision", "words"]

MERGED = "merged: the user counts as another"
"""Why a decision ended that a merge ended."""


class _Rule(NamedTuple):
    """A rule in a version of the rulebook; a tag has no track."""

    rulebook_id: int
    track: str
    key: str


class _Entry(NamedTuple):
    version: str
    reason: Mapping[str, Any] | None


@dataclass(frozen=True)
class Decision:
    """Where a decision is written: ``why`` is the JSON array of the values that the reason names."""

    brand_id: int
    rulebook_id: int
    user_id: int
    key: str
    why: str
    track: str = ""


async def words(info: Info, decision: Decision) -> str:
    """The reason in words."""
    entry = await _entry(info, decision)
    if entry is None or entry.reason is None:
        return RULE_GONE
    values = json.loads(decision.why)
    for index, ((_, declared), value) in enumerate(zip(entry.reason.get("facts", ()), values, strict=False)):
        values[index] = info.context.personal.fact(decision.brand_id, decision.user_id, declared, value)
    return render(entry.reason, values)


@strawberry.type(description="Something that the rulebook decided for a user.")
class Decided:
    """Base of a user's tags and stages, past and present."""

    decision: strawberry.Private[Decision]

    @computed("Why, in words, with the values of the facts at that moment.")
    async def because(self, info: Info) -> str:
        return await words(info, self.decision)

    @computed("The condition of the rule, as it stood. Null where that version is not kept.")
    async def rule(self, info: Info) -> str | None:
        entry = await _entry(info, self.decision)
        return entry.reason.get("when") if entry and entry.reason else None

    @computed("The version of the rulebook by which it was decided: a hash of all its rules.")
    async def rulebook_version(self, info: Info) -> str | None:
        entry = await _entry(info, self.decision)
        return entry.version if entry else None


async def _entry(info: Info, decision: Decision) -> _Entry | None:
    rule = _Rule(decision.rulebook_id, decision.track, decision.key)
    return await info.context.loaders.load(_entries, decision.brand_id, rule)


async def _entries(connection: Connection, brand_id: int, rules: Sequence[_Rule]) -> dict[_Rule, _Entry]:
    """Batch: rules out of their versions of the rulebook, not the versions whole, which are long."""
    rows = await connection.fetch(
        "SELECT w.rulebook_id, w.track, w.key, v.version, CASE WHEN w.track = '' THEN v.content->'tags'->w.key"
        "  ELSE v.content->'tracks'->w.track->'stages'->w.key END AS reason"
        " FROM unnest($2::bigint[], $3::text[], $4::text[]) AS w (rulebook_id, track, key)"
        " JOIN rulebook_version v ON v.brand_id = $1 AND v.id = w.rulebook_id",
        brand_id,
        *(list(column) for column in zip(*rules, strict=True)),
    )
    return {
        _Rule(row["rulebook_id"], row["track"], row["key"]): _Entry(
            row["version"], json.loads(row["reason"]) if row["reason"] else None
        )
        for row in rows
    }
