"""A tag that nothing gives is told apart from one whose plugin is off, and never stops anything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from siyu import (
    ALWAYS,
    AddTag,
    Condition,
    Count,
    Daily,
    FittedSegmenter,
    HasTag,
    Playbook,
    Segmenter,
    Send,
    State,
    Step,
    Tag,
    TagGained,
    Wait,
    When,
    hookimpl,
)
from siyu.contract.manager import PluginManager
from siyu.contract.unknown_tags import unknown_tags

INSTALLED = {"pets": {"pets.cat", "pets.next_food"}, "rfm": {"rfm.*"}, "tea": {"tea.lover"}}


@pytest.mark.parametrize(
    ("tag", "given_by", "remedy"),
    [
        ("pets.cat", "pets", "pets would give it: switch it on, or set it so"),
        ("pets.next_*", "pets", "switch it on"),
        ("rfm.high_value", "rfm", "switch it on"),
        ("tea.lovr", None, "like it are: tea.lover"),
        ("pats.cat", None, "like it are: pets.cat"),
        ("tea.quite_another", None, "tea gives no such tag"),
        ("crm.vip", None, "no plugin 'crm' is installed"),
    ],
)
def test_of_a_tag_that_nothing_gives_it_is_said_who_would_or_what_is_like_it(
    tag: str, given_by: str | None, remedy: str
) -> None:
    [found] = unknown_tags({("tea", "keen"): {tag, "tea.lover"}}, {"tea.lover"}, INSTALLED)
    assert (found.plugin, found.rule, found.tag, found.given_by) == ("tea", "keen", tag, given_by)
    assert remedy in found.remedy
    assert str(found).startswith(f"tea.keen asks for the tag {tag!r}, which nothing gives (")


@pytest.mark.parametrize("tag", ["pets.cat", "pets.next_*", "rfm.anything", "rfm.a*", "r*"])
def test_a_tag_that_something_gives_or_may_give_is_known(tag: str) -> None:
    assert unknown_tags({("tea", "keen"): {tag}}, {"pets.cat", "pets.next_food", "rfm.*"}, {}) == []


def plugin(**hooks: Any) -> ModuleType:
    made = ModuleType("made", "Made.")
    for name, given in hooks.items():
        setattr(made, name, hookimpl(lambda given=given: [given], specname=name))
    return made


def asks(when: Condition) -> type[Segmenter]:
    return type("Asks", (Segmenter,), {"tags": lambda self, p: [Tag("one.asks", "A", when)]})


class Nurture(Playbook):
    def trigger(self, p: Any) -> TagGained:
        return TagGained("one.ask_*")

    def audience(self, p: Any) -> Condition:
        return ~HasTag("one.gone")

    def ends(self, p: Any) -> Iterable[str | Condition]:
        return [HasTag("one.asks")]

    def steps(self, p: Any) -> Iterable[Step]:
        yield When(HasTag("two.keen"), then=[AddTag("two.nurtured", "N")], otherwise=[Wait(timedelta(days=1))])
        yield Send("outbox", "hello")


class Nightly(Nurture):
    def trigger(self, p: Any) -> Any:
        return Daily(HasTag("one.daily") & (Count("order.paid") > 1))

    def steps(self, p: Any) -> Iterable[Step]:
        yield Send("outbox", "hello")


class Learnt(FittedSegmenter):
    def fit(self, facts: Any, p: Any) -> State:
        return {}

    def tags(self, p: Any, state: State) -> Iterable[Tag]:
        yield Tag("two.learnt", "L", ALWAYS)


def test_of_all_that_is_installed_the_tags_that_nothing_would_give_are_known() -> None:
    manager = PluginManager()
    manager.register("one", plugin(siyu_segmenters=asks(HasTag("two.nurtured") | ~(HasTag("one.lover") & ALWAYS))))
    manager.register("two", plugin(siyu_playbooks=Nurture))
    manager.register("three", plugin(siyu_playbooks=Nightly))
    manager.check()
    found = {(each.plugin, each.rule, each.tag) for each in manager.unknown_tags()}
    assert found == {
        ("one", "asks", "one.lover"),
        ("two", "nurture", "one.ask_*"),
        ("two", "nurture", "one.gone"),
        ("two", "nurture", "two.keen"),
        ("three", "nightly", "one.daily"),
        ("three", "nightly", "one.gone"),
    }


def test_whatever_a_plugin_may_find_out_by_fitting_counts_as_given() -> None:
    manager = PluginManager()
    manager.register("one", plugin(siyu_segmenters=asks(HasTag("two.learnt") | HasTag("two.anything"))))
    manager.register("two", plugin(siyu_segmenters=Learnt))
    manager.check()
    assert manager.unknown_tags() == []
