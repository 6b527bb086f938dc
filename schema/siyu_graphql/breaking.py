"""What a new schema breaks for those who query the old one."""

from __future__ import annotations

from dataclasses import dataclass

from graphql import GraphQLError, build_schema, find_breaking_changes, find_dangerous_changes
from siyu import InputError

__all__ = ["Changes", "changes"]


@dataclass(frozen=True)
class Changes:
    """In words, each with the type and field: what breaks queries, and what may surprise those who send them."""

    breaking: list[str]
    dangerous: list[str]


def changes(before: str, after: str) -> Changes:
    """From the schema ``before`` to the one ``after``, both as SDL."""
    try:
        old = build_schema(before)
    except (GraphQLError, TypeError) as error:
        remedy = "give a file as siyu schema prints it"
        raise InputError(f"that is no schema: {error}", field="against", remedy=remedy) from None
    new = build_schema(after)
    return Changes(
        sorted(change.description for change in find_breaking_changes(old, new)),
        sorted(change.description for change in find_dangerous_changes(old, new)),
    )
