"""How a brand is given a voice."""

from __future__ import annotations

from typing import Annotated

import strawberry
from siyu.flow.tokens import Right
from siyu.flow.voice import set_voice

from siyu_graphql.context import Info, visible_brand
from siyu_graphql.mutations import mutation
from siyu_graphql.voice.types import BrandVoice, VoiceInput, VoicePayload

__all__ = ["VoiceMutations"]


@strawberry.type
class VoiceMutations:
    @mutation(
        Right.CONFIGURE,
        VoicePayload,
        "Say how a brand speaks: in which language, how it calls its users, and as whom.",
        noted=False,
    )
    async def set_voice(
        self,
        info: Info,
        brand: Annotated[str, strawberry.argument(description="The slug of the brand.")],
        voice: Annotated[VoiceInput, strawberry.argument(description="The voice, whole.")],
    ) -> VoicePayload | None:
        found = await visible_brand(info, brand)
        return VoicePayload(voice=BrandVoice.of(await set_voice(found, voice.data(), by=info.context.access.by)))
