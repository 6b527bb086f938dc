"""What a request shows of personal data in facts, explanations and reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from siyu.flow.tokens import Access, Role
from siyu_graphql.personal import Personal

PHONE = "Attribute('phone')"
VIEWER = Access("token:1", "", "00000000", Role.VIEWER, 1)
SEEING = replace(VIEWER, personal=True)


@dataclass(frozen=True)
class Node:
    text: str
    value: Any
    children: tuple[Any, ...] = ()


def test_a_fact_about_something_personal_is_masked_and_others_are_not() -> None:
    shown = Personal(VIEWER)
    assert shown.fact(1, 7, PHONE, "13812345678") == "138****5678"
    assert shown.fact(1, 7, PHONE, None) is None
    assert shown.fact(1, 7, "Attribute('skin')", "oily") == "oily"
    assert shown.seen == {}


def test_an_attribute_that_a_plugin_declares_personal_is_masked_and_so_is_an_age_made_of_it() -> None:
    shown = Personal(VIEWER, frozenset({"birthday"}))
    assert shown.shown(1, 7, {"birthday": "1990-05-01", "skin": "oily"}) == {"birthday": "1**", "skin": "oily"}
    assert shown.fact(1, 7, "Age('birthday')", 36) == "**"


def test_whoever_may_sees_it_and_each_user_counts_once() -> None:
    shown = Personal(SEEING)
    for user in (7, 7, 8):
        assert shown.fact(1, user, PHONE, "13812345678") == "13812345678"
    assert shown.named(2, 9, "email", "a@b.cn") == "a@b.cn"
    assert shown.fact(1, 9, PHONE, None) is None, "nothing of the third was shown"
    assert shown.seen == {1: 2, 2: 1}


def test_an_explanation_is_masked_wherever_it_says_the_value() -> None:
    tree = Node("phone is 13812345678", True, (Node("phone", "13812345678"), {"n": [13812345678, "oily"]}))
    facts = [(PHONE, "13812345678"), ("Attribute('skin')", "oily"), (PHONE, None)]
    assert Personal(VIEWER).explained(1, 7, facts, tree) == Node(
        "phone is 138****5678", True, (Node("phone", "138****5678"), {"n": ["138****5678", "oily"]})
    )
    halves = ("Formula(Age('birthday') / 2)", 17.0)
    covering = Personal(VIEWER, frozenset({"birthday"}))
    assert covering.explained(1, 7, [halves], "half of it is 17, or 17.0") == "half of it is **, or **"
    assert (
        covering.explained(1, 7, [halves], "17岁: p.from_17_to, 17.05 and 117") == "**岁: p.from_17_to, 17.05 and 117"
    )
    assert Personal(SEEING).explained(1, 7, facts, tree) is tree
    assert Personal(VIEWER).explained(1, 7, facts[1:2], tree) is tree


@pytest.mark.parametrize("access", [VIEWER, SEEING])
def test_a_text_may_quote_what_is_personal_only_to_who_may_see_it(access: Access) -> None:
    shown = Personal(access)
    said = shown.told(1, "x", {"user": {"phone": "13812345678"}, "amount": "x"}, "nobody is called 13812345678")
    assert ("138****5678" in said) is (access is VIEWER)
    assert shown.told(1, "y", {"phone": "1"}, "the amount") == "the amount"
    assert shown.seen == ({} if access is VIEWER else {1: 1})
