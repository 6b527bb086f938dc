"""The summary of customer-base models, on real purchases as plain loops find it."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
import siyu_rfm
from siyu import demo
from siyu.testing import Event, decide, event
from siyu_rfm import CustomerBase


def paid(day: str, amount: float = 10) -> Event:
    return event("order.paid", day, amount=amount)


def tags(*events: Event, at: str, **params: Any) -> dict[str, str]:
    verdict = decide(siyu_rfm, events, at=at, params={"customer_base": {"tags": True, **params}})
    return {tag: why for tag, why in verdict.tags.items() if tag in ("rfm.repeat", "rfm.one_time", "rfm.late")}


def test_given_repeat_purchases_then_the_summary_leaves_out_the_first_day() -> None:
    story = [
        paid("2026-01-01", 500),
        paid("2026-01-01", 7),
        paid("2026-01-11"),
        paid("2026-01-11", 5),
        paid("2026-01-21"),
    ]
    assert tags(*story, at="2026-01-31") == {
        "rfm.repeat": "2 repeat days of 12.50 on average, the last 20 days after the first, 30 days ago"
    }


def test_given_one_day_of_purchases_then_there_is_no_repeat_however_many_there_were() -> None:
    story = [paid("2026-01-01"), paid("2026-01-01")]
    assert tags(*story, at="2026-01-30") == {}
    assert set(tags(*story, at="2026-01-31")) == {"rfm.one_time"}
    assert set(tags(*story, at="2026-01-31", trial_days=31)) == set()
    assert set(tags(*story, paid("2026-01-31"), at="2026-01-31")) == {"rfm.repeat"}


@pytest.mark.parametrize(("at", "late"), [("2026-02-10", False), ("2026-02-11", True)])
def test_given_a_rhythm_when_twice_its_length_has_passed_then_the_user_is_late(at: str, late: bool) -> None:
    story = [paid("2026-01-01"), paid("2026-01-11"), paid("2026-01-21")]
    assert ("rfm.late" in tags(*story, at=at)) is late
    assert "rfm.late" not in tags(*story, paid(at), at=at)


def test_given_somebody_who_never_bought_then_none_of_it_applies() -> None:
    assert tags(event("article.opened", "2026-01-01"), at="2026-06-01") == {}


def test_the_summary_is_offered_by_name() -> None:
    assert list(CustomerBase.facts) == ["frequency", "recency", "age", "monetary"]


def test_on_real_purchases_the_summary_is_what_plain_loops_find(decide_all: Any, journey: Any) -> None:
    facts = CustomerBase.facts
    decided = decide_all(siyu_rfm, {"customer_base": {"tags": True}}, facts=list(facts.values()))
    # From the lines of the file, not from the orders that siyu makes of them.
    lines = pl.read_parquet(demo._data_folder() / "transactions.parquet").select(
        "household_id", "transaction_timestamp", "sales_value"
    )
    days: dict[int, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for household, moment, value in lines.iter_rows():
        days[household][moment.date()] += Decimal(str(value))
    end = journey.at.astimezone(journey.zone).date()
    seen = decided.facts.select("user_id", *(pl.col(fact.name).alias(name) for name, fact in facts.items()))
    assert len(days) == 2469
    for row in seen.iter_rows(named=True):
        mine = days.get(row["user_id"])
        if mine is None:  # asked, but never bought
            assert (row["frequency"], row["recency"], row["age"], row["monetary"]) == (0, None, None, None)
            continue
        first, last = min(mine), max(mine)
        repeat = [value for day, value in mine.items() if day != first]
        assert row["frequency"] == len(repeat)
        assert row["recency"] == (last - first).days
        assert row["age"] == (end - first).days
        assert row["monetary"] == (pytest.approx(float(sum(repeat) / len(repeat))) if repeat else None)
    assert decided.tags["rfm.repeat"] > 2000
    assert decided.tags["rfm.late"] > 300
    assert decided.tags["rfm.one_time"] > 5
    assert decided.tags["rfm.important_value"] > 200
