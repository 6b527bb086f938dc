"""``siyu send``: a message that somebody asks for."""

from __future__ import annotations

from typing import Annotated

import typer

from siyu.cli.session import BrandOption, Session, author, out, pair, session
from siyu.contract.playbooks import MessageKind, Purpose, Send
from siyu.flow import sending
from siyu.flow.context import brand_by_slug
from siyu.flow.dispatch import carry_out
from siyu.flow.identities import user_named

__all__ = ["app"]

app = typer.Typer()


@app.command()
def send(
    text: Annotated[str, typer.Argument(help="What it says: a template, as in siyu template.")],
    key: Annotated[str, typer.Option(help="Your name of it: the same again is sent to nobody twice.")],
    user: Annotated[list[str], typer.Option(help="To whom, KIND=VALUE, e.g. member=7; once for each.")],
    brand: BrandOption,
    channel: Annotated[str, typer.Option(help="The channel by which it goes.")] = "outbox",
    purpose: Annotated[Purpose, typer.Option(help="What it is for.")] = "service",
    title: Annotated[str, typer.Option(help="Its title, where the channel has one.")] = "",
    url: Annotated[str, typer.Option(help="What it links to.")] = "",
    kind: Annotated[MessageKind, typer.Option(help="What kind of message it is.")] = "text",
    urgent: Annotated[bool, typer.Option("--urgent", help="Let it overtake what is not.")] = False,
) -> None:
    """Send a message to some users. The guard lets it pass, or holds it back, as any other: siyu why tells."""
    names = [pair(each, "--user", "KIND=VALUE") for each in user]
    message = Send(channel, text, purpose, kind=kind, title=title, url=url, urgent=urgent)

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        users = [await user_named(target, *each) for each in names]
        planned = await sending.send(at_hand.ctx, target, users, message, key=key, by=author())
        await carry_out(at_hand.ctx, target.id)
        out.print(f"{planned:,} messages planned; `siyu why --user …` tells what became of each")

    session(work)
