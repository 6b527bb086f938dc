"""DuckDB: one SELECT over the Polars frame in memory, to Arrow."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from benchmarks.peers import Peer
from benchmarks.peers.book import Book
from benchmarks.peers.text import Sql

__all__ = ["DuckDB"]


class DuckDB(Peer):
    """One SELECT."""

    name = f"DuckDB {duckdb.__version__}"

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._query = f"SELECT {Sql(book).select()} FROM facts"
        self._connection = duckdb.connect()

    def take(self, facts: pl.DataFrame) -> None:
        self._connection.register("facts", facts.to_arrow())

    def run(self) -> Any:
        return self._connection.sql(self._query).to_arrow_table()

    def answers(self) -> pl.DataFrame:
        answers = pl.from_arrow(self.run())
        assert isinstance(answers, pl.DataFrame)
        return answers

    def close(self) -> None:
        self._connection.close()
