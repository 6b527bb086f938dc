"""The customer-base summary of Fader and Hardie (frequency, recency, T, monetary value) by siyu and by its peers.

    python -m benchmarks rfm --purchases 10000000

siyu computes it as the facts of ``siyu_rfm`` from Parquet sorted by user, as the lake has it; the peers from a pandas
frame that lies in memory. A day's purchases are one transaction, and the first day is no repeat: there all must agree.
Beside it stands siyu's whole RFM, quantiles and classes included, which must be those of numpy's quantiles.
``make bench-peers`` installs the peers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import siyu_rfm
from polars.testing import assert_frame_equal
from siyu.contract.facts import Fact
from siyu.contract.manager import PluginManager
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.fit import fit, fit_facts
from siyu.engine.rulebook import bind

from benchmarks.measure import Clock, machine, peak_memory
from benchmarks.peers import INSTALL

ZONE = ZoneInfo("UTC")
DAYS = 730
END = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
SUMMARY = {
    # the literature's name: siyu_rfm's
    "frequency": "frequency",
    "recency": "recency",
    "T": "age",
    "monetary_value": "monetary",
}
PEERS = {
    # its module: the function, in siyu's words
    "lifetimes.utils": "summary_data_from_transaction_data",
    "pymc_marketing.clv.utils": "rfm_summary",
}


def purchases(number: int, seed: int = 7) -> pl.DataFrame:
    """Ten a user on average, at any second of two years; a few users buy much."""
    random = np.random.default_rng(seed)
    users = max(1, number // 10)
    who = (users * random.random(number) ** 1.6).astype(np.int64)
    seconds = random.integers(0, DAYS * 86_400, number)
    cents = random.integers(100, 30_000, number)
    ago = pl.Series(seconds * 1_000_000).cast(pl.Duration("us"))
    return pl.DataFrame({"user_id": who, "amount": cents}).select(
        "user_id", (pl.lit(END).cast(pl.Datetime("us", "UTC")) - ago).alias("at"), "amount"
    )


class Siyu:
    """The plugin ``siyu_rfm`` over one Parquet file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        manager = PluginManager()
        self._plugin = manager.register("rfm", siyu_rfm)
        manager.check()
        self._catalog = manager.catalog
        self._summary = {name: siyu_rfm.CustomerBase.facts[own] for name, own in SUMMARY.items()}

    def _facts(self, facts: Sequence[Fact]) -> pl.DataFrame:
        return compute(facts, self._catalog, {"order.paid": pl.scan_parquet(self._path)}, END, ZONE)

    def summary(self) -> pl.DataFrame:
        """The four figures of each user."""
        facts = self._facts(list(self._summary.values()))
        return facts.select("user_id", *(pl.col(fact.name).alias(name) for name, fact in self._summary.items()))

    def classes(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Recency, frequency and monetary value as RFM has them, and the tags that their quantiles give."""
        on = [(self._plugin, self._plugin.params())]
        facts = self._facts(fit_facts([self._plugin]))
        rulebook = bind(on, fit(on, facts))
        nothing = pl.DataFrame(schema={"user_id": pl.Int64})
        return facts, Decider(rulebook, ZONE).frame(facts, nothing, END)


def peer(module: str) -> Callable[[Any], Any]:
    """The function of a peer over a frame of purchases."""
    function = getattr(__import__(module, fromlist=["."]), PEERS[module])
    return lambda frame: function(frame, "user_id", "at", "amount", observation_period_end=END.date().isoformat())


def check_summary(mine: pl.DataFrame, theirs: Any) -> None:
    """Every user's four figures agree; where nobody repeated, others say 0 for a mean that is missing."""
    frame = theirs.reset_index() if theirs.index.name else theirs
    others = pl.from_pandas(frame.rename(columns={"customer_id": "user_id"}))
    numbers = mine.select("user_id", pl.col(*SUMMARY).cast(pl.Float64).fill_null(0))
    assert_frame_equal(others.select(numbers.columns).sort("user_id"), numbers, rel_tol=1e-9, abs_tol=1e-9)


def check_classes(facts: pl.DataFrame, tags: pl.DataFrame) -> None:
    """The eight classes are those of quintiles by numpy, closed above."""
    recency, frequency, monetary = (facts[fact.name].to_numpy() for fact in siyu_rfm.RFM.facts.values())

    def scores(values: Any) -> Any:
        return 1 + np.searchsorted(np.quantile(values, [0.2, 0.4, 0.6, 0.8]), values, side="left")

    recent, often, much = scores(recency) <= 2, scores(frequency) >= 4, scores(monetary) >= 4
    for (is_recent, is_often, is_much), (name, _) in siyu_rfm.CLASSES.items():
        held = (recent == is_recent) & (often == is_often) & (much == is_much)
        if not (tags[f"rfm.{name}"].to_numpy() == held).all():
            raise AssertionError(name)


def ratio(taken: dict[str, list[float]], name: str) -> float:
    """To siyu's summary, the median of the pairs of a round."""
    return statistics.median(a / b for a, b in zip(taken[name], taken["siyu, summary"], strict=True))


def main(number: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="siyu-bench-") as folder:
        path = Path(folder) / "orders.parquet"
        orders = purchases(number).sort("user_id", "at")
        orders.write_parquet(path, compression="lz4")
        siyu = Siyu(path)
        peers = {module: peer(module) for module in PEERS if find_spec(module.partition(".")[0])}
        # Days in UTC, amounts in the currency's unit: what the peers take.
        frame = orders.with_columns(pl.col("at").dt.replace_time_zone(None), pl.col("amount") / 100).to_pandas()
        users = orders["user_id"].n_unique()
        del orders
        print(f"{machine()}; {number:,} purchases of {users:,} users, {rounds} rounds")

        clock = Clock()
        for _ in range(rounds):
            with clock("siyu, summary"):
                mine = siyu.summary()
            with clock("siyu, RFM with classes"):
                facts, tags = siyu.classes()
            for module, summarise in peers.items():
                with clock(module):
                    theirs = summarise(frame)
                check_summary(mine, theirs)
                del theirs
            check_classes(facts, tags)
        print("all agree on every user")
        for name in clock.wall:
            wall, cpu = (ratio(taken, name) for taken in (clock.wall, clock.cpu))
            took = f"{clock.median(name):7.2f} s  cpu {statistics.median(clock.cpu[name]):7.2f} s"
            aim = " (aim ≥ 6)" if name in peers else ""
            print(f"{name:26} {took}  ÷ siyu's summary: {wall:5.1f}, CPU {cpu:5.1f}{aim}")
        for module in PEERS.keys() - peers.keys():
            print(f"{module.partition('.')[0]} is not installed: {INSTALL}")
        print(f"peak memory of the process: {peak_memory():.1f} GiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--purchases", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.purchases, arguments.rounds)
