"""One fact of all users of a brand, so that users can be found and ordered by it.

The facts of everybody are nowhere kept: forty of a million users would be more to write each night than the refresh
itself. A column is computed when somebody asks for it, from the lake, and kept in memory for a minute.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from siyu.contract.conditions import Kind
from siyu.contract.errors import InputError
from siyu.contract.facts import Fact
from siyu.engine.facts import compute
from siyu.flow.context import Context
from siyu.flow.filters import FactFilter, FactName
from siyu.flow.rulebooks import FactKey, Meaning, Present, bound_now
from siyu.store.lake import Lake, history_of

__all__ = ["Column", "check_tests", "columns", "declarations", "listed", "literal"]


class _Key(NamedTuple):
    brand_id: int
    day: date
    parts: tuple[tuple[int, int, str | None], ...]


@dataclass(frozen=True)
class Column:
    """A fact of every user of a brand who had an event up to the moment ``at``.

    ``values`` are rows of ``user_id`` (sorted) and ``value``, null where the fact is missing.
    """

    kind: Kind
    at: datetime
    values: pl.DataFrame

    @cached_property
    def ordered(self) -> pl.DataFrame:
        """Those who have a value, by it and then by id."""
        return self.values.drop_nulls("value").sort("value", "user_id")

    @cached_property
    def missing(self) -> pl.Series:
        """The ids of those who have none, sorted."""
        return self.values.filter(pl.col("value").is_null()).get_column("user_id")

    @property
    def size(self) -> int:
        """Bytes that it takes once it has been ordered."""
        return 2 * int(self.values.estimated_size())

    def holds(self, test: FactFilter, field: str) -> pl.Series:
        """The ids of the users for whom a test holds, sorted."""
        # No test at all lets everybody through.
        holds = pl.all_horizontal(pl.lit(True), *_terms(self.kind, test, field))
        return self.values.filter(holds).get_column("user_id")


def literal(kind: Kind, value: Any, field: str) -> Any:
    """A value as columns of a kind have it, or an :class:`siyu.InputError` where it is of another."""
    match kind, value:
        case ("flag", bool()) | ("text", str()):
            return value
        case "number", int() | float() if not isinstance(value, bool):
            return float(value)
        case "date", str():
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
    raise InputError(f"{value!r} where a {kind} is", field=field, remedy=_REMEDIES[kind])


def _terms(kind: Kind, test: FactFilter, field: str) -> list[pl.Expr]:
    value, terms = pl.col("value"), []
    for name in ("eq", "gte", "gt", "lte", "lt"):
        if (wanted := getattr(test, name)) is not None:
            if name != "eq" and kind == "flag":
                raise InputError(f"{name} of true and false", field=f"{field}.{name}", remedy="use eq")
            terms.append(getattr(value, _METHODS[name])(literal(kind, wanted, f"{field}.{name}")))
    if test.in_ is not None:
        terms.append(value.is_in([literal(kind, each, f"{field}.in") for each in test.in_]))
    if test.is_missing is not None:
        terms.append(value.is_null() if test.is_missing else value.is_not_null())
    return terms


_METHODS = {"eq": "eq", "gte": "ge", "gt": "gt", "lte": "le", "lt": "lt"}
_REMEDIES: Mapping[Kind, str] = {
    "flag": "give true or false",
    "text": "give a text",
    "number": "give a number",
    "date": "give a day like 2026-11-21",
}
_TYPES: Mapping[Kind, pl.DataType] = {
    "flag": pl.Boolean(),
    "text": pl.String(),
    "number": pl.Float64(),
    "date": pl.Date(),
}


async def check_tests(ctx: Context, brand_id: int, tests: Iterable[tuple[str, FactFilter]]) -> None:
    """Refuse tests of facts, each with its field, as :func:`columns` and :meth:`Column.holds` would."""
    known = (await _here(ctx, brand_id)).bound.meanings
    for field, test in tests:
        _terms(_kind(known[_meant(known, test.named, field)]), test, field)


async def declarations(ctx: Context, brand_id: int, names: Iterable[FactName]) -> dict[FactName, tuple[str, ...]]:
    """How the facts are declared that names mean to a brand; names that mean none, or several, are left out."""
    known = (await _here(ctx, brand_id)).bound.meanings
    found: dict[FactName, tuple[str, ...]] = {}
    for name in names:
        with suppress(InputError):
            found[name] = tuple(fact.name for _, fact in known[_meant(known, name, "")] if fact is not None)
    return found


async def columns(ctx: Context, brand_id: int, named: Iterable[tuple[str, FactName]]) -> list[Column]:
    """The columns of facts, each with the field of the request that names it. A name that the plugins which the brand
    has on do not give is an :class:`siyu.InputError` with those that they do."""
    here = await _here(ctx, brand_id)
    known, at, days = here.bound.meanings, here.at, here.days
    keys: dict[_Key, Meaning] = {}
    asked: list[_Key] = []
    for field, name in named:
        parts = known[_meant(known, name, field)]
        spelt = tuple((cohort.low, cohort.below, fact.name if fact is not None else None) for cohort, fact in parts)
        key = _Key(brand_id, at.astimezone(days).date(), spelt)
        keys[key] = parts
        asked.append(key)

    async def make(missing: list[_Key]) -> dict[_Key, Column]:
        facts = {fact.name: fact for key in missing for _, fact in keys[key] if fact is not None}
        values = await _computed(ctx, brand_id, list(facts.values()), at, days)

        def parted() -> dict[_Key, Column]:
            return {key: _column(keys[key], values, at) for key in missing}

        return await asyncio.to_thread(parted)

    found = await ctx.columns.get(asked, make)
    return [found[key] for key in asked]


async def listed(ctx: Context, brand_id: int) -> list[tuple[str, str, str, Fact]]:
    """The facts that filters and orders can name: plugin, rule, name and the fact. Where a change is being rolled out
    it is the one of the first cohort that has it."""
    known = (await _here(ctx, brand_id)).bound.meanings
    return [(*name, next(fact for _, fact in parts if fact is not None)) for name, parts in known.items()]


async def _here(ctx: Context, brand_id: int) -> Present:
    async with ctx.db.connection() as connection:
        return await bound_now(ctx, connection, brand_id)


def _meant(known: Mapping[FactKey, Meaning], wanted: FactName, field: str) -> FactKey:
    plugins = sorted({plugin for plugin, _, _ in known})
    if wanted.plugin not in plugins:
        remedy = f"those that are on and have facts: {', '.join(plugins) or 'none'}"
        raise InputError(f"no facts of a plugin {wanted.plugin!r}", field=f"{field}.plugin", remedy=remedy)
    rules = sorted({rule for plugin, rule, _ in known if plugin == wanted.plugin})
    if wanted.rule is not None and wanted.rule not in rules:
        remedy = f"the rules of {wanted.plugin}: {', '.join(rules)}"
        raise InputError(f"no rule {wanted.rule!r}", field=f"{field}.rule", remedy=remedy)
    found = [each for each in known if _matches(each, wanted) and each[2] == wanted.name]
    if len({tuple(None if fact is None else fact.name for _, fact in known[each]) for each in found}) == 1:
        return found[0]
    if found:
        remedy = f"name the rule too: {', '.join(sorted(rule for _, rule, _ in found))}"
        raise InputError(f"{wanted} is a name of several facts", field=f"{field}.rule", remedy=remedy)
    names = sorted({each[2] for each in known if _matches(each, wanted)})
    near = difflib.get_close_matches(wanted.name, names, n=10, cutoff=0.4) or names[:30]
    raise InputError(f"no fact {str(wanted)!r}", field=f"{field}.name", remedy=f"there are: {', '.join(near)}")


def _matches(name: FactKey, wanted: FactName) -> bool:
    return name[0] == wanted.plugin and wanted.rule in (None, name[1])


async def _computed(ctx: Context, brand_id: int, facts: list[Fact], at: datetime, days: ZoneInfo) -> pl.DataFrame:
    catalog = ctx.plugins.catalog
    async with ctx.db.view() as connection:
        stored = await Lake(ctx.home, brand_id, catalog).peek(connection)
    return await asyncio.to_thread(compute, facts, catalog, history_of(stored), at, days)


def _kind(parts: Meaning) -> Kind:
    return next(fact.kind for _, fact in parts if fact is not None)


def _column(parts: Meaning, values: pl.DataFrame, at: datetime) -> Column:
    kind = _kind(parts)
    rows = [
        cohort.of(values).select(
            "user_id", (pl.col(fact.name) if fact is not None else pl.lit(None)).cast(_TYPES[kind]).alias("value")
        )
        for cohort, fact in parts
    ]
    return Column(kind, at, pl.concat(rows).sort("user_id").rechunk())
