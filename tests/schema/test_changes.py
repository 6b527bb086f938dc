"""What a new schema breaks is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import siyu_graphql
from siyu import InputError
from siyu_graphql import changes

SDL = (Path(siyu_graphql.__file__).parent / "schema.graphql").read_text(encoding="utf-8")
VERSION = '  """The version of siyu that answers."""\n  version: String!\n'


def test_nothing_breaks_where_nothing_changed() -> None:
    assert changes(SDL, SDL) == siyu_graphql.Changes([], [])


@pytest.mark.parametrize(
    ("part", "instead", "breaks"),
    [
        (VERSION, "", "Query.version was removed."),
        ("  slug: String!\n", "  slug: String\n", "Brand.slug changed type from String! to String."),
        ("    first: Int = null\n", "    first: Int!\n", "first"),
        ("  DONE\n", "  OVER\n", "Enum value RunStatus.DONE was removed."),
    ],
)
def test_what_breaks_queries_is_named(part: str, instead: str, breaks: str) -> None:
    assert part in SDL
    found = changes(SDL, SDL.replace(part, instead))
    assert any(breaks in change for change in found.breaking)


def test_what_is_added_breaks_nothing_and_what_may_surprise_is_told_apart() -> None:
    added = changes(SDL.replace(VERSION, ""), SDL)
    assert added.breaking == []
    shorter = changes(SDL, SDL.replace("    percent: Int! = 100\n", "    percent: Int! = 5\n"))
    assert shorter.breaking == []
    assert any("100" in change for change in shorter.dangerous)


@pytest.mark.parametrize(
    "text", ["", "what", "type Query { a: Nothing }", "type Query { a: Int } type Query { b: Int }"]
)
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no schema"):
        changes(text, SDL)
