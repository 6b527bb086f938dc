"""Skin by age, and what a routine lacks."""

from __future__ import annotations

from typing import Any

import pytest
import siyu_beauty
from siyu import PluginError
from siyu.testing import Event, decide, event

AT = "2026-06-30T12:00:00+08:00"


def profile(day: str = "2026-01-01", **attributes: str | None) -> Event:
    return event("profile.updated", day, **attributes)


def bought(category: str, day: str = "2026-06-20") -> Event:
    return event("order.paid", day, amount=99, items=[{"category": category, "amount": 99}])


def tags(*events: Event, at: str = AT, **params: Any) -> set[str]:
    return {tag.removeprefix("beauty.") for tag in decide(siyu_beauty, events, at=at, params=params).tags}


@pytest.mark.parametrize(
    ("birthday", "band"),
    [
        ("2008-07-01", None),
        ("2008-06-30", "age_18_24"),
        ("2001-07-01", "age_18_24"),
        ("2001-06-30", "age_25_29"),
        ("1976-06-30", "age_50_up"),
        ("1916-01-01", "age_50_up"),
        ("1996-02-30", None),
    ],
)
def test_given_a_birthday_then_the_band_is_that_of_the_full_years(birthday: str, band: str | None) -> None:
    assert tags(profile(birthday=birthday)) == ({band} if band else set())


def test_given_the_band_of_a_survey_then_it_counts_until_the_birthday_is_known() -> None:
    survey = profile(age="25-29")
    assert tags(survey) == {"age_25_29"}
    assert tags(survey, profile(birthday="1980-01-01")) == {"age_40_49"}
    assert tags(profile(age="26-31")) == set()


def test_the_reason_of_an_age_is_that_of_what_told_it() -> None:
    told = {"birthday": {"birthday": "1997-01-01"}, "survey": {"age": "25-29"}}
    said = {
        name: decide(siyu_beauty, [profile(**given)], at=AT).tags["beauty.age_25_29"] for name, given in told.items()
    }
    assert said == {"birthday": "29 years old", "survey": "says: 25-29"}


@pytest.mark.parametrize("skin", ["oily", "油性", "油皮"])
def test_given_skin_and_age_then_the_user_is_in_both_and_in_the_cross(skin: str) -> None:
    verdict = decide(siyu_beauty, [profile(skin_type=skin, birthday="1996-06-30")], at=AT)
    assert set(verdict.tags) == {"beauty.skin_oily", "beauty.age_30_39", "beauty.oily_30_39"}
    assert verdict.tags["beauty.oily_30_39"] == f"skin type {skin}, 30-39 years old"


def test_given_skin_without_age_or_a_skin_nobody_knows_then_there_is_no_cross() -> None:
    assert tags(profile(skin_type="dry")) == {"skin_dry"}
    assert tags(profile(skin_type="scaly", birthday="1996-06-30")) == {"age_30_39"}


def test_given_skin_that_changes_then_the_tags_follow() -> None:
    events = [profile(skin_type="dry", birthday="1996-06-30"), profile("2026-02-01", skin_type="sensitive")]
    assert tags(*events) == {"skin_sensitive", "age_30_39", "sensitive_30_39"}
    assert tags(*events, profile("2026-03-01", skin_type=None)) == {"age_30_39"}


def test_given_bounds_of_ones_own_then_those_are_the_bands() -> None:
    assert tags(profile(birthday="1996-06-30"), skin_by_age={"bounds": [30]}) == {"age_30_up"}
    assert tags(profile(birthday="1996-06-30"), skin_by_age={"bounds": [40, 30, 30]}) == {"age_30_39"}
    for bounds in ([0], []):
        with pytest.raises(PluginError) as caught:
            tags(skin_by_age={"bounds": bounds})
        assert str(caught.value.field).startswith("skin_by_age.bounds")


def test_given_toner_without_cream_then_the_step_is_missing_until_it_is_bought() -> None:
    assert "gap_cream" in tags(bought("爽肤水"))
    assert "gap_cream" not in tags(bought("爽肤水"), bought("面霜"))
    assert tags() == tags(bought("面包")) == set()


def test_given_skincare_when_no_cleanser_was_bought_for_ninety_days_then_it_is_due() -> None:
    toner = bought("爽肤水")
    assert "gap_cleanser" not in tags(toner, bought("洁面", "2026-04-02T12:00:00+08:00"))
    assert "gap_cleanser" in tags(toner, bought("洁面", "2026-04-01T12:00:00+08:00"))


def test_given_steps_of_ones_own_then_the_reason_names_their_days() -> None:
    gaps = {"gaps": [{"key": "mask", "title": "面膜", "uses": ["精华"], "lacks": ["面膜"], "days": 30}]}
    verdict = decide(siyu_beauty, [bought("精华")], at=AT, params={"routine_gaps": gaps})
    assert verdict.tags == {"beauty.gap_mask": "bought the one 1 times and the other 0 times in 30 days"}


JOURNEY = {
    "skin_by_age": {"bounds": [19, 25, 35, 45, 55, 65]},
    "routine_gaps": {
        "gaps": [
            {
                "key": "remover",
                "title": "化妆不护肤",
                "uses": ["MAKEUP AND TREATMENT"],
                "lacks": ["HAND/BODY/FACIAL PRODUCTS"],
            },
            {"key": "soap", "title": "缺洁面", "uses": ["HAND/BODY/FACIAL PRODUCTS"], "lacks": ["SOAP - LIQUID & BAR"]},
        ]
    },
}


def test_real_households_have_ages_and_gaps(decide_all: Any) -> None:
    decided = decide_all(siyu_beauty, JOURNEY)
    tags = decided.tags
    ages = {tag: users for tag, users in tags.items() if tag.startswith("beauty.age_")}
    assert len(ages) == 6
    assert min(ages.values()) > 30
    assert sum(ages.values()) == 801  # of the households that were asked
    assert tags["beauty.gap_remover"] > 100
    assert tags["beauty.gap_soap"] > 50
    assert tags["beauty.skin_dry"] == 0
