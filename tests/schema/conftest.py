"""The API over real databases, asked as a client asks it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx2
import polars as pl
import pytest
import siyu_graphql
from siyu.contract.channels import Message
from siyu.contract.manager import PluginManager
from siyu.contract.params import Params
from siyu.flow import files, segments
from siyu.flow import plugins as settings
from siyu.flow.benefits import Benefits
from siyu.flow.context import Context, now, open_context
from siyu.flow.decide import decide_users
from siyu.flow.dispatch import carry_out
from siyu.flow.ingest import IncomingEvent, record
from siyu.flow.refresh import refresh
from siyu.flow.tasks import Tasks
from siyu.flow.tokens import create_token
from siyu.store.actions import plan_actions
from siyu.store.db import Database
from siyu.store.models import Action, Brand, Task
from siyu_graphql import hooks
from siyu_graphql.context import Job

from tests.conftest import Databases

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
MEMBERS = 45
_numbers = itertools.count()


class RecordingQueue:
    """A queue that notes what is asked for, and can be away."""

    def __init__(self) -> None:
        self.pushed: list[tuple[Job, int]] = []
        self.numbers: Counter[str] = Counter()
        self.away = False

    async def push(self, job: Job, brand_id: int) -> None:
        await self.ping()
        self.pushed.append((job, brand_id))

    async def add(self, key: str, amount: int, seconds: int) -> int:
        await self.ping()
        self.numbers[key] += amount
        return self.numbers[key]

    async def ping(self) -> None:
        if self.away:
            raise ConnectionError("nobody there")

    async def waiting(self) -> dict[str, int]:
        await self.ping()
        return {"fast": len(self.pushed)}


@lru_cache(4)
def _schema(plugins: PluginManager) -> Any:
    """The schema, which takes longer to build than most tests do."""
    return siyu_graphql.build_schema(plugins)


class Api:
    """A client of the application, as the bearer of ``token``."""

    def __init__(self, ctx: Context, token: str = "") -> None:
        self.ctx = ctx
        self.token = token
        self.queue = RecordingQueue()
        with patch("siyu_graphql.app.build_schema", _schema):
            self.app = siyu_graphql.create_app(ctx, self.queue)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://siyu")

    async def post(self, body: Any, token: str | None = None) -> httpx2.Response:
        """The response to a body: JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        token = self.token if token is None else token
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        return await self.http.post("/graphql", content=content, headers=headers)

    async def ask(self, query: str, token: str | None = None, **variables: Any) -> Any:
        """The answer, with its errors if it has some."""
        response = await self.post({"query": query, "variables": variables}, token)
        assert response.status_code == 200, response.text
        return response.json()

    async def data(self, query: str, **variables: Any) -> Any:
        """The data of an answer without errors."""
        answer = await self.ask(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements sent through ``ctx.db`` meanwhile (authentication and brands go by another way)."""
        sent: list[str] = []
        acquire = Database.connection

        def counted(db: Database) -> Any:
            return _logged(acquire(db), sent)

        with patch.object(Database, "connection", counted):
            yield sent


class _logged:
    def __init__(self, acquired: Any, sent: list[str]) -> None:
        self._acquired = acquired
        self._sent = sent

    async def __aenter__(self) -> Any:
        self._connection: asyncpg.Connection = await self._acquired.__aenter__()
        self._connection.add_query_logger(self._note)
        return self._connection

    async def __aexit__(self, *error: Any) -> Any:
        self._connection.remove_query_logger(self._note)
        return await self._acquired.__aexit__(*error)

    def _note(self, query: Any) -> None:
        if query.query.startswith("SELECT"):  # the driver asks for types with others, once a connection
            self._sent.append(query.query)


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    """All installed plugins, with the hook that the schema adds."""
    return PluginManager.load(extra_specs=[hooks])


@pytest.fixture
async def api(ctx: Context, brand: Brand) -> AsyncIterator[Api]:
    """The API over an empty brand ``shop``, as the admin of all brands."""
    client = Api(ctx, await create_token("admin", None, "root"))
    yield client
    await client.http.aclose()


@pytest.fixture(scope="module")
async def world(
    databases: Databases, plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """The API over two brands with a past, to be read by all tests of a module.

    ``shop`` has 45 members, m00 to m44, five at a time last seen at the same moment; m00 and m01 came back.
    ``other`` has three, with the same member numbers.
    """
    home: Path = tmp_path_factory.mktemp("world")
    async with databases.borrowed() as url, open_context(url, plugins, home) as ctx:
        await _live(ctx, await Brand.create(slug="shop", name="Shop", replayed_to=START), MEMBERS)
        await _live(ctx, await Brand.create(slug="other", name="Other", replayed_to=START), 3)
        client = Api(ctx, await create_token("admin", None, "root"))
        yield client
        await client.http.aclose()


def _order(member: int, number: int, day: int) -> IncomingEvent:
    at = START + timedelta(days=day)
    user = {"member": f"m{member:02}"}
    return IncomingEvent(f"o{member}-{number}", "order.paid", user, {"amount": f"{10 + member}.50"}, at)


async def _live(ctx: Context, brand: Brand, members: int) -> None:
    """A year of a brand, in short: orders, a refresh, two who come back, an event that is refused, a merge."""
    await settings.enable(ctx, brand, "lifecycle")
    await settings.enable(ctx, brand, "rfm")
    orders = [
        _order(member, number, 10 * (member // 5) + 10 + number - member % 3)
        for member in range(members)
        for number in range(member % 3 + 1)
    ]
    skin = IncomingEvent("p1", "profile.updated", {"member": "m00", "phone": "139"}, {"skin": "油性"}, START)
    await record(ctx, brand, [*orders, skin, IncomingEvent("x", "order.lost", {"member": "m00"})])
    await files.create_export(brand, "users", by="root")
    await files.work(ctx, brand.id)
    await refresh(ctx, brand.id, at=START + timedelta(days=150))
    await record(ctx, brand, [_order(0, 9, 151), _order(1, 9, 151)])
    await decide_users(ctx, brand.id)
    # A user who was seen once, and turns out to be m01.
    await record(ctx, brand, [IncomingEvent("q1", "contact.added", {"email": "m@01"}, {}, START)])
    await record(ctx, brand, [IncomingEvent("q2", "contact.added", {"email": "m@01", "member": "m01"}, {}, START)])
    await decide_users(ctx, brand.id)
    await carry_out(ctx, brand.id)
    await segments.create(ctx, brand, "kept", {"tag": ["rfm.sleeping"]}, title="睡了", by="root")


async def planned(ctx: Context, brand: Brand, user_id: int, text: str, channel: str, purpose: str = "service") -> int:
    """An action that says the text; its number."""
    key = f"made-{next(_numbers)}"
    made = {"key": key, "user_id": user_id, "plugin": "care", "playbook": "call", "step": "call"}
    made |= {"channel": channel, "purpose": purpose, "text": text, "because": "tests"}
    async with ctx.db.transaction() as connection:
        await plan_actions(connection, brand.id, pl.DataFrame([made]), at=now(brand))
    return int((await Action.get(brand_id=brand.id, key=key)).id)


async def assigned(ctx: Context, brand: Brand, user_id: int, text: str, **body: str) -> int:
    """A task for the user, from an action that says the same; its number."""
    action = await planned(ctx, brand, user_id, text, "tasks")
    body = {"role": "service", "deadline": (now(brand) + timedelta(hours=1)).isoformat(), **body}
    message = Message(action, str(action), brand.slug, user_id, text, "service", now(brand), body=body)
    await Tasks(ctx.db, brand.id).deliver([message], Params())
    await Action.filter(brand_id=brand.id, id=action).update(status="sent")
    return int((await Task.get(brand_id=brand.id, action_id=action)).id)


async def granted(ctx: Context, brand: Brand, user_id: int, key: str) -> None:
    """The benefit is given to the user."""
    action = await planned(ctx, brand, user_id, key, "benefits")
    message = Message(action, str(action), brand.slug, user_id, key, "care", now(brand))
    [receipt] = await Benefits(ctx.db, brand.id).deliver([message], Params())
    assert receipt.outcome == "sent"
    await Action.filter(brand_id=brand.id, id=action).update(status="sent")
