"""The queries of the example page are held to the schema, without Node."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import siyu_graphql
from graphql import FieldNode, build_schema, parse, validate, visit
from graphql.language import Visitor
from graphql.validation import NoDeprecatedCustomRule, specified_rules
from siyu.contract.conditions import cases
from siyu.contract.manager import PluginManager
from siyu.contract.rules import FittedSegmenter, Lifecycle
from siyu.engine.explain import RULE_GONE
from siyu_graphql import hooks
from siyu_graphql.reasons import MERGED

PAGE = Path(__file__).parents[2] / "examples/frontend/src"
SDL = (Path(siyu_graphql.__file__).parent / "schema.graphql").read_text(encoding="utf-8")
DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "frontend.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(PAGE.rglob("*.graphql"))
SCHEMA = build_schema(SDL)


def wrong(text: str) -> list[str]:
    return [error.message for error in validate(SCHEMA, parse(text), (*specified_rules, NoDeprecatedCustomRule))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_its_queries_are_valid_and_ask_for_nothing_deprecated(path: Path) -> None:
    assert wrong(path.read_text(encoding="utf-8")) == []


def test_the_queries_of_the_guide_are_valid() -> None:
    blocks = re.findall(r"^```graphql\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    assert [wrong(block) for block in blocks] == [[]] * 5


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_links_of_the_docs_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_a_field_that_were_gone_would_be_noticed() -> None:
    fields: set[str] = set()

    class Seen(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            fields.add(node.name.value)

    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    for text in texts:
        visit(parse(text), Seen())
    assert {"users", "because", "runProgress", "stageChanges"} <= fields
    assert any(wrong(text.replace("because", "reason")) for text in texts)


REASONS: dict[str, str] = json.loads((PAGE / "reasons.json").read_text(encoding="utf-8"))
CUTS = dict.fromkeys(("recency", "frequency", "monetary"), (1.0, 2.0))
STATES: dict[str, Any] = {
    "rfm": {**CUTS, "recent": 1.0, "often": 1.0, "much": 1.0},
    "content_affinity": {"pairs": [("护肤", "面霜", 9, 2.0)], "users": 10},
}
OTHER_PARAMS: dict[str, dict[str, Any]] = {"lifecycle": {"variant": "four"}, "customer_base": {"tags": True}}


def templates() -> Iterator[str]:
    """What the bundled plugins may say, and what siyu says itself."""
    yield from (RULE_GONE, MERGED)
    for plugin in PluginManager.load(extra_specs=[hooks]).plugins.values():
        rules: list[Any] = [*plugin.rules]
        for rule in rules:
            for params in ({}, OTHER_PARAMS.get(rule.key, {})):
                p: Any = rule.Params(**params)
                if isinstance(rule, Lifecycle):
                    given: Any = rule.stages(p)
                elif isinstance(rule, FittedSegmenter):
                    given = rule.tags(p, STATES[rule.key])
                else:
                    given = rule.tags(p)
                for each in given:
                    told = [words for _, words in cases(each.when)[1]]
                    yield from filter(None, (each.because, *told))


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_page_has_words_of_its_own_for_every_reason_of_the_bundled_plugins() -> None:
    known = [re.sub(r"\\\{\w+\\\}", "(.+?)", re.escape(theirs)) for theirs in REASONS]
    without = {
        each for each in templates() if not any(re.fullmatch(one, re.sub(r"\{\w+\}", "7", each)) for one in known)
    }
    assert without == set()


def test_its_words_name_the_values_that_the_reasons_name() -> None:
    assert [theirs for theirs, ours in REASONS.items() if names(theirs) != names(ours)] == []
    assert [ours for ours in REASONS.values() if re.search("[a-z]{3}", re.sub(r"\{\w+\}", "", ours))] == []
