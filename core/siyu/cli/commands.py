"""All commands, put together; ``siyu.cli`` lists them without loading them."""

from __future__ import annotations

import typer

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

app = typer.Typer()
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
