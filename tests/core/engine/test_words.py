"""Conditions are read as they are meant: each part in words, with what was found, and as data."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu import (
    ALWAYS,
    DAY,
    Age,
    Attribute,
    Condition,
    Contains,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    Fact,
    First,
    FirstKnown,
    HasTag,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    Share,
    Total,
    Within,
)
from siyu.contract.conditions import lift
from siyu.engine.compile import to_python
from siyu.engine.words import declared, failing, read

silent, orders, spent = DaysSince("order.paid"), Count("order.paid"), Total("order.paid", "amount")
city, vip, born = Attribute("city"), Attribute("vip", type="flag"), Attribute("born", type="date")
NAMES = {orders.name: "orders", spent.name: "spent"}
FACTS: dict[str, Any] = {
    silent.name: 41,
    orders.name: 0,
    spent.name: 12.345678,
    city.name: None,
    vip.name: True,
    born.name: date(2020, 2, 29),
}


@pytest.mark.parametrize(
    ("condition", "text", "held"),
    [
        (silent >= 30, "days since order.paid >= 30 (is 41)", True),
        (lift(30) <= silent, "30 <= days since order.paid (is 41)", True),
        (orders != 0, "orders != 0 (is 0)", False),
        (spent < 12.5, "spent < 12.5 (is 12.3457)", True),
        (city == "油", "city == '油' (is missing)", False),
        (city != "x", "city != 'x' (is missing)", False),
        (vip == True, "vip == true (is true)", True),  # noqa: E712
        (born > date(2020, 1, 1), "born > 2020-01-01 (is 2020-02-29)", True),
        (silent > orders * 2 + 1, "days since order.paid > (orders * 2) + 1 (is 41 against 1)", True),
        (spent / orders >= 0, "spent / orders >= 0 (is missing)", False),
        (silent - 1.5 == 39.5, "days since order.paid - 1.5 == 39.5 (is 39.5)", True),
        (silent.between(30, 60), "days since order.paid between 30 and 60 (is 41)", True),
        (silent.between(orders, 40), "days since order.paid between orders and 40 (is 41 against 0)", False),
        (city.is_in(["a", "b"]), "city in 'a', 'b' (is missing)", False),
        (silent.is_in(range(9)), "days since order.paid in 0, 1, 2, 3, 4, 4 more (is 41)", False),
        (silent.is_in([1.5, 41]), "days since order.paid in 1.5, 41 (is 41)", True),
        (city.is_missing(), "city is missing", True),
        (silent.is_missing(), "days since order.paid is missing (is 41)", False),
        (ALWAYS, "always", True),
        (~(silent > 30), "not (days since order.paid > 30 (is 41))", False),
        ((orders > 0) & (spent > 5), "orders > 0 (is 0) and spent > 5 (is 12.3457)", False),
        ((orders > 0) | (spent > 5), "orders > 0 (is 0) or spent > 5 (is 12.3457)", True),
        ((orders > 0) | (ALWAYS & (spent > 5)), "orders > 0 (is 0) or (always and spent > 5 (is 12.3457))", True),
        (lift(1) < lift(2), "1 < 2", True),
    ],
    ids=repr,
)
def test_a_condition_says_what_was_asked_and_found(condition: Condition, text: str, held: bool) -> None:
    node = read(condition, NAMES, FACTS)
    assert (node.text, node.held) == (text, held)


def test_without_a_user_a_condition_says_what_is_asked() -> None:
    node = read(~HasTag("rfm.high_value") & (silent + 1 >= 30) & ALWAYS & city.is_missing(), {})
    assert node.text == (
        "not (has the tag rfm.high_value) and days since order.paid + 1 >= 30 and always and city is missing"
    )
    assert node.held is None
    assert {child.held for child in node.children} == {None}


def test_a_tag_that_is_not_bound_to_its_condition_holds_for_nobody() -> None:
    with pytest.raises(TypeError):
        read(HasTag("rfm.high_value"), {}, FACTS)


def test_what_fails_is_told_apart_from_what_does_not() -> None:
    node = read((silent > 30) & (orders > 0) & ((spent > 100) | (city == "x")), NAMES, FACTS)
    assert failing(node) == "orders > 0 (is 0); spent > 100 (is 12.3457) or city == 'x' (is missing)"


def test_as_data_every_node_has_the_same_shape() -> None:
    tree = read((silent > orders + 1) & (born == date(2020, 1, 1)), NAMES, FACTS).to_json()
    json.dumps(tree)
    first, second = tree["children"]
    assert (tree["op"], tree["held"], tree["value"], tree["fact"]) == ("and", False, None, None)
    assert [child["op"] for child in first["children"]] == ["fact", "+"]
    assert first["children"][0] == {
        "op": "fact",
        "text": "days since order.paid",
        "held": None,
        "value": 41,
        "fact": "DaysSince('order.paid')",
        "children": [],
    }
    assert first["children"][1]["value"] == 1.0
    assert [child["value"] for child in second["children"]] == ["2020-02-29", "2020-01-01"]


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (Attribute("skin", values=["oily"]), "skin"),
        (DaysUntil("due"), "days until due"),
        (DaysUntil("birthday", yearly=True), "days until the next birthday"),
        (Count("order.paid", {"category": "tea"}, 30), "count of order.paid where category = 'tea' in 30 days"),
        (Count("order.paid", {"category": ["tea", "coffee"]}), "count of order.paid where category in 'coffee', 'tea'"),
        (Count("order.paid", {"amount": Within(1, 5)}), "count of order.paid where amount from 1 to 5"),
        (Count("order.paid", {"amount": Within(low=1)}), "count of order.paid where amount >= 1"),
        (Count("order.paid", {"amount": Within(high=1.5)}), "count of order.paid where amount <= 1.5"),
        (Mentions("review.posted", "rash", "itch"), "count of review.posted where text with 'itch' or 'rash'"),
        (Count("x", {"a": 1, "text": Contains("b")}), "count of x where a = 1 and text with 'b'"),
        (Total("order.paid", "amount"), "total amount of order.paid"),
        (Total("order.paid", "amount", repeat=True), "total amount of repeated order.paid"),
        (Mean("order.paid", "amount", days=7), "mean amount of order.paid in 7 days"),
        (Max("order.paid", "amount"), "greatest amount of order.paid"),
        (Min("order.paid", "amount"), "smallest amount of order.paid"),
        (Distinct("order.paid", "store"), "different store of order.paid"),
        (Distinct("order.paid", DAY), "days with order.paid"),
        (First("order.paid", "store"), "store of the first order.paid"),
        (Last("order.paid", "store"), "store of the last order.paid"),
        (Share("order.paid", {"store": "web"}), "share with store = 'web' of order.paid"),
        (Cycle("order.paid"), "usual days between order.paid"),
        (DaysSinceFirst("order.paid"), "days since the first order.paid"),
        (FirstKnown(Cycle("order.paid"), 30), "(usual days between order.paid, else 30)"),
        (
            FirstKnown(Age("birthday"), Count("order.paid") / 2),
            "(years since birthday, else (count of order.paid / 2))",
        ),
    ],
    ids=lambda it: it.name if isinstance(it, Fact) else "",
)
def test_a_fact_is_read_from_its_declaration(fact: Fact, text: str) -> None:
    assert declared(fact) == text


def test_of_the_first_known_of_several_facts_it_says_which_answered() -> None:
    born, due = Age("birthday"), Age("due")
    age = FirstKnown(born, due, 3)
    names, known = {age.name: "age"}, {age.name: 7.0, born.name: None, due.name: 7}
    node = read(age >= 6, names, known)
    assert node.text == "age >= 6 (is 7: years since due)"
    assert [(child.text, child.value) for child in node.children[0].children] == [
        ("years since birthday", None),
        ("years since due", 7),
        ("3", 3),
    ]
    assert read(age >= 6, names, {**known, age.name: 3.0, due.name: None}).text == "age >= 6 (is 3: 3)"
    assert read(age >= 6, names, {age.name: 7.0}).text == "age >= 6 (is 7)"
    guess = FirstKnown(age, 9)
    assert read(guess < 9, {}, {**known, guess.name: 7.0}).text.endswith("< 9 (is 7: years since due)")
    assert read(age >= 6, names).text == "age >= 6"


def test_a_fact_that_nobody_has_words_for_is_shown_as_declared() -> None:
    class Guess(Fact):
        kind = "number"
        name = "Guess('x')"

    assert declared(Guess()) == "Guess('x')"


leaves = (silent, orders, spent)
numbers = st.recursive(
    st.sampled_from(leaves) | st.sampled_from([0, 1, 30, 0.5, 1e308]).map(lift),
    lambda inner: st.builds(lambda op, a, b: op(a, b), st.sampled_from(
        [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b]), inner, inner),
    max_leaves=3,
)  # fmt: skip
conditions: st.SearchStrategy[Condition] = st.recursive(
    st.one_of(
        st.builds(lambda a, b: a >= b, numbers, numbers),
        st.builds(lambda a, b: a != b, numbers, numbers),
        st.builds(lambda it, a, b: it.between(a, b), numbers, numbers, numbers),
        st.builds(lambda it: it.is_in([0, 30, 0.5]), numbers),
        st.builds(lambda it: it.is_missing(), numbers),
        st.just(ALWAYS),
    ),
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        inner.map(lambda a: ~a),
    ),
    max_leaves=5,
)
values = st.tuples(
    st.none() | st.integers(-1, 40), st.integers(0, 3), st.none() | st.sampled_from([0.0, 0.1, 0.5, 30.0, 1e308])
)


@settings(max_examples=200, deadline=None)
@given(condition=conditions, row=values)
def test_what_is_read_is_what_is_decided(condition: Condition, row: tuple[Any, ...]) -> None:
    names = [fact.name for fact in leaves]
    node = read(condition, {}, dict(zip(names, row, strict=True)))
    assert node.held is to_python(names, [condition], [])(row)[0][0]
    if node.held is False:
        assert failing(node)
