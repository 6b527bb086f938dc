"""The command line. ``siyu --help`` says what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from siyu import __version__
from siyu.cli import (
    admin,
    benefits,
    data,
    documents,
    playbooks,
    running,
    segments,
    sending,
    states,
    tasks,
    templates,
    users,
    whatif,
    why,
)

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="siyu (私域): rules-as-code for private-domain user operations.")
app.add_typer(running.app)
app.add_typer(data.app)
app.add_typer(whatif.app)
app.add_typer(sending.app)
app.add_typer(why.app)
app.add_typer(admin.brands, name="brand")
app.add_typer(states.plugin, name="plugin")
app.add_typer(playbooks.app, name="playbook")
app.add_typer(segments.app, name="segment")
app.add_typer(templates.app, name="template")
app.add_typer(tasks.app, name="task")
app.add_typer(benefits.app, name="benefit")
app.add_typer(admin.token, name="token")
app.add_typer(users.user, name="user")
app.add_typer(documents.documents, name="documents")


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
