"""Every compilation gives the answer that the tree says, for every row and in every engine."""

from __future__ import annotations

import enum
import importlib
import math
import operator
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import duckdb
import narwhals as nw
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from siyu import ALWAYS, Attribute, Condition, Count, DaysSince, Expr, Total
from siyu.contract.conditions import (
    Always,
    And,
    Arithmetic,
    Between,
    Compare,
    In,
    Leaf,
    Lit,
    Missing,
    Not,
    Or,
)
from siyu.engine.compile import Frame, to_narwhals, to_python

from tests.properties import examples

INTEGERS = (Count("order.paid"), DaysSince("order.paid"))
MONEY = (Total("order.paid", "amount"),)
TEXTS = (Attribute("skin"), Attribute("city"))
CODED = (Attribute("size", values=["b", "a", "油", "None"]), Attribute("mood", values=["\U0001f600", "a", "é"]))
SCHEMA: dict[str, pl.DataType] = {
    **{leaf.name: pl.Int64() for leaf in INTEGERS},
    **{leaf.name: pl.Float64() for leaf in MONEY},
    **{leaf.name: pl.String() for leaf in TEXTS},
}
# Listed texts are delivered as codes, so that rules look at whole numbers.
EVERY: dict[str, pl.DataType] = {**SCHEMA, **{leaf.name: pl.Enum(sorted(leaf.values)) for leaf in CODED}}
DUCKDB = duckdb.connect(config={"threads": 1})
OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}

whole = st.sampled_from([0, 1, -1, 2, 30, -(2**53), 2**53 - 1, 2**53]) | st.integers(-(2**53), 2**53)
broken = st.sampled_from([0.0, -0.0, 0.1, 0.5, 1e308, -1e308, 5e-324]) | st.floats(
    allow_nan=False, allow_infinity=False
)
text = st.sampled_from(["", "a", "b", "é", "z'\"\\", "油", "\U0001f600", "f0", "t1", "None"]) | st.text(max_size=3)

numbers: st.SearchStrategy[Expr] = st.recursive(
    st.sampled_from([*INTEGERS, *MONEY])
    | whole.map(lambda n: Lit(n, "number"))
    | broken.map(lambda n: Lit(n, "number")),
    lambda inner: st.builds(Arithmetic, st.sampled_from("+-*/"), inner, inner),
    max_leaves=4,
)
words: st.SearchStrategy[Expr] = st.sampled_from([*TEXTS, *CODED]) | text.map(lambda value: Lit(value, "text"))
literals = st.one_of(whole, broken).map(lambda n: Lit(n, "number"))


def _terms(of: st.SearchStrategy[Expr], choices: st.SearchStrategy[Lit]) -> st.SearchStrategy[Condition]:
    return st.one_of(
        st.builds(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), of, of),
        st.builds(Between, of, of, of),
        st.builds(In, of, st.lists(choices, min_size=1, max_size=4).map(tuple)),
        st.builds(Missing, of),
    )


conditions: st.SearchStrategy[Condition] = st.recursive(
    _terms(numbers, literals) | _terms(words, text.map(lambda value: Lit(value, "text"))) | st.just(ALWAYS),
    lambda inner: st.one_of(
        st.builds(lambda *terms: And(terms), inner, inner),
        st.builds(lambda *terms: Or(terms), inner, inner, inner),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)
rows = st.lists(
    st.tuples(
        *(st.none() | whole for _ in INTEGERS),
        *(st.none() | broken for _ in MONEY),
        *(st.none() | text for _ in TEXTS),
        *(st.none() | st.sampled_from(leaf.values) for leaf in CODED),
    ),
    min_size=1,
    max_size=8,
)


def value_of(expr: Expr, row: dict[str, Any]) -> Any:
    """What an expression is worth, by the words of the contract."""
    match expr:
        case Leaf():
            return row[expr.name]
        case Lit(value):
            return value
        case Arithmetic(op, left, right):
            a, b = value_of(left, row), value_of(right, row)
            if a is None or b is None or (op == "/" and b == 0):
                return None
            result = OPERATORS[op](float(a), float(b))
            return result if math.isfinite(result) else None
    raise AssertionError(expr)


def holds(condition: Condition, row: dict[str, Any]) -> bool:
    """Whether a condition holds, by the words of the contract."""
    match condition:
        case Always():
            return True
        case Missing(value):
            return value_of(value, row) is None
        case Not(term):
            return not holds(term, row)
        case And(terms):
            return all(holds(term, row) for term in terms)
        case Or(terms):
            return any(holds(term, row) for term in terms)
        case Compare(op, left, right):
            sides = [value_of(left, row), value_of(right, row)]
            return None not in sides and bool(OPERATORS[op](*sides))
        case Between(value, low, high):
            it, least, most = (value_of(each, row) for each in (value, low, high))
            return None not in (it, least, most) and bool(least <= it <= most)
        case In(value, choices):
            it = value_of(value, row)
            return it is not None and any(it == choice.value for choice in choices if isinstance(choice, Lit))
    raise AssertionError(condition)


def by_polars(condition: Condition, frame: pl.DataFrame) -> list[bool]:
    rows, columns = numbered(frame)
    held: pl.LazyFrame = to_narwhals(nw.from_native(rows.lazy()), columns, {"it": condition}, {}).to_native()
    return held.collect()["it"].to_list()


def by_duckdb(condition: Condition, frame: pl.DataFrame) -> list[bool]:
    return by_engine("duckdb", frame, {"it": condition}, {})["it"].to_list()


def by_engine(
    name: str, frame: pl.DataFrame, conditions: Mapping[str, Condition], chains: Mapping[str, Sequence[Condition]]
) -> pl.DataFrame:
    """By an engine outside; Spark runs already."""
    rows, columns = numbered(frame.cast({cs.enum(): pl.String}))
    if name == "duckdb":
        relation: Frame = nw.from_native(DUCKDB.from_arrow(rows.to_arrow()))
        held: pl.DataFrame = to_narwhals(relation, columns, conditions, chains).to_native().pl()
    else:
        session: Any = importlib.import_module("pyspark.sql").SparkSession.getActiveSession()
        native = session.createDataFrame(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
        held = pl.DataFrame(to_narwhals(nw.from_native(native), columns, conditions, chains).to_native().toArrow())
    return held.sort("number")


def numbered(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """The frame as an engine has it, where names of facts are no names of columns and rows have no order."""
    columns = {name: f"f{index}" for index, name in enumerate(frame.columns)}
    return frame.rename(columns).with_row_index("number").cast({"number": pl.Int64}), columns


def by_python(condition: Condition, frame: pl.DataFrame) -> list[bool]:
    row = to_python(frame.columns, [condition], [])
    return [row(values)[0][0] for values in frame.iter_rows()]


@settings(max_examples=250, deadline=None)
@given(condition=conditions, data=rows)
def test_a_brand_and_a_single_user_get_the_answer_of_the_contract(
    condition: Condition, data: list[tuple[Any, ...]]
) -> None:
    frame = pl.DataFrame(data, schema=EVERY, orient="row")
    expected = [holds(condition, row) for row in frame.iter_rows(named=True)]
    assert by_polars(condition, frame) == expected
    assert by_python(condition, frame) == expected


@pytest.mark.examples
def test_engines_outside_give_the_answer_of_the_contract(outside: str) -> None:
    some = st.dictionaries(st.sampled_from([f"t{n}" for n in range(25)]), conditions, min_size=1)
    chains = st.dictionaries(st.sampled_from(["c0", "c1"]), st.lists(conditions, min_size=1, max_size=4))

    few = {"duckdb": examples(25), "spark": 12}[outside]

    @settings(max_examples=few, deadline=None, suppress_health_check=list(HealthCheck))
    @given(flags=some, chains=chains, data=rows)
    def law(flags: dict[str, Condition], chains: dict[str, list[Condition]], data: list[tuple[Any, ...]]) -> None:
        frame = pl.DataFrame(data, schema=EVERY, orient="row")
        found = by_engine(outside, frame, flags, chains)
        for row, answers in zip(frame.iter_rows(named=True), found.iter_rows(named=True), strict=True):
            for name, condition in flags.items():
                assert answers[name] == holds(condition, row), condition
            for name, chain in chains.items():
                assert answers[name] == next((i for i, each in enumerate(chain) if holds(each, row)), None), chain

    law()


@settings(max_examples=60, deadline=None)
@given(
    chains=st.lists(st.lists(conditions, min_size=1, max_size=4), min_size=1, max_size=2),
    flags=st.lists(conditions, max_size=3),
    data=rows,
)
def test_the_first_that_holds_wins_in_one_function_with_all_flags(
    chains: list[list[Condition]], flags: list[Condition], data: list[tuple[Any, ...]]
) -> None:
    frame = pl.DataFrame(data, schema=EVERY, orient="row")
    function = to_python(frame.columns, flags, chains)
    for values, row in zip(frame.iter_rows(), frame.iter_rows(named=True), strict=True):
        firsts = tuple(next((i for i, each in enumerate(chain) if holds(each, row)), None) for chain in chains)
        assert function(values) == (tuple(holds(flag, row) for flag in flags), firsts)


orders, silent, spent = (*INTEGERS, *MONEY)
skin = TEXTS[0]


@pytest.mark.parametrize(
    "condition",
    [
        silent < 1,
        silent >= 0,
        silent == 1,
        silent != 1,
        silent == silent,
        silent.between(0, 9),
        silent.is_in([1, 2]),
        silent + 1 > 0,
        silent / orders >= 0,
        orders / 0 == 0,
        orders / 0 != 0,
        spent * 1e308 * 1e308 != 0,
        spent * 1e308 * 1e308 - spent * 1e308 * 1e308 != 0,
        1 / (spent * 1e308 * 1e308) == 0,
        skin != "oily",
        skin.is_in(["oily"]),
    ],
    ids=repr,
)
def test_whatever_is_compared_with_something_missing_is_false(condition: Condition) -> None:
    frame = pl.DataFrame([(5, None, 7.0, None, None)], schema=SCHEMA, orient="row")
    assert by_polars(condition, frame) == by_duckdb(condition, frame) == by_python(condition, frame) == [False]
    assert by_polars(~condition, frame) == by_duckdb(~condition, frame) == by_python(~condition, frame) == [True]


class Skin(enum.StrEnum):
    OILY = "oily"


@pytest.mark.parametrize(
    "condition",
    [skin == Skin.OILY, skin.is_in(list(Skin)), orders.is_in([5, 2.5]), spent.is_in([7]), orders > 5 - 1],
    ids=repr,
)
def test_enumerations_and_numbers_of_either_sort_stand_for_their_values(condition: Condition) -> None:
    frame = pl.DataFrame([(5, None, 7.0, "oily", None)], schema=SCHEMA, orient="row")
    assert by_polars(condition, frame) == by_duckdb(condition, frame) == by_python(condition, frame) == [True]


def test_a_quotient_is_rounded_as_ieee_754_says_for_one_row_and_for_many() -> None:
    # Polars divides a column by a constant through its inverse: 301 / 100 would be 3.0100000000000002.
    cents = range(2000)
    for numbers in (cents, cents[301:302]):
        data = [(number, None, float(number), None, None) for number in numbers]
        frame = pl.DataFrame(data, schema=SCHEMA, orient="row")
        for divisor in (100, 3, 0.7):
            for number in (*numbers[:5], *numbers[301:305]):
                for fact in (orders, spent):
                    condition = fact / divisor == number / divisor
                    assert [sum(by(condition, frame)) for by in (by_polars, by_duckdb, by_python)] == [1, 1, 1]


def test_arithmetic_may_be_nested_deeply() -> None:
    deep: Expr = orders
    for number in range(1, 60):
        deep = (deep + number) / number - spent
    frame = pl.DataFrame([(5, None, 7.0, None, None)] * 2, schema=SCHEMA, orient="row")
    condition = deep < 0
    assert by_polars(condition, frame) == by_duckdb(condition, frame) == by_python(condition, frame) == [True, True]


@pytest.mark.parametrize("join", [operator.and_, operator.or_])
def test_a_condition_may_have_thousands_of_terms(join: Any) -> None:
    terms: Sequence[Condition] = [orders == number for number in range(3000)]
    condition = reduce(join, terms)
    frame = pl.DataFrame([(2999, None, None, None, None)], schema=SCHEMA, orient="row")
    assert (
        by_polars(condition, frame)
        == by_duckdb(condition, frame)
        == by_python(condition, frame)
        == [join is operator.or_]
    )


def test_a_track_may_have_two_hundred_stages() -> None:
    chain = [orders == number for number in range(200)]
    assert to_python([orders.name], [], [chain])((199,)) == ((), (199,))
    assert to_python([orders.name], [], [chain])((None,)) == ((), (None,))


def test_rules_without_facts_compile_too() -> None:
    assert to_python([], [ALWAYS, ~ALWAYS], [[ALWAYS]])(()) == ((True, False), (0,))
