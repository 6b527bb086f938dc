"""The queries of the example page are held to the schema, without Node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import siyu_graphql
from graphql import FieldNode, build_schema, parse, validate, visit
from graphql.language import Visitor
from graphql.validation import NoDeprecatedCustomRule, specified_rules

PAGE = Path(__file__).parents[2] / "examples/frontend/src"
SDL = (Path(siyu_graphql.__file__).parent / "schema.graphql").read_text(encoding="utf-8")
GUIDE = (Path(__file__).parents[2] / "docs/frontend.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(PAGE.rglob("*.graphql"))
SCHEMA = build_schema(SDL)


def wrong(text: str) -> list[str]:
    return [error.message for error in validate(SCHEMA, parse(text), (*specified_rules, NoDeprecatedCustomRule))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_its_queries_are_valid_and_ask_for_nothing_deprecated(path: Path) -> None:
    assert wrong(path.read_text(encoding="utf-8")) == []


def test_the_queries_of_the_guide_are_valid() -> None:
    blocks = re.findall(r"^```graphql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    assert [wrong(block) for block in blocks] == [[]] * 4


def test_the_links_of_the_guide_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", GUIDE)
    assert [link for link in links if not (PAGE.parents[2] / "docs" / link).exists()] == []


def test_a_field_that_were_gone_would_be_noticed() -> None:
    fields: set[str] = set()

    class Seen(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            fields.add(node.name.value)

    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    for text in texts:
        visit(parse(text), Seen())
    assert {"users", "because", "runProgress"} <= fields
    assert any(wrong(text.replace("because", "reason")) for text in texts)
