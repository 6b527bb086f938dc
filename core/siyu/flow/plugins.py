"""Which plugins a brand has on, and how they are set. A change makes the brand due for a refresh.

A change can be rolled out: it holds for a percentage of the users, and the others keep what they had, until it is
widened or taken back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from siyu.contract.errors import InputError, NotFound, PluginError, SiyuError
from siyu.contract.rules import State
from siyu.engine.cohorts import BUCKETS, Cohort, Enabled
from siyu.engine.rulebook import bind_fenced
from siyu.flow.context import Context, ask_refresh
from siyu.store.db import Connection
from siyu.store.decisions import Decisions
from siyu.store.models import Brand, PluginSetting, SettingChange

__all__ = [
    "Kept",
    "cohorts",
    "cohorts_of",
    "configure",
    "content_of",
    "disable",
    "enable",
    "kept_rulebooks",
    "proposed",
    "roll_out",
    "states_of",
    "undo",
    "undone",
]


async def cohorts(ctx: Context, brand_id: int) -> list[Cohort]:
    """The plugins that are on, with their parameters: for all users, or where a change is rolled out, by cohort.

    Plugins no longer installed, and those whose settings a new version of them refuses (see
    :func:`siyu.flow.fences.refused`), are passed over.
    """
    return cohorts_of(ctx, await PluginSetting.filter(brand_id=brand_id).order_by("plugin"))


async def enable(ctx: Context, brand: Brand, name: str, *, percent: int = BUCKETS, by: str = "") -> PluginSetting:
    """Switch a plugin on, with the parameters that it had or the defaults, for ``percent`` of the users."""
    return await _change(ctx, brand, name, {"enabled": True}, percent, by=by)


async def disable(ctx: Context, brand: Brand, name: str, *, percent: int = BUCKETS, by: str = "") -> PluginSetting:
    """Switch a plugin off; the next refresh takes back its tags and stages. Its parameters are kept."""
    return await _change(ctx, brand, name, {"enabled": False}, percent, by=by)


async def configure(
    ctx: Context, brand: Brand, name: str, params: Mapping[str, Any], *, percent: int = BUCKETS, by: str = ""
) -> PluginSetting:
    """Set the parameters of a plugin, whole; what is left out takes its default."""
    return await _change(ctx, brand, name, {"params": dict(params)}, percent, by=by)


async def roll_out(ctx: Context, brand: Brand, name: str, percent: int, *, by: str = "") -> PluginSetting:
    """Let the change of a plugin that is being rolled out hold for another percentage of the users."""
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
    if row is None or row.base is None:
        raise NotFound(f"no change of {name} is being rolled out", field="plugin", remedy="make one with a percentage")
    return await _change(ctx, brand, name, {}, percent, by=by)


async def proposed(
    ctx: Context,
    brand: Brand,
    name: str,
    *,
    enabled: bool | None,
    params: Mapping[str, Any] | None,
    percent: int = BUCKETS,
) -> list[Cohort]:
    """What :func:`cohorts` would give were the plugin set so; refuses what the change would be refused for."""
    wanted: dict[str, Any] = {} if enabled is None else {"enabled": enabled}
    if params is not None:
        wanted["params"] = dict(params)
    return await _check(ctx, brand, await _setting(ctx, brand, name, wanted, percent))


async def undo(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Take back the newest change of a plugin's setting that has not been taken back; again, the one before it.

    Decisions that the change made are given back as they were, since when included, as far as the rules still say so.
    """
    taken_back = SettingChange.filter(brand_id=brand.id, plugin=name).exclude(undoes=None)
    undone = [change.undoes for change in await taken_back]
    open_ = SettingChange.filter(brand_id=brand.id, plugin=name, undoes=None).exclude(id__in=undone or [0])
    newest = await open_.order_by("-id").first()
    if newest is None:
        raise NotFound(f"no change of {name} is left to undo", field="plugin", remedy="its history lists the changes")
    return await _change(ctx, brand, name, {**ALL, **newest.before}, None, by=by, undoes=newest)


@dataclass(frozen=True)
class Kept:
    """A rulebook that users in buckets below ``below`` were last decided by."""

    below: int
    id: int
    version: str
    content: dict[str, Any]


async def kept_rulebooks(connection: Connection, brand_id: int) -> list[Kept]:
    """The brand's rulebooks, by cohort; none before there is one."""
    rows = await connection.fetch(
        "SELECT (r->>0)::int AS below, v.id, v.version, v.content FROM brand b, jsonb_array_elements(b.rulebooks) r"
        " JOIN rulebook_version v ON v.id = (r->>1)::bigint WHERE b.id = $1 AND v.brand_id = $1 ORDER BY 1",
        brand_id,
    )
    return [Kept(row["below"], row["id"], row["version"], json.loads(row["content"])) for row in rows]


def content_of(kept: Sequence[Kept], cohort: Cohort) -> dict[str, Any]:
    """The content of the rulebook that the users of a cohort were last decided by; empty before there is one."""
    return next((each.content for each in kept if cohort.low < each.below), {})


async def undone(connection: Connection, brand_id: int) -> tuple[int | None, int]:
    """The newest decision before the changes that were undone since the last refresh, and the newest of those undos."""
    row = await connection.fetchrow(
        "SELECT min(restores) AS mark, coalesce(max(id), 0) AS newest FROM setting_change"
        " WHERE brand_id = $1 AND restores IS NOT NULL",
        brand_id,
    )
    return row["mark"], row["newest"]


def states_of(content: Mapping[str, Any]) -> dict[str, dict[str, State]]:
    """The fitted states in the content of a rulebook, by plugin and rule."""
    return {plugin: dict(entry.get("states", {})) for plugin, entry in content.get("settings", {}).items()}


ALL: Mapping[str, Any] = {"percent": BUCKETS, "base": None}
"""Of a setting that holds for all users."""


def cohorts_of(ctx: Context, rows: Sequence[PluginSetting]) -> list[Cohort]:
    """As :func:`cohorts`, from the settings of a brand, ordered by plugin."""
    cuts = sorted({row.percent for row in rows if row.base is not None} | {BUCKETS})
    return [
        Cohort(low, below, [pair for row in rows for pair in _on(ctx, row, low)])
        for low, below in zip([0, *cuts], cuts, strict=False)
    ]


def _on(ctx: Context, row: PluginSetting, bucket: int) -> Enabled:
    plugin = ctx.plugins.plugins.get(row.plugin)
    here = row.holds(bucket)
    if plugin is not None and here["enabled"]:
        with suppress(PluginError):
            return [(plugin, plugin.params(here["params"]))]
    return []


async def _change(
    ctx: Context,
    brand: Brand,
    name: str,
    wanted: Mapping[str, Any],
    percent: int | None,
    *,
    by: str,
    undoes: SettingChange | None = None,
) -> PluginSetting:
    async with ctx.db.transaction() as connection:
        await connection.execute("SELECT FROM brand WHERE id = $1 FOR UPDATE", brand.id)
        before = _stands(await PluginSetting.get_or_none(brand_id=brand.id, plugin=name))
        row = await _setting(ctx, brand, name, wanted, percent)
        row.changed_by = by
        after = _stands(row)
        await _check(ctx, brand, row)
        await row.save()
        if after != before:
            await SettingChange.create(
                brand_id=brand.id,
                plugin=name,
                by=by,
                before=before,
                after=after,
                undoes=undoes and undoes.id,
                mark=await Decisions(ctx.home, brand.id).written(connection),
                restores=undoes and undoes.mark,
            )
        await ask_refresh(connection, brand.id)
    return row


def _stands(row: PluginSetting | None) -> dict[str, Any]:
    """A setting as the history keeps it."""
    if row is None:
        return {"enabled": False, "params": {}}
    partly = {} if row.base is None else {"percent": row.percent, "base": row.base}
    return {"enabled": row.enabled, "params": row.params, **partly}


async def _setting(
    ctx: Context, brand: Brand, name: str, wanted: Mapping[str, Any], percent: int | None
) -> PluginSetting:
    """The setting as it would be, for ``percent`` of the users (None: as ``wanted`` says); not saved."""
    ctx.plugins.get(name)
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
    row = row or PluginSetting(brand_id=brand.id, plugin=name, enabled=False, params={}, **ALL)
    if percent is not None:
        if not 1 <= percent <= BUCKETS:
            raise InputError(f"{percent} % of the users", field="percent", remedy=f"use 1 to {BUCKETS}")
        others = row.holds(BUCKETS - 1)
        wanted = {**wanted, **(ALL if percent == BUCKETS else {"percent": percent, "base": others})}
    return row.update_from_dict(dict(wanted))


async def _check(ctx: Context, brand: Brand, row: PluginSetting) -> list[Cohort]:
    """The cohorts that would be; refuses settings under which this plugin's rules fail, or there is no rulebook."""
    plugin = ctx.plugins.get(row.plugin)
    plugin.params(row.params)
    others = await PluginSetting.filter(brand_id=brand.id).exclude(plugin=row.plugin)
    would = cohorts_of(ctx, sorted([*others, row], key=lambda each: each.plugin))
    for cohort in would:
        _, failed = bind_fenced(cohort.on, {})
        for (owner, rule), error in failed.items():
            if owner == plugin.name:
                if isinstance(error, SiyuError):
                    raise error
                raise PluginError(
                    f"its rule fails: {error!r}", field=f"{owner}.{rule}", remedy="mend the plugin"
                ) from error
    return would
