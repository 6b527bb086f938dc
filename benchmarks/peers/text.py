"""Conditions as the text of an expression language."""

from __future__ import annotations

from datetime import date
from typing import ClassVar

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

from benchmarks.peers.book import Book, literals

__all__ = ["Guarded", "Sql"]


class _Text:
    date: ClassVar[str]
    is_missing: ClassVar[str]
    listed: ClassVar[str]

    def __init__(self, book: Book) -> None:
        self.book = book

    def condition(self, condition: Condition) -> str:
        match condition:
            case Compare(op, left, right):
                return self.compared(op, left, right)
            case Between(value, low, high):
                return self.between(value, low, high)
            case In(value, choices):
                return f"{self.value(value)} in " + self.listed.format(", ".join(map(self.value, literals(choices))))
            case Missing(value):
                return f"{self.value(value)} {self.is_missing}"
            case And(terms):
                return "(" + " and ".join(map(self.condition, terms)) + ")"
            case Or(terms):
                return "(" + " or ".join(map(self.condition, terms)) + ")"
            case Not(term):
                return self.negated(term)
        if condition is ALWAYS:
            return "true"
        raise TypeError(condition)

    def value(self, expr: Expr) -> str:
        match expr:
            case Leaf():
                return self.fact(expr)
            case Lit(bool() as flag):
                return str(flag).lower()
            case Lit(str() as text):
                return f"'{text}'"
            case Lit(date() as day):
                return self.date.format(day)
            case Lit(number):
                return repr(number)
            case Arithmetic("/", left, right):
                return f"({self.value(left)} / {self.divisor(right)})"
            case Arithmetic(op, left, right):
                return f"({self.value(left)} {op} {self.value(right)})"
        raise TypeError(expr)

    def fact(self, leaf: Leaf) -> str:
        return self.book.name(leaf)

    def compared(self, op: str, left: Expr, right: Expr) -> str:
        return f"{self.value(left)} {op} {self.value(right)}"

    def between(self, value: Expr, low: Expr, high: Expr) -> str:
        return f"({self.compared('>=', value, low)} and {self.compared('<=', value, high)})"

    def negated(self, term: Condition) -> str:
        return f"not ({self.condition(term)})"

    def divisor(self, expr: Expr) -> str:
        return self.value(expr)


class Sql(_Text):
    """SQL: three-valued, so a missing value only matters under NOT and in the answer."""

    date = "DATE '{}'"
    is_missing = "IS NULL"
    listed = "({})"

    def between(self, value: Expr, low: Expr, high: Expr) -> str:
        return f"({self.value(value)} BETWEEN {self.value(low)} AND {self.value(high)})"

    def negated(self, term: Condition) -> str:
        return f"NOT coalesce({self.condition(term)}, false)"

    def divisor(self, expr: Expr) -> str:
        return f"nullif({self.value(expr)}, 0)"

    def select(self) -> str:
        """The list of a SELECT: every tag, and the stage."""
        columns = [f"coalesce({self.condition(when)}, false) AS {tag}" for tag, when in self.book.tags.items()]
        tried = " ".join(f"WHEN {self.condition(when)} THEN '{stage}'" for stage, when in self.book.stages.items())
        return ",\n".join([*columns, f"CASE {tried} END AS stage"])


class Guarded(_Text):
    """Languages in which a missing value can be tested for equality, and is an error in everything else."""

    is_missing = "== null"
    listed = "[{}]"

    def compared(self, op: str, left: Expr, right: Expr) -> str:
        return self.guard(super().compared(op, left, right), op, left, right)

    def between(self, value: Expr, low: Expr, high: Expr) -> str:
        inner = f"{self.value(value)} >= {self.value(low)} and {self.value(value)} <= {self.value(high)}"
        return self.guard(inner, "<", value, low, high)

    def guard(self, text: str, op: str, *exprs: Expr) -> str:
        present = [] if op == "==" else [f"{name} != null" for name in self.book.missing(*exprs)]
        divisors = [f"{self.value(divisor)} != 0" for expr in exprs for divisor in _divisors(expr)]
        return "(" + " and ".join([*present, *divisors, text]) + ")"


def _divisors(expr: Expr) -> list[Expr]:
    if not isinstance(expr, Arithmetic):
        return []
    return [*_divisors(expr.left), *_divisors(expr.right), *([expr.right] if expr.op == "/" else [])]
