"""Personal data: which names hold it, and how it looks to those who may not see it.

What is personal is told by its name: the kind of an identity, an attribute, a field of a payload at any depth. Beside
the names below there are the attributes that plugins declare personal, and ``Names`` is those. Texts in which people
write freely are shown as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

__all__ = ["NOTHING_ELSE", "WHOLE", "WORDS", "Names", "is_personal", "mask", "named_in", "names_in", "veil"]

Names: TypeAlias = frozenset[str]
NOTHING_ELSE: Names = frozenset()

WORDS = frozenset({"phone", "mobile", "tel", "telephone", "email", "address"})
"""A name that ends in one of these is personal: ``phone``, ``receiver_phone``, ``contactEmail``, ``phone_number``."""
WHOLE = frozenset({"real_name", "full_name", "id_card", "passport"})
"""Other names that are, as a whole."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NUMBER = frozenset({"number", "no", "num"})
_QUOTED = re.compile(r"""(['"])(.+?)\1""")


@lru_cache(4096)
def is_personal(name: str, declared: Names = NOTHING_ELSE) -> bool:
    """Whether what goes by that name is personal."""
    if name in declared:
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and (words[-1] in _NUMBER or words[-1].isdigit()):
        words.pop()
    return bool(words) and (words[-1] in WORDS or "_".join(words) in WHOLE)


@lru_cache(4096)
def named_in(declaration: str, declared: Names = NOTHING_ELSE) -> bool:
    """Whether a fact, as it is declared, looks at something personal: ``Attribute('phone')``."""
    return any(is_personal(name, declared) for name in names_in(declaration))


def names_in(declaration: str) -> list[str]:
    """All that may be names of what a fact looks at."""
    return [name for _, name in _QUOTED.findall(declaration)]


def mask(value: Any) -> Any:
    """A value as those see it who may not: ``138****5678``, ``a***@example.com``. What is missing stays so."""
    match value:
        case None | "":
            return value
        case Mapping():
            return {name: mask(inner) for name, inner in value.items()}
        case list() | tuple():
            return [mask(inner) for inner in value]
    text = str(value)
    if not isinstance(value, str) and len(text) < 7:
        return "**"  # an age, a flag: its first digit says all of it
    before, at, domain = text.rpartition("@")
    if at and before and "." in domain:
        return f"{before[0]}***@{domain}"
    if len(text) >= 11:
        return f"{text[:3]}****{text[-4:]}"
    return f"{text[0]}**"


def veil(value: Any, declared: Names = NOTHING_ELSE) -> tuple[Any, bool]:
    """JSON with what is personal in it masked, and whether anything was."""
    match value:
        case Mapping():
            shown, found = {}, False
            for name, inner in value.items():
                if is_personal(str(name), declared):
                    covered = mask(inner)
                    shown[name], inside = covered, covered != inner
                else:
                    shown[name], inside = veil(inner, declared)
                found = found or inside
            return shown, found
        case list():
            parts = [veil(inner, declared) for inner in value]
            return [part for part, _ in parts], any(inside for _, inside in parts)
    return value, False
