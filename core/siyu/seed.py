"""A small brand of invented users for those who build pages: every stage and many tags, the same every time.

It is made in seconds and needs no network. Nobody in it exists.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from siyu.contract.errors import InputError
from siyu.flow import plugins
from siyu.flow.context import Context
from siyu.flow.decide import decide_users
from siyu.flow.dispatch import carry_out
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.flow.runs import run
from siyu.store.models import Brand, Run

__all__ = ["PLUGINS", "USERS", "seed"]

PLUGINS = ("rfm", "lifecycle", "interest", "mother_baby", "beauty")
USERS = 120
ZONE = ZoneInfo("Asia/Shanghai")
BEGIN = datetime(2026, 1, 5, 9, tzinfo=ZONE)
END = datetime(2026, 6, 30, 21, tzinfo=ZONE)
DECIDED = [datetime(2026, month, 1, 3, tzinfo=ZONE) for month in range(2, 7)] + [END - timedelta(hours=2)]
"""As nights would have; what happens after the last is decided as it comes, and sets off messages."""

SURNAMES = "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = ("雨桐", "思涵", "子墨", "欣怡", "佳宁", "梦琪", "晓彤", "静雯", "若曦", "诗涵", "一诺", "语嫣", "书瑶", "安琪")
CITIES = ("上海", "杭州", "成都", "北京", "广州", "南京", "武汉", "苏州")
SKINS = ("干性", "油性", "混合性", "敏感性", "中性")
BEAUTY = (("爽肤水", 129), ("面霜", 259), ("精华", 399), ("防晒", 149), ("洁面", 89), ("口红", 189), ("面膜", 99))
BABY = ("待产包", "一段奶粉", "二段奶粉", "三段奶粉", "四段奶粉")
ARTICLES = {"baby": ("育儿", "孕期"), "beauty": ("护肤", "化妆教程")}
SAID = {"baby": "宝宝要不要转奶？几段奶粉合适", "beauty": "敏感肌用什么面霜好"}


@dataclass(frozen=True)
class Habit:
    """How somebody shops: in which days of the half-year, how many days lie between, and how large the basket is."""

    first: int
    last: int
    gap: int
    items: int


DAYS = (END - BEGIN).days
HABITS = (
    (Habit(0, DAYS, 6, 3), 14),  # 成熟
    (Habit(10, DAYS, 19, 2), 30),  # 成长
    (Habit(5, DAYS - 40, 16, 2), 22),  # 休眠
    (Habit(0, 70, 20, 1), 18),  # 流失
    (Habit(DAYS - 20, DAYS, 9, 1), 16),
    (Habit(DAYS - 25, DAYS, 99, 0), 20),  # 引入: reads and asks, and has not bought
)


async def seed(ctx: Context, slug: str) -> Brand:
    """The brand ``slug`` with its invented users; one that is there already stays as it is."""
    brand = await Brand.get_or_none(slug=slug)
    if brand is None:
        brand = await Brand.create(slug=slug, name="梨花里（虚构品牌）", zone=ZONE.key, replayed_to=BEGIN)
    elif not await Run.exists(brand_id=brand.id, kind="seed"):
        raise InputError(f"there is a brand {slug!r} already", field="brand", remedy="choose another name")
    if not await Run.exists(brand_id=brand.id, kind="seed", status="done"):
        async with run(ctx, brand.id, "seed", END):
            await _live(ctx, brand)
    return brand


async def _live(ctx: Context, brand: Brand) -> None:
    for name in PLUGINS:
        await plugins.enable(ctx, brand, name, by="seed")
    waiting = sorted(_events(), key=lambda event: (event.at or BEGIN, event.id))
    for moment in DECIDED:
        await record(ctx, brand, [event for event in waiting if event.at and event.at <= moment])
        waiting = [event for event in waiting if event.at and event.at > moment]
        await refresh(ctx, brand.id, at=moment)
        await carry_out(ctx, brand.id, at=moment)
    await record(ctx, brand, waiting)
    while (await decide_users(ctx, brand.id)).users:
        pass
    await carry_out(ctx, brand.id)


def _events() -> Iterator[IncomingEvent]:
    chance = random.Random("siyu")
    number = 0
    for habit, people in HABITS:
        for _ in range(people):
            number += 1
            yield from _life(chance, number, habit)


def _life(chance: random.Random, number: int, habit: Habit) -> Iterator[IncomingEvent]:
    """All that one user does."""
    user = {"member": f"M{number:04}"}
    loves = chance.choice(("baby", "beauty", "beauty", "both"))
    born = (END - timedelta(days=chance.randint(-150, 1000))).date()
    day = habit.first + chance.randint(0, 9)

    def event(kind: str, day: int, payload: dict[str, Any]) -> IncomingEvent:
        at = BEGIN + timedelta(days=day, minutes=chance.randint(0, 720))
        return IncomingEvent(f"{number}-{kind}-{at:%m%d%H%M}", kind, user, payload, min(at, END))

    about = {
        "name": chance.choice(SURNAMES) + chance.choice(GIVEN),
        "city": chance.choice(CITIES),
        "birthday": f"{chance.randint(1978, 2004)}-{chance.randint(1, 12):02}-15",
        "skin_type": chance.choice(SKINS),
    }
    if loves != "beauty":
        about["baby_birthday" if born <= END.date() else "due_date"] = born.isoformat()
    yield event("profile.updated", day, about)
    if chance.random() < 0.8:
        yield event("contact.added", day, {"source": chance.choice(("门店", "公众号", "老客推荐"))})
    while day < habit.last:
        theme = chance.choice(("baby", "beauty")) if loves == "both" else loves
        if habit.items:
            yield event("order.paid", day, _order(chance, theme, habit.items, (BEGIN.date() - born).days + day))
        if chance.random() < 0.5 or not habit.items:
            yield event("article.opened", day, {"topic": chance.choice(ARTICLES[theme])})
        if chance.random() < 0.15:
            yield event("group.message", day, {"text": SAID[theme], "group": "会员群"})
        day += max(2, round(habit.gap * chance.uniform(0.7, 1.3)))
    if number % 12 == 0 and habit.last < DAYS:
        # Back after a long silence, within the last hours.
        order = _order(chance, "beauty", 1, 0)
        yield IncomingEvent(f"{number}-back", "order.paid", user, order, END - timedelta(hours=1))


def _order(chance: random.Random, theme: str, most: int, age: int) -> dict[str, Any]:
    """A basket; what a baby needs goes by its ``age`` in days."""
    wanted: tuple[tuple[str, int], ...] = BEAUTY
    if theme == "baby":
        step = BABY[0] if age < 0 else BABY[min(1 + age // 180, 4)]
        wanted = ((step, 298), ("纸尿裤", 119), ("奶瓶" if age < 180 else "辅食", 69))
    basket = chance.sample(wanted, chance.randint(1, min(most, len(wanted))))
    items = [{"category": category, "amount": price, "quantity": 1} for category, price in basket]
    return {"amount": sum(price for _, price in basket), "items": items}
