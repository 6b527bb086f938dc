"""Engines: where the facts of a brand are computed and its rules are held against them.

Polars is always there. DuckDB and Spark are packages of their own (``siyu[duckdb]``, ``siyu[spark]``); they read the
lake's files themselves, and only facts and decisions come back.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl

from siyu.contract.errors import InputError
from siyu.contract.events import Catalog, Source
from siyu.contract.facts import Attribute, Fact
from siyu.engine import dialects
from siyu.engine.compile import Frame
from siyu.engine.evaluate import Decider
from siyu.engine.facts import compute
from siyu.engine.facts_narwhals import Tables, facts_frame, short_names
from siyu.engine.finish import codes
from siyu.history import History
from siyu.store.decisions import Users
from siyu.store.lake import Stored, history_of

__all__ = ["ENGINES", "Engine", "Polars", "opened"]

ENGINES = ("polars", "duckdb", "spark")


class Engine(Protocol):
    """The events of a brand as of a moment, and something that reckons with them."""

    def facts(self, wanted: Sequence[Fact], users: pl.DataFrame | None = None) -> pl.DataFrame:
        """The facts of every user with an event, or of ``users``: ``user_id`` sorted, and a column a fact by name."""

    def decide(self, decider: Decider, facts: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
        """As :meth:`siyu.engine.evaluate.Decider.frame`, for rows of what :meth:`facts` gave."""

    def of(self, users: Users) -> Engine:
        """The events of some of the users."""


@dataclass(frozen=True)
class Polars:
    """On this machine, in this process."""

    catalog: Catalog
    history: History
    at: datetime
    zone: ZoneInfo

    def facts(self, wanted: Sequence[Fact], users: pl.DataFrame | None = None) -> pl.DataFrame:
        return compute(wanted, self.catalog, self.history, self.at, self.zone, users)

    def decide(self, decider: Decider, facts: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
        return decider.frame(facts, before, at)

    def of(self, users: Users) -> Engine:
        return replace(self, history=self.history.of(users))


class Home(Protocol):
    """What an engine outside keeps tables in: a connection, a session."""

    dialect: dialects.Dialect

    def table(self, source: Source, stored: Stored) -> Frame:
        """A table with columns under their short names, its users as they came."""

    def lend(self, frame: pl.DataFrame) -> Frame:
        """A frame of this process."""

    def keep(self, frame: Frame) -> Frame:
        """The frame, computed now and read from then on."""

    def fetch(self, frame: Frame) -> pl.DataFrame:
        """The rows, here."""


@dataclass
class Outside:
    """An engine that reads the lake by itself. Facts stay in it for the rules."""

    catalog: Catalog
    tables: Tables
    at: datetime
    zone: ZoneInfo
    home: Home
    kept: list[tuple[Frame, dict[str, str]]] = field(default_factory=list)

    def facts(self, wanted: Sequence[Fact], users: pl.DataFrame | None = None) -> pl.DataFrame:
        frame, columns = facts_frame(wanted, self.catalog, self.tables, self.at, self.zone, self.home.dialect)
        # Of what is kept no two columns are called alike: rules may need some of each.
        mine = {name: f"k{len(self.kept)}_{column}" for name, column in columns.items()}
        frame = self.home.keep(frame.select("user_id", **{mine[name]: nw.col(columns[name]) for name in columns}))
        self.kept.append((frame, mine))
        found = self.home.fetch(frame).sort("user_id")
        found = found.select("user_id", *(pl.col(column).alias(name) for name, column in mine.items()))
        found = found.cast({fact.name: codes(fact) for fact in wanted if isinstance(fact, Attribute) and fact.values})
        return found if users is None else users.join(found, on="user_id", how="left", maintain_order="left")

    def decide(self, decider: Decider, facts: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pl.DataFrame:
        needed = set(decider.names)
        frame: Frame | None = None
        columns: dict[str, str] = {}
        for kept, names in reversed(self.kept):
            if frame is None or needed & names.keys() - columns.keys():
                frame = kept if frame is None else frame.join(kept, on="user_id", how="inner")
                columns = {**names, **columns}
        assert frame is not None
        held = self.home.fetch(decider.held(frame, columns))
        return decider.settle(
            facts.select("user_id").join(held, on="user_id", how="left", maintain_order="left"), before, at
        )

    def of(self, users: Users) -> Engine:
        low, below = users
        mine = (nw.col("user_id") >= low) & (nw.col("user_id") < below)
        return replace(self, tables={name: table.filter(mine) for name, table in self.tables.items()}, kept=[])


@contextmanager
def opened(name: str, catalog: Catalog, stored: Mapping[str, Stored], at: datetime, zone: ZoneInfo) -> Iterator[Engine]:
    """The engine of that name with the tables of a brand; what is started for it is stopped at the end."""
    if name == "polars":
        yield Polars(catalog, history_of(stored), at, zone)
        return
    homes = {"duckdb": _duckdb, "spark": _spark}
    if name not in homes:
        raise InputError(f"no engine {name!r}", field="engine", remedy=f"engines are: {', '.join(ENGINES)}")
    with homes[name]() as home:
        tables = {}
        for source in catalog.sources:
            mine = stored.get(source.name, Stored({}, [], pl.DataFrame(schema=source.schema)))
            tables[source.name] = _counted(home, home.table(source, mine), mine.persons)
        yield Outside(catalog, tables, at, zone, home)


def _counted(home: Home, table: Frame, persons: pl.DataFrame) -> Frame:
    """A table by whom its users count as."""
    if persons.is_empty():
        return table
    joined = table.join(home.lend(persons), on="user_id", how="left")
    return joined.with_columns(user_id=nw.coalesce("into_id", "user_id")).drop("into_id")


# -- DuckDB -------------------------------------------------------------------------------------------------------


@dataclass
class DuckDBHome:
    """A database in memory, which puts aside on disk what does not fit."""

    connection: Any
    dialect: dialects.Dialect = field(default_factory=dialects.DuckDB)
    tables: int = 0

    def table(self, source: Source, stored: Stored) -> Frame:
        names = short_names(source)
        relation: Any = self.lend(stored.tail.select(list(names)).rename(names)).to_native()
        if stored.files:
            files = self.connection.read_parquet(list(map(str, stored.files)), union_by_name=True)
            listed = ", ".join(f'"{name}" AS "{short}"' for name, short in names.items())
            relation = files.project(listed).union(relation)
        frame: Frame = nw.from_native(relation)
        return frame

    def lend(self, frame: pl.DataFrame) -> Frame:
        lent: Frame = nw.from_native(self.connection.from_arrow(frame.to_arrow()))
        return lent

    def keep(self, frame: Frame) -> Frame:
        name = f"kept{self.tables}"
        self.tables += 1
        relation: Any = frame.to_native()
        relation.create(name)
        kept: Frame = nw.from_native(self.connection.table(name))
        return kept

    def fetch(self, frame: Frame) -> pl.DataFrame:
        relation: Any = frame.to_native()
        found: pl.DataFrame = relation.pl()
        return found


@contextmanager
def _duckdb() -> Iterator[Home]:
    duckdb, _ = _package("duckdb", "duckdb"), _package("pyarrow", "duckdb")
    with tempfile.TemporaryDirectory(prefix="siyu-duckdb-") as aside:
        # What it needs is in the package; it is not to look for more on the network.
        config = {
            "temp_directory": aside,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with duckdb.connect(config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield DuckDBHome(connection)


# -- Spark --------------------------------------------------------------------------------------------------------


@dataclass
class SparkHome:
    """A session of Spark."""

    session: Any
    dialect: dialects.Dialect = field(default_factory=dialects.Spark)

    def table(self, source: Source, stored: Stored) -> Frame:
        names = short_names(source)
        native: Any = self.lend(stored.tail.select(list(names)).rename(names)).to_native()
        if stored.files:
            files = self.session.read.parquet(*(f"file://{path}" for path in stored.files))
            native = files.selectExpr(*(f"`{name}` AS {short}" for name, short in names.items())).union(native)
        frame: Frame = nw.from_native(native)
        return frame

    def lend(self, frame: pl.DataFrame) -> Frame:
        native = self.session.createDataFrame(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
        lent: Frame = nw.from_native(native)
        return lent

    def keep(self, frame: Frame) -> Frame:
        native: Any = frame.to_native()
        kept: Frame = nw.from_native(native.persist())
        return kept

    def fetch(self, frame: Frame) -> pl.DataFrame:
        native: Any = frame.to_native()
        found = pl.from_arrow(native.toArrow())
        assert isinstance(found, pl.DataFrame)
        return found


@contextmanager
def _spark() -> Iterator[Home]:
    """A session of its own beside one that runs, or a new one: on this machine, or where ``SIYU_SPARK_MASTER`` or
    Spark's own configuration says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # about a pandas that siyu does not use
        _package("pyarrow", "spark")
        spark = _package("pyspark", "spark")
        running = spark.SparkContext._active_spark_context is not None
        session = _session(_package("pyspark.sql", "spark"))
    if running:
        session = session.newSession()
    try:
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.conf.set("spark.sql.caseSensitive", "true")
        if session.sparkContext.master.startswith("local"):
            session.conf.set("spark.sql.shuffle.partitions", str(2 * (os.cpu_count() or 1)))
        yield SparkHome(session)
    finally:
        if not running:
            session.stop()


def _session(sql: Any) -> Any:
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise InputError("Spark needs Java, which was not found", field="engine", remedy="install Java 17 or newer")
    builder = sql.SparkSession.builder.appName("siyu")
    if master := os.environ.get("SIYU_SPARK_MASTER"):
        builder = builder.master(master)
    quiet = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
    return builder.config(map=quiet).getOrCreate()


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(
            f"the engine {extra} needs the package {package}", field="engine", remedy=f"pip install 'siyu[{extra}]'"
        ) from None
