"""守门：同意、安静时段、频次上限、内容配比

The built-in checks, and how their answers become one. Written as any plugin would write them; the numbers are a brand's
settings of the plugin ``guard``, which is on for every brand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import polars as pl

from siyu.contract import params
from siyu.contract.channels import Channel
from siyu.contract.checks import NEVER, Batch, Check
from siyu.contract.events import MOMENT
from siyu.contract.markers import hookimpl
from siyu.contract.params import Field
from siyu.contract.playbooks import Purpose
from siyu.engine.days import window_start
from siyu.engine.moving import next_clock

__all__ = ["CHECKS", "HOLD", "Asked", "Stale", "concerns", "judge", "siyu_checks"]

DAY = timedelta(days=1)
HOLD = timedelta(minutes=15)
"""How long what a check fails over is held."""


class Gone(Check):
    """用户已注销或已合并"""

    everywhere = True

    def until(self, batch: Batch, p: params.Params) -> pl.Series:
        gone = batch.actions.get_column("first_seen").is_null() | batch.actions.get_column("merged_into").is_not_null()
        return batch.stop(gone)

    def words(self, batch: Batch, p: params.Params) -> pl.Series:
        into = pl.col("merged_into")
        merged = pl.format("已合并，计入用户 {}", into)
        return batch.actions.select(
            words=pl.when(into.is_null()).then(pl.lit("用户已不在")).otherwise(merged)
        ).to_series()


class NoAddress(Check):
    """用户在该渠道没有地址"""

    def until(self, batch: Batch, p: params.Params) -> pl.Series:
        if not batch.channel.address:
            return batch.pass_all()
        return batch.stop(batch.actions.get_column("address").is_null())

    def words(self, batch: Batch, p: params.Params) -> str:
        return f"没有可用的 {batch.channel.address}"


class OptOut(Check):
    """用户已退订"""

    def until(self, batch: Batch, p: params.Params) -> pl.Series:
        return batch.stop(_consent(batch) == False)  # noqa: E712


class NoConsent(Check):
    """用户未同意此类消息"""

    class Params(params.Params):
        purposes: tuple[Purpose, ...] = Field(("sales",), title="须事先同意的用途")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        asked = batch.purpose.is_in(list(p.purposes))
        return batch.stop(asked & _consent(batch).is_null())


class Duplicate(Check):
    """近期已收到同一内容"""

    class Params(params.Params):
        days: int = Field(1, ge=0, le=90, title="几天内同一步骤只发一次（服务消息除外）")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        same = ["user_id", "plugin", "playbook", "step"]
        had = batch.touches.filter(pl.col("at") > batch.at - p.days * DAY, pl.col("step") != "").select(same).unique()
        twice = batch.actions.select(same).join(had.with_columns(had=True), on=same, how="left", maintain_order="left")
        return batch.stop(twice.get_column("had") & (batch.purpose != "service"))


class Stale(Check):
    """决策已过时"""

    class Params(params.Params):
        hours: int = Field(48, ge=1, le=24 * 90, title="决策后几小时内有效")
        urgent_hours: int = Field(24, ge=1, le=24 * 90, title="加急消息几小时内有效")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        return batch.stop(self.deadline(batch, p) < batch.at)

    def deadline(self, batch: Batch, p: Any) -> pl.Series:
        """When each was decided too long ago: what others hold for longer need not be held at all."""
        hours = pl.when(pl.col("lane") == 0).then(p.urgent_hours).otherwise(p.hours)
        return batch.actions.select(deadline=pl.col("planned_at") + pl.duration(hours=hours)).to_series()


class HoldOut(Check):
    """对照组：不接收关怀与营销"""

    class Params(params.Params):
        percent: float = Field(0.0, ge=0, le=50, title="对照组占用户的百分比")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        # Two steps of Park and Miller's generator: for good the same for a user, and unlike the buckets of roll-outs.
        user = pl.col("user_id") % 2147483647
        place = batch.actions.select(place=(user * 48271 % 2147483647) * 69621 % 2147483647 % 10_000).to_series()
        return batch.stop((place < p.percent * 100) & (batch.purpose != "service"))


class Trust(Check):
    """新用户信任期内不推销"""

    class Params(params.Params):
        days: int = Field(7, ge=0, le=90, title="认识几天后才可推销")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        trusted = pl.col("first_seen") + pl.duration(days=p.days)
        early = (pl.col("purpose") == "sales") & (trusted > batch.at)
        return batch.actions.select(until=pl.when(early).then(trusted)).to_series().cast(MOMENT)


class Mix(Check):
    """营销内容占比过高"""

    class Params(params.Params):
        share: float = Field(0.5, ge=0, le=1, title="营销消息占比上限")
        days: int = Field(30, ge=1, le=90, title="统计天数")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        recent = batch.touches.filter(pl.col("at") > batch.at - p.days * DAY, pl.col("purpose") != "service")
        by_user = recent.group_by("user_id").agg(every=pl.len(), sales=(pl.col("purpose") == "sales").sum())
        every = batch.of_users(by_user, "every").fill_null(0)
        sales = batch.of_users(by_user, "sales").fill_null(0)
        # One is always allowed; who sells nothing at all sets the share to 0.
        most = ((every + 1) * p.share).floor().clip(lower_bound=1 if p.share else 0)
        return batch.stop((batch.purpose == "sales") & (sales + 1 > most))


class Variety(Check):
    """同类内容连发过多"""

    class Params(params.Params):
        most: int = Field(3, ge=0, le=20, title="同一用途、同一形式最多连发几条（0 为不限）")
        days: int = Field(30, ge=1, le=90, title="统计天数")
        purposes: tuple[Purpose, ...] = Field(("sales",), title="适用的用途")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        if not p.most:
            return batch.pass_all()
        recent = batch.touches.filter(pl.col("at") > batch.at - p.days * DAY, pl.col("purpose") != "service")
        alike = ["user_id", "purpose", "kind"]
        # In a row they are until the oldest of them is too old, or something else has come.
        rows = (
            recent.sort("at", descending=True)
            .group_by("user_id")
            .head(p.most)
            .group_by("user_id")
            .agg(
                pl.col("purpose", "kind").first(),
                number=pl.len(),
                sorts=pl.struct("purpose", "kind").n_unique(),
                until=pl.col("at").min() + p.days * DAY,
            )
            .filter(pl.col("number") == p.most, pl.col("sorts") == 1)
        )
        held = batch.actions.select(alike).join(rows, on=alike, how="left", maintain_order="left")
        asked = pl.col("purpose").is_in(list(p.purposes))
        return held.select(until=pl.when(asked).then("until")).to_series()

    def words(self, batch: Batch, p: Params) -> pl.Series:
        return batch.actions.select(
            words=pl.format("最近 {} 条同为 {}（{}）", pl.lit(p.most), "kind", "purpose")
        ).to_series()


class Tier(params.Params):
    """How often users with one of these tags or stages are written to."""

    name: str = Field("", max_length=40, title="名称")
    marks: tuple[str, ...] = Field((), max_length=50, title="标签，或 轨道:阶段")
    most: int = Field(2, ge=0, le=100, title="最多几条")
    days: int = Field(7, ge=1, le=90, title="每几天")


class Cap(Check):
    """频次上限"""

    class Params(params.Params):
        tiers: tuple[Tier, ...] = Field(
            (
                Tier(
                    name="沉睡",
                    marks=("lifecycle:dormant", "lifecycle:lost", "interest.tier_awaken"),
                    most=1,
                    days=30,
                ),
                Tier(name="活跃", marks=("interest.tier_high",), most=4, days=7),
            ),
            max_length=20,
            title="分层上限（先匹配者生效）",
        )
        most: int = Field(2, ge=0, le=100, title="其他用户最多几条")
        days: int = Field(7, ge=1, le=90, title="每几天")

    def marks(self, p: Params) -> Collection[str]:
        return {mark for tier in p.tiers for mark in tier.marks}

    def until(self, batch: Batch, p: Params) -> pl.Series:
        looked = self._looked(batch, p)
        full = (pl.col("left") <= 0) & (pl.col("purpose") != "service")
        # A cap of 0 has nothing to wait for.
        again = pl.coalesce(pl.col("again"), pl.lit(NEVER, MOMENT))
        return looked.select(until=pl.when(full).then(again)).to_series()

    def words(self, batch: Batch, p: Params) -> pl.Series:
        return (
            self._looked(batch, p)
            .select(words=pl.format("{} 天内已有 {} 条，上限 {} 条（{}）", "days", "had", "most", "name"))
            .to_series()
        )

    def _looked(self, batch: Batch, p: Params) -> pl.DataFrame:
        tiers = [*p.tiers, Tier(name="其他", most=p.most, days=p.days)]
        known = pl.DataFrame(
            [(mark, number) for number, tier in enumerate(p.tiers) for mark in tier.marks],
            schema={"mark": pl.String, "tier": pl.Int64},
            orient="row",
        )
        mine = batch.marks.join(known, on="mark").group_by("user_id").agg(pl.col("tier").min())
        rules = pl.DataFrame(
            {
                "tier": range(len(tiers)),
                "name": [tier.name for tier in tiers],
                "most": [tier.most for tier in tiers],
                "days": [tier.days for tier in tiers],
            }
        )
        looked = (
            batch.actions.select("user_id", "purpose")
            .with_columns(tier=batch.of_users(mine, "tier").fill_null(len(p.tiers)))
            .join(rules, on="tier", how="left", maintain_order="left")
        )
        counted = batch.touches.filter(pl.col("purpose") != "service")
        had = (
            looked.select("user_id", "most", "days")
            .join(counted.select("user_id", "at"), on="user_id")
            .filter(pl.col("at") > pl.lit(batch.at, MOMENT) - pl.duration(days="days"))
            .sort("at", descending=True)
            .group_by("user_id")
            # There is room again when the oldest of those that fill it is so many days old.
            .agg(
                had=pl.len(),
                again=pl.when(pl.col("most").first() > 0).then(
                    pl.col("at").get(pl.col("most").first() - 1, null_on_oob=True)
                )
                + pl.duration(days=pl.col("days").first()),
            )
        )
        return looked.join(had, on="user_id", how="left", maintain_order="left").with_columns(
            pl.col("had").fill_null(0), left=pl.col("most") - pl.col("had").fill_null(0).cast(pl.Int64)
        )


class Quiet(Check):
    """安静时段"""

    class Params(params.Params):
        begin: time = Field(time(22), title="从几点起不打扰")
        end: time = Field(time(8), title="到几点为止")
        service: bool = Field(True, title="服务消息照常发送")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        hard = _closed(batch, batch.channel.hours[1], batch.channel.hours[0]) if batch.channel.hours else None
        soft = _closed(batch, p.begin, p.end)
        moments = {purpose: hard if purpose == "service" and p.service else _later(soft, hard) for purpose in PURPOSES}
        purpose = batch.purpose.replace_strict(moments, default=_later(soft, hard), return_dtype=MOMENT)
        return purpose.alias("until")


PURPOSES: tuple[Purpose, ...] = ("service", "care", "sales")


class BestTime(Check):
    """等待用户的最佳时间"""

    class Params(params.Params):
        hours: int = Field(24, ge=1, le=72, title="最多等待几小时")
        first: int = Field(8, ge=0, le=23, title="最早几点")
        last: int = Field(21, ge=0, le=23, title="最晚几点")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        if not batch.actions.get_column("best").any():
            return batch.pass_all()
        hour = batch.of_users(batch.hours, "hour")
        hour = hour if batch.usual_hour is None else hour.fill_null(batch.usual_hour)
        current = batch.at.astimezone(batch.zone).hour
        moments = {
            each: next_clock(batch.at, time(each), batch.zone)
            for each in hour.unique().drop_nulls().to_list()
            if each != current and p.first <= each <= p.last
        }
        until = hour.replace_strict(moments, default=None, return_dtype=MOMENT)
        in_time = until <= batch.actions.get_column("planned_at") + p.hours * timedelta(hours=1)
        waits = batch.actions.get_column("best") & in_time
        return pl.select(until=pl.when(waits.fill_null(False)).then(until)).to_series()


class Quota(params.Params):
    """What a channel may take of a brand."""

    channel: str = Field("", max_length=80, title="渠道")
    per_day: int = Field(0, ge=0, title="每天最多几条（0 为不限）")
    per_month: int = Field(0, ge=0, title="每月最多几条（0 为不限）")
    reserve: int = Field(0, ge=0, title="为加急消息预留几条")


class Budget(Check):
    """渠道配额已用完"""

    class Params(params.Params):
        quotas: tuple[Quota, ...] = Field((), max_length=50, title="渠道配额")

    def until(self, batch: Batch, p: Params) -> pl.Series:
        today = batch.at.astimezone(batch.zone).date()
        spent = {"day": batch.used.get(today, 0), "month": sum(batch.used.values())}
        tomorrow = window_start(batch.at, batch.zone, 0)
        next_month = _next_month(batch)
        until = batch.pass_all()
        for quota in (each for each in p.quotas if each.channel == batch.channel.key):
            for most, used, again in (
                (quota.per_day, spent["day"], tomorrow),
                (quota.per_month, spent["month"], next_month),
            ):
                if most:
                    place = pl.col("open").cast(pl.Int64).cum_sum()
                    reserve = pl.when(pl.col("lane") == 0).then(0).otherwise(quota.reserve)
                    over = batch.actions.select(over=place > most - used - reserve).to_series()
                    until = _latest(until, batch.stop(over, again))
        return until


CHECKS: tuple[type[Check], ...] = (
    Gone,
    NoAddress,
    OptOut,
    NoConsent,
    Duplicate,
    Stale,
    HoldOut,
    Trust,
    Mix,
    Variety,
    Cap,
    Quiet,
    BestTime,
    Budget,  # last: it counts those that nothing else holds
)


@hookimpl
def siyu_checks() -> Iterable[type[Check]]:
    """In the order in which they are asked: of several that say no the first is the reason."""
    return CHECKS


# -- one answer of many -------------------------------------------------------------------------------------------

Asked = Sequence[tuple[Check, params.Params]]
JUDGED = {"id": pl.Int64(), "verdict": pl.String(), "until": MOMENT, "reason": pl.String(), "words": pl.String()}


def concerns(check: Check, channel: Channel) -> bool:
    """Whether a check is asked about actions on a channel."""
    return (check.everywhere or channel.counts) and (not check.channels or channel.key in check.channels)


def judge(batch: Batch, asked: Asked) -> tuple[pl.DataFrame, dict[str, Exception]]:
    """What becomes of each action (``id``, ``verdict``, ``until``, ``reason``, ``words``), in their order, and the
    checks that raised.

    The first check that says no is the reason; else the one that holds for longest. What would be held until it is
    stale is not held at all.
    """
    size = len(batch.actions)
    until = batch.pass_all()
    reason = pl.Series("reason", [""], pl.String).new_from_index(0, size)
    words = reason.alias("words")
    deadline: pl.Series | None = None
    failed: dict[str, Exception] = {}
    for check, p in asked:
        if not concerns(check, batch.channel):
            continue
        here = replace(batch, actions=batch.actions.with_columns(until.is_null().alias("open")))
        try:
            found = _fitting(check, check.until(here, p), size)
            said = _said(check, here, p, size) if found.null_count() < size else words
        except Exception as error:  # a check may raise anything; what it was asked about waits
            failed[check.key] = error
            found = batch.stop(pl.Series([True]).new_from_index(0, size), batch.at + HOLD)
            said = pl.Series([f"检查出错：{error!r}"[:500]]).new_from_index(0, size)
        if isinstance(check, Stale):
            deadline = check.deadline(here, p)
        if found.null_count() == size:
            continue
        wins = found.is_not_null() & (until.is_null() | (found > until)).fill_null(True)
        reason = _chosen(wins, check.key, reason)
        words = _chosen(wins, said, words)
        until = _chosen(wins, found, until)
    frame = pl.DataFrame({"id": batch.actions.get_column("id"), "until": until, "reason": reason, "words": words})
    if deadline is not None:
        late = (pl.col("until") > deadline) & (pl.col("until") < NEVER)
        moment = pl.col("until").dt.convert_time_zone(batch.zone.key).dt.to_string("%Y-%m-%d %H:%M")
        frame = frame.with_columns(
            until=pl.when(late).then(pl.lit(NEVER, MOMENT)).otherwise("until"),
            words=pl.when(late).then(pl.format("{}；最早 {}，届时已过时", "words", moment)).otherwise("words"),
        )
    never = pl.col("until") >= NEVER
    verdict = (
        pl.when(pl.col("until").is_null())
        .then(pl.lit("pass"))
        .when(never)
        .then(pl.lit("no"))
        .otherwise(pl.lit("later"))
    )
    return frame.with_columns(verdict=verdict).select(list(JUDGED)), failed


def _fitting(check: Check, found: pl.Series, size: int) -> pl.Series:
    if not isinstance(found, pl.Series) or len(found) != size:
        raise TypeError(f"{check.key} gave {found!r:.200}, not a moment for each of {size} actions")
    return found.cast(MOMENT)


def _said(check: Check, batch: Batch, p: params.Params, size: int) -> pl.Series:
    said = check.words(batch, p)
    series = pl.Series([said]).new_from_index(0, size) if isinstance(said, str) else said
    return series.cast(pl.String).fill_null("").str.slice(0, 500).alias("words")


def _chosen(flags: pl.Series, yes: pl.Series | str, no: pl.Series) -> pl.Series:
    return pl.select(pl.when(flags).then(yes if isinstance(yes, pl.Series) else pl.lit(yes)).otherwise(no)).to_series()


def _latest(one: pl.Series, other: pl.Series) -> pl.Series:
    return pl.select(pl.max_horizontal(one.alias("one"), other.alias("other"))).to_series()


def _consent(batch: Batch) -> pl.Series:
    """What was said last of each action's purpose and channel; null: nothing."""
    said = (
        batch.actions.select("user_id", asked="purpose")
        .join(batch.consents.filter(pl.col("channel").is_in(["", batch.channel.key])), on="user_id")
        .filter((pl.col("purpose") == "") | (pl.col("purpose") == pl.col("asked")))
        # Of two that were said at once it is the no.
        .sort("at", pl.col("given").not_())
        .group_by("user_id")
        .agg(pl.col("given").last())
    )
    return batch.of_users(said, "given")


def _closed(batch: Batch, begin: time, end: time) -> datetime | None:
    """Until when it is closed, between ``begin`` and ``end`` on the clocks of the brand; null: it is open."""
    clock = batch.at.astimezone(batch.zone).time()
    inside = begin <= clock < end if begin <= end else clock >= begin or clock < end
    return next_clock(batch.at, end, batch.zone) if inside else None


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _next_month(batch: Batch) -> datetime:
    today = batch.at.astimezone(batch.zone).date()
    return datetime.combine((today.replace(day=28) + 4 * DAY).replace(day=1), time(), batch.zone)
