"""How old the baby is, what it needs next, and who asks for formula."""

from __future__ import annotations

from typing import Any

import pytest
import siyu_mother_baby
from siyu.testing import Event, Story, decide, event

AT = "2026-06-30T12:00:00+08:00"
BANDS = {"pregnancy", "baby_0_6", "baby_6_12", "baby_12_24", "baby_24_36"}


def profile(**attributes: str | None) -> Event:
    return event("profile.updated", "2020-01-01", **attributes)


def bought(category: str, day: str = "2026-06-20") -> Event:
    return event("order.paid", day, amount=99, items=[{"category": category, "amount": 99}])


def tags(*events: Event, at: str = AT, **params: Any) -> set[str]:
    return {tag.removeprefix("mother_baby.") for tag in decide(siyu_mother_baby, events, at=at, params=params).tags}


@pytest.mark.parametrize(
    ("birthday", "band"),
    [
        ("2026-06-30", "baby_0_6"),
        ("2026-01-01", "baby_0_6"),
        ("2025-12-31", "baby_6_12"),  # June has no 31st: its last day is the day
        ("2025-12-30", "baby_6_12"),
        ("2025-07-01", "baby_6_12"),
        ("2025-06-30", "baby_12_24"),
        ("2024-06-30", "baby_24_36"),
        ("2023-07-01", "baby_24_36"),
        ("2023-06-30", None),
        ("2026-07-01", "pregnancy"),
        ("last summer", None),
        ("", None),
    ],
)
def test_given_a_birthday_then_the_band_is_that_of_the_full_months(birthday: str, band: str | None) -> None:
    assert tags(profile(baby_birthday=birthday)) & BANDS == ({band} if band else set())


def test_given_a_due_date_when_months_pass_then_the_baby_grows() -> None:
    due = profile(due_date="2026-06-30")
    story = {"2025-08-29": None, "2025-08-30": "pregnancy", "2026-06-29": "pregnancy", "2026-06-30": "baby_0_6"}
    for day, band in {**story, "2026-12-30": "baby_6_12", "2028-06-30": "baby_24_36"}.items():
        assert tags(due, at=f"{day}T12:00:00+08:00") & BANDS == ({band} if band else set()), day


def test_given_a_birthday_and_a_due_date_then_the_birthday_counts() -> None:
    assert tags(profile(due_date="2026-08-01", baby_birthday="2025-12-01")) & BANDS == {"baby_6_12"}


def test_given_no_date_when_things_are_bought_then_the_age_is_presumed_from_the_oldest() -> None:
    assert tags(bought("一段奶粉")) & BANDS == {"baby_0_6"}
    assert tags(bought("一段奶粉"), bought("辅食")) & BANDS == {"baby_6_12"}
    assert tags(bought("一段奶粉", "2026-05-01")) & BANDS == set()
    assert tags(bought("一段奶粉", "2026-05-01"), baby_age={"days": 90}) & BANDS == {"baby_0_6"}


def test_the_reason_of_an_age_is_that_of_what_told_it() -> None:
    def why(*events: Event) -> str:
        return decide(siyu_mother_baby, events, at=AT).tags["mother_baby.baby_0_6"]

    assert why(profile(due_date="2026-03-15")) == "3 full months since birthday or due date"
    assert why(bought("奶瓶")) == "bought such things 1 times in 60 days, no later ones"


def test_given_a_date_then_what_is_bought_changes_nothing() -> None:
    events = [profile(baby_birthday="2026-06-01"), bought("学步鞋")]
    assert tags(*events) & BANDS == {"baby_0_6"}
    assert tags(*events, event("profile.updated", "2026-06-29", baby_birthday=None)) & BANDS == {"baby_12_24"}


def test_given_a_baby_of_five_months_then_solid_food_comes_next_until_it_is_bought() -> None:
    born = profile(baby_birthday="2026-01-30")
    assert "next_solid_food" in tags(born)
    assert "next_solid_food" not in tags(born, at="2026-06-29T12:00:00+08:00")
    assert "next_solid_food" not in tags(born, bought("辅食"))
    assert "next_solid_food" not in tags(born, next_products={"ahead": 0})


def test_given_a_baby_of_a_year_then_walking_shoes_come_next_and_the_reason_says_so() -> None:
    verdict = decide(siyu_mother_baby, [profile(baby_birthday="2025-06-30")], at=AT)
    assert verdict.tags["mother_baby.next_walking_shoes"] == "12 months old; needed from month 12, never bought"


@pytest.mark.parametrize(
    ("day", "held"), [("2026-01-29", False), ("2026-01-28", True), ("2025-09-30", True), ("2025-09-29", False)]
)
def test_given_no_date_when_newborns_things_were_first_bought_then_they_tell_the_age(day: str, held: bool) -> None:
    assert ("next_solid_food" in tags(bought("奶瓶", day))) is held


def test_given_a_question_about_formula_then_intent_is_high_unless_the_child_is_too_old() -> None:
    asked = event("group.message", "2026-06-29T08:00:00+08:00", text="要不要转奶？")
    assert "intent_formula" in tags(asked)
    assert "intent_formula" not in tags(asked, at="2026-07-01T12:00:00+08:00")
    assert "intent_formula" not in tags(asked, profile(baby_birthday="2023-06-30"))
    assert "intent_formula" in tags(asked, profile(baby_birthday="2023-07-01"))
    assert "intent_formula" not in tags(asked, profile(due_date="2023-06-30"))
    assert "intent_first_tin" not in tags(asked)
    assert "intent_first_tin" in tags(asked, profile(due_date="2026-08-01"))
    assert "intent_formula" in tags(event("article.opened", "2026-06-30T01:00:00+08:00", topic="喂养"))


JOURNEY = {
    "baby_age": {
        "baby_0_6": ["INFANT FORMULA"],
        "baby_6_12": ["BABY FOODS", "BABYFOOD"],
        "baby_12_24": ["INFANT CARE PRODUCTS"],
    },
    "next_products": {
        "newborn": ["INFANT FORMULA", "DIAPERS & DISPOSABLES"],
        "products": [{"key": "solid_food", "title": "辅食", "month": 6, "categories": ["BABY FOODS", "BABYFOOD"]}],
    },
}


def test_real_households_have_babies_of_all_ages_and_some_need_solid_food(decide_all: Any) -> None:
    decided = decide_all(siyu_mother_baby, JOURNEY)
    tags = decided.tags
    assert min(tags[f"mother_baby.{band}"] for band in ("baby_0_6", "baby_6_12", "baby_12_24")) > 20
    bands = [decided.users(f"mother_baby.{band}") for band in BANDS]
    assert sum(map(len, bands)) == len(set().union(*bands)) < 1000
    assert 5 < tags["mother_baby.next_solid_food"] < 300
    assert tags["mother_baby.intent_formula"] == 0


def test_before_each_next_stage_its_list_is_sent_once() -> None:
    story = Story(siyu_mother_baby, at="2026-05-01T12:00")
    story.happens("profile.updated", baby_birthday="2025-12-10")  # five months old on 10 May
    assert story.after(days=8).sent() == []
    assert story.after(days=2).sent() == ["next_stage.list"]
    assert story.log[-1].at.hour == 10
    assert story.after(days=40).sent() == []
    # A month before the first birthday.
    assert story.after(days=150).sent() == ["next_stage.list"]
