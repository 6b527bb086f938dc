"""Attributes are declared: a rule that names another is refused, and one that names it knows what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from types import ModuleType
from typing import Any

import pytest
from siyu import (
    Age,
    Attribute,
    AttributeKind,
    Count,
    DaysUntil,
    Fact,
    Formula,
    PluginError,
    RuleError,
    Score,
    Segmenter,
    Tag,
    hookimpl,
)
from siyu.contract.manager import PluginManager

UNKNOWN: Any = "colour"
SKIN = AttributeKind("skin_type", "肤质", values=["dry", "oily"])
MEMBER = AttributeKind("member", "会员", "flag")
POINTS = AttributeKind("points", "积分", "integer")
SPENT = AttributeKind("spent", "消费", "money")
BORN = AttributeKind("birthday", "生日", "date")


class Skin(StrEnum):
    DRY = "dry"


def plugin(kinds: Sequence[Any] = (), condition: Callable[[Any], Any] | None = None, **facts: Fact) -> ModuleType:
    """A plugin that declares these, with a rule over those."""

    def tags(self: Any, p: Any) -> Any:
        when = condition(self) if condition else next(iter(self.facts.values())).is_missing()
        yield Tag("mine.made", "M", when)

    made = ModuleType("made")
    rule = type("Made", (Segmenter,), {"tags": tags, **facts})
    for name, given in (("siyu_attributes", list(kinds)), ("siyu_segmenters", [rule] if facts or condition else [])):

        def hook(given: list[Any] = given) -> list[Any]:
            return given

        hook.__name__ = name
        setattr(made, name, hookimpl(hook))
    return made


def load(made: ModuleType, **others: ModuleType) -> PluginManager:
    manager = PluginManager()
    for name, other in {**others, "mine": made}.items():
        manager.register(name, other)
    manager.check()
    return manager


def fact(name: str, made: ModuleType, **others: ModuleType) -> Any:
    """The fact of that name as its rule has it once it is loaded."""
    [rule] = load(made, **others).get("mine").rules
    assert getattr(rule, name) is rule.facts[name]
    return rule.facts[name]


def test_a_fact_of_a_rule_is_what_its_attribute_is_declared_as() -> None:
    skin = fact("skin", plugin([SKIN], skin=Attribute("skin_type")))
    assert (skin.type, skin.values, skin.default) == ("text", ("dry", "oily"), None)
    assert skin.name == Attribute("skin_type", values=["dry", "oily"]).name
    member = fact("member", plugin([MEMBER], member=Attribute("member", default=False)))
    assert (member.type, member.kind, member.default) == ("flag", "flag", False)


def test_a_condition_is_built_on_what_is_declared() -> None:
    made = plugin([POINTS], lambda rule: rule.points + 1 > 5, points=Attribute("points"))
    assert load(made).get("mine").refused is None
    with pytest.raises(RuleError, match="is a number and cannot be compared with 'many'"):
        load(plugin([POINTS], lambda rule: rule.points == "many", points=Attribute("points")))


def test_another_plugin_may_declare_it_and_be_loaded_later() -> None:
    manager = PluginManager()
    manager.register("mine", plugin(skin=Attribute("skin_type")))
    manager.register("yours", plugin([SKIN]))
    manager.check()
    skin: Any = manager.get("mine").rules[0].facts["skin"]
    assert skin.values == ("dry", "oily")


def test_two_managers_have_facts_of_their_own() -> None:
    made = plugin(skin=Attribute("skin_type"))
    narrow = fact("skin", made, yours=plugin([SKIN]))
    wide = fact("skin", made, yours=plugin([AttributeKind("skin_type", "肤质")]))
    assert (narrow.values, wide.values) == (("dry", "oily"), ())


@pytest.mark.parametrize("made", [Attribute("skin_typ"), Age("skin_typ"), DaysUntil("skin_typ")])
def test_an_attribute_that_nobody_declares_is_refused_with_those_like_it(made: Fact) -> None:
    with pytest.raises(RuleError) as caught:
        load(plugin([SKIN, BORN], wrong=made))
    assert caught.value.field == "mine.made: skin_typ"
    assert "'skin_typ'" in caught.value.message
    assert "declared are: skin_type;" in str(caught.value.remedy)
    with pytest.raises(RuleError, match="declared are: birthday, language, nickname, skin_type;"):
        load(plugin([SKIN, BORN], wrong=Attribute("x")))


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (Attribute("points", type="money"), "'integer'"),
        (Attribute("points", type="text"), "'integer'"),
        (Attribute("skin_type", values=["dry"]), "('dry', 'oily')"),
        (Attribute("skin_type", default="scaly"), "'scaly' is not among the values"),
        (Attribute("member", default="no"), "default 'no' is no flag"),
        (Age("skin_type"), "reckons with a text"),
        (DaysUntil("points"), "reckons with a integer"),
        (Formula(Attribute("spent", default=0) + 1), "declared is Attribute('spent', default=0, type='money')"),
        (Formula(Age("member") + 1), "reckons with a flag"),
        (Score(Attribute("points", type="money"), [1]), "'integer'"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Fact) else "",
)
def test_a_fact_that_says_otherwise_is_refused(made: Fact, named: str) -> None:
    with pytest.raises(RuleError) as caught:
        load(plugin([SKIN, MEMBER, POINTS, BORN, SPENT], wrong=made))
    assert named in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "made",
    [
        Attribute("points", type="integer"),
        Formula(Attribute("points", default=0) + 1),
        Attribute("skin_type", values=["dry", "oily"], default="dry"),
        Formula(Attribute("points", type="integer") * 2),
        Score(Age("birthday"), [18, 30]),
    ],
    ids=repr,
)
def test_a_fact_that_says_the_same_is_accepted(made: Fact) -> None:
    assert fact("same", plugin([SKIN, POINTS, BORN], same=made)).name == made.name


def test_a_fact_made_within_a_rule_says_what_is_declared() -> None:
    def over(wanted: Attribute) -> ModuleType:
        return plugin([SKIN], lambda _: wanted == "dry", orders=Count("order.paid"))

    assert load(over(Attribute("skin_type", values=["dry", "oily"]))).get("mine").rules
    with pytest.raises(RuleError) as caught:
        load(over(Attribute("skin_type")))
    assert "values=['dry', 'oily']" in caught.value.message
    assert "the rule's class" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "ask", [lambda it: it == "drie", lambda it: it != "drie", lambda it: it.is_in(["dry", "drie"])]
)
def test_a_text_that_is_no_value_of_an_attribute_is_refused(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(RuleError, match="'drie' is no value of skin_type") as caught:
        load(plugin([SKIN], lambda rule: ~ask(rule.skin), skin=Attribute("skin_type")))
    assert caught.value.remedy == "its values are: dry, oily"
    load(plugin([SKIN], lambda rule: rule.skin.is_in(["oily"]) | (rule.skin > "drie"), skin=Attribute("skin_type")))


def test_what_two_plugins_declare_in_the_same_way_is_one_attribute() -> None:
    private = AttributeKind("birthday", "出生日期", "date", personal=True)
    manager = load(plugin([BORN]), yours=plugin([private]))
    assert manager.catalog.attributes["birthday"] == private
    assert manager.get("mine").attributes == (BORN,)
    assert load(plugin([private]), yours=plugin([BORN])).catalog.attributes["birthday"].personal


@pytest.mark.parametrize(
    "other",
    [AttributeKind("skin_type", "肤质"), AttributeKind("skin_type", "肤质", "flag")],
)
def test_what_two_plugins_declare_differently_is_an_error_that_names_both(other: AttributeKind) -> None:
    with pytest.raises(RuleError) as caught:
        load(plugin([SKIN]), yours=plugin([other]))
    assert caught.value.field == "skin_type"
    assert "yours and mine" in caught.value.message


def test_what_is_no_declaration_is_refused() -> None:
    with pytest.raises(PluginError, match="siyu_attributes of plugin mine returned 'skin_type'"):
        load(plugin(["skin_type"]))
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: AttributeKind(" ", "T"), "name=' '"),
        (lambda: AttributeKind("skin", "T", UNKNOWN), "type='colour'"),
        (lambda: AttributeKind("skin", "T", values="dry"), "is one text"),
        (lambda: AttributeKind("skin", "T", "flag", values=["yes"]), "values of a flag"),
    ]
    for declare, named in cases:
        with pytest.raises(RuleError) as caught:
            declare()
        assert named in caught.value.message
        assert caught.value.remedy


def test_values_are_plain_texts_each_once() -> None:
    kind = AttributeKind("skin", "T", values=[Skin.DRY, "dry", "oily"])
    assert kind.values == ("dry", "oily")
    assert {type(value) for value in kind.values} == {str}
    assert kind == AttributeKind("skin", "T", values=("dry", "oily"))
