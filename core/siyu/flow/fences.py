"""Fences: a rule that fails for a brand stops nobody else. Its last good decisions stand, and its error shows.

Each refresh asks every rule again; single users are decided without the fenced ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from siyu.contract.errors import PluginError, RuleError, SiyuError
from siyu.engine.cohorts import BUCKETS
from siyu.engine.rulebook import Failed
from siyu.flow.context import Context
from siyu.store.db import Connection
from siyu.store.models import Fence, PluginSetting

__all__ = ["known", "note", "refused", "refused_of"]


async def known(brand_id: int) -> Failed:
    """The rules that are fenced."""
    return {(fence.plugin, fence.rule): RuleError(fence.error) for fence in await Fence.filter(brand_id=brand_id)}


async def refused(ctx: Context, brand_id: int) -> Failed:
    """The rules of plugins that are on, but whose stored parameters the installed version refuses."""
    return refused_of(ctx, await PluginSetting.filter(brand_id=brand_id))


def refused_of(ctx: Context, rows: Iterable[PluginSetting]) -> Failed:
    """As :func:`refused`, from the settings of a brand."""
    failed: Failed = {}
    for row in rows:
        plugin = ctx.plugins.plugins.get(row.plugin)
        for setting in (row.holds(0), row.holds(BUCKETS - 1)):
            if plugin is None or not setting["enabled"]:
                continue
            try:
                plugin.params(setting["params"])
            except PluginError as error:
                failed.update({(plugin.name, rule.key): error for rule in plugin.rules})
    return failed


async def note(connection: Connection, brand_id: int, failed: Failed, *, all_asked: bool) -> None:
    """Fence what failed. With ``all_asked`` every rule was, and those that did not fail are fenced no longer."""
    if all_asked:
        names = [f"{plugin}/{rule}" for plugin, rule in failed]
        await connection.execute(
            "DELETE FROM fence WHERE brand_id = $1 AND NOT plugin || '/' || rule = ANY($2::text[])", brand_id, names
        )
    await connection.executemany(
        "INSERT INTO fence (brand_id, plugin, rule, error, since, last_good)"
        " SELECT $1, $2, $3, $4, now(), refreshed_at FROM brand WHERE id = $1"
        " ON CONFLICT (brand_id, plugin, rule) DO UPDATE SET error = excluded.error",
        [(brand_id, plugin, rule, _words(error)) for (plugin, rule), error in failed.items()],
    )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, SiyuError) else f"{type(error).__name__}: {error}"[:500]
