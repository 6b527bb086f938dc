"""The playbooks of care as stories: given, when, after so long, then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
import siyu_care
import siyu_lifecycle
from siyu.testing import Story


def story(at: str = "2026-05-01T10:00", gifts: Mapping[str, str] | None = None) -> Story:
    given = {playbook: {"gift": benefit} for playbook, benefit in (gifts or {}).items()}
    return Story(siyu_care, siyu_lifecycle, at=at, params={"care": given})


def of(told: list[str], playbook: str) -> list[str]:
    return [step.removeprefix(f"{playbook}.") for step in told if step.startswith(f"{playbook}.")]


# -- D1


def test_a_new_contact_is_greeted_at_once_and_an_adviser_says_hello() -> None:
    new = story().happens("contact.added", state="store-1")
    assert of(new.sent(), "first_touch") == ["greeting", "say_hello"]
    [greeting, hello] = new.log
    assert (greeting.at, greeting.purpose) == (new.at, "service")
    assert hello.channel == "tasks"


def test_a_gift_comes_with_the_greeting_and_is_named_by_its_code() -> None:
    new = story(gifts={"first_touch": "welcome"}).happens("contact.added")
    assert of(new.sent(), "first_touch") == ["present", "greeting", "say_hello"]
    present, greeting, _ = new.log
    assert (present.channel, present.text) == ("benefits", "welcome")
    assert "{{ benefit.welcome }}" in greeting.text


def test_who_stays_silent_is_asked_gently_after_a_day_and_for_their_needs_within_three() -> None:
    new = story().happens("contact.added")
    new.sent()
    assert of(new.after(hours=1).sent(), "first_touch") == ["story"]
    assert of(new.after(hours=23).sent(), "first_touch") == []
    assert of(new.after(hours=1).sent(), "first_touch") == ["follow_up"]
    assert of(new.after(hours=47).sent(), "first_touch") == ["survey"]
    survey = next(each for each in new.log if each.step == "first_touch.survey")
    assert survey.at - story().at < timedelta(hours=72)


def test_who_writes_back_is_not_asked_again() -> None:
    new = story().happens("contact.added").after(hours=2)
    new.happens("group.message", text="在吗").after(days=3)
    assert of(new.sent(), "first_touch") == ["greeting", "say_hello", "story", "survey"]


def test_who_has_bought_before_is_shown_what_goes_with_it_on_the_first_day() -> None:
    known = story().happens("order.paid", amount="30").after(days=20)
    known.happens("contact.added")
    assert "recommendation" in of(known.after(hours=23).sent(), "first_touch")


def test_who_leaves_hears_no_more_of_it() -> None:
    gone = story().happens("contact.added").after(minutes=30)
    gone.happens("contact.removed").after(days=10)
    assert of(gone.sent(), "first_touch") == ["greeting", "say_hello"]
    assert of(gone.sent(), "onboarding") == []


def test_nothing_is_sold_in_the_first_week() -> None:
    new = story().happens("contact.added").after(days=7)
    assert {each.purpose for each in new.log} <= {"service", "care"}


# -- D2


def test_two_tasks_done_bring_a_gift() -> None:
    new = story(gifts={"onboarding": "welcome"}).happens("contact.added").after(days=2)
    assert of(new.sent(), "onboarding") == ["tasks"]
    new.happens("profile.updated", birthday="1990-09-09")
    for product in ("a", "b", "c"):
        new.happens("product.viewed", product=product)
    assert of(new.after(days=7).sent(), "onboarding") == ["late_present", "late_thanks"]


def test_who_has_done_them_unasked_gets_it_at_once() -> None:
    new = story().happens("contact.added").happens("profile.updated", birthday="1990-09-09")
    for product in ("a", "b", "c"):
        new.happens("product.viewed", product=product)
    assert of(new.after(days=10).sent(), "onboarding") == ["thanks"], "the brand gives nothing, and nothing is promised"
    assert not any("礼" in each.text for each in new.log)


# -- D3


def test_a_week_without_a_second_order_brings_an_offer_and_then_a_set() -> None:
    buyer = story().happens("order.paid", amount="30")
    assert of(buyer.after(days=3).sent(), "second_order") == ["tips"]
    assert of(buyer.after(days=5).sent(), "second_order") == ["praise"]
    assert of(buyer.after(days=6).sent(), "second_order") == ["bundle"]


def test_where_there_is_a_coupon_half_of_them_get_it() -> None:
    buyer = story(gifts={"second_order": "come_back"}).happens("order.paid", amount="30").after(days=8)
    assert of(buyer.sent(), "second_order")[1:] in (["present", "coupon"], ["praise"])


def test_a_second_order_ends_it() -> None:
    buyer = story().happens("order.paid", amount="30").after(days=3)
    buyer.happens("order.paid", amount="50").after(days=20)
    assert of(buyer.sent(), "second_order") == ["tips"]


# -- D4


def test_who_buys_every_twenty_days_is_reminded_before_it_runs_out() -> None:
    regular = story()
    for _ in range(4):
        regular.happens("order.paid", amount="30").after(days=20)
    regular.sent()
    regular.happens("order.paid", amount="30")
    assert of(regular.after(days=16).sent(), "replenishment") == []
    assert of(regular.after(days=2).sent(), "replenishment") == ["reminder"]


def test_nobody_is_reminded_of_what_they_have_just_bought() -> None:
    once = story().happens("order.paid", amount="30")
    assert of(once.after(days=60).sent(), "replenishment") == []


# -- D5


def test_an_adviser_follows_a_new_vip_up() -> None:
    buyer = story()
    for _ in range(6):
        buyer.happens("order.paid", amount="600").after(days=10)
    assert "care.vip" in buyer.tags()
    [call] = [each for each in buyer.log if each.step == "follow_vip.call"]
    assert call.channel == "tasks"


def test_who_is_mature_is_thanked_then_shown_a_pair_then_asked_to_try() -> None:
    buyer = story()
    while buyer.stage("lifecycle") != "mature":
        buyer.happens("order.paid", amount="100").after(days=7)
    buyer.after(days=30)
    assert of(buyer.sent(), "mature") == ["thanks", "pairing", "trial"]


# -- D6


def dormant() -> Story:
    silent = story().happens("order.paid", amount="30").after(days=35)
    assert silent.stage("lifecycle") == "dormant"
    return silent


def test_who_falls_silent_is_written_to_the_next_day_and_asked_a_week_later() -> None:
    silent = dormant()
    assert of(silent.sent(), "dormant") == ["miss_you"]
    assert of(silent.after(days=7).sent(), "dormant") == ["survey"]


@pytest.mark.parametrize(
    ("reason", "answer"), [("price", "discount"), ("dissatisfied", "make_good"), ("forgot", "news")]
)
def test_each_answer_has_its_own_answer(reason: str, answer: str) -> None:
    silent = dormant().after(days=7)
    silent.sent()
    silent.happens("survey.answered", reason=reason)
    assert of(silent.after(hours=1).sent(), "dormant") == [answer]


def test_who_comes_back_is_not_asked_why_they_left() -> None:
    silent = dormant()
    silent.sent()
    silent.happens("article.opened").after(days=30)
    assert of(silent.sent(), "dormant") == []


def test_half_a_year_later_somebody_writes_a_postcard() -> None:
    silent = dormant().after(days=220)
    assert of(silent.sent(), "dormant") == ["miss_you", "survey", "postcard"]


# -- D7


def test_who_is_lost_gets_a_farewell_and_then_two_days_a_year() -> None:
    lost = story("2026-01-02T10:00").happens("order.paid", amount="30").after(days=120)
    assert lost.stage("lifecycle") == "lost"
    assert of(lost.sent(), "farewell") == ["goodbye"]
    told = lost.after(days=250).sent()
    assert (of(told, "mid_year"), of(told, "double_eleven")) == (["today"], ["today"])
    assert len([step for step in told if not step.startswith("dormant.")]) == 2


# -- D8


def test_a_birthday_is_wished_in_the_morning_once_a_year() -> None:
    user = story().happens("profile.updated", birthday="1990-05-20").happens("order.paid", amount="30")
    user.after(days=400)
    wishes = [each for each in user.log if each.step == "birthday.wish"]
    assert [each.at.strftime("%m-%d %H") for each in wishes] == ["05-20 10", "05-20 10"]


def test_the_day_of_joining_and_the_new_year_are_remembered() -> None:
    user = story().happens("contact.added").after(days=170)
    user.happens("article.opened").after(days=200)
    told = user.sent()
    assert of(told, "joining_day") == ["anniversary"]
    assert of(told, "new_year") == ["greeting"]


def test_a_month_after_an_order_its_care_is_explained() -> None:
    buyer = story().happens("order.paid", amount="30").after(days=32)
    assert of(buyer.sent(), "care_cycle") == ["care"]
