"""Fitted states over time. They stand in the versions of the rulebook; a brand can be held to one that it had."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from siyu.contract.rules import State
from siyu.store.db import Connection

__all__ = ["SOURCE", "FittedState", "Pin", "find", "listed", "states_in"]

Pin = tuple[str, str, str]
"""A plugin, one of its rules, and the version of the rulebook whose state it is held to."""

SOURCE = """(
    SELECT v.brand_id, p.key AS plugin, s.key AS rule, s.value AS state, min(v.id) AS id,
        min(v.created_at) AS since, (array_agg(v.version ORDER BY v.id))[1] AS version,
        bool_or(EXISTS (
            SELECT FROM brand b, jsonb_array_elements(b.rulebooks) r WHERE b.id = v.brand_id AND (r->>1)::bigint = v.id
        )) AS current
    FROM rulebook_version v, jsonb_each(v.content->'settings') p, jsonb_each(p.value->'states') s
    GROUP BY v.brand_id, p.key, s.key, s.value
) t"""
"""A row for each distinct state of a rule, with the first version that had it; ``id`` orders those of one rule."""


@dataclass(frozen=True)
class FittedState:
    """A state that a rule was fitted to, ``since`` a ``version``; ``current`` where users are decided by it now."""

    rule: str
    version: str
    since: datetime
    current: bool
    state: Any


async def listed(connection: Connection, brand_id: int, plugin: str, limit: int) -> list[FittedState]:
    """The states of a plugin's rules, the latest first."""
    rows = await connection.fetch(
        f"SELECT t.* FROM {SOURCE} WHERE t.brand_id = $1 AND t.plugin = $2 ORDER BY t.id DESC, t.rule LIMIT $3",
        brand_id,
        plugin,
        limit,
    )
    return [_state(row) for row in rows]


async def find(connection: Connection, brand_id: int, plugin: str, rule: str, version: str) -> FittedState | None:
    """The state that a rule had in a version of the rulebook, as :func:`listed` has it."""
    row = await connection.fetchrow(
        f"SELECT t.* FROM {SOURCE} JOIN rulebook_version w ON w.brand_id = t.brand_id"
        " WHERE t.brand_id = $1 AND t.plugin = $2 AND t.rule = $3 AND w.version = $4"
        " AND t.state = w.content->'settings'->t.plugin->'states'->t.rule",
        brand_id,
        plugin,
        rule,
        version,
    )
    return _state(row) if row else None


async def states_in(connection: Connection, brand_id: int, pins: Collection[Pin]) -> dict[Pin, State]:
    """The states that pins hold rules to."""
    rows = await connection.fetch(
        "SELECT w.plugin, w.rule, w.version, v.content->'settings'->w.plugin->'states'->w.rule AS state"
        " FROM unnest($2::text[], $3::text[], $4::text[]) w (plugin, rule, version)"
        " JOIN rulebook_version v ON v.brand_id = $1 AND v.version = w.version",
        brand_id,
        *(list(column) for column in zip(*pins, strict=True)),
    )
    return {(row["plugin"], row["rule"], row["version"]): json.loads(row["state"]) for row in rows if row["state"]}


def _state(row: Mapping[str, Any]) -> FittedState:
    return FittedState(row["rule"], row["version"], row["since"], row["current"], json.loads(row["state"]))
