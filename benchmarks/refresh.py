"""A whole refresh of a large brand, and the share of each step, beside one plain group-by over the same Parquet.

    python -m benchmarks.refresh --users 1000000 --events 10000000

The events are made by a seeded generator and taken in as any others are: COPY into PostgreSQL, then the lake. The floor
is one Polars group-by (count, sum, newest) over the lake's own files.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.ingest import load
from siyu.flow.preview import preview
from siyu.flow.refresh import refresh
from siyu.store.models import Brand, Run

from benchmarks.measure import Clock, machine, peak_memory, scratch

END = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS = 5


def purchases(users: int, events: int, seed: int = 7, batch: int = 200_000) -> Iterator[pl.DataFrame]:
    """Orders over a year; a few users buy much, most buy little."""
    random = np.random.default_rng(seed)
    for start in range(0, events, batch):
        size = min(batch, events - start)
        # Everybody buys at least once, so the first `users` orders go round.
        numbers = np.arange(start, start + size)
        who = np.where(numbers < users, numbers, (users * random.random(size) ** 1.6).astype(np.int64))
        seconds = (random.random(size) ** 0.8 * 365 * 86400).astype(np.int64)
        cents = random.integers(100, 30_000, size)
        at = pl.Series("at", [END]).dt.cast_time_unit("us").new_from_index(0, size) - pl.Series(
            seconds * 1_000_000
        ).cast(pl.Duration("us"))
        yield pl.DataFrame({"key": numbers, "at": at, "who": who, "cents": cents}).select(
            pl.format("o{}", "key").alias("key"),
            pl.lit("order.paid").alias("kind"),
            "at",
            pl.lit("member").alias("identity_kind"),
            pl.col("who").cast(pl.String).alias("identity"),
            pl.struct((pl.col("cents") / 100).alias("amount")).struct.json_encode().alias("payload"),
        )


async def floor(ctx: Context, brand: Brand) -> None:
    """One plain group-by over the lake's own files."""
    files = f"{ctx.home}/lake/{brand.id}/order.paid-*/*.parquet"
    query = pl.scan_parquet(files).group_by("user_id").agg(pl.len(), pl.col("amount").sum(), pl.col("at").max())
    await asyncio.to_thread(query.collect)


async def main(users: int, events: int, changed: float) -> None:
    async with scratch() as ctx:
        brand = await Brand.create(slug="big", name="Big", replayed_to=END)
        for name in ("rfm", "lifecycle"):
            await plugins.enable(ctx, brand, name)
        started = time.perf_counter()
        for frame in purchases(users, events):
            await load(ctx, brand, frame)
        took = time.perf_counter() - started
        print(f"{machine()}; {users:,} users, {events:,} events")
        print(f"import (COPY): {took:.1f} s, {events / took:,.0f} events/s")

        clock = Clock()
        with clock("first"):
            done = await refresh(ctx, brand.id, at=END - timedelta(days=30))
        print(f"first refresh, which seals the lake and writes {done.changes:,} changes: {clock.median('first'):.1f} s")
        print("   ", await _steps(brand))

        # Interleaved, so that a drift of the machine's speed meets both alike.
        shares: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            with clock("floor"):
                await floor(ctx, brand)
            at = END - timedelta(days=30) + timedelta(days=changed) * (number + 1)
            with clock("refresh"):
                done = await refresh(ctx, brand.id, at=at)
            for step, seconds in (await _steps(brand)).items():
                shares.setdefault(step, []).append(seconds)
            wall, cpu = ({name: taken[name][-1] for name in ("floor", "refresh")} for taken in (clock.wall, clock.cpu))
            print(
                f"round {number + 1}: floor {wall['floor']:.3f} s, refresh {wall['refresh']:.3f} s "
                f"(cpu {cpu['floor']:.2f} / {cpu['refresh']:.2f}), "
                f"{done.changes:,} changes written ({done.changes / users:.1%} of users)"
            )
        ratio = sorted(r / f for r, f in zip(clock.wall["refresh"], clock.wall["floor"], strict=True))[ROUNDS // 2]
        print(f"refresh ÷ floor, median of pairs: {ratio:.1f} (aim ≤ 8)")
        for step, seconds in shares.items():
            median = sorted(seconds)[ROUNDS // 2]
            share = median / clock.median("refresh")
            print(f"    {step:9} {median:.3f} s  {share:4.0%}  {median / users * 1e6:.3f} µs a user")
        with clock("preview"):
            await preview(ctx, brand, "lifecycle", params={"lifecycle": {"dormant_days": 45}})
        print(f"preview of a parameter: {clock.median('preview'):.1f} s, nothing written")
        print(f"peak memory of the process: {peak_memory():.1f} GiB")


async def _steps(brand: Brand) -> dict[str, float]:
    last = await Run.filter(brand_id=brand.id, kind="refresh").order_by("-id").first()
    return dict(last.seconds) if last else {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--days", type=float, default=0.2, help="days between two refreshes: how much changes")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.users, arguments.events, arguments.days))
