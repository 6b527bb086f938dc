"""Files as they are shown."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry
from siyu.flow import files
from siyu.flow.tokens import Right
from siyu.store import models

from siyu_graphql.context import Info
from siyu_graphql.fields import computed
from siyu_graphql.mutations import Payload
from siyu_graphql.nodes import BrandNode
from siyu_graphql.paging import one
from siyu_graphql.run.queries import RUNS
from siyu_graphql.run.types import Run

__all__ = ["ColumnMappingInput", "ExportOf", "File", "FileDirection", "FileFormat", "FilePayload", "FileStatus"]


@strawberry.enum(description="What an export holds.")
class ExportOf(Enum):
    USERS = strawberry.enum_value("users", description="Users with names, attributes, tags and stages.")
    EVENTS = strawberry.enum_value("events", description="Events, in the order in which they were recorded.")
    ACTIONS = strawberry.enum_value("actions", description="Actions, in the order in which they were planned.")


@strawberry.enum(description="How a file is written.")
class FileFormat(Enum):
    CSV = strawberry.enum_value("csv", description="Comma-separated, UTF-8, with a header.")
    JSONL = strawberry.enum_value("jsonl", description="A JSON object a line.")
    PARQUET = strawberry.enum_value("parquet", description="Apache Parquet.")


@strawberry.enum(description="Which way a file goes.")
class FileDirection(Enum):
    EXPORT = strawberry.enum_value("export", description="It is made here, and fetched.")
    IMPORT = strawberry.enum_value("import", description="It is sent here, and its lines become events.")


@strawberry.enum(description="How far a file is.")
class FileStatus(Enum):
    OPEN = strawberry.enum_value("open", description="It is yet to be sent to its `url`.")
    WAITING = strawberry.enum_value("waiting", description="It is being made or taken in, or waits for it: see `run`.")
    DONE = strawberry.enum_value("done", description="It is done.")
    FAILED = strawberry.enum_value("failed", description="It failed; `error` says why.")


@strawberry.type(description="An export or an import. It is kept for a day.")
class File(BrandNode):
    row: strawberry.Private[models.File]

    @computed("Which way it goes.")
    def direction(self) -> FileDirection:
        return FileDirection(self.row.direction)

    @computed("What it holds: `users`, `events`, `actions`; of an import the kind of its events.")
    def what(self) -> str:
        return self.row.what

    @computed("How it is written.")
    def format(self) -> FileFormat:
        return FileFormat(self.row.format)

    @computed("How far it is. `run` shows the progress, and `runProgress` follows it.")
    def status(self) -> FileStatus:
        return FileStatus(self.row.status)

    @computed("The run that makes it or takes it in; null before it has begun.")
    async def run(self, info: Info) -> Run | None:
        if self.row.run_id is None:
            return None
        return await one(info, RUNS, self.brand_id, self.row.run_id)

    @computed("How many rows it has; of an import, how many lines were read.")
    def rows(self) -> int:
        return int(self.row.rows)

    @computed("How many lines of an import could not be used.")
    def rejects(self) -> int:
        return int(self.row.rejects)

    @computed("Its size in bytes; 0 while it is not known.")
    def size(self) -> float:
        return float(self.row.size)

    @computed("Why it failed.")
    def error(self) -> str | None:
        return self.row.error

    @computed("Who asked for it: the name of a token, or its prefix.")
    def created_by(self) -> str:
        return self.row.created_by

    @computed("When it was asked for. A day later it is removed.")
    def created_at(self) -> datetime:
        return self.row.created_at

    def _may(self, info: Info) -> bool:
        # A file full of personal data counts as one user's.
        return bool(
            info.context.access.may(Right.EXPORT)
            and info.context.personal.may_see(self.brand_id, f"file {self.number}")
        )

    @computed(
        "A path on this server that is good for an hour, for whoever has it: of an export that is done to be fetched"
        " (GET), of an import that is open to be sent to (PUT). Null otherwise,"
        " and for those who may not export, or may not see the personal data that it holds."
    )
    def url(self, info: Info) -> str | None:
        if not self._may(info):
            return None
        match self.row.direction, self.row.status:
            case "export", "done":
                return files.link(info.context.ctx, self.row, "GET")
            case "import", "open":
                return files.link(info.context.ctx, self.row, "PUT")
        return None

    @computed("The same for the lines of an import that could not be used, with the reasons, as CSV; null if none.")
    def rejects_url(self, info: Info) -> str | None:
        if not self.row.rejects or not self._may(info):
            return None
        return files.link(info.context.ctx, self.row, "GET", "rejects")


@strawberry.type(description="The file that was asked for.")
class FilePayload(Payload):
    file: File | None = strawberry.field(default=None, description="The file; null where it was refused.")


@strawberry.input(description="A field of the payload, and the column that it is in.")
class FieldColumn:
    field: str = strawberry.field(description="The field: `amount`.")
    column: str = strawberry.field(description="The column, as the header names it.")


@strawberry.input(description="Which column of an import is what.")
class ColumnMappingInput:
    identity_kind: str = strawberry.field(description="What kind of name the users go by: `member`.")
    user: str = strawberry.field(description="The column with it.")
    at: str = strawberry.field(description="The column with the moment.")
    at_format: str | None = strawberry.field(
        default=None, description="How the moment is written, like `%Y%m%d`; as ISO 8601 if left out."
    )
    id: str | None = strawberry.field(
        default=None, description="The column with the event's id; made from the line if left out."
    )
    fields: list[FieldColumn] = strawberry.field(default_factory=list, description="The fields of the payload.")
