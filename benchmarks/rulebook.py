"""试验品牌: the rules of the benchmarks, 30 tags and one lifecycle of five stages over 40 facts.

Written through the public door, as any plugin: a module that a plugin manager can register under the name ``bench``.
Its events are ``order.paid``, ``article.opened``, ``group.message`` and ``profile.updated``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import siyu
from siyu import (
    Age,
    Attribute,
    AttributeKind,
    Count,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Fact,
    Field,
    HasTag,
    Last,
    Lifecycle,
    Max,
    Mean,
    Mentions,
    Segmenter,
    Share,
    Stage,
    Tag,
    Total,
    hookimpl,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")

CHANNELS = ("store", "online", "app", "live")
LEVELS = ("bronze", "silver", "gold", "platinum")
SKINS = ("dry", "oily", "combination", "sensitive", "normal")
CITIES = ("上海", "北京", "广州", "深圳", "杭州", "成都", "武汉", "西安")
CATEGORIES = ("milk_powder", "diapers", "toys", "care", "makeup", "pet_food")
TOPICS = ("parenting", "beauty", "pets", "home")
WORDS = ("formula", "奶粉")
ATTRIBUTES = (
    AttributeKind("level", "等级", values=LEVELS),
    AttributeKind("skin", "肤质", values=SKINS),
    AttributeKind("city", "城市"),
    AttributeKind("member", "会员", "flag"),
    AttributeKind("consent", "同意联系", "flag"),
    AttributeKind("points", "积分", "integer"),
    AttributeKind("birthday", "生日", "date", personal=True),
    AttributeKind("due_date", "预产期", "date", personal=True),
)


class Buying(Segmenter):
    """购买"""

    class Params(siyu.Params):
        vip_spend: float = Field(5000, ge=0, title="年消费多少算贵宾")
        basket: float = Field(300, ge=0, title="多少算大单")

    orders = Count("order.paid")
    orders_30 = Count("order.paid", days=30)
    orders_90 = Count("order.paid", days=90)
    orders_365 = Count("order.paid", days=365)
    spent = Total("order.paid", "amount")
    spent_90 = Total("order.paid", "amount", days=90)
    spent_365 = Total("order.paid", "amount", days=365)
    basket = Mean("order.paid", "amount")
    biggest = Max("order.paid", "amount")
    since_order = DaysSince("order.paid")
    since_first = DaysSinceFirst("order.paid")
    online = Share("order.paid", of={"channel": ["online", "app"]}, days=365)
    channel = Last("order.paid", "channel")
    level = Attribute("level")

    def tags(self, p: Params) -> Iterable[Tag]:
        yield Tag("bench.loyal", "忠诚", (self.orders_365 >= 6) & (self.since_order <= 45), "{orders_365} orders")
        yield Tag(
            "bench.vip", "贵宾", (self.spent_365 >= p.vip_spend) | (self.level == "platinum"), "{spent_365} spent"
        )
        yield Tag("bench.winback", "挽回贵宾", HasTag("bench.vip") & (self.since_order > 60), "{since_order} days ago")
        yield Tag("bench.rising", "上升", (self.orders_90 >= 2) & (self.spent_90 * 4 > self.spent_365 * 1.45))
        yield Tag("bench.fading", "下降", (self.orders_365 >= 4) & (self.spent_90 * 4 < self.spent_365 * 0.5))
        yield Tag("bench.big_basket", "大单", (self.basket >= p.basket) | (self.biggest >= 4 * p.basket))
        yield Tag("bench.small_basket", "小单", self.basket.between(0.01, 80) & (self.orders >= 3))
        gap = (self.since_first - self.since_order) / (self.orders - 1)
        yield Tag("bench.late", "该买未买", self.since_order > 2 * gap, "last order {since_order} days ago")
        yield Tag("bench.one_time", "只买过一次", (self.orders == 1) & self.since_first.between(30, 365))
        yield Tag("bench.never_bought", "从未购买", self.since_order.is_missing())
        yield Tag("bench.online_buyer", "线上客", (self.online >= 0.8) & (self.orders_365 >= 3))
        yield Tag("bench.store_buyer", "门店客", (self.channel == "store") & ~(self.online > 0.5))
        yield Tag("bench.app_buyer", "小程序与直播客", self.channel.is_in(["app", "live"]) & (self.spent >= 100))


class Categories(Segmenter):
    """品类"""

    spent_365 = Buying.spent_365
    milk_90 = Count("order.paid", {"category": "milk_powder"}, 90)
    since_milk = DaysSince("order.paid", {"category": "milk_powder"})
    diapers_90 = Count("order.paid", {"category": "diapers"}, 90)
    toys_180 = Count("order.paid", {"category": "toys"}, 180)
    care_90 = Count("order.paid", {"category": "care"}, 90)
    makeup_180 = Count("order.paid", {"category": "makeup"}, 180)
    pet_food_90 = Count("order.paid", {"category": "pet_food"}, 90)
    spent_care_365 = Total("order.paid", "amount", {"category": "care"}, 365)
    beauty_30 = Count("article.opened", {"topic": "beauty"}, 30)

    def tags(self, p: siyu.Params) -> Iterable[Tag]:
        baby = self.milk_90 + self.diapers_90
        yield Tag("bench.baby", "有宝宝", baby >= 2, "{milk_90} milk powder, {diapers_90} diapers")
        yield Tag("bench.milk_running_out", "快断奶粉", self.since_milk.between(21, 45) & (self.milk_90 >= 1))
        yield Tag("bench.beauty_lover", "爱美", ((self.care_90 >= 2) & (self.makeup_180 >= 1)) | (self.beauty_30 >= 5))
        yield Tag("bench.care_first", "护肤为主", self.spent_care_365 / self.spent_365 >= 0.4)
        yield Tag("bench.pets", "有宠物", (self.pet_food_90 > 0) & (self.milk_90 == 0))
        yield Tag("bench.gift_giver", "送礼", (self.toys_180 >= 2) & ~(baby > 0))


class Talking(Segmenter):
    """互动"""

    read_7 = Count("article.opened", days=7)
    read_30 = Count("article.opened", days=30)
    parenting_7 = Count("article.opened", {"topic": "parenting"}, 7)
    since_read = DaysSince("article.opened")
    said_30 = Count("group.message", days=30)
    asked_7 = Mentions("group.message", *WORDS, days=7)
    since_said = DaysSince("group.message")
    silent = DaysSince("interaction")
    busy_30 = Count("interaction", days=30)

    def tags(self, p: siyu.Params) -> Iterable[Tag]:
        yield Tag("bench.high_intent", "高意向", (self.parenting_7 > 0) | (self.asked_7 > 0), "read {parenting_7}")
        yield Tag("bench.quiet_reader", "只读不说", (self.since_read <= 7) & self.since_said.is_missing())
        yield Tag("bench.talkative", "爱说", (self.said_30 >= 10) | ((self.said_30 >= 5) & (self.read_7 >= 2)))
        yield Tag("bench.reader", "爱读", (self.read_30 >= 6) & (Buying.orders_30 == 0), "read {read_30}")
        yield Tag("bench.silent", "沉默", (self.silent >= 30) & ~(self.busy_30 > 0), "silent for {silent} days")


class Person(Segmenter):
    """资料"""

    level = Buying.level
    skin = Attribute("skin")
    city = Attribute("city")
    member = Attribute("member", default=False)
    consent = Attribute("consent")
    points = Attribute("points")
    age = Age("birthday")
    birthday = DaysUntil("birthday", yearly=True)
    due = Attribute("due_date")

    def tags(self, p: siyu.Params) -> Iterable[Tag]:
        yield Tag("bench.birthday_soon", "生日将至", self.birthday.between(0, 7) & (self.consent == True))  # noqa: E712
        yield Tag("bench.young_dry", "年轻干皮", self.age.between(18, 29) & (self.skin == "dry"))
        yield Tag("bench.expecting", "待产", self.due.between(date(2026, 1, 1), date(2026, 9, 30)), "due {due}")
        big_city = self.city.is_in(CITIES[:4]) & ~self.level.is_in(["gold", "platinum"])
        yield Tag("bench.big_city", "一线城市", big_city)
        # Who was never asked for consent is not reminded either.
        points = (self.member == True) & (self.points >= 1000) & (self.consent != False)  # noqa: E712
        yield Tag("bench.points_to_spend", "有积分可用", points)
        yield Tag("bench.incomplete", "资料不全", self.skin.is_missing() | self.age.is_missing())


class Journey(Lifecycle):
    """旅程"""

    key = "bench_journey"

    class Params(siyu.Params):
        lost_days: int = Field(120, ge=2, title="多少天无互动算流失")
        dormant_days: int = Field(30, ge=1, title="多少天无互动算休眠")
        mature_orders: int = Field(4, ge=2, title="90 天多少单算成熟")

    silent = Talking.silent
    orders_90 = Buying.orders_90
    spent_365 = Buying.spent_365
    orders = Buying.orders

    def stages(self, p: Params) -> Iterable[Stage]:
        yield Stage("lost", "流失", self.silent >= p.lost_days, "silent for {silent} days")
        yield Stage("dormant", "休眠", self.silent >= p.dormant_days, "silent for {silent} days")
        mature = (self.orders_90 >= p.mature_orders) | ((self.orders_90 >= 2) & (self.spent_365 >= 3000))
        yield Stage("mature", "成熟", mature, "{orders_90} orders in 90 days", stay=14)
        yield Stage("growth", "成长", self.orders >= 1, "{orders} orders", stay=14)
        yield Stage("intro", "引入")


RULES: tuple[type[Segmenter], ...] = (Buying, Categories, Talking, Person)


@hookimpl
def siyu_attributes() -> Iterable[AttributeKind]:
    return ATTRIBUTES


@hookimpl
def siyu_segmenters() -> Iterable[type[Segmenter]]:
    return RULES


@hookimpl
def siyu_lifecycles() -> Iterable[type[Lifecycle]]:
    return [Journey]


def _declared(fact: Fact) -> Fact:
    kinds = {kind.name: kind for kind in ATTRIBUTES}
    return fact.declared(kinds[fact.attribute]) if isinstance(fact, Attribute) else fact


NAMES = MappingProxyType({_declared(fact).name: name for rule in RULES for name, fact in rule.facts.items()})
"""The short name of each fact by its canonical one."""


def people(users: int, seed: int = 7) -> pl.DataFrame:
    """A frame of facts by short name, as they might be: a fifth never bought, half the profiles have holes."""
    random = np.random.default_rng(seed)

    def holes(values: Any, share: float | np.ndarray) -> pl.Series:
        lost = random.random(users) < share if isinstance(share, float) else share
        return pl.select(pl.when(pl.Series(~lost)).then(pl.Series(values))).to_series()

    def texts(choices: tuple[str, ...], share: float | np.ndarray) -> pl.Series:
        codes = random.integers(0, len(choices), users)
        return holes(pl.Series(codes).replace_strict(dict(enumerate(choices)), return_dtype=pl.String), share)

    def money(low: float, high: float) -> Any:
        """Whole cents in the currency's unit."""
        return random.integers(int(low * 100), int(high * 100), users) / 100

    def thinned(counts: Any, share: float) -> Any:
        return random.binomial(counts, share)

    orders = random.geometric(0.13, users) - 1
    never = orders == 0
    year = thinned(orders, 0.7)
    quarter = thinned(year, 0.4)
    month = thinned(quarter, 0.4)
    basket = money(20, 600)
    first = random.integers(1, 900, users)
    since = (first * random.random(users) ** 2).astype(np.int64)
    since = np.where(orders == 1, first, since)
    spent, spent_365, spent_90 = (np.round(n * basket, 2) for n in (orders, year, quarter))
    read = random.poisson(3, users)
    said = random.negative_binomial(1, 0.25, users)
    silent = (400 * random.random(users) ** 3).astype(np.int64)
    birthday = random.random(users) < 0.4
    counts = {
        "milk_90": thinned(quarter, 0.2),
        "diapers_90": thinned(quarter, 0.15),
        "toys_180": thinned(year, 0.15),
        "care_90": thinned(quarter, 0.3),
        "makeup_180": thinned(year, 0.2),
        "pet_food_90": thinned(quarter, 0.1),
        "beauty_30": thinned(read, 0.3),
        "read_7": thinned(read, 0.3),
        "read_30": read,
        "parenting_7": random.binomial(read, 0.05),
        "said_30": said,
        "asked_7": thinned(said, 0.05),
        "busy_30": np.where(silent < 30, read + said + month, 0),
    }
    return pl.DataFrame(
        {
            "orders": orders,
            "orders_30": month,
            "orders_90": quarter,
            "orders_365": year,
            "spent": spent,
            "spent_90": spent_90,
            "spent_365": spent_365,
            "basket": holes(basket, never),
            "biggest": holes(np.round(basket * (1 + random.integers(0, 30, users) / 10), 2), never),
            "since_order": holes(since, never),
            "since_first": holes(first, never),
            "online": holes(thinned(year, 0.6) / np.maximum(year, 1), year == 0),
            "channel": texts(CHANNELS, never),
            "level": texts(LEVELS, 0.3),
            **counts,
            "since_milk": holes(random.integers(0, 90, users), counts["milk_90"] == 0),
            "spent_care_365": np.floor(spent_365 * 100 * random.random(users)) / 100,
            "since_read": holes(random.integers(0, 60, users), 0.2),
            "since_said": holes(random.integers(0, 60, users), said == 0),
            "silent": holes(silent, 0.05),
            "skin": texts(SKINS, 0.5),
            "city": texts(CITIES, 0.2),
            "member": random.random(users) < 0.6,
            "consent": holes(random.random(users) < 0.8, 0.3),
            "points": holes(random.integers(0, 5000, users), 0.25),
            "age": holes(random.integers(16, 70, users), birthday),
            "birthday": holes(random.integers(0, 366, users), birthday),
            "due": holes(np.datetime64("2025-06-01") + random.integers(0, 600, users), 0.9),
        }
    )
