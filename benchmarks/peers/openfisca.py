"""OpenFisca: a variable a fact, a tag and the stage; formulas over vectors of all users.

It has no missing values: numbers are NaN, dates NaT, and texts a member of their enumeration, where there is none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl
from openfisca_core.entities import build_entity
from openfisca_core.indexed_enums import Enum
from openfisca_core.periods import DateUnit
from openfisca_core.simulations import SimulationBuilder
from openfisca_core.taxbenefitsystems import TaxBenefitSystem
from openfisca_core.variables import Variable
from siyu.contract.conditions import (
    ALWAYS,
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Expr,
    In,
    Leaf,
    Lit,
    Missing,
    Not,
    Or,
)

from benchmarks import rulebook
from benchmarks.peers import Peer
from benchmarks.peers.book import STAGE, Book, literals

__all__ = ["OpenFisca"]

Formula = Callable[[Any, Any], Any]

_PERIOD = "2026-01"
_PERSON = build_entity(key="person", plural="persons", label="A user", is_person=True)
_NONE = "missing"
_TEXTS = {
    "channel": rulebook.CHANNELS,
    "level": rulebook.LEVELS,
    "skin": rulebook.SKINS,
    "city": rulebook.CITIES,
}
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_RECKON = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class _Translator:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.enums = {name: Enum(name, {each: each for each in (_NONE, *texts)}) for name, texts in _TEXTS.items()}

    def condition(self, condition: Condition) -> Formula:
        match condition:
            case Compare(op, left, right):
                return self._compared(op, left, right)
            case Between(value, low, high):
                return self.condition(Compare(">=", value, low) & Compare("<=", value, high))
            case In(value, choices):
                return self.condition(Or(tuple(Compare("==", value, choice) for choice in literals(choices))))
            case Missing(value):
                return self._missing(value)
            case And(terms) | Or(terms):
                parts = [self.condition(term) for term in terms]
                together = np.logical_and if isinstance(condition, And) else np.logical_or
                return lambda person, period: together.reduce([part(person, period) for part in parts])
            case Not(term):
                inner = self.condition(term)
                return lambda person, period: ~inner(person, period)
        if condition is ALWAYS:
            return lambda person, period: np.ones(person.count, dtype=bool)
        raise TypeError(condition)

    def _compared(self, op: str, left: Expr, right: Expr) -> Formula:
        compare, a, b = _COMPARE[op], self.value(left), self.value(right, beside=left)
        missing = self.book.missing(left)
        if op != "!=" or not missing:
            return lambda person, period: compare(a(person, period), b(person, period))
        # Alone of all comparisons this one holds for NaN.
        lacking = self._missing(left)
        return lambda person, period: compare(a(person, period), b(person, period)) & ~lacking(person, period)

    def _missing(self, value: Expr) -> Formula:
        it = self.value(value)
        if value.kind == "text":
            nothing = self.enums[self.book.name(value)][_NONE]
            return lambda person, period: it(person, period) == nothing
        absent = np.isnat if value.kind == "date" else np.isnan
        return lambda person, period: absent(it(person, period))

    def value(self, expr: Expr, beside: Expr | None = None) -> Formula:
        match expr:
            case Leaf():
                name = self.book.name(expr)
                return lambda person, period: person(name, period)
            case Lit(value, "text"):
                assert beside is not None
                member = self.enums[self.book.name(beside)][value]
                return lambda person, period: member
            case Lit(value, "date"):
                day = np.datetime64(value)
                return lambda person, period: day
            case Lit(value):
                return lambda person, period: value
            case Arithmetic(op, left, right):
                reckon, a, b = _RECKON[op], self.value(left), self.value(right)
                if op != "/":
                    return lambda person, period: reckon(a(person, period), b(person, period))
                return lambda person, period: _divided(a(person, period), b(person, period))
        raise TypeError(expr)


def _divided(a: Any, b: Any) -> Any:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b != 0)


class OpenFisca(Peer):
    """A system of variables, calculated for all users at once."""

    name = f"OpenFisca-Core {version('openfisca-core')}"

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        self._text = _Translator(book)
        self._system = TaxBenefitSystem([_PERSON])
        for name in book.facts:
            self._add(name, **self._input(name))
        for tag, when in book.tags.items():
            self._add(f"tag_{tag}", value_type=bool, formula=self._text.condition(when))
        stages = Enum("Stages", {stage: stage for stage in book.stages})
        held = [self._text.condition(when) for when in book.stages.values()]

        def first(person: Any, period: Any) -> Any:
            return np.select([each(person, period) for each in held], list(stages))

        self._outputs = {**{tag: f"tag_{tag}" for tag in book.tags}, STAGE: STAGE}
        self._add(STAGE, value_type=Enum, possible_values=stages, default_value=next(iter(stages)), formula=first)

    def _add(self, name: str, **members: Any) -> None:
        members = {"entity": _PERSON, "definition_period": DateUnit.MONTH, "label": name, **members}
        self._system.add_variable(type(name, (Variable,), members))

    def _input(self, name: str) -> dict[str, Any]:
        fact, dtype = self.book.facts[name], self.book.dtypes[name]
        if fact.kind == "text":
            choices = self._text.enums[name]
            return {"value_type": Enum, "possible_values": choices, "default_value": choices[_NONE]}
        if fact.kind == "date":
            return {"value_type": date}
        if self.book.missing(fact) or dtype.is_float():
            return {"value_type": float}
        return {"value_type": bool if fact.kind == "flag" else int}

    def take(self, facts: pl.DataFrame) -> None:
        self._simulation = SimulationBuilder().build_default_simulation(self._system, len(facts))
        for name in self.book.facts:
            self._simulation.set_input(name, _PERIOD, self._vector(name, facts[name]))

    def _vector(self, name: str, column: pl.Series) -> Any:
        if name in self._text.enums:
            codes = {each: index for index, each in enumerate((_NONE, *_TEXTS[name]))}
            return column.cast(pl.String).fill_null(_NONE).replace_strict(codes, return_dtype=pl.Int16).to_numpy()
        if column.dtype == pl.Date:
            return column.to_numpy()
        return (column.cast(pl.Float64) if self.book.missing(self.book.facts[name]) else column).to_numpy()

    def run(self) -> Any:
        # What was calculated is remembered, and must not be.
        for name in self._outputs.values():
            self._simulation.delete_arrays(name)
        return {key: self._simulation.calculate(name, _PERIOD) for key, name in self._outputs.items()}

    def answers(self) -> pl.DataFrame:
        found = self.run()
        return pl.DataFrame({**found, STAGE: found[STAGE].decode_to_str()})
