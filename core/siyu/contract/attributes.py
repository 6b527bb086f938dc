"""Attribute kinds: what rules look at in the profile of a user, and what its text stands for.

A brand may know more of its users than its plugins do: an update of a profile carries any attributes. Those that a rule
names are declared, so that a misspelt one is an error and every rule reads the same text in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from siyu.contract.conditions import Kind
from siyu.contract.errors import RuleError

__all__ = ["KIND_OF", "AttributeKind", "AttributeType", "texts"]

AttributeType = Literal["text", "integer", "money", "flag", "date"]
KIND_OF: Mapping[str, Kind] = {"text": "text", "integer": "number", "money": "number", "flag": "flag", "date": "date"}


@dataclass(frozen=True)
class AttributeKind:
    """An attribute of users that rules may name.

    ``type`` says what its text stands for: ``text``, ``integer``, ``money``, ``flag`` or ``date`` (2026-11-21); what
    cannot be read as one is missing. ``values`` lists the texts allowed, in their order; anything else counts as
    missing. ``personal`` is what tells who somebody is, or is nobody else's business: a birthday, a diagnosis.
    """

    name: str
    title: str
    type: AttributeType = "text"
    values: Sequence[str] = ()
    personal: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise RuleError(f"AttributeKind(name={self.name!r})", field="name", remedy="give its name in the profile")
        object.__setattr__(self, "values", texts(self.name, self.values, self.type))

    def means(self, other: AttributeKind) -> bool:
        """Whether both read the same text in the same way."""
        return (self.name, self.type, self.values) == (other.name, other.type, other.values)


def texts(attribute: str, values: Sequence[str], type: AttributeType | None) -> tuple[str, ...]:
    """``values`` of an attribute, each once; a :class:`RuleError` where they, or ``type``, are none."""
    if isinstance(values, str):
        raise RuleError(f"values={values!r} is one text", field=attribute, remedy="give a list of texts")
    if type is not None and type not in KIND_OF:
        raise RuleError(f"type={type!r}", field=attribute, remedy=f"types are: {', '.join(KIND_OF)}")
    if not all(isinstance(value, str) for value in values):
        raise RuleError(f"values={values!r}", field=attribute, remedy="give texts")
    if values and type not in ("text", None):
        raise RuleError(f"values of a {type}", field=attribute, remedy="only texts can be listed")
    return tuple(dict.fromkeys(map(str.__str__, values)))  # an enumeration's members are plain
