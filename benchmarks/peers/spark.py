"""Spark on this machine: one SELECT over a cached table; what comes out is made, and goes nowhere."""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from pyspark.sql import SparkSession

from benchmarks.peers import Peer
from benchmarks.peers.book import Book
from benchmarks.peers.text import Sql

__all__ = ["Spark"]


class Spark(Peer):
    """A local session with a thread a core."""

    name = f"Spark {version('pyspark')}, local"

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._query = f"SELECT {Sql(book).select()} FROM facts"
        # Of pandas 3, which plays no part here.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        self._folder = tempfile.TemporaryDirectory(prefix="siyu-bench-")
        settings = {
            "spark.driver.memory": "3g",
            "spark.log.level": "ERROR",
            "spark.sql.warehouse.dir": self._folder.name,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master("local[*]")
        for key, value in settings.items():
            builder = builder.config(key, value)
        self._session = builder.getOrCreate()
        self._java = psutil.Process(self._session.sparkContext._gateway.proc.pid)

    def take(self, facts: pl.DataFrame) -> None:
        path = Path(self._folder.name) / f"{len(facts)}.parquet"
        facts.write_parquet(path)
        self._session.catalog.clearCache()
        table = self._session.read.parquet(str(path)).cache()
        table.createOrReplaceTempView("facts")
        table.count()

    def run(self) -> Any:
        self._session.sql(self._query).write.format("noop").mode("overwrite").save()

    def answers(self) -> pl.DataFrame:
        answers = pl.from_arrow(self._session.sql(self._query).toArrow())
        assert isinstance(answers, pl.DataFrame)
        return answers

    def cpu(self) -> float:
        tree = [self._java, *self._java.children(recursive=True)]
        return super().cpu() + sum(times.user + times.system for times in (each.cpu_times() for each in tree))

    def close(self) -> None:
        self._session.stop()
        self._folder.cleanup()
