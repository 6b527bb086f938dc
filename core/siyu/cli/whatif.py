"""Commands that ask and change nothing: why, what if, and what would have been."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from siyu.cli import admin
from siyu.cli.session import BrandOption, JsonOption, Session, json_object, moment, out, pair, print_json, session
from siyu.cli.show import print_troubles
from siyu.contract.errors import InputError
from siyu.engine.effects import Moved, Size
from siyu.engine.explain import Standing, TriedStage, TriedTag, TriedTrack
from siyu.engine.words import Node
from siyu.flow import explain as explaining
from siyu.flow import preview as previewing
from siyu.flow.context import brand_by_slug, zone
from siyu.flow.facts import facts_of_users
from siyu.flow.identities import user_named
from siyu.store.models import Brand, Identity

__all__ = ["app"]

app = typer.Typer()

EnableOption = Annotated[bool | None, typer.Option("--enable/--disable", help="Switch it on or off.")]
PercentOption = admin.PercentOption
Params = Annotated[str | None, typer.Argument(help='JSON, e.g. \'{"lifecycle": {"dormant_days": 45}}\'.')]
SecondsOption = Annotated[int, typer.Option("--seconds", min=1, max=86_400, help="It is ended after so many.")]
SECONDS = 600
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 3


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="A name of the user, KIND=VALUE, e.g. member=7.")],
    brand: BrandOption,
    at: Annotated[str | None, typer.Option(help="As of a past day or moment.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show for one user every tag and stage, held or not, and why."""
    kind, value = pair(user, "USER", "KIND=VALUE")

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        number = await user_named(target, kind, value)
        when = moment(at, "--at", zone(target.zone)) if at else None
        found = await explaining.explain(at_hand.ctx, target, number, when)
        if as_json:
            print_json(found)
        else:
            out.print(_tree(found, user, zone(target.zone).key, found.at.astimezone(zone(target.zone))))
            # What they would give is not tried, and not in the tree where the user does not have it.
            await print_troubles(at_hand.ctx, target)

    session(work)


@app.command()
def facts(
    user: Annotated[str, typer.Argument(help="A name of the user, KIND=VALUE, e.g. member=7.")],
    brand: BrandOption,
    plugin: Annotated[str | None, typer.Option(help="Of the rules of this plugin only.")] = None,
    at: Annotated[str | None, typer.Option(help="As of a past day or moment.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show for one user the facts that the rules look at."""
    kind, value = pair(user, "USER", "KIND=VALUE")

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        number = await user_named(target, kind, value)
        when = moment(at, "--at", zone(target.zone)) if at else None
        found = (await facts_of_users(at_hand.ctx, target, [number], when, plugin=plugin)).get(number, [])
        if as_json:
            print_json(found)
            return
        table = Table("plugin", "rule", "fact", "", "value")
        for each in found:
            table.add_row(each.plugin, each.rule, each.name, f"[dim]{escape(each.words)}[/]", escape(each.text))
        out.print(table)

    session(work)


@admin.plugin.command("preview")
def preview(
    name: str,
    brand: BrandOption,
    params: Params = None,
    enable: EnableOption = None,
    percent: PercentOption = 100,
    seconds: SecondsOption = SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Show what switching or setting a plugin would change, and change nothing."""
    values = json_object(params) if params else None

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        async with _within(seconds, "give it more"):
            found = await previewing.preview(at_hand.ctx, target, name, enabled=enable, params=values, percent=percent)
        if as_json:
            print_json(found)
            return
        names = await _names(target, found)
        for what, effects in (("stage", found.stages), ("tag", found.tags)):
            table = Table(what, "", "today", "then", "enter", "leave", "who")
            for effect in effects:
                if effect.plugin == name or effect.enter.users or effect.leave.users:
                    counts = (effect.today, effect.proposed, effect.enter.users, effect.leave.users)
                    who = "\n".join(filter(None, (_moved("+", effect.enter, names), _moved("-", effect.leave, names))))
                    table.add_row(escape(effect.title), effect.key, *(f"{count:,}" for count in counts), who)
            if table.row_count:
                out.print(table)
        for each in found.unknown_tags:
            out.print(f"[yellow]![/] {escape(str(each))}", soft_wrap=True)
        changed = sum(effect.enter.users + effect.leave.users for effect in (*found.tags, *found.stages))
        actions = found.actions
        out.print(
            f"{found.users:,} users, {changed:,} moves, {actions.now:,} actions at once; "
            f"{actions.per_day_today:,.1f} actions a day today, {actions.per_day:,.1f} then. Nothing was written."
        )

    session(work)


@app.command()
def replay(
    brand: BrandOption,
    since: Annotated[str, typer.Option(help="The first day or moment.")],
    until: Annotated[str | None, typer.Option(help="The last one; the brand's present if not given.")] = None,
    every: Annotated[int, typer.Option(min=1, max=3660, help="Days between two moments.")] = 7,
    plugin: Annotated[str | None, typer.Option(help="Compare with another setting of this plugin.")] = None,
    params: Annotated[str | None, typer.Option(help="The parameters that it would have, JSON.")] = None,
    enable: EnableOption = None,
    percent: PercentOption = 100,
    seconds: SecondsOption = SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Show how many users each stage and tag would have had, under today's rules and others; change nothing."""
    values = json_object(params) if params else None

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        days = zone(target.zone)
        async with _within(seconds, "ask for fewer moments with --since and --every, or give it more"):
            found = await previewing.replay(
                at_hand.ctx,
                target,
                plugin,
                enabled=enable,
                params=values,
                percent=percent,
                since=moment(since, "--since", days),
                until=moment(until, "--until", days) if until else None,
                every=timedelta(days=every),
            )
        if as_json:
            print_json(found)
            return
        first, last = (found.points[end].at.astimezone(days) for end in (0, -1))
        out.print(f"{len(found.points)} moments from {first:%Y-%m-%d} to {last:%Y-%m-%d}. Nothing was written.")
        _print_series("stage", [point.stages for point in found.points], found.compared)
        _print_series("tag", [point.tags for point in found.points], found.compared)
        for each in found.failing:
            out.print(
                f"[red]{each.plugin}.{each.rule}[/] fails at {each.moments} of {len(found.points)} moments, first"
                f" {each.at.astimezone(days):%Y-%m-%d}, and decides nothing there: {escape(each.error)}",
                soft_wrap=True,
            )

    session(work)


@asynccontextmanager
async def _within(seconds: int, remedy: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise InputError(f"not done after {seconds} s, and ended", field="--seconds", remedy=remedy) from None


# -- why ------------------------------------------------------------------------------------------------------------


def _tree(found: explaining.Explanation, user: str, days: str, at: datetime) -> Tree:
    tree = Tree(f"[bold]{escape(user)}[/] at {at:%Y-%m-%d %H:%M} ({days}), rulebook {found.version}")
    for track in found.tracks:
        branch = tree.add(_head(track))
        for stage in track.stages:
            _add(branch, stage, stage.tried)
    tags = tree.add("tags")
    for tag in found.tags:
        _add(tags, tag, True)
    for why, standing in (
        ("stands, though the rulebook no longer has the rule", found.gone),
        ("stands because the rule fails", found.fenced),
    ):
        if standing:
            branch = tree.add(why)
            for each in standing:
                branch.add(f"{each.key} {escape(each.because)} [dim]{_since(each)}[/]")
    return tree


def _head(track: TriedTrack) -> str:
    text = f"{escape(track.title)} [dim]{track.key}[/]: [bold]{track.stage or 'none'}[/]"
    if track.kept_until:
        text += f" [yellow]kept until {track.kept_until:%Y-%m-%d} by the minimum stay, then {track.first}[/]"
    if track.stands is None or track.stands.key != track.stage:
        text += f" [yellow]stands: {track.stands.key if track.stands else 'none'}[/]"
    return text + (f" [dim]{_since(track.stands)}[/]" if track.stands else "")


def _add(tree: Tree, tried: TriedTag | TriedStage, reached: bool) -> None:
    mark = "[green]✓[/]" if tried.held else "[red]✗[/]"
    text = f"{mark} {escape(tried.title)} [dim]{tried.key}[/] {escape(tried.because)}"
    if isinstance(tried, TriedTag) and (tried.stands is not None) != tried.held:
        text += f" [yellow]{'stands ' + _since(tried.stands) if tried.stands else 'does not stand yet'}[/]"
    branch = tree.add(text if reached else f"[dim]{text} (not tried)[/]")
    if reached and tried.because != tried.condition.text:
        _add_node(branch, tried.condition)


def _add_node(tree: Tree, node: Node) -> None:
    mark = "[green]✓[/]" if node.held else "[red]✗[/]"
    terms = {"and": "all of", "or": "any of", "not": "not"}
    branch = tree.add(f"{mark} [dim]{escape(terms.get(node.op, node.text))}[/]")
    for child in node.children if node.op in terms else ():
        _add_node(branch, child)


def _since(standing: Standing) -> str:
    return f"since {standing.since:%Y-%m-%d} by {standing.version}"


# -- what if --------------------------------------------------------------------------------------------------------


def _moved(sign: str, moved: Moved, names: Mapping[int, str]) -> str:
    if not moved.users:
        return ""
    stages = ", ".join(f"{each.users:,} {each.track}.{each.stage or '—'}" for each in moved.by_stage)
    some = "".join(
        f"\n  [dim]{escape(names.get(s.user_id, f'user {s.user_id}'))}: {escape(s.because)}[/]"
        for s in moved.samples[:SHOWN]
    )
    return f"{sign} {stages or f'{moved.users:,}'}{some}"


async def _names(brand: Brand, found: previewing.Preview) -> dict[int, str]:
    """What those who are shown go by, as ``siyu explain`` takes it."""
    moved = [each for effect in (*found.stages, *found.tags) for each in (effect.enter, effect.leave)]
    shown = {sample.user_id for each in moved for sample in each.samples[:SHOWN]}
    rows = await Identity.filter(brand_id=brand.id, user_id__in=list(shown)).order_by("-id")
    return {row.user_id: f"{row.kind}={row.value}" for row in rows}


def _print_series(what: str, points: Sequence[Sequence[Size]], compared: bool) -> None:
    series: dict[tuple[str | None, str], list[Size | None]] = {}
    for index, sizes in enumerate(points):
        for size in sizes:
            series.setdefault((size.track, size.key), [None] * len(points))[index] = size
    if not series:
        return
    table = Table(what, "", "today", "", *(["then", "", "enter", "leave"] if compared else []))
    for (_, key), sizes_of in series.items():
        if compared and not any(size and (size.enter or size.leave) for size in sizes_of):
            continue
        today = [size.today if size else 0 for size in sizes_of]
        then = [(size.proposed or 0) if size else 0 for size in sizes_of]
        most = max(*today, *then, 1)
        last = sizes_of[-1]
        title = next(size.title for size in sizes_of if size)
        row = [escape(title), key, f"{today[-1]:,}", _spark(today, most)]
        if compared:
            row += [
                f"{then[-1]:,}",
                _spark(then, most),
                f"{last.enter if last else 0:,}",
                f"{last.leave if last else 0:,}",
            ]
        table.add_row(*row)
    if table.row_count:
        out.print(table)
    if same := len(series) - table.row_count:
        out.print(f"[dim]{same} {what}s are at every moment the same under both.[/]")


def _spark(values: Sequence[int], most: int) -> str:
    return "[cyan]" + "".join(BARS[round(value / most * (len(BARS) - 1))] for value in values) + "[/]"
