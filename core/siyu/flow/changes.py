"""Changes are followed: of tags and stages, of actions and tasks, of plugins.

Nothing waits for a follower. It reads from the log of changes when it is told that there is more, and only as fast as
its client takes what it has; who is slow, or was away, goes on from their cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from siyu.flow.context import Context
from siyu.store.changes import Change, Expired, Noun, changes_after, latest_of_all, newest
from siyu.store.signals import Topic

__all__ = ["PAGE", "PAUSE", "Page", "follow_changes", "follow_plugins"]

PAGE = 500
"""The most users or actions at a time."""
PAUSE = 0.2
"""Seconds between two pages at least: what changes meanwhile comes together."""


@dataclass(frozen=True)
class Page:
    """Changes in their order; ``after`` goes on from there."""

    changes: Sequence[Change]
    after: int


async def follow_changes(
    ctx: Context,
    brand_id: int,
    noun: Noun,
    after: int | None = None,
    *,
    track: str | None = None,
    key: str | None = None,
) -> AsyncGenerator[Page]:
    """What changes after number ``after`` (from now on if not given), in pages: of one track, and to or from the tag,
    stage or status ``key``, if given.

    The first page comes at once, empty where nothing has changed: what a client reads after it is followed by the
    changes that it has not read.
    """
    topic: Topic = noun if noun in ("action", "task") else "decision"
    loop = asyncio.get_running_loop()
    with ctx.db.signals.of(brand_id, topic) as told:
        told.clear()
        async with ctx.db.connection() as connection:
            if after is None:
                after = await newest(connection, brand_id, noun)
            elif after > await latest_of_all(connection):
                raise Expired("no such cursor", field="after", remedy="read the list anew, without `after`")
        first = True
        while True:
            async with ctx.db.connection() as connection:
                found, upto = await changes_after(connection, brand_id, noun, after, track, key)
            for page in _pages(found, upto) if found or not first else [Page([], upto)]:
                first, sent = False, loop.time()
                yield page
                await asyncio.sleep(max(0.0, sent + PAUSE - loop.time()))
            after = upto
            if not found:
                await ctx.db.signals.wait(told)
                told.clear()


def _pages(changes: Sequence[Change], upto: int) -> list[Page]:
    pages: list[list[Change]] = []
    room = 0
    for change in changes:
        if len(change.ids) > room:
            pages.append([])
            room = PAGE
        pages[-1].append(change)
        room -= len(change.ids)
    return [Page(page, upto if number == len(pages) else page[-1].number) for number, page in enumerate(pages, 1)]


async def follow_plugins(ctx: Context, brand_id: int) -> AsyncGenerator[list[str]]:
    """The names of the plugins that the brand has set otherwise, or whose status is another, since the last time; at
    first of all."""
    installed = sorted(ctx.plugins.plugins)
    shown: dict[str, Any] = {}
    with ctx.db.signals.of(brand_id, "plugin") as told:
        while True:
            told.clear()
            async with ctx.db.connection() as connection:
                rows = await connection.fetch(_PLUGINS, brand_id, installed)
            stands = {row["name"]: tuple(row) for row in rows}
            if changed := [name for name in installed if stands[name] != shown.get(name)]:
                shown = stands
                yield changed
                await asyncio.sleep(PAUSE)
            await ctx.db.signals.wait(told)


_PLUGINS = """
SELECT p.name, s::text AS setting, (SELECT string_agg(f::text, ' ' ORDER BY f.rule) FROM fence f
    WHERE f.brand_id = $1 AND f.plugin = p.name) AS fences,
    CASE WHEN s.enabled OR s.base IS NOT NULL THEN b.refreshed_at END AS refreshed_at
FROM unnest($2::text[]) p (name) JOIN brand b ON b.id = $1
LEFT JOIN plugin_setting s ON s.brand_id = $1 AND s.plugin = p.name
"""
