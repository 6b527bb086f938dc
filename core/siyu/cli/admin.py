"""Commands of admins: brands, plugins, tokens."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.deciding import decide_anew
from siyu.cli.session import BrandOption, Session, author, bar, json_object, local, out, session
from siyu.cli.show import print_done, print_troubles
from siyu.contract.errors import InputError
from siyu.contract.manager import GUARD
from siyu.flow import fences, plugins, tokens
from siyu.flow.context import Context, brand_by_slug, zone
from siyu.flow.dispatch import carry_out
from siyu.store.models import AccessToken, Brand, Fence, PluginSetting, SettingChange

__all__ = ["brands", "change", "check_slug", "plugin", "token"]

brands = typer.Typer(no_args_is_help=True, help="Brands: everything else belongs to one.")
plugin = typer.Typer(no_args_is_help=True, help="Switch plugins on and off for a brand, and set their parameters.")
token = typer.Typer(no_args_is_help=True, help="Access tokens of the API.")


def check_slug(slug: str) -> str:
    """The slug, if it is one."""
    if not slug.replace("-", "").isalnum() or slug != slug.lower() or len(slug) > 60:
        raise InputError(f"the slug {slug!r}", field="slug", remedy="use lower-case letters, digits and -")
    return slug


@brands.command("create")
def brand_create(
    slug: Annotated[str, typer.Argument(help="Short name in lower case, e.g. shop.")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    time_zone: Annotated[str, typer.Option("--zone", help="Time zone that its days are counted in.")] = "Asia/Shanghai",
    replay: Annotated[
        bool, typer.Option(help="Old data: the brand lives at its newest event, not in the present.")
    ] = False,
    enable: Annotated[list[str] | None, typer.Option(help="Plugins to switch on; repeat it.")] = None,
) -> None:
    """Make a brand."""

    async def work(at_hand: Session) -> None:
        check_slug(slug)
        if await Brand.exists(slug=slug):
            raise InputError(f"there is a brand {slug!r} already", field="slug", remedy="choose another")
        chosen = [at_hand.ctx.plugins.get(each).name for each in enable or []]
        made = await Brand.create(
            slug=slug,
            name=name or slug,
            zone=zone(time_zone).key,
            replayed_to=datetime.fromtimestamp(0, UTC) if replay else None,
        )
        for each in chosen:
            await plugins.enable(at_hand.ctx, made, each, by=author())
        out.print(
            f"Brand {slug} made"
            + (f", with {', '.join(chosen)}." if chosen else ". Switch plugins on: siyu plugin enable --help")
        )

    session(work)


@brands.command("list")
def brand_list() -> None:
    """Show the brands."""

    async def work(at_hand: Session) -> None:
        table = Table("slug", "name", "zone", "lives at", "plugins")
        on: dict[int, list[str]] = defaultdict(list)
        for row in await PluginSetting.filter(enabled=True).order_by("plugin"):
            on[row.brand_id].append(row.plugin)
        for each in await Brand.all().order_by("slug"):
            lives = local(each.replayed_to, each) if each.replayed_to else "the present"
            table.add_row(each.slug, each.name, each.zone, lives, ", ".join(on[each.id]))
        out.print(table)

    session(work)


@plugin.command("list")
def plugin_list(
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="Show which a brand has on.")] = None,
) -> None:
    """Show the installed plugins."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand) if brand else None
        settings = {row.plugin: row for row in await PluginSetting.filter(brand_id=target.id)} if target else {}
        failing = {fence.plugin for fence in await Fence.filter(brand_id=target.id)} if target else set()
        table = Table("plugin", "title", "declares", *(["on", "parameters"] if target else ["attributes"]))
        for each in at_hand.ctx.plugins.plugins.values():
            row = settings.get(each.name)
            params = escape(json.dumps(row.params)) if row else ""
            attributes = escape(", ".join(kind.name for kind in each.attributes))
            more = [_on(each.name, row, each.name in failing), params] if target else [attributes]
            table.add_row(each.name, escape(each.title), ", ".join(each.declarations), *more)
        out.print(table)
        for each in at_hand.ctx.plugins.plugins.values():
            if each.refused is not None:
                out.print(f"[red]{escape(each.name)}[/] cannot be loaded: {escape(str(each.refused))}", soft_wrap=True)
        if target:
            await print_troubles(at_hand.ctx, target)
        else:
            for unknown in at_hand.ctx.plugins.unknown_tags():
                out.print(f"[yellow]![/] {escape(str(unknown))}", soft_wrap=True)

    session(work)


PercentOption = Annotated[
    int, typer.Option("--percent", min=1, max=100, help="For how many of 100 users; the others keep what they have.")
]


@plugin.command("enable")
def plugin_enable(name: str, brand: BrandOption, percent: PercentOption = 100) -> None:
    """Switch a plugin on for a brand, and decide anew."""
    change(brand, lambda ctx, target: plugins.enable(ctx, target, name, percent=percent, by=author()))


@plugin.command("disable")
def plugin_disable(name: str, brand: BrandOption, percent: PercentOption = 100) -> None:
    """Switch a plugin off for a brand; its tags and stages are taken back, its parameters kept."""
    change(brand, lambda ctx, target: plugins.disable(ctx, target, name, percent=percent, by=author()))


@plugin.command("configure")
def plugin_configure(
    name: str,
    brand: BrandOption,
    params: Annotated[str, typer.Argument(help='JSON, e.g. \'{"lifecycle": {"dormant_days": 45}}\'.')],
    percent: PercentOption = 100,
) -> None:
    """Set the parameters of a plugin for a brand, and decide anew."""
    values = json_object(params)
    change(brand, lambda ctx, target: plugins.configure(ctx, target, name, values, percent=percent, by=author()))


@plugin.command("roll-out")
def plugin_roll_out(
    name: str, percent: Annotated[int, typer.Argument(min=1, max=100, help="Of 100 users.")], brand: BrandOption
) -> None:
    """Let a change that was made with --percent hold for more users, or fewer, and decide anew."""
    change(brand, lambda ctx, target: plugins.roll_out(ctx, target, name, percent, by=author()))


@plugin.command("undo")
def plugin_undo(name: str, brand: BrandOption) -> None:
    """Take back the newest change of a plugin's setting, and the decisions that it made; again, the one before it."""
    change(brand, lambda ctx, target: plugins.undo(ctx, target, name, by=author()))


def _on(name: str, row: PluginSetting | None, fails: bool) -> str:
    state = "[green]on[/]" if (row.enabled if row else name == GUARD) else "off"
    if row is not None and row.base is not None:
        state += f"{', set so' if row.base['enabled'] == row.enabled else ''} for {row.percent} %"
    return f"{state}, [red]fails[/]" if fails else state


@plugin.command("retry")
def plugin_retry(name: str, brand: BrandOption) -> None:
    """Try the rules of a plugin that fail again, and decide anew."""
    change(brand, lambda ctx, target: fences.retry(ctx, target, name))


@plugin.command("history")
def plugin_history(
    brand: BrandOption, limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes.")] = 20
) -> None:
    """Show who changed how plugins are set, and what is wrong with them."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        table = Table("at", "by", "plugin", "before", "after")
        for change in await SettingChange.filter(brand_id=target.id).order_by("-id").limit(limit):
            table.add_row(
                local(change.at, target),
                change.by + (" (undo)" if change.undoes else ""),
                change.plugin,
                json.dumps(change.before, ensure_ascii=False),
                json.dumps(change.after, ensure_ascii=False),
            )
        out.print(table)
        await print_troubles(at_hand.ctx, target)

    session(work)


@token.command("create")
def token_create(
    role: Annotated[str, typer.Option(help="viewer, developer, operator or admin.")] = "viewer",
    brand: Annotated[str | None, typer.Option("--brand", "-b", help="For one brand only; without it for all.")] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[int | None, typer.Option(min=1, help="Expires after so many days.")] = None,
    personal: Annotated[bool, typer.Option(help="Sees personal data, whatever the role.")] = False,
) -> None:
    """Make an access token. It is shown once."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand) if brand else None
        expires = datetime.now(UTC) + timedelta(days=days) if days else None
        print(await tokens.create_token(role, target, name=name, expires_at=expires, personal=personal))

    session(work)


def change(brand: str, make: Callable[[Context, Brand], Awaitable[Any]]) -> None:
    """Make a change of a brand's settings, and decide anew."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        await make(at_hand.ctx, target)
        with bar() as progress:
            done = await decide_anew(at_hand.ctx, target.id, progress)
            acted = await carry_out(at_hand.ctx, target.id)
        print_done(done, acted)
        await print_troubles(at_hand.ctx, target)

    session(work)


@token.command("list")
def token_list() -> None:
    """Show the tokens: never their secrets."""

    async def work(_: Session) -> None:
        slugs = {each.id: each.slug for each in await Brand.all()}
        table = Table("prefix", "name", "role", "brand", "made", "used", "ends")
        for row in await AccessToken.all().order_by("id"):
            ends = row.revoked_at or row.expires_at
            state = "revoked " if row.revoked_at else ""
            brand = slugs.get(row.brand_id, "?") if row.brand_id else "all"
            table.add_row(
                row.prefix,
                row.name,
                row.role + (" + personal" if row.personal else ""),
                brand,
                f"{row.created_at:%Y-%m-%d}",
                f"{row.used_at:%Y-%m-%d %H:%M}" if row.used_at else "",
                f"{state}{ends:%Y-%m-%d}" if ends else "",
            )
        out.print(table)

    session(work)


@token.command("revoke")
def token_revoke(prefix: Annotated[str, typer.Argument(help="The eight letters after siyu_.")]) -> None:
    """End a token at once."""

    async def work(_: Session) -> None:
        await tokens.revoke(prefix)
        out.print(f"Token {prefix} is revoked.")

    session(work)
