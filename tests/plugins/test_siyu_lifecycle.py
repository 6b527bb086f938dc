"""How near the brand a user has come."""

from __future__ import annotations

from typing import Any

import pytest
import siyu_lifecycle
from siyu.testing import Event, decide, event


def stage(*events: Event, at: str = "2026-06-30", **params: Any) -> str:
    return decide(siyu_lifecycle, events, at=at, params=params).stages["relationship"][0]


def added(day: str) -> Event:
    return event("contact.added", day)


def removed(day: str) -> Event:
    return event("contact.removed", day)


def member(value: Any, day: str = "2026-06-01") -> Event:
    return event("profile.updated", day, member=value)


def test_given_a_stranger_when_they_come_nearer_step_by_step_then_the_track_follows_and_back_again() -> None:
    known = event("profile.updated", "2026-01-01", city="上海")
    story: list[Event] = [known]
    for happened, expected in [
        (None, "all_scene"),
        (event("article.opened", "2026-02-01"), "potential"),
        (added("2026-03-01"), "private"),
        (member(True, "2026-04-01"), "member"),
        (member(False, "2026-05-01"), "private"),
        (removed("2026-06-01"), "potential"),
    ]:
        story += [happened] if happened else []
        assert stage(*story) == expected
    assert stage(*story, at="2027-06-30") == "all_scene"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([added("2026-01-01"), removed("2026-02-01"), added("2026-03-01")], "private"),
        ([added("2026-01-01"), added("2026-02-01"), removed("2026-03-01")], "private"),
        ([added("2026-01-01"), added("2026-02-01"), removed("2026-03-01"), removed("2026-03-02")], "potential"),
        ([removed("2026-02-01"), added("2026-03-01")], "private"),
        ([removed("2026-02-01")], "all_scene"),
        ([added("2026-03-01T01:00:00"), removed("2026-03-01T02:00:00")], "potential"),
    ],
)
def test_given_contacts_added_and_removed_then_one_that_is_left_counts(events: list[Event], expected: str) -> None:
    assert stage(*events) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "member"),
        ("yes", "member"),
        ("1", "member"),
        (False, "all_scene"),
        (None, "all_scene"),
        ("gold", "all_scene"),
    ],
)
def test_given_a_membership_in_words_then_only_a_clear_yes_is_one(value: Any, expected: str) -> None:
    assert stage(member(value)) == expected


def test_given_an_interaction_at_the_edge_then_the_last_day_still_counts() -> None:
    opened = event("article.opened", "2026-01-01")
    limit: dict[str, Any] = {"relationship": {"potential_days": 30}}
    assert stage(opened, at="2026-01-30", **limit) == "potential"
    assert stage(opened, at="2026-01-31", **limit) == "all_scene"


def test_given_a_stage_when_asked_why_then_the_reason_counts() -> None:
    verdict = decide(siyu_lifecycle, [added("2026-01-01"), added("2026-02-01"), removed("2026-03-01")], at="2026-06-30")
    assert verdict.stages["relationship"] == ("private", "added 2 times, removed 1 times")


def test_real_households_are_near_because_they_buy(decide_all: Any) -> None:
    decided = decide_all(siyu_lifecycle)
    stages = decided.stages("relationship")
    assert sum(stages.values()) == len(decided.frame)
    assert set(stages) == {"potential", "all_scene"}
    assert stages["potential"] > 2000
    assert len(decided.stages("lifecycle")) >= 4
