"""Whether a plugin works for a brand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import strawberry
from siyu import PluginError
from siyu.contract import unknown_tags as core
from siyu.contract.manager import GUARD
from siyu.contract.manager import Plugin as Installed
from siyu.flow.context import Context
from siyu.flow.fences import LAST_GOOD
from siyu.flow.unknown_tags import unknown_tags
from siyu.store.db import Connection
from siyu.store.models import PluginSetting

from siyu_graphql.context import Info
from siyu_graphql.fields import computed

__all__ = ["Fence", "PluginStatus", "UnknownTag", "status_of"]


@strawberry.enum(description="Whether a plugin works for a brand.")
class PluginState(Enum):
    OFF = strawberry.enum_value("off", description="The brand has it off.")
    ON = strawberry.enum_value("on", description="It is on, at least for a part of the users, and works.")
    FENCED = strawberry.enum_value(
        "fenced", description="It is on, but rules of it fail. What these last decided stands; the others go on."
    )
    REFUSED = strawberry.enum_value(
        "refused",
        description="Its installed version cannot be loaded, or refuses the parameters that are set."
        " Where it is on, all that it last decided stands.",
    )


@strawberry.type(
    description="A rule that fails for the brand. What it last decided stands; each refresh tries it again,"
    " and `retryPlugin` at once."
)
class Fence:
    rule: str = strawberry.field(description="The key of the rule, as its parameters are grouped.")
    error: str = strawberry.field(description="Why it fails, with the remedy where siyu knows one.")
    since: datetime = strawberry.field(description="When it was first seen to fail.")
    last_good: datetime | None = strawberry.field(
        description="When it last decided for the whole brand; null if it never did."
    )


@strawberry.type(
    description="A tag that a rule or playbook asks for, and nothing gives that the brand has on: nobody has it."
)
class UnknownTag:
    plugin: str = strawberry.field(description="The name of the plugin that asks for it.")
    rule: str = strawberry.field(description="The key of the rule or playbook, as its parameters are grouped.")
    tag: str = strawberry.field(description="The key of the tag; `pets.next_*` stands for all that begin so.")
    given_by: str | None = strawberry.field(
        description="The installed plugin that would give it: it is off, or set otherwise. Null where there is none,"
        " and the tag may be misspelt."
    )
    remedy: str = strawberry.field(description="What to do, with the nearest tags that there are.")

    @classmethod
    def of(cls, it: core.UnknownTag) -> UnknownTag:
        """As it is shown."""
        return cls(plugin=it.plugin, rule=it.rule, tag=it.tag, given_by=it.given_by, remedy=it.remedy)


@strawberry.type(description="Whether the plugin works for the brand, and if not, since when and why.")
class PluginStatus:
    state: PluginState = strawberry.field(description="Whether it works.")
    error: str | None = strawberry.field(
        description="Why it does not, or not wholly, with the remedy where siyu knows one."
    )
    since: datetime | None = strawberry.field(description="Since when a rule of it fails; null where none does.")
    last_good: datetime | None = strawberry.field(
        description="When all of its rules last decided for the whole brand; null where it is off or they never did."
    )
    fences: list[Fence] = strawberry.field(description="Its rules that fail for the brand; none where all is well.")
    brand_id: strawberry.Private[int]
    plugin: strawberry.Private[str]

    @computed("The tags that it asks for in vain, as the brand is set now; none where it is off.")
    async def unknown_tags(self, info: Info) -> list[UnknownTag]:
        found = await info.context.loaders.ask(_unknown, self.brand_id, self.plugin, info.context.ctx)
        return [UnknownTag.of(each) for each in found or ()]


async def status_of(info: Info, brand_id: int, plugin: Installed, setting: PluginSetting | None) -> PluginStatus:
    """The status of a plugin that a brand has set so."""
    loaders = info.context.loaders
    fences = await loaders.load(_fences, brand_id, plugin.name) or []
    refused = _refusal(plugin, setting)
    on = setting.enabled or (setting.base or {}).get("enabled") if setting is not None else plugin.name == GUARD
    if not on:
        state, good = PluginState.OFF, None
    elif fences:
        state, good = PluginState.FENCED, _good(fences)
    else:
        state, good = PluginState.ON, await loaders.load(_last_good, brand_id, plugin.name)
    return PluginStatus(
        state=PluginState.REFUSED if refused else state,
        error=refused or next((each.error for each in fences), None) or _left_out(info, plugin),
        since=min((each.since for each in fences), default=None),
        last_good=good,
        fences=fences,
        brand_id=brand_id,
        plugin=plugin.name,
    )


def _left_out(info: Info, plugin: Installed) -> str | None:
    """Why the schema is without what the plugin would add."""
    error = getattr(info.schema, "refused", {}).get(plugin.name)
    return None if error is None else f"its part of the GraphQL schema is left out: {error}"


def _good(fences: Sequence[Fence]) -> datetime | None:
    """When all of the rules last decided; None where one of them never did."""
    known = [each.last_good for each in fences if each.last_good]
    return min(known) if len(known) == len(fences) else None


def _refusal(plugin: Installed, setting: PluginSetting | None) -> str | None:
    try:
        for each in (setting.params, (setting.base or {}).get("params")) if setting else (None,):
            plugin.params(each)
    except PluginError as error:
        return str(error)
    return None


async def _fences(connection: Connection, brand_id: int, plugins: Sequence[str]) -> dict[str, list[Fence]]:
    """Batch: the rules that fail, by plugin."""
    rows = await connection.fetch(
        "SELECT plugin, rule, error, since, last_good FROM fence WHERE brand_id = $1 AND plugin = ANY($2::text[])"
        " ORDER BY rule",
        brand_id,
        plugins,
    )
    found: dict[str, list[Fence]] = {}
    for row in rows:
        fence = Fence(rule=row["rule"], error=row["error"], since=row["since"], last_good=row["last_good"])
        found.setdefault(row["plugin"], []).append(fence)
    return found


async def _unknown(brand_id: int, plugins: Sequence[str], ctx: Context) -> dict[str, list[core.UnknownTag]]:
    """Batch: the tags that are asked for in vain, by plugin."""
    found: dict[str, list[core.UnknownTag]] = {}
    for each in await unknown_tags(ctx, brand_id):
        found.setdefault(each.plugin, []).append(each)
    return found


# A fence that was lifted since the last refresh is gone, but not before the next will its rule have decided for all.
_GOOD = f"""
SELECT p.name, CASE WHEN last.good IS NOT NULL THEN least(last.good, (
    SELECT min(r.started_at) FROM run r WHERE r.brand_id = $1 AND r.id IN (
        SELECT run_id FROM tag WHERE brand_id = $1 AND plugin = p.name AND active
        UNION SELECT run_id FROM stage WHERE brand_id = $1 AND plugin = p.name AND active))) END AS good
FROM brand b, unnest($2::text[]) p (name), LATERAL (SELECT {LAST_GOOD} AS good) last WHERE b.id = $1
"""


async def _last_good(connection: Connection, brand_id: int, plugins: Sequence[str]) -> dict[str, datetime | None]:
    """Batch: when rules that do not fail last decided for the whole brand, by plugin."""
    rows = await connection.fetch(_GOOD, brand_id, plugins)
    return {row["name"]: row["good"] for row in rows}
