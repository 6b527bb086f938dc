"""Conditions are checked when they are built, and say what is wrong and what to do."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from typing import Any

import pytest
from siyu import ALWAYS, Attribute, Condition, Count, HasTag, RuleError, Total
from siyu.contract.conditions import And, Lit, Or, cases, lift

orders = Count("order.paid")
spent = Total("order.paid", "amount")
skin = Attribute("skin")


class Skin(enum.StrEnum):
    OILY = "oily"


class Level(enum.IntEnum):
    GOLD = 3


@pytest.mark.parametrize(
    ("build", "named", "remedy"),
    [
        (lambda: bool(orders > 1), "Count('order.paid') > 1", "& | ~"),
        (lambda: 1 < orders < 3, "Count('order.paid') > 1", "not with and/or/not"),
        (lambda: skin < 3, "Attribute('skin') is a text", "one kind"),
        (lambda: orders == "3", "'3', a text", "one kind"),
        (lambda: orders.between(1, "x"), "'x', a text", "one kind"),
        (lambda: orders + skin, "Attribute('skin') is a text", "compare it"),
        (lambda: orders == True, "True, a flag", "one kind"),  # noqa: E712
        (lambda: orders > float("nan"), "nan", "finite"),
        (lambda: orders > float("inf"), "inf", "finite"),
        (lambda: orders > Decimal("NaN"), "NaN", "finite"),
        (lambda: orders > 2**53 + 1, str(2**53 + 1), "2**53"),
        (lambda: orders > None, "None", "use a fact"),
        (lambda: orders == [1, 2], "[1, 2]", "use a fact"),
        (lambda: orders > datetime(2026, 1, 1, tzinfo=UTC), "datetime", "a date"),
        (lambda: orders.is_in([]), "no values", "at least one"),
        (lambda: orders.is_in([1, "x"]), "'x', a text", "one kind"),
        (lambda: orders.is_in([spent]), "takes literals, got Total", "compare facts with =="),  # type: ignore[list-item]
        (lambda: skin.is_in("oily"), "one text", "list of texts"),
        (lambda: orders.is_in(5), "one value", "give a list"),  # type: ignore[arg-type]
        (lambda: orders and (spent > 1), "Count('order.paid') has no truth value", "compare it"),
        (lambda: HasTag(3), "HasTag(3)", "the key of a tag"),  # type: ignore[arg-type]
        (lambda: (orders > 1) & True, "True is not a condition", "brackets"),  # type: ignore[operator]
        (lambda: (orders > 1) | skin, "Attribute('skin') is not a condition", "brackets"),  # type: ignore[operator]
        (lambda: (orders > 1).because(" "), "because(' ')", "say why"),
        (lambda: (orders > 1).because(7), "because(7)", "say why"),  # type: ignore[arg-type]
        (lambda: cases(~(orders > 1).because("a")), "gives reasons", "none within ~"),
        (lambda: cases((orders > 1).because("a").because("b")), "gives reasons", "one within each"),
        (lambda: cases((orders > 1).because("a") & (spent > 1).because("b")), "gives reasons", "one within each"),
        (lambda: cases(ALWAYS & ~(skin == "x").because("a")), "gives reasons", "none within ~"),
        (lambda: Lit(True, "flag") < Lit(False, "flag"), "True is true or false", "== or !="),
    ],
)
def test_what_has_no_meaning_is_refused_naming_the_value_and_the_remedy(
    build: Callable[[], Any], named: str, remedy: str
) -> None:
    with pytest.raises(RuleError) as caught:
        build()
    assert named in caught.value.message
    assert remedy in str(caught.value.remedy)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (orders > 1, "Count('order.paid') > 1"),
        (3 >= orders, "Count('order.paid') <= 3"),  # noqa: SIM300
        (orders * 2 - 1 >= spent / 3, "((Count('order.paid') * 2) - 1) >= (Total('order.paid', 'amount') / 3)"),
        (2 / orders != 10 - spent, "(2 / Count('order.paid')) != (10 - Total('order.paid', 'amount'))"),
        (orders.between(1, 5), "1 <= Count('order.paid') <= 5"),
        (skin.is_in(["oily", "dry"]), "Attribute('skin') in ['oily', 'dry']"),
        (skin.is_missing(), "Attribute('skin') is missing"),
        (~(orders > 1), "not (Count('order.paid') > 1)"),
        (
            (orders > 1) & (spent > 2) | ALWAYS,
            "((Count('order.paid') > 1 and Total('order.paid', 'amount') > 2) or always)",
        ),
    ],
)
def test_a_condition_reads_as_it_was_written(condition: Condition, words: str) -> None:
    assert repr(condition) == words


def test_a_chain_of_one_operator_lies_flat_and_keeps_its_order() -> None:
    terms = [orders == number for number in range(4)]
    both = reduce(lambda a, b: a & b, terms)
    assert isinstance(both, And)
    assert both.terms == tuple(terms)
    either = (terms[0] | terms[1]) | (terms[2] | terms[3])
    assert isinstance(either, Or)
    assert either.terms == tuple(terms)
    mixed = terms[0] & (terms[1] | terms[2]) & terms[3]
    assert isinstance(mixed, And)
    assert len(mixed.terms) == 3


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Skin.OILY, "'oily'"),
        (Level.GOLD, "3"),
        (Decimal("0.5"), "0.5"),
        (date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
    ],
)
def test_a_literal_is_kept_as_its_plain_value_whatever_its_class(value: object, plain: str) -> None:
    assert repr(lift(value)) == plain


def test_the_facts_of_a_condition_are_found_in_reading_order() -> None:
    condition = (orders + spent > 1) & ~skin.is_missing() | skin.is_in(["x"]) | orders.between(spent, 3)
    assert [leaf.name for leaf in condition.leaves()] == [
        each.name for each in (orders, spent, skin, skin, orders, spent)
    ]


def test_each_alternative_that_says_why_is_a_case_of_the_condition() -> None:
    few, much, oily = orders > 1, spent > 2, skin == "oily"
    condition, told = cases((few.because("few") | much | ((oily | ALWAYS) & ~few).because("oily")) & (orders < 9))
    assert repr(condition) == repr((few | much | ((oily | ALWAYS) & ~few)) & (orders < 9))
    assert [(repr(held), words) for held, words in told] == [
        (repr(few & (orders < 9)), "few"),
        (repr(much & (orders < 9)), ""),
        (repr(And(((oily | ALWAYS) & ~few, orders < 9))), "oily"),
    ]
    assert cases(few.because("few")) == (few, [(few, "few")])
    assert cases(few) == (few, [])
