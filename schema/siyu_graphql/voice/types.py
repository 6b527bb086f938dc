"""Voices as they are shown and set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry
from siyu import InputError
from siyu.flow import voice

from siyu_graphql.mutations import Payload
from siyu_graphql.playbook.types import PlaybookText
from siyu_graphql.scalars import checked_json

__all__ = ["BrandVoice", "Persona", "StaffPersona", "VoiceInput", "VoicePayload"]

LANGUAGE = "The language: `zh`, `en`."
NAME, ROLE, TONE = "`adviser.name` of templates.", "`adviser.role` of templates.", "`adviser.tone` of templates."


@strawberry.type(description="As whom a brand speaks in a language.")
class Persona:
    language: str = strawberry.field(description=LANGUAGE)
    name: str = strawberry.field(description=NAME)
    role: str = strawberry.field(description=ROLE)
    tone: str = strawberry.field(description=TONE)

    @classmethod
    def all(cls, personas: Mapping[str, voice.Persona]) -> list[Persona]:
        """Those of each language."""
        return [cls(language=each, **persona.model_dump()) for each, persona in personas.items()]


@strawberry.type(description="As whom a brand speaks to those whom one of its staff looks after.")
class StaffPersona:
    staff: str = strawberry.field(description="Their name as `contact.added` gives it: its `staff`.")
    personas: list[Persona] = strawberry.field(description="Their persona in each language.")


@strawberry.type(description="How a brand speaks: in which language, how it calls its users, and as whom.")
class BrandVoice:
    language: str = strawberry.field(description="What is spoken to users of whom no language is known.")
    called: list[PlaybookText] = strawberry.field(description="What stands for a name that is not known.")
    adviser: list[Persona] = strawberry.field(description="As whom it speaks where none of the staff has a persona.")
    staff: list[StaffPersona] = strawberry.field(description="The personas of those who look after users.")

    @classmethod
    def of(cls, kept: voice.Voice) -> BrandVoice:
        """The voice as it is shown."""
        return cls(
            language=kept.language,
            called=[PlaybookText(language=each, text=text) for each, text in kept.called.items()],
            adviser=Persona.all(kept.adviser),
            staff=[StaffPersona(staff=who, personas=Persona.all(each)) for who, each in kept.staff.items()],
        )


@strawberry.input(description="How users are called in a language.")
class CalledInput:
    language: str = strawberry.field(description=LANGUAGE)
    text: str = strawberry.field(description="The word: `朋友`.")


@strawberry.input(description="As whom a brand speaks in a language.")
class PersonaInput:
    language: str = strawberry.field(description=LANGUAGE)
    name: str = strawberry.field(description=NAME)
    role: str | None = strawberry.field(default=None, description=ROLE)
    tone: str | None = strawberry.field(default=None, description=TONE)


@strawberry.input(description="As whom a brand speaks to those whom one of its staff looks after.")
class StaffPersonaInput:
    staff: str = strawberry.field(description="Their name as `contact.added` gives it: its `staff`.")
    personas: list[PersonaInput] = strawberry.field(description="Their persona in each language.")


@strawberry.input(description="How a brand speaks, whole: what is left out takes its default.")
class VoiceInput:
    language: str | None = strawberry.field(default=None, description="Spoken to users of whom no language is known.")
    called: list[CalledInput] | None = strawberry.field(
        default=None, description="What stands for a name that is not known."
    )
    adviser: list[PersonaInput] | None = strawberry.field(
        default=None, description="As whom it speaks where none of the staff has a persona."
    )
    staff: list[StaffPersonaInput] | None = strawberry.field(
        default=None, description="The personas of those who look after users; at most 2,000."
    )

    def data(self) -> dict[str, Any]:
        """What is given, as :func:`siyu.flow.voice.set_voice` has it."""
        data: dict[str, Any] = {}
        if self.language is not None:
            data["language"] = self.language
        if self.called is not None:
            data["called"] = _by("voice.called", [(each.language, each.text) for each in self.called])
        if self.adviser is not None:
            data["adviser"] = _personas("voice.adviser", self.adviser)
        if self.staff is not None:
            data["staff"] = _by(
                "voice.staff", [(each.staff, _personas("voice.staff", each.personas)) for each in self.staff]
            )
        return checked_json(data, "voice")


def _personas(field: str, given: list[PersonaInput]) -> dict[str, Any]:
    parts = ("name", "role", "tone")
    said = [{part: text for part in parts if (text := getattr(each, part)) is not None} for each in given]
    return _by(field, [(each.language, persona) for each, persona in zip(given, said, strict=True)])


def _by(field: str, given: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(given)
    if len(found) < len(given):
        twice = next(name for number, (name, _) in enumerate(given) if name in dict(given[:number]))
        raise InputError(f"two of {twice[:100]!r}", field=field, remedy="give one of each")
    return found


@strawberry.type(description="The voice after the change.")
class VoicePayload(Payload):
    voice: BrandVoice | None = strawberry.field(default=None, description="The voice; null where it was refused.")
