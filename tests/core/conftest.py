"""A brand of its own for each test, in a database that the tests of a module share; making one takes half a second."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from siyu.contract.manager import PluginManager
from siyu.flow.context import Context, open_context
from siyu.runtime import Addresses
from siyu.store.models import Brand

from tests.conftest import Databases

_numbers = itertools.count()


@pytest.fixture(params=["few", "many"])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written goes to the database as few rows do, and as thousands do."""
    if request.param == "many":
        for name in ("siyu.store.db.AT_ONCE", "siyu.store.writing.AT_ONCE"):
            monkeypatch.setattr(name, 0)
        monkeypatch.setattr("siyu.store.db.PIECE", 2)


@pytest.fixture(scope="module")
async def house_url(databases: Databases) -> AsyncIterator[str]:
    """A database that the tests of a module share."""
    async with databases.borrowed() as url:
        yield url


@pytest.fixture(scope="module")
async def house(
    addresses: Addresses, house_url: str, plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Context]:
    """What the steps of the loop are given; shared by the tests of a module."""
    home = tmp_path_factory.mktemp("house")
    async with open_context(house_url, plugins, home, redis_url=addresses.redis_url) as opened:
        yield opened


@pytest.fixture
async def shop(house: Context) -> Brand:
    """A brand of this test's own, which lives at its newest event."""
    return await new_brand()


async def new_brand() -> Brand:
    number = next(_numbers)
    return await Brand.create(slug=f"shop-{number}", name="Shop", replayed_to=datetime.fromtimestamp(0, UTC))


@pytest.fixture(scope="session", params=["duckdb", pytest.param("spark", marks=pytest.mark.spark)])
def outside(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each engine besides Polars. Spark takes seconds to start: one runs for all tests."""
    if request.param == "duckdb":
        yield "duckdb"
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # about a pandas that siyu does not use
        sql: Any = importlib.import_module("pyspark.sql")
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    session = sql.SparkSession.builder.master("local[2]").config(map=quiet).getOrCreate()
    yield "spark"
    session.stop()
