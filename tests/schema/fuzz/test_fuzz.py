"""Whatever is asked, by whomever, in whatever order: an answer in time, no fault of ours, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
import siyu_graphql
from graphql import GraphQLSchema
from siyu.contract.budget import Overdue
from siyu.flow.benefits import put
from siyu.flow.consents import record_consent
from siyu.flow.plugins import enable
from siyu.flow.tokens import create_token
from siyu.jobs import WORK, Job, JobContext
from siyu.runtime import ApiSettings
from siyu.store.models import AccessToken, Brand, Identity
from siyu_graphql.context import NO_BRAND
from siyu_graphql.plans.runner import Plans

from tests.schema.conftest import assigned, granted
from tests.schema.fuzz.asking import PAYLOADS, Asked, Asker, Known, ids_in
from tests.schema.fuzz.clients import Answered, ask

FEW = 150
SECONDS = float(os.environ.get("SIYU_FUZZ_SECONDS", "600"))
SEED = int(os.environ.get("SIYU_FUZZ_SEED", "1000000"))
STATEMENT_SECONDS = 10
"""How long a statement may take."""
ANSWER_SECONDS = 20.0
"""How long an answer may take, beside others and on a machine that has other work."""
AT_ONCE = (1, 1, 2, 4)
MOST_GROWTH = 400 * 2**20
"""By how much the process may grow after the first quarter: what is kept of documents, texts and plans has its limits,
and is full after some thirty thousand requests."""
FAULTS = {"INTERNAL", "TIMEOUT", None}
"""Codes that say that it was not the client's fault, or that say nothing."""
KNOWN = """{ brand(slug: "shop") {
  now
  tags { key } stages { key } runs { edges { cursor } } settingChanges { edges { cursor } }
  byMoment: users(first: 9, orderBy: {field: LAST_SEEN}) { edges { cursor } }
  users(first: 9) { edges { cursor } nodes {
    facts { plugin rule name }
    events { edges { cursor } } tagHistory { edges { cursor } } stageHistory { edges { cursor } }
    timeline { edges { cursor } }
  } }
  tasks { edges { cursor } } templates { edges { cursor } }
  benefits { edges { cursor } nodes { grants { edges { cursor } } } }
  actions { edges { cursor } } events { edges { cursor } } merges { edges { cursor } } tokens { edges { cursor } }
  auditLog { edges { cursor } } rejectedEvents { edges { cursor } } segments { edges { cursor } }
  plugins { name params fitted { key states { nodes { version } } } }
} }"""


@dataclass
class Place:
    """The application and those who ask it. ``apps`` answer from plans whenever they can, and never."""

    ctx: Any
    queue: Any
    apps: list[Any]
    schema: GraphQLSchema
    known: Known
    bearers: list[str]
    brands: list[set[str]]
    """The brands that each of them may see."""
    told: Counter[str] = field(default_factory=Counter)

    async def ask(self, seed: int) -> None:
        """Ask what comes from the seed, and judge the answer."""
        dice = Random(seed)
        asked = Asker(self.schema, self.known, dice, len(self.bearers)).request()
        app = self.apps[dice.random() < 0.5]
        began = time.monotonic()
        try:
            answered = await ask(app, asked, self.bearers[asked.bearer])
        except Exception as error:
            raise AssertionError(f"seed {seed}\n{_shown(asked)}") from error
        took = time.monotonic() - began
        wrong = self._wrong(asked, answered)
        if took > ANSWER_SECONDS:
            wrong.append(f"it took {took:.1f} s")
        assert not wrong, f"seed {seed}: {wrong}\n{_shown(asked)}"

    def _wrong(self, asked: Asked, answered: Answered) -> list[str]:
        wrong = []
        if answered.status >= 500:
            wrong.append(f"status {answered.status}")
        self.told[asked.way] += 1
        for answer in answered.answers:
            for each in answer if isinstance(answer, list) else [answer]:
                errors = each.get("errors") or []
                self.told["refused" if errors and not each.get("data") else "answered"] += 1
                for error in errors:
                    code = error.get("extensions", {}).get("code")
                    self.told[str(code)] += 1
                    if code in FAULTS:
                        wrong.append(json.dumps(error))
                if each.get("closed") == 1011:
                    wrong.append(json.dumps(each))
                sent = asked.body.decode(errors="replace")
                for type_, brand in ids_in(each.get("data")):
                    if brand not in self.brands[asked.bearer] and brand not in sent:
                        wrong.append(f"a {type_} of brand {brand}")
        return wrong

    async def work(self, dice: Random) -> None:
        """Do some of what was asked for in the background."""
        asked: dict[tuple[Job, int], None] = dict.fromkeys(self.queue.pushed)
        left = []
        for job, brand in asked:
            if job != "refresh_brand" or dice.random() < 0.1:
                await WORK[job](JobContext(self.ctx, self.queue), brand)
                self.told[f"job {job}"] += 1
            else:
                left.append((job, brand))
        self.queue.pushed = left


@pytest.fixture
async def place(world: Any) -> Place:
    ctx, queue = world.ctx, world.queue
    async with ctx.db.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '{STATEMENT_SECONDS}s'")
    await ctx.db._context.db()._pool.expire_connections()
    shop, other = await Brand.get(slug="shop"), await Brand.get(slug="other")
    for plugin in ("pets", "beauty", "interest", "mother_baby"):
        await enable(ctx, shop, plugin)
    for brand in (shop, other):
        for row in await Identity.filter(brand_id=brand.id, kind="member").order_by("id").limit(9):
            await assigned(ctx, brand, row.user_id, f"call {row.value}", escalate_to="manager")
            await put(ctx, brand, "gift", stock=1_000)
            await granted(ctx, brand, row.user_id, "gift")
            await record_consent(ctx, brand, row.user_id, given=row.user_id % 2 == 0)
    settings = ApiSettings(cost_per_minute=0, operation_seconds=ANSWER_SECONDS)
    apps = [siyu_graphql.create_app(ctx, queue, settings=settings) for _ in range(2)]
    schema = apps[0].state.door.schema
    apps[0].state.door.plans = Plans(ctx.db, schema, sightings=1)
    apps[1].state.door.open = False
    both, one = {str(NO_BRAND), str(shop.id), str(other.id)}, {str(shop.id)}
    roles: list[tuple[str, Brand | None, set[str]]] = [
        *[("admin", None, both)] * 4,
        *[(role, shop, one) for role in ("viewer", "developer", "operator", "admin")],
        ("operator", None, both),
        ("admin", other, {str(other.id)}),
    ]
    bearers = [await create_token(role, brand, "fuzz") for role, brand, _ in roles] + ["siyu_x_y"]
    seen = [brands for *_, brands in roles] + [set()]
    return Place(ctx, queue, apps, schema._schema, await _known(world, shop, other), bearers, seen)


async def _known(world: Any, shop: Brand, other: Brand) -> Known:
    for role in ("viewer", "admin"):
        await create_token(role, shop, "to be revoked")
    prefixes = [row.prefix for row in await AccessToken.filter(name="to be revoked")]
    brand = (await world.data(KNOWN))["brand"]

    cursors: dict[str, list[str]] = {}

    def look(data: Any, name: str) -> None:
        match data:
            case dict():
                cursors.setdefault(name, []).extend(edge["cursor"] for edge in data.get("edges", ()))
                for inner_name, inner in data.items():
                    look(inner, "users" if inner_name == "byMoment" else inner_name)
            case list():
                for inner in data:
                    look(inner, name)

    look(brand, "")
    facts = [fact for user in brand["users"]["nodes"] for fact in user["facts"]]
    fitted = [rule for plugin in brand["plugins"] for rule in plugin["fitted"]]
    plugins = [plugin["name"] for plugin in brand["plugins"]]
    segments, slugs = ["kept", *(f"s{number}" for number in range(5))], ["shop"] * 8 + ["other", "other", "nope"]
    tags, members = [tag["key"] for tag in brand["tags"]], [f"m{number:02}" for number in range(60)]
    stages = [stage["key"] for stage in brand["stages"]]
    values: dict[str, list[Any]] = {
        "slug": slugs,
        "brand": slugs,
        "plugin": plugins,
        "tag": tags,
        "anyTag": tags,
        "stage": stages,
        "track": ["lifecycle", "relationship", "membership"],
        "key": [*stages, *tags, "o1-0", "e1", *["lifecycle.welcome_back.send_1", "spring", "gift"] * 20],
        "kind": [*PAYLOADS, "member", "phone", "refresh"],
        "identityKind": ["member", "phone"],
        "identity": ["member", "phone", "email"],
        "value": [*members, "139", "m@01"],
        "name": [*segments, *(fact["name"] for fact in facts), "skin", "phone", "age"],
        "names": sorted({fact["name"] for fact in facts}),
        "rule": sorted({rule["key"] for rule in fitted} | {fact["rule"] for fact in facts}),
        "version": [state["version"] for rule in fitted for state in rule["states"]["nodes"]],
        "prefix": prefixes,
        "params": [{}, *(plugin["params"] for plugin in brand["plugins"]), {"rfm": {"groups": 3}}],
        "eq": [1, 30, "油性", "2026-05-01", True],
        "channel": ["wecom", "sms", "outbox", ""],
        "role": ["service", "adviser"],
        "text": ["{{ name }}，您好", "{% if user.skin == '油性' %}{{ brand }}{% endif %}", "hello"],
        "language": ["zh", "en", ""],
        "assignee": ["li", ""],
        "by": ["root", "fuzz"],
        "what": ["recordEvents", "personal.read"],
        "source": ["qr", "store"],
        **{name: ["user", "at", "id", "amount"] for name in ("user", "at", "id", "column", "field")},
    }
    known = {name: some for name, some in cursors.items() if some}
    return Known(values, known, [shop.id, shop.id, shop.id, other.id])


@pytest.fixture
def unraised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was raised where nobody could catch it. Not left to pytest, which would keep it all to the end."""
    found: list[str] = []

    def hook(raised: Any) -> None:
        # Where an argument is refused, GraphQL leaves resolvers beside it, called and not awaited. And what
        # ends a rule that takes too long may land in what is just being collected: it is raised again until it ends it.
        if not inspect.iscoroutine(raised.object) and not isinstance(raised.exc_value, Overdue):
            found.append(f"{raised.exc_value!r} in {raised.object!r}")

    monkeypatch.setattr(sys, "unraisablehook", hook)
    return found


async def fuzz(
    place: Place, log: pytest.LogCaptureFixture, unraised: list[str], first: int, *, count: int = 0, seconds: float = 0
) -> str:
    """Ask from ``first`` on, so many or for so many seconds of processor time; what there is to say of it."""
    running, began, seed, warm = asyncio.all_tasks(), time.process_time(), first, 0
    dice = Random(first)
    while (spent := time.process_time() - began) < seconds or seed - first < count:
        together = range(seed, seed + dice.choice(AT_ONCE))
        seed = together.stop
        await asyncio.gather(*map(place.ask, together))
        if dice.random() < 0.2:
            await place.work(dice)
        faults = [record.getMessage() for record in log.records if record.levelno >= logging.ERROR] + unraised
        assert not faults, f"seeds {list(together)}: {faults}"
        log.clear()
        if not warm and spent > seconds / 4:
            warm = resident()
    await left(place, running)
    grown = resident() - warm
    told = f"seeds {first} to {seed - 1}; {spent:.0f} s of processor time; {grown >> 20} MiB more; {dict(place.told)}"
    assert grown < MOST_GROWTH, told
    return told


async def left(place: Place, running: set[asyncio.Task[Any]]) -> None:
    """Nothing may be left of what was asked: no task, connection, transaction, lock or place."""
    gc.collect()
    for _ in range(100):
        if not (tasks := asyncio.all_tasks() - running):
            break
        await asyncio.sleep(0.02)
    assert not tasks
    assert place.ctx.db.connections()["used"] == 0
    for app in place.apps:
        assert not app.state.door._service.slots._open
    async with place.ctx.db.connection() as connection:
        states = await connection.fetch(
            "SELECT query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        locks = await connection.fetch(
            "SELECT l.classid, l.objid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE d.datname = current_database() AND l.locktype = 'advisory'"
        )
    assert (states, locks) == ([], [])


def resident() -> int:
    """The memory of this process in bytes; 0 where it is not told."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


def _shown(asked: Asked) -> str:
    return f"{asked.way} of bearer {asked.bearer}: {asked.body[:4_000]!r}"


async def test_whatever_is_asked_is_answered(
    place: Place, caplog: pytest.LogCaptureFixture, unraised: list[str]
) -> None:
    await fuzz(place, caplog, unraised, 0, count=FEW)
    assert place.told["answered"] > FEW / 3
    assert place.told["refused"] > FEW / 10


@pytest.mark.long
async def test_whatever_is_asked_for_long_is_answered(
    place: Place, caplog: pytest.LogCaptureFixture, unraised: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = await fuzz(place, caplog, unraised, SEED, seconds=SECONDS)
    with capsys.disabled():
        print(f"\n{told}")
