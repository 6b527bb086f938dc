"""A whole refresh of a large brand beside what it cannot do without.

    python -m benchmarks refresh --users 1000000 --events 10000000

30 tags, a lifecycle and RFM over 40 facts (:mod:`benchmarks.rulebook`), on events of four kinds that a seeded generator
makes and that are taken in as any others are (or laid down in the lake, which takes far less
time). Measured in the same
rounds, one after the other:

- *scan*: reading the columns that the facts need, and nothing else; facts are held to 8 of it.
- *group-by*: one plain Polars group-by (rows, a sum, the newest) over each table of the same Parquet; a whole refresh,
  with some percent of the users changed and written, is held to 6 of it.
- *some*: what follows when 1 % of the users do something, decided as they come; held to 0.25 of a whole refresh.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

import numpy as np
import polars as pl
import siyu.store.lake
from siyu.contract.events import PROFILE_UPDATED, Catalog
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.ingest import load
from siyu.flow.preview import preview
from siyu.flow.refresh import refresh
from siyu.store.events import append, closed_up_to
from siyu.store.lake import Lake
from siyu.store.models import Brand, Run, SealedRange

from benchmarks import rulebook
from benchmarks.measure import Clock, machine, peak_memory, scratch

END = rulebook.AT
MIX = {"order.paid": 0.45, "article.opened": 0.30, "group.message": 0.15, "profile.updated": 0.10}
ATTRIBUTES = {
    "level": rulebook.LEVELS,
    "skin": rulebook.SKINS,
    "city": rulebook.CITIES,
    "member": ("true", "false"),
    "points": tuple(str(number) for number in range(0, 5000, 50)),
    "birthday": tuple(f"{year}-{month:02d}-17" for year in range(1960, 2006) for month in range(1, 13)),
}
TEXTS = (
    "有人用过这款吗",
    "今天到货了",
    "which formula is best at six months",
    "想换奶粉，求推荐",
    "谢谢",
    "周末有活动吗",
)


def happenings(users: int, events: int, seed: int = 7, batch: int = 200_000, first: int = 0) -> Iterator[pl.DataFrame]:
    """Events over a year; a few users do much, most do little. The first of all go round everybody once."""
    random = np.random.default_rng(seed)
    for start in range(first, first + events, batch):
        size = min(batch, first + events - start)
        numbers = np.arange(start, start + size)
        who = np.where(numbers < users, numbers, (users * random.random(size) ** 1.6).astype(np.int64))
        back = (random.random(size) ** 0.8 * 365 * 86400 * 1_000_000).astype(np.int64)
        kinds = list(MIX)
        kind = random.choice(len(kinds), size, p=list(MIX.values()))
        payloads = [_payloads(name, int((kind == code).sum()), random) for code, name in enumerate(kinds)]
        order = np.argsort(kind, kind="stable")
        yield pl.DataFrame(
            {
                "key": pl.Series(numbers)[order],
                "kind": pl.Series(kind)[order].replace_strict(dict(enumerate(kinds)), return_dtype=pl.String),
                "at": pl.Series([END]).dt.cast_time_unit("us").new_from_index(0, size)
                - pl.Series(back)[order].cast(pl.Duration("us")),
                "identity": pl.Series(who)[order].cast(pl.String),
                "payload": pl.concat(payloads),
            }
        ).select(
            pl.format("e{}", "key").alias("key"),
            "kind",
            "at",
            pl.lit("member").alias("identity_kind"),
            "identity",
            "payload",
        )


def _payloads(kind: str, size: int, random: np.random.Generator) -> pl.Series:
    def some(choices: tuple[str, ...]) -> pl.Series:
        codes = pl.Series(random.integers(0, len(choices), size))
        return codes.replace_strict(dict(enumerate(choices)), return_dtype=pl.String)

    if kind == "order.paid":
        item = pl.struct(category=some(rulebook.CATEGORIES), amount=pl.Series(random.integers(100, 30_000, size) / 100))
        amount = pl.Series(random.integers(100, 30_000, size) / 100)
        made = pl.select(amount=amount, channel=some(rulebook.CHANNELS), items=pl.concat_list(item))
    elif kind == "article.opened":
        made = pl.select(topic=some(rulebook.TOPICS))
    elif kind == "group.message":
        made = pl.select(text=some(TEXTS))
    else:
        made = pl.select(**{name: some(values) for name, values in islice(ATTRIBUTES.items(), 6)})
    return made.to_struct("payload").struct.json_encode() if size else pl.Series("payload", [], pl.String)


async def lay_down(ctx: Context, brand: Brand, users: int, batches: Iterable[pl.DataFrame]) -> None:
    """The users, and their events straight into the lake, as though they had been taken in and sealed long ago.

    PostgreSQL has none of them, so that those of many users must be looked for in the lake, however large it is.
    """
    siyu.store.lake.BYTES_A_USER = 2**62
    lake = Lake(ctx.home, brand.id, ctx.plugins.catalog)
    async with ctx.db.transaction() as connection:
        user = await connection.fetchval("SELECT nextval('users_id_seq')")
        await connection.execute(_USERS, brand.id, user, users, END - timedelta(days=365), END)
        await connection.execute(_NAMES, brand.id, user, users)
        await connection.execute("SELECT setval('users_id_seq', $1)", user + users)
        first = await connection.fetchval("SELECT nextval('event_id_seq')")
        for batch in batches:
            ids = pl.int_range(first, first + len(batch))
            log = batch.select(ids.alias("id"), pl.col("identity").cast(pl.Int64) + user, "kind", "at", "payload")
            await asyncio.to_thread(_laid, lake, (first, first + len(log) - 1), log.rename({"identity": "user_id"}))
            await SealedRange.create(brand_id=brand.id, first_id=first, last_id=first + len(log) - 1)
            first += len(log)
        await connection.execute("SELECT setval('event_id_seq', $1)", first)


def _laid(lake: Lake, ids: tuple[int, int], log: pl.DataFrame) -> None:
    updates = pl.col("kind") == PROFILE_UPDATED
    attributes = pl.Struct(dict.fromkeys(ATTRIBUTES, pl.String()))
    given = log.filter(updates).with_columns(pl.col("payload").str.json_decode(attributes).struct.unnest())
    pairs = pl.concat_list(pl.struct(name=pl.lit(name), value=pl.col(name)) for name in ATTRIBUTES)
    given = given.with_columns(payload=pl.struct(_=pairs).struct.json_encode().str.slice(5).str.head(-1))
    log = pl.concat([log.filter(~updates), given.select(log.columns)])
    frames = lake._split(log, list(lake._catalog.kinds))
    lake._write_files(ids, {source.name: (source, frames[source.name]) for source in lake._catalog.sources})


_USERS = """
INSERT INTO users (brand_id, id, first_seen, last_seen, attributes)
SELECT $1, n, $4, $5, '{}' FROM generate_series($2::bigint, $2 + $3 - 1) n
"""
_NAMES = """
INSERT INTO identity (brand_id, kind, value, user_id)
SELECT $1, 'member', n - $2, n FROM generate_series($2::bigint, $2 + $3 - 1) n
"""


def columns_needed(catalog: Catalog) -> dict[str, set[str]]:
    """By table, the columns that the facts of the rules look at."""
    needed: dict[str, set[str]] = {"profile.updated": {"user_id", "at", "name", "value"}}
    for fact in {fact.name: fact for rule in rulebook.RULES for fact in rule.facts.values()}.values():
        for source in catalog.resolve(fact):
            wanted = {"user_id", "at", *getattr(fact, "fields", ()), *(name for name, _ in getattr(fact, "where", ()))}
            needed.setdefault(source.name, set()).update(wanted & set(source.schema))
    return needed


class Floors:
    """What is measured beside a refresh, over the tables that it reads."""

    def __init__(self, ctx: Context, brand: Brand) -> None:
        self._ctx, self._brand = ctx, brand
        self._needed = columns_needed(ctx.plugins.catalog)
        self.tables: dict[str, pl.LazyFrame] = {}

    async def look(self) -> None:
        """Take the tables as they lie now."""
        async with self._ctx.db.connection() as connection:
            up_to, _ = await closed_up_to(connection, self._brand.id)
            lake = Lake(self._ctx.home, self._brand.id, self._ctx.plugins.catalog)
            stored = await lake.tables(connection, up_to)
        self.tables = {name: table.scan() for name, table in stored.items() if name in self._needed}

    async def scan(self) -> None:
        """Every value that the facts need is read once, and forgotten."""
        queries = []
        for name, table in self.tables.items():
            texts = [column for column, dtype in table.collect_schema().items() if dtype == pl.String]
            read = (pl.col(c).str.len_bytes() if c in texts else pl.col(c) for c in sorted(self._needed[name]))
            queries.append(table.select(each.max() for each in read))
        await asyncio.to_thread(pl.collect_all, queries)

    async def group_by(self) -> None:
        """A plain group-by a table."""
        queries = []
        for name, table in self.tables.items():
            money = [pl.col("amount").sum()] if "amount" in self._needed[name] else []
            queries.append(table.group_by("user_id").agg(pl.len(), pl.col("at").max(), *money))
        await asyncio.to_thread(pl.collect_all, queries)


async def main(users: int, events: int, days: float, rounds: int, bulk: bool = False) -> None:
    async with scratch() as ctx:
        ctx.plugins.register("bench", rulebook)
        ctx.plugins.check()
        brand = await Brand.create(slug="big", name="Big", replayed_to=END)
        for name in ("rfm", "bench"):
            await plugins.enable(ctx, brand, name)
        started = time.perf_counter()
        if bulk:
            await lay_down(ctx, brand, users, happenings(users, events, batch=500_000))
        else:
            for frame in happenings(users, events):
                await load(ctx, brand, frame)
        took = time.perf_counter() - started
        print(f"{machine()}; {users:,} users, {events:,} events")
        how = "laid down in the lake" if bulk else "import (COPY)"
        print(f"{how}: {took:.1f} s, {events / took:,.0f} events/s", flush=True)

        clock = Clock()
        with clock("first"):
            done = await refresh(ctx, brand.id, at=END)
        print(f"first refresh, which seals the lake and writes {done.changes:,} changes: {clock.median('first'):.1f} s")
        print("   ", await _steps(brand), flush=True)
        memory, floors = peak_memory(), Floors(ctx, brand)
        # What autovacuum has done by the next night, and does beside the rounds otherwise.
        await _tidied(ctx, "VACUUM (ANALYZE)")

        # Interleaved, so that a drift of the machine's speed meets all alike.
        shares: dict[str, list[float]] = {}
        changed: list[float] = []
        for number in range(rounds):
            at = await _present(brand, END + timedelta(days=days) * (number + 1))
            # Between two nights there always is one: what is written first after it is logged whole.
            await _tidied(ctx, "CHECKPOINT")
            await floors.look()
            with clock("scan"):
                await floors.scan()
            with clock("group-by"):
                await floors.group_by()
            with clock("refresh"):
                done = await refresh(ctx, brand.id, at=at)
            changed.append(done.changes / users)
            steps = await _steps(brand)
            for step, seconds in steps.items():
                shares.setdefault(step, []).append(seconds)
            for few in happenings(users, users // 100, first=users + events + number * users):
                now = few.with_columns(at=pl.lit(at).dt.cast_time_unit("us"))
                async with ctx.db.transaction() as connection:
                    await append(connection, brand.id, now)
            with clock("some"):
                while await _decided(ctx, brand):
                    pass
            walls = ", ".join(f"{name} {taken[-1]:.2f}" for name, taken in clock.wall.items() if name != "first")
            cpus = ", ".join(f"{name} {taken[-1]:.2f}" for name, taken in clock.cpu.items() if name != "first")
            print(
                f"round {number + 1}: wall {walls} s; cpu of this process {cpus} s; {changed[-1]:.1%} changed",
                flush=True,
            )
        facts = _median([s / f for s, f in zip(shares["facts"], clock.wall["scan"], strict=True)])
        whole = _median([r / f for r, f in zip(clock.wall["refresh"], clock.wall["group-by"], strict=True)])
        some = _median([r / f for r, f in zip(clock.wall["some"], clock.wall["refresh"], strict=True)])
        print("median of the rounds' ratios:")
        print(f"    facts ÷ scan           {facts:.1f} (aim ≤ 8)")
        print(f"    refresh ÷ group-by     {whole:.1f} (aim ≤ 6, with {_median(changed):.1%} of the users changed)")
        print(f"    1 % of users ÷ refresh {some:.2f} (aim ≤ 0.25)")
        for step, seconds in shares.items():
            share = _median(seconds) / clock.median("refresh")
            print(
                f"    {step:9} {_median(seconds):.3f} s  {share:4.0%}  {_median(seconds) / users * 1e6:.3f} µs a user"
            )
        with clock("preview"):
            await preview(ctx, brand, "bench", params={"bench_journey": {"dormant_days": 45}})
        print(f"preview of a parameter: {clock.median('preview'):.1f} s, nothing written")
        print(f"refresh {clock.median('refresh'):.2f} s")
        print(f"peak memory: {memory:.1f} GiB in the first refresh, {peak_memory():.1f} GiB in all")


async def _present(brand: Brand, at: datetime) -> datetime:
    """Let it be that moment for the brand: nothing lies ahead of a refresh."""
    brand.replayed_to = at
    await brand.save(update_fields=["replayed_to"])
    return at


async def _tidied(ctx: Context, command: str) -> None:
    async with ctx.db.connection() as connection:
        await connection.execute(command)


async def _decided(ctx: Context, brand: Brand) -> int:
    return (await decide_users(ctx, brand.id)).users


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


async def _steps(brand: Brand) -> dict[str, float]:
    last = await Run.filter(brand_id=brand.id, kind="refresh").order_by("-id").first()
    return dict(last.seconds) if last else {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--days", type=float, default=1, help="days between two refreshes: how much changes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bulk", action="store_true", help="lay the events down in the lake instead of importing them")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.users, arguments.events, arguments.days, arguments.rounds, arguments.bulk))
