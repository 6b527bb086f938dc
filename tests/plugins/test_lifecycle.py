"""Lifecycle, told as stories: what happened, what is asked, what siyu says."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import siyu_lifecycle
from siyu import PluginError, Send, StageChanged, hookimpl
from siyu.contract.manager import PluginManager
from siyu.engine.diff import diff
from siyu.engine.evaluate import Decider
from siyu.engine.rulebook import bind
from siyu.testing import Event, decide, event

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)


def day(number: int) -> datetime:
    return FIRST + timedelta(days=number)


def orders(*days: int) -> list[Event]:
    return [event("order.paid", day(number), amount=10) for number in days]


NEVER = "no order yet"
CONTACT = [event("contact.added", day(0))]
READ = event("article.opened", day(95))
SENT = event("campaign.received", day(39), campaign="x")
TWELVE = orders(*range(11), 89)


def stage(events: list[Event], at: int, **params: Any) -> tuple[str, str]:
    return decide(siyu_lifecycle, events, at=day(at), params={"lifecycle": params}).stages["lifecycle"]


@pytest.mark.parametrize(
    ("story", "events", "at", "says"),
    [
        ("added as a contact", CONTACT, 0, ("intro", NEVER)),
        ("only a profile, long ago", [event("profile.updated", day(0), skin="dry")], 500, ("intro", NEVER)),
        ("a first order", orders(0), 0, ("growth", "1 orders so far, last interaction 0 days ago")),
        ("silent for 29 days", orders(0), 29, ("growth", "1 orders so far, last interaction 29 days ago")),
        ("silent for 30", orders(0), 30, ("dormant", "last interaction 30 days ago; dormant from 30")),
        ("silent for 89", orders(0), 89, ("dormant", "last interaction 89 days ago; dormant from 30")),
        ("silent for 90", orders(0), 90, ("lost", "last interaction 90 days ago; lost from 90")),
        ("never bought", CONTACT, 45, ("dormant", "last interaction 45 days ago; dormant from 30")),
        ("back after being lost", orders(0, 200), 200, ("growth", "2 orders so far, last interaction 0 days ago")),
        ("back by reading", [*orders(0), READ], 95, ("growth", "1 orders so far, last interaction 0 days ago")),
        ("eleven orders", orders(*range(11)), 20, ("growth", "11 orders so far, last interaction 10 days ago")),
        ("twelve orders", orders(*range(12)), 20, ("mature", "12 orders in 90 days; mature from 12")),
        ("the first too long ago", TWELVE, 90, ("growth", "12 orders so far, last interaction 1 days ago")),
        ("the first just lately enough", TWELVE, 89, ("mature", "12 orders in 90 days; mature from 12")),
        (
            "a campaign is no sign of life",
            [*orders(0), SENT],
            40,
            ("dormant", "last interaction 40 days ago; dormant from 30"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_five_stages(story: str, events: list[Event], at: int, says: tuple[str, str]) -> None:
    assert stage(events, at) == says


@pytest.mark.parametrize(
    ("story", "events", "at", "says"),
    [
        ("added as a contact", CONTACT, 0, ("intro", "no order yet")),
        ("a first order", orders(0), 29, ("growth", "1 orders so far, last interaction 29 days ago")),
        ("silent for 30", orders(0), 30, ("decline", "last interaction 30 days ago; decline from 30")),
        ("silent for years", orders(0), 1000, ("decline", "last interaction 1000 days ago; decline from 30")),
        ("twelve orders", orders(*range(12)), 12, ("mature", "12 orders in 90 days; mature from 12")),
        ("back", orders(0, 99), 99, ("growth", "2 orders so far, last interaction 0 days ago")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_four_stages(story: str, events: list[Event], at: int, says: tuple[str, str]) -> None:
    assert stage(events, at, variant="four") == says


def test_of_five_stages_the_fourth_comes_before_the_last() -> None:
    settings = {"dormant_days": 90, "lost_days": 90}
    with pytest.raises(PluginError, match=r"more than dormant_days \(90\)"):
        stage(orders(0), 1, **settings)
    assert stage(orders(0), 1, variant="four", **settings)[0] == "growth"


def test_days_are_those_of_the_brand() -> None:
    late = event("order.paid", "2026-01-01T23:30:00+08:00", amount=1)
    said = {
        zone: decide(siyu_lifecycle, [late], at="2026-01-31T00:30:00+08:00", zone=zone).stages["lifecycle"][0]
        for zone in ("Asia/Shanghai", "UTC")
    }
    assert said == {"Asia/Shanghai": "dormant", "UTC": "growth"}


class Diary:
    """One user, day by day: what stood yesterday counts today."""

    def __init__(self, **params: Any) -> None:
        manager = PluginManager()
        alone = types.ModuleType("siyu_lifecycle", "The lifecycle without the other tracks of the plugin.")
        alone.siyu_lifecycles = hookimpl(lambda: [siyu_lifecycle.UserLifecycle], specname="siyu_lifecycles")  # type: ignore[attr-defined]
        plugin = manager.register("lifecycle", alone)
        manager.check()
        self.params = plugin.params({"lifecycle": params})
        self.rulebook = bind([(plugin, self.params)], {})
        self.decider = Decider(self.rulebook, ZoneInfo("UTC"))
        self.before = pl.DataFrame(schema={"user_id": pl.Int64})
        self.changes: list[tuple[int, str | None, str]] = []

    def write(self, number: int, silent: int | None, total: int, recent: int) -> str:
        values = {"DaysSince('interaction')": silent, "Count('order.paid')": total}
        facts = pl.DataFrame(
            [{"user_id": 1, **{fact.name: values.get(fact.name, recent) for fact in self.rulebook.facts}}]
        )
        after = self.decider.frame(facts, self.before, day(number))
        for _, _, was, now, _ in diff(self.rulebook, self.before, after, facts).stages.iter_rows():
            self.changes.append((number, was, now))
        self.before = after
        return str(after.item(0, "@lifecycle"))


def test_growth_and_maturity_are_kept_for_a_fortnight_and_every_stage_can_be_left_again() -> None:
    diary = Diary()
    diary.write(0, 0, 0, 0)
    diary.write(1, 0, 12, 12)
    diary.write(5, 4, 12, 11)  # below the mark, but mature for four days only
    diary.write(14, 13, 12, 11)
    diary.write(15, 14, 12, 11)  # fourteen days have passed
    diary.write(28, 40, 12, 5)  # dormant by now, but growth for thirteen days only
    diary.write(29, 41, 12, 5)
    diary.write(30, 0, 13, 6)  # whoever comes back is back the same day
    diary.write(200, 170, 13, 0)
    diary.write(201, 0, 25, 12)
    assert diary.changes == [
        (0, None, "intro"),
        (1, "intro", "mature"),
        (15, "mature", "growth"),
        (29, "growth", "dormant"),
        (30, "dormant", "growth"),
        (200, "growth", "lost"),
        (201, "lost", "mature"),
    ]


def test_without_a_stay_stages_follow_the_facts_at_once() -> None:
    diary = Diary(stay_days=0)
    assert [diary.write(0, 0, 12, 12), diary.write(0, 0, 12, 11), diary.write(0, 0, 12, 12)] == [
        "mature",
        "growth",
        "mature",
    ]


def test_a_brand_may_change_from_five_stages_to_four_and_back() -> None:
    five, four = Diary(), Diary(variant="four")
    five.write(0, 99, 3, 0)
    four.before = five.before
    assert four.write(0, 99, 3, 0) == "decline"
    five.before = four.before
    assert five.write(0, 99, 3, 0) == "lost"
    assert [change[1:] for change in (*four.changes, *five.changes[1:])] == [("lost", "decline"), ("decline", "lost")]


def test_whoever_comes_back_is_welcomed_and_nobody_else() -> None:
    playbook = siyu_lifecycle.WelcomeBack()
    p = playbook.Params(text="hello")
    trigger = playbook.trigger(p)
    assert trigger == StageChanged(
        "lifecycle", frozenset({"dormant", "lost", "decline"}), frozenset({"intro", "growth", "mature"})
    )
    assert list(playbook.steps(p)) == [Send("outbox", "hello", "care")]
