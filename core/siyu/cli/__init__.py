"""The command line. ``siyu --help`` says what there is.

What commands work with takes a second to load, and is loaded when one is called: help, completion and mistakes come at
once.
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from siyu import __version__

__all__ = ["app"]

# As they say of themselves, which a test holds them to.
COMMANDS = {
    "demo": "Import a year of real purchases, replay it, show what came out, and serve the API.",
    "seed": "Make a small brand of invented users to build pages with, and a token for it. The same every time.",
    "serve": "Serve the GraphQL API (and do the background work).",
    "worker": "Do the background work: decide, dispatch, refresh, sweep.",
    "doctor": "Look whether everything is there that siyu needs, and works.",
    "schema": "Print the GraphQL schema (SDL), or what has changed since an older one.",
    "import": "Import a file as events. Lines that cannot be used are kept aside, each with its reason.",
    "refresh": "Decide for every user of a brand, now.",
    "status": "Show how fresh each tag and stage is: when, by what run, who came and went, and why a rule fails.",
    "outbox": "Read the newest messages in the outbox.",
    "receive": "Take in what came back to a channel, from standard input: a bounced mail, as a mail server pipes it.",
    "explain": "Show for one user every tag and stage, held or not, and why.",
    "facts": "Show for one user the facts that the rules look at.",
    "replay": "Show how many users each stage and tag would have had, under today's rules and others; change nothing.",
    "send": "Send a message to some users. The guard lets it pass, or holds it back, as any other: siyu why tells.",
    "why": "Tell the whole story of an action; or of a user, what was sent, held and suppressed, and why.",
    "brand": "Brands: everything else belongs to one.",
    "plugin": "Switch plugins on and off for a brand, and set their parameters.",
    "playbook": "Playbooks: what is done for users, step by step.",
    "segment": "Segments: filters of users that are kept under a name.",
    "template": "What messages say: the playbooks' texts, and a brand's own in their place.",
    "task": "Tasks: what playbooks ask of people, by when.",
    "benefit": "Benefits: coupons and gifts that playbooks give, while there are any.",
    "token": "Access tokens of the API.",
    "user": "Users who are one person: merge them, undo it, show what was merged.",
    "documents": "GraphQL documents that are trusted, and asked for by their hash.",
}


class _Commands(TyperGroup):
    """Those above, as long as nobody calls one."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self.commands = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in self.commands:
            # What is loaded stays: to look through it for garbage, then and at the end, was a quarter of the time.
            gc.disable()
            self.commands = get_group(import_module("siyu.cli.commands").app).commands
            gc.freeze()
            gc.enable()
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, help="siyu (私域): rules-as-code for private-domain user operations."
)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """siyu (私域): rules-as-code for private-domain user operations."""
