"""What waits to be done, over all brands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from siyu.flow.context import Context

__all__ = ["Backlog", "backlog"]

MOST = 100_000
"""Counted up to here: whoever has more to catch up on needs no exact figure."""


@dataclass(frozen=True)
class Backlog:
    """Jobs by lane, actions by state, runs under way by kind; users not yet decided, and for how many seconds."""

    jobs: Mapping[str, int]
    actions: Mapping[str, int]
    runs: Mapping[str, int]
    users: int
    seconds: float


async def backlog(ctx: Context, jobs: Mapping[str, int]) -> Backlog:
    """The backlog now; ``jobs`` is the queue's part of it."""
    async with ctx.db.connection() as connection:
        users, seconds = await connection.fetchrow(_USERS)
        actions = dict(await connection.fetch(_ACTIONS))
        runs = dict(await connection.fetch("SELECT kind, count(*) FROM run WHERE status = 'running' GROUP BY kind"))
    states = ("planned", "due", "leased")
    return Backlog(jobs, {state: actions.get(state, 0) for state in states}, runs, users, seconds)


# Marks have no moment of their own: the first one's user has waited since their newest event, or longer.
_USERS = f"""
SELECT (SELECT count(*) FROM (SELECT FROM dirty_user LIMIT {MOST}) AS first)::int,
       COALESCE((SELECT greatest(extract(epoch FROM now() - e.received_at), 0)
                 FROM (SELECT d.* FROM brand b CROSS JOIN LATERAL (
                           SELECT * FROM dirty_user WHERE brand_id = b.id ORDER BY id LIMIT 1) AS d
                       ORDER BY id LIMIT 1) AS d
                 CROSS JOIN LATERAL (SELECT max(received_at) AS received_at FROM event
                                     WHERE brand_id = d.brand_id AND user_id = d.user_id) AS e), 0)::float8
"""
_ACTIONS = f"""
SELECT state, count(*)::int FROM (
    SELECT CASE WHEN status = 'leased' THEN 'leased' WHEN due_at <= now() THEN 'due' ELSE 'planned' END AS state
    FROM action WHERE status IN ('planned', 'leased') LIMIT {MOST}) AS first
GROUP BY state
"""
