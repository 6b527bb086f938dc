"""A rulebook is all that a decision depends on besides facts, and its version says which it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from types import ModuleType
from typing import Any

import pytest
import siyu
from siyu import (
    ALWAYS,
    Attribute,
    AttributeKind,
    Condition,
    Count,
    FittedSegmenter,
    HasTag,
    Lifecycle,
    PluginError,
    RuleError,
    Segmenter,
    Stage,
    State,
    Tag,
    Total,
    hookimpl,
)
from siyu.contract.manager import Plugin, PluginManager
from siyu.engine.explain import render
from siyu.engine.rulebook import Rulebook, bind, bind_fenced


class Loyal(Segmenter):
    class Params(siyu.Params):
        orders: int = 3
        cities: tuple[str, ...] = ("b", "a")

    count = Count("order.paid", where={"store": {"x", "y", "z"}})
    city = Attribute("city")

    def tags(self, p: Params) -> Iterable[Tag]:
        yield Tag("one.loyal", "忠诚", (self.count >= p.orders) & self.city.is_in(p.cities), "{count} of {orders}")


class Rich(FittedSegmenter):
    spent = Total("order.paid", "amount")

    def fit(self, facts: Any, p: Any) -> State:
        return {"much": 7.5}

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        yield Tag("one.rich", "富", self.spent > state["much"], "{spent} above {much}")


class Mood(Lifecycle):
    def stages(self, p: Any) -> Iterable[Stage]:
        return [Stage("calm", "Calm")]


class Path(Lifecycle):
    """路径"""

    class Params(siyu.Params):
        stay: int = 3

    def stages(self, p: Params) -> Iterable[Stage]:
        recent = Count("order.paid", days=9)
        yield Stage("on", "在", recent > 0, "{recent} lately", stay=p.stay, facts={"recent": recent})
        yield Stage("off", "不在")


def plugin(name: str, *rules: type[Any], version: str = "1") -> Plugin:
    made = ModuleType(name, name)
    segmenters = [rule for rule in rules if issubclass(rule, Segmenter | FittedSegmenter)]
    for hook, found in (
        ("siyu_attributes", [AttributeKind("city", "城市")]),
        ("siyu_segmenters", segmenters),
        ("siyu_lifecycles", [r for r in rules if r not in segmenters]),
    ):

        def give(found: list[Any] = found) -> list[Any]:
            return found

        give.__name__ = hook
        setattr(made, hook, hookimpl(give))
    manager = PluginManager()
    manager.register(name, made, version=version)
    manager.check()
    return manager.get(name)


def book(
    values: Mapping[str, Any] | None = None,
    *,
    rules: tuple[type[Any], ...] = (Loyal, Rich, Path),
    version: str = "1",
    state: State | None = None,
) -> Rulebook:
    one = plugin("one", *rules, version=version)
    return bind([(one, one.params(values))], {"one": {"rich": {"much": 7.5} if state is None else state}})


def test_the_version_changes_with_everything_a_decision_depends_on() -> None:
    class Otherwise(Loyal):
        key = "loyal"

        def tags(self, p: Any) -> Iterable[Tag]:
            yield Tag("one.loyal", "忠诚", self.count > p.orders, "{count} of {orders}")

    books = [
        book(),
        book({"loyal": {"orders": 4}}),
        book({"path": {"stay": 4}}),
        book(version="2"),
        book(state={"much": 7.500001}),
        book(rules=(Loyal, Path)),
        book(rules=(Otherwise, Rich, Path)),
        bind([], {}),
    ]
    assert len({each.version for each in books}) == len(books)


def test_the_same_rulebook_has_the_same_version_however_it_came_about() -> None:
    one, two = plugin("one", Loyal, Rich), plugin("two", Path)
    pairs = [(one, one.params()), (two, two.params({"path": {"stay": 3}}))]
    states = {"one": {"rich": {"much": 7.5}}}
    assert bind(pairs, states).version == bind(pairs[::-1], states).version
    assert book().version == book({"loyal": {}, "path": {"stay": 3}}).version


def test_the_version_is_the_same_in_every_process() -> None:
    # Sets and dictionaries of text come in another order in each.
    code = "import test_rulebook as t; print(t.book().version)"
    found = set()
    for seed in ("1", "2", "3"):
        paths = filter(None, [os.path.dirname(__file__), os.environ.get("PYTHONPATH")])
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)}
        found.add(
            subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True, text=True).stdout
        )
    assert found == {f"{book().version}\n"}


def test_the_content_is_json_that_explains_decisions_after_the_plugin_has_gone() -> None:
    content = json.loads(json.dumps(book({"loyal": {"orders": 4}}).content))
    loyal = content["tags"]["one.loyal"]
    assert render(loyal, [5]) == "5 of 4"
    assert render(loyal, [None]) == "— of 4"
    assert render(content["tags"]["one.rich"], [1234.5]) == "1,234.50 above 7.50"
    assert render(content["tracks"]["path"]["stages"]["on"], [2]) == "2 lately"
    assert content["settings"]["one"]["states"] == {"rich": {"much": 7.5}}
    assert "Count('order.paid', where={'store': ['x', 'y', 'z']}) >= 4" in loyal["when"]


def test_a_reason_that_no_longer_fits_is_shown_as_it_was_written() -> None:
    assert render({"because": "{a} and {b}", "facts": [["a", "A"]], "params": {}}, [1]) == "{a} and {b}"
    assert render({"because": "{a:d}", "facts": [["a", "A"]], "params": {}}, [None]) == "{a:d}"
    assert render({}, []) == ""


class Known(Segmenter):
    class Params(siyu.Params):
        least: int = 2

    city = Attribute("city")

    def tags(self, p: Params) -> Iterable[Tag]:
        orders, loyal = Count("order.paid"), HasTag("one.loyal")
        regular = (self.city == "x").because("lives in {city}") | (orders >= p.least).because("{orders} of {least}")
        yield Tag("one.known", "识", regular | loyal, facts={"orders": orders})
        yield Tag("one.near", "近", regular & loyal, "{orders} times in {city}", facts={"orders": orders})
        yield Tag("one.either", "任", HasTag("one.known") | loyal.because("loyal"), "known")


def test_the_reason_of_a_tag_is_that_of_the_first_alternative_that_holds() -> None:
    bound = book(rules=(Loyal, Known))
    known = next(rule for rule in bound.tags if rule.tag.key == "one.known")
    kept = json.loads(json.dumps(bound.content))["tags"]["one.known"]
    city, orders = Attribute("city").name, Count("order.paid").name
    loyal = {fact.name: 3 for fact in bound.facts if fact.name not in (city, orders)}

    def said(**values: Any) -> str:
        return render(kept, known.reason.values({city: values.get("city"), orders: values.get("orders", 0), **loyal}))

    assert said(city="x", orders=5) == "lives in x"
    assert said(orders=5) == "5 of 2"
    assert said(city="a") == ""  # by another tag, of whose reason nothing is said
    assert render(kept, [None, 1, None]) == "lives in —; 1 of 2"
    assert render(kept, [None, 1]) == "lives in —; 1 of 2", "as one that was kept without cases"
    near, either = (next(rule for rule in bound.tags if rule.tag.key == f"one.{key}") for key in ("near", "either"))
    assert [words for _, words in near.reason.cases] == ["lives in {city}", "{orders} of {least}"]
    assert [words for _, words in either.reason.cases] == ["known", "loyal"]
    assert "because" not in repr([rule.tag.when for rule in bound.tags])
    assert set(near.reason.asked) <= {fact.name for fact in bound.facts}


@pytest.mark.parametrize(
    ("when", "named"),
    [
        ((Count("order.paid") > 1).because("{nothing}"), "because names {nothing}"),
        ((Count("order.paid") > 1).because("{orders:9}"), "says how 'orders' is shown"),
        ((Count("order.paid") > 1).because("a\0"), "because='a\\x00'"),
        (~(Count("order.paid") > 1).because("a"), "gives reasons where no single one can be told"),
        (reduce(or_, ((Count("order.paid") == n).because("a") for n in range(51))), "51 cases with reasons"),
    ],
    ids=["unknown", "formatted", "nul", "not", "many"],
)
def test_a_reason_of_an_alternative_is_checked_as_any_other(when: Condition, named: str) -> None:
    one = plugin("one", Loyal)
    made = type("Made", (Segmenter,), {"tags": lambda *_: [Tag("one.x", "X", when)]})
    with pytest.raises(RuleError) as caught:
        bind([(replace(one, declared={"siyu_segmenters": (made(),)}), {"made": siyu.Params()})], {})
    assert named in str(caught.value)
    assert caught.value.remedy


def test_a_parameter_of_many_is_listed_in_a_reason() -> None:
    reason = {"because": "asked about {words}", "facts": [], "params": {"words": ["奶粉", "转奶"]}}
    assert render(reason, []) == "asked about 奶粉, 转奶"


def test_every_fact_that_is_mentioned_anywhere_is_computed_once() -> None:
    assert [fact.name for fact in book().facts] == sorted(
        [Loyal.count.name, Loyal.city.name, Rich.spent.name, "Count('order.paid', days=9)"]
    )


def test_a_segmenter_that_was_not_fitted_yet_gives_no_tags() -> None:
    one = plugin("one", Loyal, Rich)
    assert [rule.tag.key for rule in bind([(one, one.params())], {}).tags] == ["one.loyal"]


def _stages(*stages: Stage) -> type[Lifecycle]:
    return type("Made", (Lifecycle,), {"stages": lambda self, p: stages})


def _tags(*tags: Tag) -> type[Segmenter]:
    return type("Made", (Segmenter,), {"tags": lambda self, p: tags})


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ((_tags(Tag("one.x", "X", ALWAYS), Tag("one.x", "Y", ALWAYS)),), "one.x: it yields this key twice"),
        ((Loyal, _tags(Tag("one.loyal", "X", ALWAYS))), "one.loyal: two rules give this tag"),
        ((_stages(Stage("x", "X"), Stage("x", "Y")),), "x: it yields this key twice"),
        ((_stages(),), "made: 0 stages"),
        ((_stages(*(Stage(f"s{n}", "S") for n in range(201))),), "made: 201 stages"),
    ],
)
def test_what_is_given_twice_or_without_end_is_refused(rules: tuple[type[Any], ...], named: str) -> None:
    def bound() -> Rulebook:
        one = plugin("one", *rules)
        return bind([(one, one.params())], {})

    with pytest.raises(RuleError) as caught:
        bound()
    assert named in str(caught.value)
    assert caught.value.remedy


def test_only_one_plugin_may_rule_a_track() -> None:
    one, two = plugin("one", Path), plugin("two", Path)
    with pytest.raises(PluginError, match="two: two and one both rule the track 'path'") as caught:
        bind([(two, two.params()), (one, one.params())], {})
    assert caught.value.remedy == "switch one of them off"


def test_two_that_come_to_rule_one_track_are_fenced_and_the_others_go_on() -> None:
    one, two, three = plugin("one", Path, Loyal), plugin("two", Path), plugin("three", Mood)
    before = bind([(one, one.params())], {})
    on = [(each, each.params()) for each in (one, two, three)]
    rulebook, failed = bind_fenced(on, {}, previous=before.content)
    assert set(failed) == {("one", "path"), ("two", "path")}
    assert [track.key for track in rulebook.tracks] == ["mood"]
    assert list(rulebook.standing.tracks) == ["path"]
    assert [rule.tag.key for rule in rulebook.tags] == ["one.loyal"]


@pytest.mark.parametrize(
    "builds_on", [lambda tag: (tag | ~ALWAYS) & (tag | ALWAYS), lambda tag: ~tag], ids=["twice", "once"]
)
def test_tags_that_build_on_tags_without_end_fail_alone(builds_on: Any) -> None:
    chain = [Tag("one.n0", "N", ALWAYS)]
    chain += [Tag(f"one.n{n}", "N", builds_on(HasTag(f"one.n{n - 1}"))) for n in range(1, 1500)]
    one, two = plugin("one", _tags(*chain)), plugin("two", Mood)
    rulebook, failed = bind_fenced([(one, one.params()), (two, two.params())], {})
    assert list(failed) == [("one", "made")]
    assert str(failed["one", "made"])
    assert [track.key for track in rulebook.tracks] == ["mood"]


@pytest.mark.parametrize(
    ("tag", "named"),
    [
        (Tag("two.x", "X", ALWAYS), "two.x: a tag of another's name"),
        (Tag("one.x", "X", ALWAYS, "{nothing}"), "because names {nothing}"),
    ],
)
def test_what_a_fitted_segmenter_yields_is_checked_when_it_is_bound(tag: Tag, named: str) -> None:
    fitted = type("Made", (FittedSegmenter,), {"fit": lambda *_: {}, "tags": lambda *_: [tag]})
    one = plugin("one", fitted)
    with pytest.raises(RuleError) as caught:
        bind([(one, one.params())], {"one": {"made": {}}})
    assert named in str(caught.value)
