"""Whose pet it is, and whose food runs out."""

from __future__ import annotations

from typing import Any

import pytest
import siyu_pets
from siyu import PluginError
from siyu.testing import Event, decide, event

AT = "2026-06-30"


def bought(category: str, *days: str) -> list[Event]:
    return [event("order.paid", day, amount=99, items=[{"category": category, "amount": 99}]) for day in days]


def said(pet: str | None, day: str = "2026-01-01") -> Event:
    return event("profile.updated", day, pet=pet)


def tags(*events: Event, at: str = AT, **params: Any) -> set[str]:
    return set(decide(siyu_pets, events, at=at, params=params).tags)


@pytest.mark.parametrize(
    ("pet", "expected"),
    [
        ("猫", {"pets.cat"}),
        ("cat", {"pets.cat"}),
        ("狗狗", {"pets.dog"}),
        ("猫和狗", {"pets.cat", "pets.dog"}),
        ("仓鼠", set()),
        (None, set()),
    ],
)
def test_given_what_the_user_says_then_that_is_the_pet(pet: str | None, expected: set[str]) -> None:
    assert tags(said(pet)) == expected


def test_the_reason_of_a_pet_is_that_of_what_told_it() -> None:
    assert decide(siyu_pets, [said("猫")], at=AT).tags == {"pets.cat": "says: 猫"}
    assert decide(siyu_pets, bought("猫砂", "2026-06-20"), at=AT).tags == {
        "pets.cat": "bought for such a pet 1 times in 180 days"
    }


def test_given_nothing_said_when_dog_snacks_are_bought_then_there_is_a_dog() -> None:
    assert tags(*bought("狗零食", "2026-06-20")) == {"pets.dog"}


def test_given_a_cat_when_dog_snacks_are_bought_then_they_are_a_present() -> None:
    assert tags(said("猫"), *bought("狗零食", "2026-06-20")) == {"pets.cat"}


def test_given_a_pet_taken_back_then_purchases_count_again() -> None:
    events = [said("猫"), said(None, "2026-02-01"), *bought("狗零食", "2026-06-20")]
    assert tags(*events) == {"pets.dog"}


@pytest.mark.parametrize(("day", "held"), [("2026-01-02", False), ("2026-01-03", True)])
def test_given_a_purchase_at_the_edge_of_the_window_then_its_first_day_counts(day: str, held: bool) -> None:
    # Of the 180 days that end on 1 July the first is 3 January.
    events = bought("猫砂", f"{day}T12:00:00+08:00")
    assert tags(*events, at="2026-07-01T12:00:00+08:00") == ({"pets.cat"} if held else set())


def test_given_purchases_every_ten_days_when_eight_have_passed_then_food_runs_out_and_says_why() -> None:
    days = ["2026-05-01", "2026-05-11", "2026-05-21", "2026-05-31"]
    verdict = decide(siyu_pets, bought("猫粮", *days), at="2026-06-08")
    assert verdict.tags["pets.cat_food_running_out"] == ("last food 8 days ago; it lasts 10 days")
    assert "pets.cat_food_running_out" not in decide(siyu_pets, bought("猫粮", *days), at="2026-06-07").tags


@pytest.mark.parametrize(("at", "held"), [("2026-06-30", True), ("2026-07-01", False)])
def test_given_three_rounds_of_silence_when_another_day_passes_then_it_is_left_alone(at: str, held: bool) -> None:
    events = bought("猫粮", "2026-05-01", "2026-05-11", "2026-05-21", "2026-05-31")
    assert ("pets.cat_food_running_out" in tags(*events, at=at)) is held


@pytest.mark.parametrize(("at", "held"), [("2026-05-24", False), ("2026-05-25", True)])
def test_given_a_first_bag_when_there_is_no_rhythm_then_a_bag_lasts_as_the_parameter_says(at: str, held: bool) -> None:
    assert ("pets.dog_food_running_out" in tags(*bought("狗粮", "2026-05-01"), at=at)) is held
    faster = {"food_running_out": {"bag_days": 10, "early": 0}}
    assert "pets.dog_food_running_out" in tags(*bought("狗粮", "2026-05-01"), at="2026-05-11", **faster)


def test_given_food_running_out_when_the_next_bag_is_bought_then_the_tag_goes() -> None:
    events = bought("狗粮", "2026-05-01")
    assert "pets.dog_food_running_out" in tags(*events, at="2026-06-01")
    assert "pets.dog_food_running_out" not in tags(*events, *bought("狗粮", "2026-05-31"), at="2026-06-01")


def test_given_two_bags_on_one_day_then_that_is_one_purchase_of_the_rhythm() -> None:
    events = bought("狗粮", "2026-05-01", "2026-05-01", "2026-05-11")
    reason = decide(siyu_pets, events, at="2026-06-08").tags["pets.dog_food_running_out"]
    assert reason == "last food 28 days ago; it lasts 30 days"


@pytest.mark.parametrize("params", [{"bag_days": 2}, {"early": 1}, {"cat": []}, {"cat": [" "]}, {"dog": "狗粮"}])
def test_a_parameter_beyond_its_limits_is_refused_by_name(params: dict[str, Any]) -> None:
    with pytest.raises(PluginError) as caught:
        tags(food_running_out=params)
    assert str(caught.value.field).startswith(f"food_running_out.{next(iter(params))}")


JOURNEY = {
    "kind_of_pet": {"cat": ["CAT FOOD", "CAT LITTER"], "dog": ["DOG FOODS"]},
    "food_running_out": {"cat": ["CAT FOOD"], "dog": ["DOG FOODS"]},
}


def test_real_households_have_cats_and_dogs_and_run_out_of_food(decide_all: Any) -> None:
    decided = decide_all(siyu_pets, JOURNEY)
    cats, dogs = decided.users("pets.cat"), decided.users("pets.dog")
    assert 300 < len(cats) < 800
    assert 300 < len(dogs) < 800
    assert len(cats & dogs) > 50
    hungry = decided.users("pets.cat_food_running_out")
    assert 50 < len(hungry) < len(cats)


def test_in_a_shop_without_pet_food_nobody_has_a_pet(decide_all: Any) -> None:
    assert set(decide_all(siyu_pets).tags.values()) == {0}
