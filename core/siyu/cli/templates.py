"""Commands about what messages say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import BrandOption, JsonOption, Session, author, fail, json_object, out, pair, print_json, session
from siyu.contract.playbooks import MessageKind
from siyu.flow import content
from siyu.flow.content import Entry
from siyu.flow.context import brand_by_slug
from siyu.flow.identities import user_named
from siyu.flow.voice import set_voice, voice_of

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="What messages say: the playbooks' texts, and a brand's own in their place."
)

Key = Annotated[str, typer.Argument(help="PLUGIN.PLAYBOOK.STEP, as siyu template list shows it, or a key of your own.")]
ChannelOption = Annotated[str, typer.Option(help="For this channel only.")]
LanguageOption = Annotated[str, typer.Option(help="For users of this language only: zh, en, ...")]


@app.command("list")
def template_list(brand: BrandOption, as_json: JsonOption = False) -> None:
    """Show the texts of the playbooks that are on, and the brand's own."""

    async def work(at_hand: Session) -> None:
        _show(await content.library(at_hand.ctx, await brand_by_slug(brand)), as_json)

    session(work)


@app.command("show")
def template_show(key: Key, brand: BrandOption, as_json: JsonOption = False) -> None:
    """Show the versions of the brand's texts under a key, the newest first."""

    async def work(at_hand: Session) -> None:
        _show(await content.versions(await brand_by_slug(brand), key), as_json)

    session(work)


@app.command("set")
def template_set(
    key: Key,
    text: Annotated[str, typer.Argument(help="The text, e.g. '{{ name }}，您好！'.")],
    brand: BrandOption,
    title: Annotated[str, typer.Option(help="Its title, where the channel has such.")] = "",
    url: Annotated[str, typer.Option(help="Where it leads.")] = "",
    because: Annotated[str, typer.Option(help="Why the reader gets it: the last line.")] = "",
    channel: ChannelOption = "",
    language: LanguageOption = "",
    kind: Annotated[MessageKind, typer.Option(help="What kind of message it is.")] = "text",
    purpose: Annotated[str, typer.Option(help="service, care or sales; of texts in the library.")] = "",
) -> None:
    """Put a text in the place of a playbook's, or keep one under a key of your own."""

    async def work(at_hand: Session) -> None:
        made = await content.set_text(
            at_hand.ctx,
            await brand_by_slug(brand),
            key,
            text,
            title=title,
            url=url,
            because=because,
            channel=channel,
            language=language,
            kind=kind,
            purpose=purpose,
            by=author(),
        )
        out.print(f"Version {made.version} of {key}. See it: siyu template preview {key} KIND=VALUE -b {brand}")

    session(work)


@app.command("end")
def template_end(key: Key, brand: BrandOption, channel: ChannelOption = "", language: LanguageOption = "") -> None:
    """Let the brand's text stand no longer; the playbook's counts again."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        await content.end_text(at_hand.ctx, target, key, channel=channel, language=language, by=author())
        out.print(f"The text {key} of {brand} is ended; its versions are kept.")

    session(work)


@app.command("preview")
def template_preview(
    key: Key,
    user: Annotated[str, typer.Argument(help="A name of a user, KIND=VALUE, e.g. member=7.")],
    brand: BrandOption,
    channel: ChannelOption = "",
    text: Annotated[str | None, typer.Option(help="A text that is not kept yet.")] = None,
) -> None:
    """Show what a text says to a user."""
    name = pair(user, "USER", "KIND=VALUE")

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        draft = None if text is None else {"text": text}
        who = await user_named(target, *name)
        found = await content.preview(at_hand.ctx, target, key, who, channel=channel, draft=draft)
        if found.wrong:
            fail(found.wrong)
        for part in (found.title, found.text, found.url):
            if part:
                out.print(escape(part), soft_wrap=True, highlight=False)

    session(work)


@app.command("voice")
def template_voice(
    brand: BrandOption,
    voice: Annotated[
        str | None,
        typer.Argument(help='JSON to set it, whole: \'{"adviser": {"zh": {"name": "小茶", "role": "茶艺师"}}}\'.'),
    ] = None,
) -> None:
    """Show or set how the brand speaks: its language, how it calls its users, and as whom."""
    wanted = None if voice is None else json_object(voice)

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        found = voice_of(target) if wanted is None else await set_voice(target, wanted, by=author())
        print_json(found)

    session(work)


def _show(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        print_json(entries)
        return
    table = Table("key", "channel", "language", "version", "text", "by")
    for each in entries:
        words = "\n".join(filter(None, (each.title, each.text, each.because))) if each.active else "(ended)"
        version = str(each.version) if each.version else "playbook"
        table.add_row(each.key, each.channel, each.language, version, escape(words), escape(each.by))
    out.print(table)
