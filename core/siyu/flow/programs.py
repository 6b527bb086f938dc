"""The playbooks of a brand as programs: those that are on, and those by which somebody is under way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from siyu.contract.errors import SiyuError
from siyu.contract.playbooks import StageChanged, TagGained, TagLost
from siyu.contract.program import Program, program
from siyu.engine.cohorts import Cohort, Enabled
from siyu.engine.moving import kinds
from siyu.flow.context import Context
from siyu.store import enrolments
from siyu.store.db import Connection

__all__ = ["On", "by_name", "kept", "listen", "programs"]

On: TypeAlias = Sequence[tuple[Cohort, Sequence[Program]]]
"""The playbooks that are on for the users of each cohort."""

log = logging.getLogger("siyu.playbooks")


def programs(ctx: Context, on: Enabled) -> list[Program]:
    """The playbooks of plugins that are on. One that cannot be carried out is left out, and said in the log."""
    found = []
    for plugin, params in on:
        for playbook in plugin.playbooks:
            try:
                found.append(program(plugin.name, playbook, params[playbook.key], ctx.plugins.catalog))
            except SiyuError as error:
                log.error("%s", error)
    return found


def by_name(ctx: Context, cohorts: Sequence[Cohort]) -> dict[str, Program]:
    """The playbooks of a brand by name. While a change is rolled out: those of the users for whom it holds."""
    return {each.name: each for cohort in reversed(cohorts) for each in programs(ctx, cohort.on)}


async def kept(ctx: Context, connection: Connection, brand_id: int, version_ids: Iterable[int]) -> dict[int, Program]:
    """The programs of versions, by id."""
    for each in version_ids:
        if each not in ctx.programs:
            ctx.programs[each] = Program.of(await enrolments.kept_version(connection, brand_id, each))
    return {each: ctx.programs[each] for each in version_ids}


async def listen(ctx: Context, connection: Connection, brand_id: int, cohorts: Sequence[Cohort]) -> None:
    """Note what the brand's playbooks wait for: those that are on, and those by which somebody is under way."""
    made = [each for cohort in cohorts for each in programs(ctx, cohort.on)]
    under_way = await kept(ctx, connection, brand_id, await enrolments.versions_under_way(connection, brand_id))
    wanted: dict[str, set[str]] = {"event": set(), "tag": set(), "stage": set()}
    for each in (*made, *under_way.values()):
        for event in each.events:
            wanted["event"].update(kinds(ctx.plugins.catalog, event))
        match each.trigger:
            case TagGained(tag) | TagLost(tag):
                wanted["tag"].add(tag)
            case StageChanged(track):
                wanted["stage"].add(track)
    await enrolments.set_listens(connection, brand_id, wanted)
