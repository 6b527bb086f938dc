"""Commands for trusted GraphQL documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from siyu.cli.session import Session, api, out, session
from siyu.flow import documents as flow
from siyu.store.models import TrustedDocument

__all__ = ["documents"]

documents = typer.Typer(no_args_is_help=True, help="GraphQL documents that are trusted, and asked for by their hash.")


@documents.command("register")
def register(
    path: Annotated[
        Path, typer.Argument(exists=True, help="A .graphql file, a folder of them, or a generator's JSON manifest.")
    ],
) -> None:
    """Trust documents, once each is valid; print the id by which clients ask for it."""

    async def work(at_hand: Session) -> None:
        texts = list(flow.texts_in(path))

        def check(text: str) -> list[str]:
            found: list[str] = api().mistakes_in(at_hand.ctx.plugins, text)
            return found

        # All or none: a release that lacks one of its documents fails on the one page that nobody tried.
        wrong = [f"{name}: {'; '.join(found)}" for name, text in texts if (found := check(text))]
        if wrong:
            raise flow.invalid("\n".join(wrong))
        for name, text in texts:
            row = await flow.register(name, text, check)
            print(f"{flow.PREFIX}{row.hash}  {name}")

    session(work)


@documents.command("list")
def list_() -> None:
    """Show the documents that are trusted."""

    async def work(_: Session) -> None:
        table = Table("id", "name", "registered")
        for row in await TrustedDocument.all().order_by("name", "id"):
            table.add_row(flow.PREFIX + row.hash, escape(row.name), f"{row.created_at:%Y-%m-%d %H:%M}")
        out.print(table)

    session(work)


@documents.command("remove")
def remove(which: Annotated[str, typer.Argument(help="The id, or 8 digits or more of its hash.")]) -> None:
    """Trust a document no longer."""

    async def work(_: Session) -> None:
        row = await flow.remove(which)
        out.print(f"{escape(row.name)} ({row.hash[:8]}…) is trusted no longer.")

    session(work)
