"""Which plugins a brand has on, and how they are set. A change makes the brand due for a refresh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from siyu.contract.errors import NotFound, PluginError, SiyuError
from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import State
from siyu.engine.rulebook import bind_fenced
from siyu.flow.context import Context, ask_refresh
from siyu.store.db import Connection
from siyu.store.models import Brand, PluginSetting, SettingChange

__all__ = [
    "Enabled",
    "configure",
    "current_content",
    "disable",
    "enable",
    "enabled",
    "proposed",
    "states_of",
    "undo",
]

Enabled = list[tuple[Plugin, Mapping[str, Params]]]


async def enabled(ctx: Context, brand_id: int) -> Enabled:
    """The plugins that are on, with their parameters.

    Plugins no longer installed, and those whose settings a new version of them refuses (see
    :func:`siyu.flow.fences.refused`), are passed over.
    """
    on: Enabled = []
    for row in await PluginSetting.filter(brand_id=brand_id, enabled=True).order_by("plugin"):
        plugin = ctx.plugins.plugins.get(row.plugin)
        if plugin is not None:
            with suppress(PluginError):
                on.append((plugin, plugin.params(row.params)))
    return on


async def enable(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Switch a plugin on, with the parameters that it had or the defaults."""
    return await _change(ctx, brand, name, enabled=True, params=None, by=by)


async def disable(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Switch a plugin off; the next refresh takes back its tags and stages. Its parameters are kept."""
    return await _change(ctx, brand, name, enabled=False, params=None, by=by)


async def configure(ctx: Context, brand: Brand, name: str, params: Mapping[str, Any], *, by: str = "") -> PluginSetting:
    """Set the parameters of a plugin, whole; what is left out takes its default."""
    return await _change(ctx, brand, name, enabled=None, params=dict(params), by=by)


async def proposed(
    ctx: Context, brand: Brand, name: str, *, enabled: bool | None, params: Mapping[str, Any] | None
) -> Enabled:
    """What :func:`enabled` would give were the plugin set so; refuses what the change would be refused for."""
    plugin = ctx.plugins.get(name)
    row = await _setting(brand, name, enabled=enabled, params=None if params is None else dict(params))
    return await _check(ctx, brand, plugin, row)


async def undo(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Take back the newest change of a plugin's setting that has not been taken back; again, the one before it."""
    taken_back = SettingChange.filter(brand_id=brand.id, plugin=name).exclude(undoes=None)
    undone = [change.undoes for change in await taken_back]
    open_ = SettingChange.filter(brand_id=brand.id, plugin=name, undoes=None).exclude(id__in=undone or [0])
    newest = await open_.order_by("-id").first()
    if newest is None:
        raise NotFound(f"no change of {name} is left to undo", field="plugin", remedy="its history lists the changes")
    before = newest.before
    return await _change(ctx, brand, name, enabled=before["enabled"], params=before["params"], by=by, undoes=newest.id)


async def current_content(connection: Connection, brand_id: int) -> dict[str, Any]:
    """The content of the brand's rulebook; empty before there is one."""
    content = await connection.fetchval(
        "SELECT v.content FROM brand b"
        " JOIN rulebook_version v ON v.brand_id = b.id AND v.id = b.rulebook_id WHERE b.id = $1",
        brand_id,
    )
    return dict(json.loads(content)) if content else {}


def states_of(content: Mapping[str, Any]) -> dict[str, dict[str, State]]:
    """The fitted states in the content of a rulebook, by plugin and rule."""
    return {plugin: dict(entry.get("states", {})) for plugin, entry in content.get("settings", {}).items()}


async def _change(
    ctx: Context,
    brand: Brand,
    name: str,
    *,
    enabled: bool | None,
    params: dict[str, Any] | None,
    by: str,
    undoes: int | None = None,
) -> PluginSetting:
    plugin = ctx.plugins.get(name)
    async with ctx.db.transaction() as connection:
        await connection.execute("SELECT FROM brand WHERE id = $1 FOR UPDATE", brand.id)
        row = await _setting(brand, name, enabled=enabled, params=params)
        stood = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
        before = {"enabled": stood.enabled, "params": stood.params} if stood else {"enabled": False, "params": {}}
        row.changed_by = by
        after = {"enabled": row.enabled, "params": row.params}
        await _check(ctx, brand, plugin, row)
        await row.save()
        if after != before:
            await SettingChange.create(brand_id=brand.id, plugin=name, by=by, before=before, after=after, undoes=undoes)
        await ask_refresh(connection, brand.id)
    return row


async def _setting(brand: Brand, name: str, *, enabled: bool | None, params: dict[str, Any] | None) -> PluginSetting:
    """The setting as it would be; not saved."""
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
    row = row or PluginSetting(brand_id=brand.id, plugin=name, enabled=False, params={})
    row.enabled = row.enabled if enabled is None else enabled
    row.params = row.params if params is None else params
    return row


async def _check(ctx: Context, brand: Brand, plugin: Plugin, row: PluginSetting) -> Enabled:
    """The plugins that would be on; refuses settings under which this one's rules fail, or there is no rulebook."""
    others = [pair for pair in await enabled(ctx, brand.id) if pair[0] is not plugin]
    mine: Enabled = [(plugin, plugin.params(row.params))]
    on = [*others, *(mine if row.enabled else [])]
    _, failed = bind_fenced(on, {})
    for (owner, rule), error in failed.items():
        if owner == plugin.name:
            if isinstance(error, SiyuError):
                raise error
            raise PluginError(
                f"its rule fails: {error!r}", field=f"{owner}.{rule}", remedy="mend the plugin"
            ) from error
    return on
