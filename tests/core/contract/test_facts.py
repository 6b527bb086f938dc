"""Facts are declared: equal declarations are one, and what cannot be computed is refused with what can."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest
from siyu import (
    DAY,
    Age,
    Attribute,
    Contains,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    EventKind,
    Fact,
    First,
    FirstKnown,
    Formula,
    Last,
    Line,
    Max,
    Mean,
    Mentions,
    Min,
    Money,
    Payload,
    RuleError,
    Score,
    Share,
    Total,
    Values,
    Within,
)
from siyu.contract.conditions import lift
from siyu.contract.events import Catalog
from siyu.contract.manager import PluginManager

UNKNOWN: Any = "colour"
NO_NUMBER: Any = Count("order.paid") > 1


class Size(enum.StrEnum):
    LARGE = "large"


class Bag(Line):
    size: str | None = None
    grams: int | None = None


class Delivery(Payload):
    place: str
    express: bool = False
    fee: Money | None = None
    weight: int | None = None
    bags: tuple[Bag, ...] = ()


CATALOG = Catalog([*PluginManager().catalog.kinds.values(), EventKind("shop.delivered", "送达", Delivery)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Count("order.paid"), Count("order.paid", where={}, days=None)),
        (Count("order.paid", where={"a": "x", "b": "y"}), Count("order.paid", where={"b": ["y"], "a": ("x",)})),
        (Count("order.paid", where={"a": ["x", "y"]}), Count("order.paid", where={"a": {"y", "x"}})),
        (Count("order.paid", where={"a": Size.LARGE}), Count("order.paid", where={"a": "large"})),
        (Total("order.paid", "amount", days=7), Total("order.paid", "amount", None, 7)),
        (Attribute("skin", ["a", "b"]), Attribute("skin", ("a", "b"), None)),
        (Attribute("skin"), Attribute("skin", type="text")),
        (Count("order.paid", where={"a": Within(1)}), Count("order.paid", where={"a": Within(1.0, None)})),
        (
            Count("order.paid", where={"a": Contains("B", "a")}),
            Count("order.paid", where={"a": Contains("A", "b", "a")}),
        ),
        (Mentions("group.message", "Tea", "茶"), Mentions("group.message", "茶", "tea", "TEA")),
        (Cycle("order.paid"), Cycle("order.paid", least=3)),
        (Total("order.paid", "amount"), Total("order.paid", "amount", repeat=False)),
        (Last("order.paid", "store"), Last("order.paid", "store", kind="text")),
        (Formula(Count("order.paid") / 2), Formula(Count("order.paid", where={}) / 2)),
        (Score(Count("order.paid"), [2, 1]), Score(Count("order.paid"), (1.0, 2.0))),
        (
            FirstKnown(Age("birthday"), Count("order.paid") / 2),
            FirstKnown(Age("birthday"), Formula(Count("order.paid", where={}) / 2)),
        ),
    ],
)
def test_equal_declarations_are_one_fact(one: Fact, other: Fact) -> None:
    assert one.name == other.name


def test_declarations_that_differ_in_anything_are_different_facts() -> None:
    facts: list[Fact] = [
        Count("order.paid"),
        Count("order.paid", days=7),
        Count("order.paid", days=8),
        Count("order.paid", where={"a": "1"}),
        Count("order.paid", where={"a": 1}),
        Count("order.paid", where={"a": True}),
        Count("order.paid", where={"a": "x', 'b': 'y"}),
        Count("order.paid", where={"a": "x", "b": "y"}),
        Count("order.refunded"),
        DaysSince("order.paid"),
        DaysSinceFirst("order.paid"),
        Total("order.paid", "amount"),
        Total("order.paid", "quantity"),
        Attribute("order.paid"),
        Attribute("order.paid", default=""),
        Attribute("order.paid", values=["a"]),
        Attribute("order.paid", values=["a"], default="a"),
        Attribute("order.paid", type="integer"),
        Attribute("order.paid", type="money"),
        Attribute("order.paid", type="flag", default=False),
        Attribute("order.paid", type="flag", default=True),
        Age("order.paid"),
        Age("order.paid", "months"),
        DaysUntil("order.paid"),
        DaysUntil("order.paid", yearly=True),
        Count("order.paid", where={"a": Within(1)}),
        Count("order.paid", where={"a": Within(high=1)}),
        Count("order.paid", where={"a": Contains("1")}),
        Count("order.paid", where={"a": Contains("1", "2")}),
        Cycle("order.paid"),
        Cycle("order.paid", least=4),
        Mean("order.paid", "amount"),
        Max("order.paid", "amount"),
        Min("order.paid", "amount"),
        Total("order.paid", "amount", repeat=True),
        Distinct("order.paid", "amount"),
        Distinct("order.paid", DAY),
        Distinct("order.paid", DAY, repeat=True),
        Values("order.paid", "store"),
        First("order.paid", "store"),
        Last("order.paid", "store"),
        Last("order.paid", "store", kind="number"),
        Mentions("order.paid", "a"),
        Mentions("order.paid", "a", field="store"),
        Share("order.paid", {"a": "1"}),
        Share("order.paid", {"a": "1"}, {"b": "1"}),
        Formula(Count("order.paid") + 1),
        Formula(Count("order.paid") + Count("order.paid")),
        Formula(1 + Count("order.paid")),
        Score(Count("order.paid"), [1]),
        Score(Count("order.paid"), [1], reverse=True),
        Score(Count("order.paid"), [1, 2]),
        Score(Count("order.paid", days=7), [1]),
        FirstKnown(Count("order.paid"), Count("order.refunded")),
        FirstKnown(Count("order.refunded"), Count("order.paid")),
        FirstKnown(Count("order.paid"), Count("order.refunded"), 1),
    ]
    assert len({fact.name for fact in facts}) == len(facts)


@pytest.mark.parametrize(
    ("declare", "named", "remedy"),
    [
        (lambda: Count("order.paid", days=0), "0 days", "1 to 3660"),
        (lambda: Count("order.paid", days=3661), "3661 days", "1 to 3660"),
        (lambda: Count("order.paid", days=UNKNOWN), "'colour' days", "a whole number"),
        (lambda: Count("order.paid", days=7.5), "7.5 days", "a whole number"),  # type: ignore[arg-type]
        (lambda: Count("order.paid", days=True), "True days", "a whole number"),
        (lambda: Count(7), "event=7", "its name, a text"),  # type: ignore[arg-type]
        (lambda: Count(" "), "event=' '", "its name, a text"),
        (lambda: Count("order.paid", where=UNKNOWN), "'colour' is no filter", "{'category': 'tea'}"),
        (lambda: Count("order.paid", where={1: "a"}), "{1: 'a'} is no filter", "{'category': 'tea'}"),  # type: ignore[dict-item]
        (lambda: Share("order.paid", UNKNOWN), "'colour' is no filter", "{'category': 'tea'}"),
        (lambda: Total("order.paid", 7), "field=7", "its name, a text"),  # type: ignore[arg-type]
        (lambda: Total("order.paid", "amount", repeat=UNKNOWN), "repeat='colour'", "True or False"),
        (lambda: Last("order.paid", "store", kind=UNKNOWN), "kind='colour'", "number, text, flag, date"),
        (lambda: DaysUntil(3), "attribute=3", "its name, a text"),  # type: ignore[arg-type]
        (lambda: DaysUntil("birthday", yearly=UNKNOWN), "yearly='colour'", "True or False"),
        (lambda: Age(None), "attribute=None", "its name, a text"),  # type: ignore[arg-type]
        (lambda: Attribute(3), "attribute=3", "its name, a text"),  # type: ignore[arg-type]
        (lambda: Cycle("order.paid", least=2.5), "least=2.5", "a whole number"),  # type: ignore[arg-type]
        (lambda: Score(Count("order.paid"), 5), "cuts=5", "a list"),  # type: ignore[arg-type]
        (lambda: Score(Count("order.paid"), [True]), "cuts=[True]", "at least one number"),
        (lambda: Count("order.paid", where={"a": []}), "{'a': []}", "a text, a whole number, a flag, Within"),
        (lambda: Count("order.paid", where={"a": 1.5}), "1.5", "a text, a whole number, a flag, Within"),
        (lambda: Count("order.paid", where={"a": None}), "None", "a text, a whole number, a flag, Within"),
        (lambda: Attribute("skin", values="oily"), "'oily' is one text", "list of texts"),
        (lambda: Attribute("skin", values=["a"], default="b"), "'b' is not among", "['a']"),
        (lambda: Attribute("skin", type=UNKNOWN), "type='colour'", "text, integer, money, flag, date"),
        (lambda: Attribute("skin", values=["1"], type="integer"), "values of a integer", "only texts"),
        (lambda: Attribute("skin", default="1", type="integer"), "default '1' is no integer", "give a integer"),
        (lambda: Age("skin", UNKNOWN), "unit='colour'", "years, months"),
        (lambda: Within(), "without a bound", "low, high or both"),
        (lambda: Within(2, 1), "holds nothing", "smaller number first"),
        (lambda: Within(UNKNOWN), "low='colour'", "a number"),
        (lambda: Within(high=True), "high=True", "a number"),
        (lambda: Contains(), "Contains()", "at least one word"),
        (lambda: Mentions("group.message", " "), "Contains(' ',)", "at least one word"),
        (lambda: Cycle("order.paid", least=1), "least=1", "two days"),
        (lambda: Share("order.paid", {}), "Share(of={})", "which events"),
        (lambda: Score(Attribute("skin"), [1]), "Score(Attribute('skin'))", "a number"),
        (lambda: Score(Count("order.paid"), []), "cuts=[]", "at least one"),
        (lambda: Score(Count("order.paid"), [float("nan")]), "cuts=[nan]", "at least one"),
        (lambda: FirstKnown(Count("order.paid")), "FirstKnown(Count('order.paid'))", "two or more"),
        (lambda: FirstKnown(1, Count("order.paid")), "FirstKnown(1, Count('order.paid'))", "as the last"),
        (lambda: FirstKnown(Count("order.paid"), 1, 2), "FirstKnown(Count('order.paid'), 1, 2)", "as the last"),
        (lambda: FirstKnown(Count("order.paid"), None), "None cannot stand", "use a fact"),  # type: ignore[arg-type]
        (lambda: FirstKnown(Count("order.paid"), Attribute("skin")), "Attribute('skin'), a text", "of one kind"),
        (lambda: FirstKnown(Attribute("skin"), 7), "7, a number", "of one kind"),
        (lambda: Formula(NO_NUMBER), "Formula(", "arithmetic on facts"),
        (lambda: Formula(Attribute("skin")), "Formula(", "arithmetic on facts"),
        (lambda: Formula(lift(1) + 1), "Formula(", "arithmetic on facts"),
    ],
)
def test_a_fact_that_has_no_meaning_is_refused(declare: Callable[[], Any], named: str, remedy: str) -> None:
    with pytest.raises(RuleError) as caught:
        declare()
    assert named in caught.value.message
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("fact", "tables"),
    [
        (Count("shop.delivered"), ["shop.delivered"]),
        (Count("shop.delivered", where={"express": True}), ["shop.delivered"]),
        (Count("shop.delivered", where={"size": "large"}), ["shop.delivered.bags"]),
        (Total("shop.delivered", "fee"), ["shop.delivered"]),
        (Total("shop.delivered", "grams"), ["shop.delivered.bags"]),
        (Total("order.paid", "amount", where={"category": "tea"}), ["order.paid.items"]),
        (Total("order.paid", "amount", where={"store": "1"}), ["order.paid"]),
        (Attribute("anything"), ["profile.updated"]),
        (DaysUntil("anything"), ["profile.updated"]),
        (Age("anything"), ["profile.updated"]),
        (Distinct("shop.delivered", DAY), ["shop.delivered"]),
        (Distinct("shop.delivered", DAY, {"size": "large"}), ["shop.delivered.bags"]),
        (Share("shop.delivered", {"size": "large"}), ["shop.delivered.bags"]),
        (Share("shop.delivered", {"place": Contains("x")}, {"fee": Within(1)}), ["shop.delivered"]),
        (Cycle("order.paid", {"category": "tea"}), ["order.paid.items"]),
        (Values("order.paid", "category"), ["order.paid.items"]),
        (First("shop.delivered", "fee", kind="number"), ["shop.delivered"]),
        (Formula(Count("shop.delivered") / DaysSinceFirst("shop.delivered")), ["shop.delivered"]),
        (Formula(Count("order.paid") / Age("birthday")), ["order.paid", "profile.updated"]),
        (FirstKnown(Age("birthday"), Age("due"), 7), ["profile.updated"]),
        (
            DaysSince("interaction"),
            [
                "article.opened",
                "contact.added",
                "coupon.redeemed",
                "group.message",
                "message.clicked",
                "message.opened",
                "message.replied",
                "order.paid",
                "product.viewed",
                "survey.answered",
            ],
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fact) else "",
)
def test_a_fact_reads_the_first_table_that_has_its_fields(fact: Fact, tables: list[str]) -> None:
    assert [source.name for source in CATALOG.resolve(fact)] == tables


@pytest.mark.parametrize(
    ("fact", "field", "valid"),
    [
        (Count("order.payed"), "order.payed", "order.paid"),
        (Count("profile.updated"), "profile.updated", "interaction"),
        (Count("shop.delivered", where={"colour": "red"}), "colour", "place, express, fee, weight"),
        # The line has the one and the event the other.
        (Count("shop.delivered", where={"size": "large", "express": True}), "size", "shop.delivered.bags: size, grams"),
        (Total("shop.delivered", "place"), "place", "int or a Money"),
        (Total("shop.delivered", "express"), "express", "int or a Money"),
        (Count("shop.delivered", where={"express": "yes"}), "express", "one of its kind"),
        (Count("shop.delivered", where={"weight": True}), "weight", "one of its kind"),
        (Count("shop.delivered", where={"place": 7}), "place", "one of its kind"),
        (Count("shop.delivered", where={"fee": 7}), "fee", "one of its kind"),
        (Count("interaction", where={"channel": "x"}), "interaction", "a single kind"),
        (Total("interaction", "amount"), "interaction", "a single kind"),
        (Distinct("interaction", "channel"), "interaction", "a single kind"),
        (Share("interaction", {"channel": "x"}), "interaction", "a single kind"),
        (Mean("shop.delivered", "place"), "place", "int or a Money"),
        (Max("shop.delivered", "express"), "express", "int or a Money"),
        (Values("shop.delivered", "weight"), "weight", "a text"),
        (Last("shop.delivered", "weight"), "weight", "kind='number'"),
        (First("shop.delivered", "place", kind="number"), "place", "kind='text'"),
        (Mentions("shop.delivered", "x"), "text", "place, express"),
        (Mentions("shop.delivered", "x", field="weight"), "weight", "one of its kind"),
        (Count("shop.delivered", where={"place": Within(1)}), "place", "one of its kind"),
        (Share("shop.delivered", {"express": "yes"}), "express", "one of its kind"),
        (Share("shop.delivered", {"size": "x"}, {"express": True}), "size", "shop.delivered.bags: size, grams"),
        (Formula(Count("order.paid") + Count("order.payed")), "order.payed", "order.paid"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fact) else "",
)
def test_a_fact_that_cannot_be_computed_is_refused_with_what_can(fact: Fact, field: str, valid: str) -> None:
    with pytest.raises(RuleError) as caught:
        CATALOG.resolve(fact)
    assert caught.value.field == field
    assert valid in str(caught.value.remedy)


def test_the_lines_of_a_kind_are_a_table_of_their_own() -> None:
    events, bags = CATALOG.kinds["shop.delivered"].sources
    assert list(events.schema) == ["user_id", "at", "place", "express", "fee", "weight"]
    assert (bags.name, list(bags.schema)) == ("shop.delivered.bags", ["user_id", "at", "event_id", "size", "grams"])


def test_payloads_are_flat_and_exact_or_refused() -> None:
    from decimal import Decimal

    class Floating(Payload):
        weight: float

    class Nested(Payload):
        tags: list[str]

    class Twice(Payload):
        one: tuple[Bag, ...]
        other: tuple[Bag, ...]

    class Own(Payload):
        user_id: str

    class Precise(Payload):
        amount: Decimal | None = None

    for payload in (Floating, Nested, Twice, Own, Precise):
        with pytest.raises(RuleError) as caught:
            Catalog([EventKind("x.y", "X", payload)])
        assert str(caught.value.field).startswith("x.y.")


def test_kinds_and_groups_have_names_of_their_own() -> None:
    for kinds in (
        [EventKind("a", "A"), EventKind("a", "B")],
        [EventKind("a", "A"), EventKind("b", "B", groups=frozenset({"a"}))],
    ):
        with pytest.raises(RuleError) as caught:
            Catalog(kinds)
        assert (caught.value.field, bool(caught.value.remedy)) == ("a", True)


def test_a_default_of_nothing_is_a_default() -> None:
    for kind, nothing in (("integer", 0), ("money", 0.0), ("flag", False), ("text", "")):
        with_it, without = (Attribute("x", type=kind, **more) for more in ({"default": nothing}, {}))  # type: ignore[arg-type]
        assert with_it.name != without.name


def test_values_are_texts_each_once() -> None:
    assert Attribute("skin", values=["oily", "dry", "oily"]).values == ("oily", "dry")
    with pytest.raises(RuleError, match="give texts"):
        Attribute("skin", values=[1, 2])  # type: ignore[list-item]
