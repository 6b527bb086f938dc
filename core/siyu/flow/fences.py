"""Fences: a rule that fails for a brand stops nobody else. Its last good decisions stand, and its error shows.

Each refresh asks every rule again, and :func:`retry` at once; single users are decided without the fenced ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from siyu.contract.errors import PluginError, RuleError, SiyuError
from siyu.engine.cohorts import BUCKETS
from siyu.engine.rulebook import Failed
from siyu.flow.context import Context, ask_refresh
from siyu.flow.plugins import KeptRulebook, bind_cohorts, cohorts, kept_rulebooks
from siyu.store.db import Connection
from siyu.store.models import Brand, Fence, PluginSetting

__all__ = ["LAST_GOOD", "fenced", "note", "refused", "refused_of", "retry", "words"]


LAST_GOOD = """CASE WHEN NOT EXISTS (
    SELECT FROM setting_change c WHERE c.brand_id = b.id AND c.plugin = p.name AND c.at > b.refreshed_at
        AND (c.after->>'enabled')::boolean AND NOT (c.before->>'enabled')::boolean
) THEN b.refreshed_at END"""
"""SQL of when the rules of a plugin ``p`` that are not fenced last decided for all of a brand ``b``; not before it was
switched on."""


async def refused(ctx: Context, brand_id: int) -> Failed:
    """The rules of plugins that are on, but were refused when they were loaded, or refuse their stored parameters."""
    async with ctx.db.connection() as connection:
        kept = await kept_rulebooks(connection, brand_id)
    return refused_of(ctx, await PluginSetting.filter(brand_id=brand_id), kept)


def refused_of(ctx: Context, rows: Iterable[PluginSetting], kept: Sequence[KeptRulebook]) -> Failed:
    """As :func:`refused`, from the settings of a brand and its rulebooks."""
    failed: Failed = {}
    for row in rows:
        plugin = ctx.plugins.plugins.get(row.plugin)
        for setting in (row.holds(0), row.holds(BUCKETS - 1)):
            if plugin is None or not setting["enabled"]:
                continue
            try:
                plugin.params(setting["params"])
            except PluginError as error:
                rules = {*(rule.key for rule in plugin.rules), *_ruled(plugin.name, kept)}
                failed.update({(plugin.name, rule): error for rule in rules})
    return failed


def _ruled(plugin: str, kept: Sequence[KeptRulebook]) -> list[str]:
    """The rules of a plugin that nothing else is known of: those that the brand's rulebooks were made of."""
    entries = (entry for each in kept for part in ("tags", "tracks") for entry in each.content[part].values())
    return sorted({entry["rule"] for entry in entries if entry["plugin"] == plugin})


async def fenced(brand_id: int, *, but: str | None = None) -> Failed:
    """The rules that are fenced, ``but`` those of one plugin."""
    rows = await Fence.filter(brand_id=brand_id).exclude(plugin=but or "")
    return {(row.plugin, row.rule): RuleError(row.error) for row in rows}


async def note(connection: Connection, brand_id: int, failed: Failed, *, all_asked: bool) -> None:
    """Fence what failed. With ``all_asked`` every rule was, and those that did not fail are fenced no longer."""
    if all_asked:
        names = [f"{plugin}/{rule}" for plugin, rule in failed]
        await connection.execute(
            "DELETE FROM fence WHERE brand_id = $1 AND NOT plugin || '/' || rule = ANY($2::text[])", brand_id, names
        )
    await connection.executemany(
        "INSERT INTO fence (brand_id, plugin, rule, error, since, last_good)"
        f" SELECT $1, $2, $3, $4, now(), {LAST_GOOD} FROM brand b, (SELECT $2::text AS name) p WHERE b.id = $1"
        " ON CONFLICT (brand_id, plugin, rule) DO UPDATE SET error = excluded.error",
        [(brand_id, plugin, rule, words(error)) for (plugin, rule), error in failed.items()],
    )


async def retry(ctx: Context, brand: Brand, name: str) -> None:
    """Ask the fenced rules of a plugin again, lift the fences of those that answer, and ask for a refresh.

    Whether a rule can be fitted again only the refresh can tell, so its fence stays until then.
    """
    plugin = ctx.plugins.get(name)
    out = await fenced(brand.id, but=name)
    async with ctx.db.connection() as connection:
        kept = await kept_rulebooks(connection, brand.id)
    out |= refused_of(ctx, await PluginSetting.filter(brand_id=brand.id), kept)
    bound = await bind_cohorts(await cohorts(ctx, brand.id), kept, out)
    failed = {rule: error for _, broken in bound for rule, error in broken.items() if rule[0] == name}
    stay = [*(rule.key for rule in plugin.fitted), *(rule for _, rule in failed)]
    async with ctx.db.transaction() as connection:
        await connection.execute(
            "DELETE FROM fence WHERE brand_id = $1 AND plugin = $2 AND NOT rule = ANY($3::text[])", brand.id, name, stay
        )
        await note(connection, brand.id, failed, all_asked=False)
        await ask_refresh(connection, brand.id)
    await ctx.db.signals.tell(brand.id, "plugin")


def words(error: Exception) -> str:
    """How a rule failed, as it is kept and shown."""
    said = str(error) if isinstance(error, SiyuError) else f"{type(error).__name__}: {error}"[:500]
    # What PostgreSQL cannot keep would let the fence itself fail.
    return said[:2_000].replace("\0", "\ufffd").encode(errors="replace").decode()
