"""Commands on fitted states: look at them, restore one, release it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.admin import change, plugin
from siyu.cli.session import BrandOption, JsonOption, Session, author, local, out, print_json, session
from siyu.contract.errors import InputError
from siyu.flow import plugins, states
from siyu.flow.context import Context, brand_by_slug
from siyu.store.models import PluginSetting

__all__ = ["plugin"]

RuleOption = Annotated[str, typer.Option("--rule", help="The key of the rule; needed where a plugin fits several.")]


@plugin.command("states")
def plugin_states(
    name: str, brand: BrandOption, as_json: JsonOption = False, limit: Annotated[int, typer.Option(min=1)] = 20
) -> None:
    """Show what the plugin's rules learned from all users, each state once, the latest first."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        at_hand.ctx.plugins.get(name)
        async with at_hand.ctx.db.connection() as connection:
            found = await states.listed(connection, target.id, name, limit)
        if as_json:
            print_json(found)
            return
        row = await PluginSetting.get_or_none(brand_id=target.id, plugin=name)
        pinned = row.pinned if row else {}
        table = Table("rule", "version", "since", "", "state")
        for each in found:
            held = ["now"] * each.current + ["[bold]pinned[/]"] * (pinned.get(each.rule) == each.version)
            since = local(each.since, target)
            table.add_row(each.rule, each.version, since, ", ".join(held), escape(json.dumps(each.state)))
        out.print(table)

    session(work)


@plugin.command("pin")
def plugin_pin(
    name: str,
    version: Annotated[str, typer.Argument(help="As siyu plugin states shows it.")],
    brand: BrandOption,
    rule: RuleOption = "",
) -> None:
    """Restore a state that a rule had, and decide anew: it is kept, and not fitted, until it is released."""
    change(brand, lambda ctx, target: plugins.pin(ctx, target, name, rule or _only(ctx, name), version, by=author()))


@plugin.command("release")
def plugin_release(name: str, brand: BrandOption, rule: RuleOption = "") -> None:
    """Fit a rule again that is kept to a state, and decide anew."""
    change(brand, lambda ctx, target: plugins.release(ctx, target, name, rule or _only(ctx, name), by=author()))


def _only(ctx: Context, name: str) -> str:
    keys = [rule.key for rule in ctx.plugins.get(name).fitted]
    if len(keys) != 1:
        remedy = f"say which: --rule {' or '.join(keys)}" if keys else "siyu plugin list shows what each declares"
        raise InputError(f"{name} fits {len(keys) or 'no'} rules", field="rule", remedy=remedy)
    return keys[0]
