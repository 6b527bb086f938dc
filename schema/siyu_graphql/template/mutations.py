"""How a brand puts texts of its own in the place of the playbooks'."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow import content
from siyu.flow.tokens import Right

from siyu_graphql.action.types import MessageKind, Purpose
from siyu_graphql.context import Info, visible_brand
from siyu_graphql.filters import data_of
from siyu_graphql.mutations import mutation
from siyu_graphql.scalars import checked_text
from siyu_graphql.template.types import Template, TemplatePayload

__all__ = ["TemplateMutations"]

BrandSlug = Annotated[str, strawberry.argument(description="The slug of the brand.")]
Channel = Annotated[str, strawberry.argument(description="For this channel only, by key; for any if left out.")]
Language = Annotated[
    str, strawberry.argument(description="For users of this language only, like `zh`; for all if left out.")
]
OWN = "Left out, it is as the playbook has it."


@strawberry.type
class TemplateMutations:
    @mutation(
        Right.CONFIGURE,
        TemplatePayload,
        "Put a text in the place of a playbook's, or keep one in the content library: a new version, which counts at"
        " once, also for those who are under way.",
    )
    async def set_template(
        self,
        info: Info,
        brand: BrandSlug,
        key: Annotated[
            str,
            strawberry.argument(
                description="The step, as `templates` has it, or one of your own for the content library: letters,"
                " digits, - and _."
            ),
        ],
        text: Annotated[
            str, strawberry.argument(description="The text: `{{ name }}，您好！`. At most 20,000 letters.")
        ],
        title: Annotated[str, strawberry.argument(description=f"Its title. {OWN}")] = "",
        url: Annotated[str, strawberry.argument(description=f"Where it leads. {OWN}")] = "",
        because: Annotated[str, strawberry.argument(description=f"The last line: why one gets it. {OWN}")] = "",
        channel: Channel = "",
        language: Language = "",
        kind: Annotated[MessageKind, strawberry.argument(description="What kind of message it is.")] = MessageKind.TEXT,
        purpose: Annotated[
            Purpose | None, strawberry.argument(description="What it is for; of texts in the content library.")
        ] = None,
    ) -> TemplatePayload | None:
        made = await content.set_text(
            info.context.ctx,
            await visible_brand(info, brand),
            key,
            text,
            title=title,
            url=url,
            because=because,
            channel=channel,
            language=language,
            kind=data_of(kind),
            purpose=data_of(purpose) or "",
            by=info.context.access.by,
        )
        return TemplatePayload(template=Template.of(made))

    @mutation(
        Right.CONFIGURE,
        TemplatePayload,
        "Let a text of the brand's own stand no longer: the playbook's counts again. Its versions are kept.",
    )
    async def end_template(
        self,
        info: Info,
        brand: BrandSlug,
        key: Annotated[str, strawberry.argument(description="The key, as `templates` has it.")],
        channel: Channel = "",
        language: Language = "",
    ) -> TemplatePayload | None:
        found, by = await visible_brand(info, brand), info.context.access.by
        ended = await content.end_text(
            info.context.ctx, found, checked_text(key, "key"), channel=channel, language=language, by=by
        )
        return TemplatePayload(template=Template.of(ended))
