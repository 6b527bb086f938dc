"""Templates as they are shown."""

from __future__ import annotations

from datetime import datetime

import strawberry
from siyu import InputError
from siyu.contract.templates import check, names
from siyu.flow.content import Entry

from siyu_graphql.action.types import MessageKind, Purpose
from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload

__all__ = ["Template", "TemplatePayload", "TemplatePreview"]


@strawberry.type(
    description="A text: that of a playbook's step, a brand's own in its place, or one of the brand's content library."
)
class Template:
    key: str = strawberry.field(
        description="The step that says it, `care.first_touch.greeting`; a key without dots is of the content library."
    )
    channel: str = strawberry.field(description="The key of the channel that it is for; empty: for any.")
    language: str = strawberry.field(description="The language that it is for, like `zh`; empty: for any.")
    version: int = strawberry.field(description="Counts the brand's own texts in its place; 0 is the playbook's text.")
    kind: MessageKind | None = strawberry.field(description="What kind of message it is; null: what a task says.")
    purpose: Purpose | None = strawberry.field(description="What it is for; null where the step says so.")
    title: str = strawberry.field(description="Its title; empty where it has none, or keeps the playbook's.")
    text: str = strawberry.field(description="The text, with the names that are filled in: `{{ name }}`.")
    url: str = strawberry.field(description="Where it leads; empty where it does not, or as the playbook's does.")
    because: str = strawberry.field(description="The last line: why the reader gets it.")
    active: bool = strawberry.field(description="Whether it stands; a version that does not ended those before it.")
    by: str = strawberry.field(description="Who set it; empty for a playbook's.")
    at: datetime | None = strawberry.field(description="When it was set; null for a playbook's.")

    @computed("What is wrong with it, as plugins stand now, and what to do; null where nothing is.")
    def wrong(self, info: Info) -> str | None:
        known = names(info.context.ctx.plugins.catalog)
        for part in ("text", "title", "url", "because"):
            try:
                check(getattr(self, part), known, part)
            except InputError as error:
                return str(error)
        return None

    @classmethod
    def of(cls, entry: Entry) -> Template:
        """The text of an entry of the library."""
        made = {name: getattr(entry, name) for name in Entry.__dataclass_fields__ if name not in ("kind", "purpose")}
        return cls(
            kind=None if entry.kind == "task" else MessageKind(entry.kind or "text"),
            purpose=Purpose(entry.purpose) if entry.purpose else None,
            **made,
        )


@strawberry.type(description="What a text says to a user, or why it cannot be said.")
class TemplatePreview:
    title: str = strawberry.field(description="The title; empty where there is none.")
    text: str = strawberry.field(description="What the user would read; empty where it cannot be said.")
    url: str = strawberry.field(description="Where it leads; empty where it does not.")
    wrong: str | None = strawberry.field(description="Why it cannot be said, and what to do; null where it can.")


@strawberry.type(description="The text after the change.")
class TemplatePayload(Payload):
    template: Template | None = strawberry.field(
        default=None, description="The version that was made; null where the change was refused."
    )

    def noted(self) -> dict[str, object] | None:
        made = self.template
        return {"channel": made.channel, "language": made.language, "version": made.version} if made else None
