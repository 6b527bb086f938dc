"""Kinds of names that users go by, and what a name proves."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IdentityKind"]


@dataclass(frozen=True)
class IdentityKind:
    """A kind of name: a member number, an openid, a phone.

    Where an event names two known users, each by a name that ``proves`` who somebody is, they are one person and are
    merged. Of a kind that is ``single`` a person has one name only: nobody who has another is merged with them by an
    event. A kind that nobody declares proves nothing; its names are kept all the same.
    """

    name: str
    title: str
    proves: bool = True
    single: bool = False
