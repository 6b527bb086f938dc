"""Fences: a rule that fails for a brand stops nobody else. Its last good decisions stand, and its error shows.

Each refresh asks every rule again, and :func:`retry` at once; single users are decided without the fenced ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from siyu.contract.errors import PluginError, RuleError, SiyuError
from siyu.contract.rules import FittedSegmenter
from siyu.engine.cohorts import BUCKETS
from siyu.engine.rulebook import Failed, bind_fenced
from siyu.flow.context import Context, ask_refresh
from siyu.flow.plugins import cohorts, content_of, kept_rulebooks, states_of
from siyu.store.db import Connection
from siyu.store.models import Brand, Fence, PluginSetting

__all__ = ["known", "note", "refused", "refused_of", "retry"]


async def known(brand_id: int) -> Failed:
    """The rules that are fenced."""
    return {(fence.plugin, fence.rule): RuleError(fence.error) for fence in await Fence.filter(brand_id=brand_id)}


async def refused(ctx: Context, brand_id: int) -> Failed:
    """The rules of plugins that are on, but were refused when they were loaded, or refuse their stored parameters."""
    return await refused_of(ctx, brand_id, await PluginSetting.filter(brand_id=brand_id))


async def refused_of(ctx: Context, brand_id: int, rows: Iterable[PluginSetting]) -> Failed:
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
                rules = [rule.key for rule in plugin.rules] or await _ruled(ctx, brand_id, plugin.name)
                failed.update({(plugin.name, rule): error for rule in rules})
    return failed


async def _ruled(ctx: Context, brand_id: int, plugin: str) -> list[str]:
    """The rules of a plugin that nothing else is known of: those that the brand's rulebook was made of."""
    async with ctx.db.connection() as connection:
        rows = await connection.fetch(_RULED, brand_id, plugin)
    return [row["rule"] for row in rows]


_RULED = """
SELECT DISTINCT entry.value->>'rule' AS rule FROM brand b
CROSS JOIN LATERAL jsonb_array_elements(b.rulebooks) r
JOIN rulebook_version v ON v.brand_id = b.id AND v.id = (r->>1)::bigint
CROSS JOIN LATERAL jsonb_each(v.content->'tags' || (v.content->'tracks')) entry
WHERE b.id = $1 AND entry.value->>'plugin' = $2
"""


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


async def retry(ctx: Context, brand: Brand, name: str) -> None:
    """Ask the fenced rules of a plugin again, lift the fences of those that answer, and ask for a refresh.

    Whether a rule can be fitted again only the refresh can tell, so its fence stays until then.
    """
    plugin = ctx.plugins.get(name)
    fenced = await known(brand.id)
    out = {**{rule: error for rule, error in fenced.items() if rule[0] != name}, **await refused(ctx, brand.id)}
    async with ctx.db.connection() as connection:
        kept = await kept_rulebooks(connection, brand.id)
    failed: Failed = {}
    for cohort in await cohorts(ctx, brand.id):
        content = content_of(kept, cohort)
        _, broken = await asyncio.to_thread(bind_fenced, cohort.on, states_of(content), fenced=out, previous=content)
        failed |= {rule: error for rule, error in broken.items() if rule[0] == name}
    fitted = [rule.key for rule in plugin.rules if isinstance(rule, FittedSegmenter)]
    stay = [*fitted, *(rule for _, rule in failed)]
    async with ctx.db.transaction() as connection:
        await connection.execute(
            "DELETE FROM fence WHERE brand_id = $1 AND plugin = $2 AND NOT rule = ANY($3::text[])", brand.id, name, stay
        )
        await note(connection, brand.id, failed, all_asked=False)
        await ask_refresh(connection, brand.id)
    await ctx.db.signals.tell(brand.id, "plugin")


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, SiyuError) else f"{type(error).__name__}: {error}"[:500]
