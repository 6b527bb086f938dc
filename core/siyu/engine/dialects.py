"""What Narwhals has no word for, in the words of each engine. Frames in, frames out; connections are opened elsewhere.

Both engines read SQL, so a dialect is little more than the names of some functions.
"""

from __future__ import annotations

from typing import Any, Protocol

import narwhals as nw

from siyu.engine.compile import Frame

__all__ = ["Dialect", "DuckDB", "Spark"]


class Dialect(Protocol):
    """The words of one engine."""

    def day(self, moment: str, zone: str) -> str:
        """The calendar day in a time zone of the column ``moment``, as days since 1970."""

    def number(self, date: str) -> str:
        """A date as days since 1970."""

    def with_sql(self, frame: Frame, **columns: str) -> Frame:
        """The frame with more columns, each an expression of SQL."""

    def lists(self, frame: Frame, key: str, text: str) -> Frame:
        """For each ``key`` its different texts, sorted, a line each, under the name of ``text``."""


class DuckDB:
    """The words of DuckDB."""

    def day(self, moment: str, zone: str) -> str:
        return self.number(f"CAST(timezone('{zone}', \"{moment}\") AS DATE)")

    def number(self, date: str) -> str:
        return f"CAST({date} - DATE '1970-01-01' AS BIGINT)"

    def with_sql(self, frame: Frame, **columns: str) -> Frame:
        relation: Any = frame.to_native()
        return _lazy(relation.project(f"*, {_listed(columns)}"))

    def lists(self, frame: Frame, key: str, text: str) -> Frame:
        joined = f"string_agg(DISTINCT {text}, chr(10) ORDER BY {text})"
        relation: Any = frame.to_native()
        return _lazy(relation.aggregate(f"{key}, {joined} AS {text}", key))


class Spark:
    """The words of Spark, in a session whose time zone is UTC."""

    def day(self, moment: str, zone: str) -> str:
        return self.number(f"CAST(from_utc_timestamp(`{moment}`, '{zone}') AS DATE)")

    def number(self, date: str) -> str:
        return f"CAST(unix_date({date}) AS BIGINT)"

    def with_sql(self, frame: Frame, **columns: str) -> Frame:
        native: Any = frame.to_native()
        return _lazy(native.selectExpr("*", *(f"{sql} AS {name}" for name, sql in columns.items())))

    def lists(self, frame: Frame, key: str, text: str) -> Frame:
        collected: Any = frame.to_native().groupBy(key).agg({text: "collect_set"})
        joined = f"array_join(array_sort(`collect_set({text})`), '\\n')"
        return _lazy(collected.selectExpr(key, f"{joined} AS {text}"))


def _lazy(native: Any) -> Frame:
    frame: Frame = nw.from_native(native)
    return frame


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
