"""Which plugins a brand has on, and how they are set. A change makes the brand due for a refresh.

A change can be rolled out: it holds for a percentage of the users, and the others keep what they had, until it is
widened or taken back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from siyu.contract.errors import InputError, NotFound, PluginError, RuleError, SiyuError
from siyu.contract.manager import GUARD
from siyu.contract.program import program
from siyu.contract.rules import State
from siyu.engine.cohorts import BUCKETS, Cohort, Enabled
from siyu.engine.rulebook import Failed, Name, Rulebook, bind_fenced
from siyu.flow import states
from siyu.flow.context import Context, ask_refresh
from siyu.flow.programs import listen
from siyu.store.db import Connection
from siyu.store.decisions import Decisions
from siyu.store.models import Brand, PluginSetting, SettingChange

__all__ = [
    "SETTINGS",
    "KeptRulebook",
    "bind_cohorts",
    "cohorts",
    "cohorts_of",
    "configure",
    "content_of",
    "disable",
    "enable",
    "failure",
    "kept_rulebooks",
    "pin",
    "proposed",
    "release",
    "roll_out",
    "settings_in",
    "states_of",
    "undo",
    "undone",
]


async def cohorts(ctx: Context, brand_id: int) -> list[Cohort]:
    """The plugins that are on, with their parameters: for all users, or where a change is rolled out, by cohort.

    Plugins that cannot be loaded, and those whose settings a new version of them refuses (see
    :func:`siyu.flow.fences.refused`), are passed over.
    """
    async with ctx.db.connection() as connection:
        return await _cohorts(ctx, connection, brand_id, await _settings(connection, brand_id))


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
    ctx.plugins.get(name)
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
    if row is None or row.base is None:
        raise NotFound(f"no change of {name} is being rolled out", field="plugin", remedy="make one with a percentage")
    return await _change(ctx, brand, name, {}, percent, by=by)


async def pin(ctx: Context, brand: Brand, name: str, rule: str, version: str, *, by: str = "") -> PluginSetting:
    """Restore the state that a rule had in a version of the rulebook: from the next refresh on it is kept in place of
    fitting, until it is released."""
    _fitted(ctx, name, rule)
    async with ctx.db.connection() as connection:
        found = await states.find(connection, brand.id, name, rule, version)
    if found is None:
        raise NotFound(
            f"no state of {name}.{rule} in the version {version!r}",
            field="version",
            remedy=f"siyu plugin states {name}, or plugin {{ fitted {{ states }} }}, lists those that there are",
        )
    return await _change(ctx, brand, name, {}, None, by=by, pin=(rule, found.version))


async def release(ctx: Context, brand: Brand, name: str, rule: str, *, by: str = "") -> PluginSetting:
    """Fit a rule again that is kept to a state."""
    _fitted(ctx, name, rule)
    row = await PluginSetting.get_or_none(brand_id=brand.id, plugin=name)
    if row is None or not any(rule in row.holds(bucket).get("pinned", {}) for bucket in (0, BUCKETS - 1)):
        raise NotFound(f"{name}.{rule} is kept to no state", field="rule", remedy="it is fitted at each refresh")
    return await _change(ctx, brand, name, {}, None, by=by, pin=(rule, None))


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
    async with ctx.db.connection() as connection:
        rows = await _settings(connection, brand.id)
        row = _setting(ctx, brand, rows, name, wanted, percent)
        would = await _cohorts(ctx, connection, brand.id, _with(row, rows))
    return await _check(ctx, row, would)


async def undo(ctx: Context, brand: Brand, name: str, *, by: str = "") -> PluginSetting:
    """Take back the newest change of a plugin's setting that has not been taken back; again, the one before it.

    Decisions that the change made are given back as they were, since when included, as far as the rules still say so.
    Of two changes with a refresh between them the second is taken back, with a refresh, before the first: who has been
    put back by the second where they were before the first shows nothing to give back. :class:`InputError` says so.

    Refused while a rule fails under what would be given back: it would be fenced, and decisions that only it can give
    back would be lost. What the change made stands until the plugin is mended.
    """
    ctx.plugins.get(name)
    taken_back = SettingChange.filter(brand_id=brand.id, plugin=name).exclude(undoes=None)
    undone = [change.undoes for change in await taken_back]
    open_ = SettingChange.filter(brand_id=brand.id, plugin=name, undoes=None).exclude(id__in=undone or [0])
    newest = await open_.order_by("-id").first()
    if newest is None:
        raise NotFound(f"no change of {name} is left to undo", field="plugin", remedy="its history lists the changes")
    try:
        return await _change(ctx, brand, name, {**ALL, "pinned": {}, **newest.before}, None, by=by, undoes=newest)
    except (PluginError, RuleError) as error:
        raise PluginError(
            f"what would be given back fails: {error.message}",
            field=error.field,
            remedy="mend the plugin and undo then, which gives back everything as it was; or switch it off until then",
        ) from error


@dataclass(frozen=True)
class KeptRulebook:
    """A rulebook that users in buckets below ``below`` were last decided by."""

    below: int
    id: int
    version: str
    content: dict[str, Any]


async def kept_rulebooks(connection: Connection, brand_id: int, which: str | None = None) -> list[KeptRulebook]:
    """The brand's rulebooks, by cohort; none before there is one. ``which`` they are stands in the brand's row, unless
    it has been read already."""
    rows = await connection.fetch(
        "SELECT (r->>0)::int AS below, v.id, v.version, v.content"
        " FROM brand b, jsonb_array_elements(coalesce($2::jsonb, b.rulebooks)) r"
        " JOIN rulebook_version v ON v.id = (r->>1)::bigint WHERE b.id = $1 AND v.brand_id = $1 ORDER BY 1",
        brand_id,
        which,
    )
    return [KeptRulebook(row["below"], row["id"], row["version"], json.loads(row["content"])) for row in rows]


def content_of(kept: Sequence[KeptRulebook], cohort: Cohort) -> dict[str, Any]:
    """The content of the rulebook that the users of a cohort were last decided by; empty before there is one.

    Where they were decided by several, that of the same settings: of a change that was tried for some and is over.
    """
    lows = [0, *(each.below for each in kept)]
    theirs = [each for low, each in zip(lows, kept, strict=False) if low < cohort.below and cohort.low < each.below]
    wanted = {
        plugin.name: {key: value.model_dump(mode="json") for key, value in params.items()}
        for plugin, params in cohort.on
    }
    for each in theirs:
        if {name: entry["params"] for name, entry in each.content["settings"].items()} == wanted:
            return each.content
    return theirs[0].content if theirs else {}


async def bind_cohorts(
    cohorts: Sequence[Cohort], kept: Sequence[KeptRulebook], fenced: Failed
) -> list[tuple[Rulebook, Failed]]:
    """The rulebook of each cohort, with what was fitted last, and the rules that fail: those that are ``fenced``, which
    are not asked, and others."""
    contents = [content_of(kept, cohort) for cohort in cohorts]
    return [
        await asyncio.to_thread(bind_fenced, cohort.on, states_of(content), fenced=fenced, previous=content)
        for cohort, content in zip(cohorts, contents, strict=True)
    ]


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


SETTINGS = """(
    SELECT coalesce(jsonb_agg(jsonb_build_object('plugin', plugin, 'enabled', enabled, 'params', params,
        'percent', percent, 'base', base, 'pinned', pinned) ORDER BY plugin), '[]')::text
    FROM plugin_setting WHERE brand_id = $1)"""
"""SQL of how the plugins of brand ``$1`` are set; :func:`settings_in` reads it."""


def settings_in(text: str, brand_id: int) -> list[PluginSetting]:
    """What :data:`SETTINGS` gave, ordered by plugin."""
    return [PluginSetting(brand_id=brand_id, **setting) for setting in json.loads(text)]


async def _settings(connection: Connection, brand_id: int) -> list[PluginSetting]:
    return settings_in(await connection.fetchval(f"SELECT {SETTINGS}", brand_id), brand_id)


async def _cohorts(ctx: Context, connection: Connection, brand_id: int, rows: Sequence[PluginSetting]) -> list[Cohort]:
    kept: dict[states.Pin, State] = {}
    if wanted := {pin for row in rows for bucket in (0, BUCKETS - 1) for pin in _pins(row, bucket)}:
        kept = await states.states_in(connection, brand_id, wanted)
    return cohorts_of(ctx, rows, kept)


def cohorts_of(
    ctx: Context, rows: Sequence[PluginSetting], kept: Mapping[states.Pin, State] | None = None
) -> list[Cohort]:
    """As :func:`cohorts`, from a brand's settings, ordered by plugin, and the states that are ``kept`` for its pins."""
    cuts = sorted({row.percent for row in rows if row.base is not None} | {BUCKETS})
    return [
        Cohort(
            low,
            below,
            [pair for row in rows for pair in _on(ctx, row, low)],
            _by_plugin([pin for row in rows for pin in _pins(row, low)], kept or {}),
        )
        for low, below in zip([0, *cuts], cuts, strict=False)
    ]


def _pins(row: PluginSetting, bucket: int) -> list[states.Pin]:
    return [(row.plugin, rule, version) for rule, version in row.holds(bucket).get("pinned", {}).items()]


def _by_plugin(pins: Sequence[states.Pin], kept: Mapping[states.Pin, State]) -> dict[str, dict[str, State]]:
    found: dict[str, dict[str, State]] = {}
    for each in pins:
        if each in kept:
            found.setdefault(each[0], {})[each[1]] = kept[each]
    return found


def _fitted(ctx: Context, name: str, rule: str) -> None:
    keys = [each.key for each in ctx.plugins.get(name).fitted]
    if rule not in keys:
        raise NotFound(f"{name} fits no rule {rule!r}", field="rule", remedy=f"fitted are: {', '.join(keys) or 'none'}")


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
    pin: tuple[str, str | None] | None = None,
) -> PluginSetting:
    ctx.plugins.get(name)
    # Who waits here for the brand holds a connection: none of those may be needed to go on.
    async with ctx.db.transaction() as connection:
        await connection.execute("SELECT FROM brand WHERE id = $1 FOR UPDATE", brand.id)
        rows = await _settings(connection, brand.id)
        before = _stands(next((row for row in rows if row.plugin == name), None), name)
        row = _setting(ctx, brand, rows, name, wanted, percent)
        if pin is not None:
            row.pin(*pin)
        after = _stands(row, name)
        would = await _check(ctx, row, await _cohorts(ctx, connection, brand.id, _with(row, rows)))
        if undoes and await connection.fetchval(_BETWEEN, brand.id, undoes.at):
            raise InputError(
                "a later change was taken back, and its decisions are not given back yet",
                field="plugin",
                remedy="wait for the refresh that was asked for, then undo this one",
            )
        # All or nothing: whoever sees the setting sees the mark of what it changes, too.
        mark = await Decisions(ctx.home, brand.id).written(connection)
        values = (json.dumps(value) for value in (row.params, row.base, row.pinned))
        await connection.execute(_SET, brand.id, name, row.enabled, *values, row.percent, by)
        if after != before:
            history = (json.dumps(before), json.dumps(after))
            await connection.execute(
                _NOTE, brand.id, name, by, *history, undoes and undoes.id, mark, (undoes and undoes.mark) or None
            )
        await listen(ctx, connection, brand.id, would)
        await ask_refresh(connection, brand.id)
    await ctx.db.signals.tell(brand.id, "plugin")
    return await PluginSetting.get(brand_id=brand.id, plugin=name)


# Of two changes, each with a refresh of its own, the later has been taken back, and no refresh has followed.
_BETWEEN = """
SELECT EXISTS (
    SELECT FROM setting_change undo
    JOIN setting_change change ON change.id = undo.undoes
    JOIN run mine ON mine.brand_id = $1 AND mine.kind = 'refresh' AND mine.status = 'done'
        AND mine.finished_at > $2 AND mine.started_at < change.at
    JOIN run theirs ON theirs.brand_id = $1 AND theirs.kind = 'refresh' AND theirs.status = 'done'
        AND theirs.finished_at > change.at AND theirs.started_at < undo.at AND theirs.id <> mine.id
    WHERE undo.brand_id = $1 AND undo.restores IS NOT NULL
)
"""
_SET = """
INSERT INTO plugin_setting (brand_id, plugin, enabled, params, base, pinned, percent, changed_by, changed_at)
VALUES ($1, $2, $3, $4::jsonb, nullif($5::jsonb, 'null'), $6::jsonb, $7, $8, clock_timestamp())
ON CONFLICT (brand_id, plugin) DO UPDATE SET enabled = excluded.enabled, params = excluded.params,
    base = excluded.base, pinned = excluded.pinned, percent = excluded.percent, changed_by = excluded.changed_by,
    changed_at = excluded.changed_at
"""
_NOTE = """
INSERT INTO setting_change (brand_id, plugin, by, before, after, undoes, mark, restores, at)
VALUES ($1, $2, $3, $4::jsonb, $5::jsonb, $6, $7, $8, clock_timestamp())
"""


def _stands(row: PluginSetting | None, name: str) -> dict[str, Any]:
    """A setting as the history keeps it."""
    if row is None:
        return {"enabled": name == GUARD, "params": {}}
    partly = {} if row.base is None else {"percent": row.percent, "base": row.base}
    return {**row.own, **partly}


def _setting(
    ctx: Context,
    brand: Brand,
    rows: Sequence[PluginSetting],
    name: str,
    wanted: Mapping[str, Any],
    percent: int | None,
) -> PluginSetting:
    """The setting as it would be, for ``percent`` of the users (None: as ``wanted`` says); not saved."""
    ctx.plugins.get(name)
    if name == GUARD and wanted.get("enabled") is False:
        raise PluginError(
            "nothing goes out around the guard", field="plugin", remedy="set the numbers of its checks instead"
        )
    new = PluginSetting(brand_id=brand.id, plugin=name, enabled=name == GUARD, params={}, **ALL)
    row = next((row for row in rows if row.plugin == name), new)
    if percent is not None:
        if not 1 <= percent <= BUCKETS:
            raise InputError(f"{percent} % of the users", field="percent", remedy=f"use 1 to {BUCKETS}")
        others = row.holds(BUCKETS - 1)
        wanted = {**wanted, **(ALL if percent == BUCKETS else {"percent": percent, "base": others})}
    row = row.update_from_dict(dict(wanted))
    # What is the same for all is not being rolled out.
    return row.update_from_dict(dict(ALL)) if row.base == row.own else row


def _with(row: PluginSetting, rows: Sequence[PluginSetting]) -> list[PluginSetting]:
    return sorted({each.plugin: each for each in (*rows, row)}.values(), key=lambda each: each.plugin)


async def _check(ctx: Context, row: PluginSetting, would: list[Cohort]) -> list[Cohort]:
    """The cohorts that would be; refuses settings under which this plugin's rules fail, or there is no rulebook."""
    plugin = ctx.plugins.get(row.plugin)
    # One that cannot be loaded can still be switched off.
    if row.enabled or plugin.refused is None:
        plugin.params(row.params)
    for cohort in would:
        _, failed = await asyncio.to_thread(bind_fenced, cohort.on, cohort.pinned)
        for each, params in cohort.on:
            for playbook in each.playbooks if each is plugin else ():
                program(each.name, playbook, params[playbook.key], ctx.plugins.catalog, ctx.plugins.channels)
        for (owner, rule), error in failed.items():
            if owner == plugin.name:
                if rule in cohort.pinned.get(owner, {}):
                    raise RuleError(
                        f"it cannot go on with the state that it is kept to: {error!r}",
                        field=f"{owner}.{rule}",
                        remedy="pin another, or release it",
                    ) from error
                raise failure((owner, rule), error) from error
    return would


def failure(rule: Name, error: Exception) -> SiyuError:
    """That a rule fails, for a person to read."""
    if isinstance(error, SiyuError):
        return error
    return PluginError(f"its rule fails: {error!r}", field=".".join(rule), remedy="mend the plugin")
