"""``siyu why``: the story of an action, or of what a user was and was not sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.tree import Tree

from siyu.cli.session import BrandOption, Session, out, pair, session
from siyu.contract.errors import InputError
from siyu.flow import why as asking
from siyu.flow.context import brand_by_slug, zone
from siyu.flow.identities import user_named

__all__ = ["app"]

app = typer.Typer()


@app.command()
def why(
    brand: BrandOption,
    action: Annotated[int | None, typer.Argument(help="The number of an action.")] = None,
    user: Annotated[str | None, typer.Option(help="A name of a user instead, KIND=VALUE, e.g. member=900.")] = None,
    days: Annotated[int, typer.Option(min=1, max=asking.MOST_DAYS, help="How far back to look at a user.")] = 7,
) -> None:
    """Tell the whole story of an action; or of a user, what was sent, held and suppressed, and why."""

    async def work(at_hand: Session) -> None:
        target = await brand_by_slug(brand)
        days_of = zone(target.zone)
        if (action is None) == (user is None):
            raise InputError("of one thing at a time", field="action", remedy="give an action's number, or --user")
        if action is not None:
            out.print(_action(await asking.of_action(at_hand.ctx, target, action), days_of))
        elif user is not None:
            number = await user_named(target, *pair(user, "--user", "KIND=VALUE"))
            found = await asking.of_user(at_hand.ctx, target, number, days=days)
            for tree in _user(found, user, days_of):
                out.print(tree)

    session(work)


def _action(story: asking.Story, days: ZoneInfo) -> Tree:
    it = story.action
    tree = Tree(f"[bold]action {it.id}[/bold]: {escape(it.plugin)}.{escape(it.playbook)} {escape(it.step)}".rstrip())
    tree.add(f"to user {it.user_id} by {escape(it.channel)}, {it.purpose}: {escape(it.text[:200]) or '(no text yet)'}")
    tree.add(f"because {escape(it.because)}" + (f", rulebook {story.rulebook}" if story.rulebook else ""))
    if it.asked_by:
        tree.add(f"asked for by {escape(it.asked_by)}")
    if story.enrolment is not None:
        tree.add(_way(story.enrolment, days))
    what = tree.add(f"[bold]{it.status}[/bold]")
    for entry in story.entries:
        words = ": ".join(part for part in dict.fromkeys((entry.reason, entry.meaning, entry.words)) if part)
        what.add(escape(f"{entry.at.astimezone(days):%Y-%m-%d %H:%M:%S} {entry.status}  {words}".rstrip()))
    return tree


def _user(found: asking.UserStory, name: str, days: ZoneInfo) -> Iterable[Tree]:
    since = f"{found.since.astimezone(days):%Y-%m-%d %H:%M}"
    tree = Tree(f"[bold]{escape(name)}[/bold] since {since}: {len(found.actions)} actions planned")
    for story in found.actions:
        it = story.action
        last = story.entries[-1] if story.entries else None
        parts = dict.fromkeys((last.meaning or last.reason, last.words)) if last else ()
        words = ": ".join(part for part in parts if part)
        until = f" until {it.due_at.astimezone(days):%m-%d %H:%M}" if it.status == "held" else ""
        tree.add(
            escape(
                f"{it.id}  {it.planned_at.astimezone(days):%m-%d %H:%M} {it.plugin}.{it.playbook} {it.step}"
                f" by {it.channel}: {it.status}{until}  {words}".rstrip()
            )
        )
    yield tree
    if found.consents:
        said = Tree("said")
        for each in found.consents:
            about = f"{each.purpose or 'all purposes'} by {each.channel or 'all channels'}"
            said.add(escape(f"{each.at.astimezone(days):%Y-%m-%d %H:%M} {'yes' if each.given else 'no'} to {about}"))
        yield said
    ways = Tree("playbooks" if found.on_the_way else "in no playbook")
    for way in found.on_the_way:
        ways.add(_way(way, days))
    yield ways
    if not found.actions and not found.on_the_way:
        triggers = Tree("what would set one off" if found.triggers else "no playbook is on")
        for playbook, trigger in found.triggers:
            triggers.add(escape(f"{playbook}: {trigger}"))
        yield triggers


def _way(way: asking.OnTheWay, days: ZoneInfo) -> str:
    began = f"{way.began_at.astimezone(days):%Y-%m-%d %H:%M}"
    text = f"{way.playbook} (version {way.version}) since {began}, because {way.because}: {way.status}"
    if way.due_at is not None:
        text += f", {way.step or 'its end'} at {way.due_at.astimezone(days):%Y-%m-%d %H:%M}"
        text += " at the latest" if way.listens else ""
    return escape(f"{text}, {way.why}" if way.why else text)
