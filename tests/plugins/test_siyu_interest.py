"""What users care for, how warm the contact is, and what to show them."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import polars as pl
import pytest
import siyu_interest
from siyu import PluginError
from siyu.contract.events import MOMENT
from siyu.contract.manager import PluginManager
from siyu.testing import Event, decide, event
from siyu_interest.affinity import ContentAffinity

AT = "2026-06-30T12:00:00+08:00"
TODAY = "2026-06-30T09:00:00+08:00"


def order(category: str, at: str = TODAY, amount: float = 10) -> Event:
    return event("order.paid", at, amount=amount, items=[{"category": category, "amount": amount}])


def message(text: str, at: str = TODAY) -> Event:
    return event("group.message", at, text=text)


def tags(*events: Event, at: str = AT, **params: Any) -> set[str]:
    return {tag.removeprefix("interest.") for tag in decide(siyu_interest, events, at=at, params=params).tags}


# -- interests (B2) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        [message("有推荐的口红吗"), message("粉底怎么选")],
        [message("口红"), event("service.asked", TODAY, text="眼影过敏吗")],
        [event("product.viewed", TODAY, category="口红"), event("article.opened", TODAY, topic="彩妆")],
        [event("activity.joined", TODAY, activity="妆容打卡")],
        [order("口红")],
    ],
    ids=["said twice", "said and asked", "looked and read", "joined", "bought"],
)
def test_given_two_points_of_any_kind_then_there_is_an_interest(events: list[Event]) -> None:
    assert "makeup" in tags(*events)


def test_given_one_word_in_a_group_then_that_is_not_yet_an_interest() -> None:
    said = [message("口红")]
    assert "makeup" not in tags(*said)
    assert "makeup" in tags(*said, interests={"points": 1})


def test_given_an_interest_when_asked_why_then_it_counts_what_was_done() -> None:
    verdict = decide(siyu_interest, [message("猫粮"), order("猫砂"), order("狗粮")], at=AT)
    assert verdict.tags["interest.pets"] == (
        "said in groups 1 times, asked 0 times, read 0 times, joined 0 times, looked 0 times, bought 2 times in 90 "
        "days; of interest from 2 points, 2 for buying or joining"
    )


def test_given_an_interest_when_the_window_has_passed_then_it_is_gone() -> None:
    bought = order("口红", "2026-04-02T00:00:00+08:00")
    assert "makeup" in tags(bought)
    assert "makeup" not in tags(bought, at="2026-07-01T00:00:00+08:00")


def test_given_a_table_of_ones_own_then_only_its_rows_are_interests_whatever_the_case_of_a_word() -> None:
    table = {"interests": [{"key": "coffee", "title": "咖啡", "words": ["Latte"]}, {"key": "silent", "title": "无"}]}
    found = tags(message("a LATTE please"), message("latte!"), order("口红"), interests=table)
    assert "coffee" in found
    assert not {"silent", "makeup"} & found


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"key": "猫"}], "interests.interests.0.key"),
        ([{"key": "a", "words": [" "]}], "interests.interests.0.words.0"),
        ([{"key": "a"}, {"key": "a"}], "interests.interests"),
        ([{"key": "a", "colour": "red"}], "interests.interests.0.colour"),
    ],
)
def test_a_bad_row_of_the_table_is_refused_by_name(rows: list[Any], field: str) -> None:
    with pytest.raises(PluginError) as caught:
        tags(interests={"interests": rows})
    assert caught.value.field == field


# -- tiers (B4) ---------------------------------------------------------------------------------------------------


def opened(number: int, at: str = TODAY) -> list[Event]:
    return [event("article.opened", at) for _ in range(number)]


@pytest.mark.parametrize(
    ("events", "tier"),
    [
        ([*opened(7), order("x", amount=500)], "high"),
        ([*opened(5), *(event("content.shared", TODAY) for _ in range(3))], "high"),
        ([*opened(7), order("x", amount=499.99)], "potential"),
        ([*opened(6), order("x", amount=500)], "potential"),
        (opened(1), "potential"),
        (opened(1, "2026-05-31T09:00:00+08:00"), "potential"),
        ([*opened(30, "2026-05-30T09:00:00+08:00"), order("x", "2026-05-30T09:00:00+08:00", 900)], "awaken"),
        ([event("contact.removed", TODAY)], None),
    ],
)
def test_given_what_was_done_then_there_is_one_tier_at_most(events: list[Event], tier: str | None) -> None:
    assert {tag for tag in tags(*events) if tag.startswith("tier_")} == ({f"tier_{tier}"} if tier else set())


def test_given_a_sleeper_when_they_come_back_then_they_have_potential_the_same_day() -> None:
    asleep = opened(1, "2026-01-01")
    assert "tier_awaken" in tags(*asleep)
    assert "tier_potential" in tags(*asleep, *opened(1))


def test_given_an_order_of_serving_then_each_tier_has_its_place() -> None:
    assert "serve_1" in tags(*opened(7), order("x", amount=500))
    assert "serve_2" in tags(*opened(1))
    waking_first: dict[str, Any] = {"interaction_tiers": {"order": ["awaken", "high", "potential"]}}
    assert "serve_1" in tags(*opened(1, "2026-01-01"), **waking_first)
    assert "serve_3" in tags(*opened(1), **waking_first)
    with pytest.raises(PluginError, match="twice"):
        tags(interaction_tiers={"order": ["high", "high", "awaken"]})


# -- high intent (B5) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happened", "held"),
    [
        (event("article.opened", TODAY, topic="育儿"), True),
        (event("article.opened", "2026-06-29T00:00:00+08:00", topic="育儿"), True),
        (event("article.opened", "2026-06-28T23:59:59+08:00", topic="育儿"), False),
        (event("article.opened", TODAY, topic="美食"), False),
        (event("article.opened", TODAY), False),
        (message("这款奶粉几段的"), True),
        (message("Which FORMULA do you use?"), True),
        (message("牛奶"), False),
    ],
)
def test_given_an_article_or_a_question_of_the_last_day_then_intent_is_high(happened: Event, held: bool) -> None:
    assert ("high_intent" in tags(happened)) is held


def test_given_intent_within_the_same_day_only_then_yesterday_does_not_count() -> None:
    asked = message("奶粉", "2026-06-29T12:00:00+08:00")
    assert "high_intent" not in tags(asked, high_intent={"days": 0})
    assert "high_intent" in tags(asked, high_intent={"days": 30}, at="2026-07-29T12:00:00+08:00")


# -- affinity (B8) ------------------------------------------------------------------------------------------------


Row = tuple[str | None, str | None]


def fitted(rows: list[Row], **params: Any) -> list[tuple[str, str, int, float]]:
    facts = pl.DataFrame(rows, schema={"bought": pl.String, "opened": pl.String}, orient="row")
    state = ContentAffinity().fit(facts, ContentAffinity.Params(**{"least_users": 1, **params}))
    return list(state["pairs"])


def test_given_lipstick_buyers_who_read_tutorials_then_the_pair_is_found_with_its_lift() -> None:
    rows: list[Row] = [*[("口红", "彩妆")] * 3, *[("奶粉", "育儿")] * 5, *[("口红\n奶粉", "育儿")] * 2]
    silent: list[Row] = [("口红", None), (None, "彩妆"), (None, None)] * 50
    # 10 buy and read; 5 buy lipstick, 3 read of make-up, 3 do both: 3 * 10 / (5 * 3) = 2
    assert fitted(rows + silent) == [("彩妆", "口红", 3, 2.0), ("育儿", "奶粉", 7, 1.4286)]
    assert fitted(rows, least_users=4) == [("育儿", "奶粉", 7, 1.4286)]
    assert fitted(rows, least_lift=2) == [("彩妆", "口红", 3, 2.0)]
    assert fitted(rows, least_lift=1, most=1) == fitted(rows)


def test_given_nobody_who_buys_and_reads_then_nothing_is_learnt() -> None:
    assert fitted([]) == fitted([("口红", None), (None, "彩妆")]) == []


def test_given_a_pair_then_buyers_get_the_topic_as_a_tag_with_a_key_of_its_own() -> None:
    events = [order("口红"), order("{x}"), event("article.opened", TODAY, topic="makeup")]
    learnt = {"content_affinity": {"least_users": 1, "least_lift": 1}}
    verdict = decide(siyu_interest, events, at=AT, params=learnt)
    assert verdict.tags["interest.affinity_makeup"] == (
        "bought 2 times in 180 days; whose buyers open makeup more often than others: {x} ×1.0, 口红 ×1.0"
    )
    chinese = decide(siyu_interest, [order("口红"), event("article.opened", TODAY, topic="彩妆")], at=AT, params=learnt)
    assert len([tag for tag in chinese.tags if tag.startswith("interest.affinity_t")]) == 1


# -- real purchases -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readings(journey: Any) -> pl.DataFrame:
    """Articles that the households might have read: parents of nappies mostly of children, others of anything."""
    baskets = journey.frames["order.paid.items"].collect()
    parents = set(baskets.filter(pl.col("category") == "DIAPERS & DISPOSABLES")["user_id"])
    draw = random.Random(7)
    rows = []
    for user in sorted(set(baskets["user_id"])):
        topics = ["parenting"] * 6 + ["wine"] if user in parents else ["parenting", "wine", "garden", "cooking"]
        rows += [(user, draw.choice(topics)) for _ in range(draw.randrange(3))]
    kind = PluginManager().catalog.kinds["article.opened"].sources[0]
    frame = pl.DataFrame(rows, schema=["user_id", "topic"], orient="row")
    return frame.select(
        "user_id", pl.lit(journey.at).cast(MOMENT).alias("at"), pl.lit(None, pl.String).alias("article"), "topic"
    ).select(list(kind.schema))


def test_real_households_have_interests_tiers_and_affinities_that_plain_counting_finds_too(
    decide_all: Any, journey: Any, readings: pl.DataFrame
) -> None:
    params = {
        "interests": {
            "interests": [
                {"key": "parenting", "title": "育儿", "categories": ["BABY FOODS"], "topics": ["parenting"]},
                {"key": "wine", "title": "酒", "categories": ["LIQUOR", "DOMESTIC WINE"], "topics": ["wine"]},
            ]
        },
        "interaction_tiers": {"spend_from": 1000},
        "content_affinity": {"least_lift": 1.5, "least_users": 30},
    }
    decided = decide_all(siyu_interest, params, more={"article.opened": readings})
    tags = decided.tags
    assert 100 < tags["interest.parenting"] < 1500
    assert tags["interest.tier_high"] > 100
    assert tags["interest.tier_potential"] > 100
    assert tags["interest.tier_awaken"] > 50
    assert sum(tags[f"interest.tier_{tier}"] for tier in ("high", "potential", "awaken")) == len(decided.frame)
    assert tags["interest.high_intent"] > 100
    state = decided.rulebook.settings["interest"]["states"]["content_affinity"]
    assert ("parenting", "DIAPERS & DISPOSABLES") in {(topic, category) for topic, category, _, _ in state["pairs"]}
    assert "interest.affinity_parenting" in tags

    bought: dict[int, set[str]] = {}
    for user, category in journey.frames["order.paid.items"].select("user_id", "category").collect().iter_rows():
        if category is not None:
            bought.setdefault(user, set()).add(category)
    opened: dict[int, set[str]] = {}
    for user, topic in readings.select("user_id", "topic").iter_rows():
        opened.setdefault(user, set()).add(topic)
    both = sorted(set(bought) & set(opened))
    of_category = Counter(category for user in both for category in bought[user])
    of_topic = Counter(topic for user in both for topic in opened[user])
    of_pair = Counter((topic, category) for user in both for topic in opened[user] for category in bought[user])
    for topic, category, users, lift in state["pairs"]:
        assert users == of_pair[topic, category]
        assert lift == pytest.approx(users * len(both) / (of_category[category] * of_topic[topic]), abs=1e-4)
