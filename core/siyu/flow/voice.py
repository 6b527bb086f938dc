"""How a brand speaks: in which language, how it calls its users, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field, StringConstraints

from siyu.contract.errors import InputError
from siyu.flow import audit
from siyu.store.models import Brand

__all__ = ["Persona", "Voice", "set_voice", "spoken", "voice_of"]

T = TypeVar("T")
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\r\n]*$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Persona(_Model):
    """As whom messages speak: ``adviser.name``, ``adviser.role`` and ``adviser.tone`` of templates."""

    name: Line
    role: Line = "顾问"
    tone: Line = "亲切"


Personas = Annotated[dict[Language, Persona], Field(max_length=20)]
"""One a language."""


class Voice(_Model):
    """A brand's voice.

    ``language`` is spoken to users of whom none is known, ``called`` is what stands for a name that is not known.
    ``staff`` are the personas of those who look after users, by the name that ``contact.added`` gives them; ``adviser``
    is everybody else's.
    """

    language: Language = "zh"
    called: Annotated[dict[Language, Line], Field(max_length=20)] = {"zh": "朋友", "en": "friend"}
    adviser: Personas = {
        "zh": Persona(name="小助手"),
        "en": Persona(name="your assistant", role="adviser", tone="warm"),
    }
    staff: Annotated[dict[Line, Personas], Field(max_length=2_000)] = {}


def voice_of(brand: Brand) -> Voice:
    """The voice that a brand has, or the one that it begins with."""
    return Voice.model_validate(brand.voice)


async def set_voice(brand: Brand, voice: Mapping[str, Any], *, by: str = "") -> Voice:
    """Give a brand a voice, whole; what is left out takes its default."""
    try:
        made = Voice.model_validate(voice)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(["voice", *(str(part) for part in first["loc"])])
        remedy = f"a voice has: {', '.join(Voice.model_fields)}; texts of one line, by language (zh, en)"
        raise InputError(f"{first['msg']}, got {str(first['input'])[:100]!r}", field=field, remedy=remedy) from None
    before, brand.voice = brand.voice, made.model_dump(mode="json", exclude_defaults=True)
    await brand.save(update_fields=["voice"])
    await audit.note(brand.id, by, "setVoice", target=brand.slug, before=before, after=brand.voice)
    return made


def spoken(by_language: Mapping[str, T], language: str, otherwise: str) -> T | None:
    """What is said in a language, or else in the other, or else at all."""
    for each in (language, otherwise, "", *by_language):
        if each in by_language:
            return by_language[each]
    return None
