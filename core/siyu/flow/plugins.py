"""Which plugins a brand has on, and how they are set. A change makes the brand due for a refresh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from siyu.contract.manager import Plugin
from siyu.contract.params import Params
from siyu.contract.rules import State
from siyu.engine.rulebook import Rulebook, bind
from siyu.flow.context import Context, ask_refresh
from siyu.store.db import Connection
from siyu.store.models import Brand, PluginSetting

__all__ = ["Enabled", "configure", "current_states", "disable", "enable", "enabled"]

Enabled = list[tuple[Plugin, Mapping[str, Params]]]


async def enabled(ctx: Context, brand_id: int) -> Enabled:
    """The plugins that are on, with their parameters. Settings of plugins no longer installed are passed over."""
    rows = await PluginSetting.filter(brand_id=brand_id, enabled=True).order_by("plugin")
    return [
        (plugin, plugin.params(row.params))
        for row in rows
        if (plugin := ctx.plugins.plugins.get(row.plugin)) is not None
    ]


async def enable(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Switch a plugin on, with the parameters that it had or the defaults."""
    return await _change(ctx, brand, name, enabled=True, params=None, by=by)


async def disable(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Switch a plugin off; the next refresh takes back its tags and stages. Its parameters are kept."""
    return await _change(ctx, brand, name, enabled=False, params=None, by=by)


async def configure(ctx: Context, brand: Brand, name: str, params: Mapping[str, Any], *, by: str = "") -> PluginSetting:
    """Set the parameters of a plugin, whole; what is left out takes its default."""
    return await _change(ctx, brand, name, enabled=None, params=dict(params), by=by)


async def current_states(connection: Connection, brand_id: int) -> dict[str, dict[str, State]]:
    """The fitted states of the brand's rulebook, by plugin and rule."""
    content = await connection.fetchval(
        "SELECT v.content->'settings' FROM brand b"
        " JOIN rulebook_version v ON v.brand_id = b.id AND v.id = b.rulebook_id WHERE b.id = $1",
        brand_id,
    )
    settings = json.loads(content) if content else {}
    return {plugin: dict(entry.get("states", {})) for plugin, entry in settings.items()}


async def _change(
    ctx: Context, brand: Brand, name: str, *, enabled: bool | None, params: dict[str, Any] | None, by: str
) -> PluginSetting:
    plugin = ctx.plugins.get(name)
    async with ctx.db.transaction() as connection:
        await connection.execute("SELECT FROM brand WHERE id = $1 FOR UPDATE", brand.id)
        row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
        row = row or PluginSetting(brand_id=brand.id, plugin=name, enabled=False, params={})
        row.enabled = row.enabled if enabled is None else enabled
        row.params = row.params if params is None else params
        row.changed_by = by
        await _check(ctx, brand, plugin, row)
        await row.save()
        await ask_refresh(connection, brand.id)
    return row


async def _check(ctx: Context, brand: Brand, plugin: Plugin, row: PluginSetting) -> Rulebook:
    """Refuse settings under which the brand would have no rulebook."""
    others = [pair for pair in await enabled(ctx, brand.id) if pair[0] is not plugin]
    mine: Enabled = [(plugin, plugin.params(row.params))]
    return bind([*others, *(mine if row.enabled else [])], {})
