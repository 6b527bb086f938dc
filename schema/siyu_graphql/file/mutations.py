"""How exports and imports are asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from siyu.flow import files, segments
from siyu.flow.importing import ColumnMapping
from siyu.flow.tokens import Right

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.file.queries import file_of
from siyu_graphql.file.types import ColumnMappingInput, ExportOf, FileFormat, FilePayload
from siyu_graphql.filters import data_of
from siyu_graphql.mutations import mutation
from siyu_graphql.scalars import checked_text
from siyu_graphql.user.filters import UserFilter
from siyu_graphql.user.personal import require_personal

__all__ = ["FileMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
What = Annotated[ExportOf, strawberry.argument(description="What it is to hold.")]
Format = Annotated[FileFormat, strawberry.argument(description="How it is to be written.")]
Filter = Annotated[
    UserFilter | None, strawberry.argument(description="Which users; all, or all of the `segment`, if left out.")
]
SegmentName = Annotated[str | None, strawberry.argument(description="Users of this segment only, by its name.")]
Since = Annotated[datetime | None, strawberry.argument(description="Events and actions from this moment on.")]
Until = Annotated[datetime | None, strawberry.argument(description="Events and actions before this moment.")]
Kind = Annotated[str, strawberry.argument(description="The kind of its events: `order.paid`.")]
Mapping = Annotated[ColumnMappingInput, strawberry.argument(description="Which column is what.")]
SentFormat = Annotated[FileFormat, strawberry.argument(description="How it is written.")]


@strawberry.type
class FileMutations:
    @mutation(
        Right.EXPORT,
        FilePayload,
        "Write users, events or actions to a file, in the background. When it is done, `file.url` is where it is"
        " fetched. It holds personal data as it is.",
    )
    async def create_export(
        self,
        info: Info,
        brand: BrandSlug,
        what: What,
        format: Format = FileFormat.CSV,
        filter: Filter = None,
        segment: SegmentName = None,
        since: Since = None,
        until: Until = None,
    ) -> FilePayload | None:
        found = await visible_brand(info, brand)
        await require_personal(info, found.id, None if filter is None else filter.checked())
        wanted = None if filter is None else data_of(filter)
        if segment is not None:
            kept = (await segments.find(found, segment, field="segment")).selection
            wanted = kept if wanted is None else {"AND": [kept, wanted]}
        made = await files.create_export(
            found,
            str(what.value),
            format=str(format.value),
            filter=wanted,
            since=since,
            until=until,
            by=info.context.access.by,
        )
        await info.context.push("files", found.id)
        return FilePayload(file=file_of(made))

    @mutation(
        Right.EXPORT,
        FilePayload,
        "Make ready for a file of events, which is then sent to `file.url` by PUT and taken in, in the background."
        " Lines that cannot be used are kept aside with the reasons, and the brand is refreshed.",
    )
    async def create_import(
        self, info: Info, brand: BrandSlug, kind: Kind, mapping: Mapping, format: SentFormat = FileFormat.CSV
    ) -> FilePayload | None:
        found = await visible_brand(info, brand)
        named = {name: getattr(mapping, name) for name in ("identity_kind", "user", "at", "at_format", "id")}
        for name, value in named.items():
            if value is not None:
                checked_text(value, f"mapping.{name}")
        columns = {
            checked_text(each.field, "mapping.fields"): checked_text(each.column, "mapping.fields")
            for each in mapping.fields
        }
        made = await files.create_import(
            info.context.ctx,
            found,
            checked_text(kind, "kind"),
            ColumnMapping(**named, fields=columns),
            format=str(format.value),
            by=info.context.access.by,
        )
        return FilePayload(file=file_of(made))
