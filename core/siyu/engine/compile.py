"""Compile conditions: to Polars for a brand, to a generated Python function for one user or a few hundred.

Both give the same answer for every row (a property test holds them to it): missing compares false, arithmetic is
double precision, division by zero is missing, so is what overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from siyu.contract.conditions import (
    Always,
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

__all__ = ["to_polars", "to_python"]

_COMPARE: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
    "==": pl.Expr.eq,
    "!=": pl.Expr.ne,
}


def to_polars(condition: Condition) -> pl.Expr:
    """The condition over columns named like the facts: Boolean, never null."""
    match condition:
        case Always():
            return pl.lit(True)
        case Compare(op, left, right):
            return _COMPARE[op](_value(left), _value(right)).fill_null(False)
        case Between(value, low, high):
            it = _value(value)
            return ((it >= _value(low)) & (it <= _value(high))).fill_null(False)
        case In(value, choices):
            allowed = [c.value for c in choices if isinstance(c, Lit)]
            if value.kind == "number":
                # Polars does not look for whole numbers among others, nor the other way round.
                return _value(value).cast(pl.Float64).is_in([float(n) for n in allowed]).fill_null(False)  # type: ignore[arg-type]
            return _value(value).is_in(allowed).fill_null(False)
        case Missing(value):
            return _value(value).is_null()
        case And(terms):
            return pl.all_horizontal([to_polars(term) for term in terms])
        case Or(terms):
            return pl.any_horizontal([to_polars(term) for term in terms])
        case Not(term):
            return ~to_polars(term)
    raise TypeError(condition)


def _value(expr: Expr) -> pl.Expr:
    match expr:
        case Leaf():
            return pl.col(expr.name)
        case Lit(value):
            return pl.lit(value)
        case Arithmetic(op, left, right):
            a, b = _value(left).cast(pl.Float64), _value(right).cast(pl.Float64)
            match op:
                case "+":
                    result = a + b
                case "-":
                    result = a - b
                case "*":
                    result = a * b
                case _:
                    if not any(right.leaves()):
                        # Polars divides by a constant through its inverse, which is wrong in the last digit.
                        b = b + pl.int_range(pl.len()) * 0.0
                    result = a / b.replace([0.0], [None])
            # Each side is mentioned once, or nested arithmetic would double with every level.
            return result.replace([math.inf, -math.inf, math.nan], [None])
    raise TypeError(expr)


Row = tuple[Any, ...]


def to_python(
    facts: Sequence[str], conditions: Sequence[Condition], chains: Sequence[Sequence[Condition]]
) -> Callable[[Row], tuple[tuple[bool, ...], tuple[int | None, ...]]]:
    """One function from a row of facts to what holds: each condition, and the first that holds of each chain.

    ``facts`` names the values of a row in order. The function is plain generated Python without a loop; its source
    stands in ``__doc__``.
    """
    writer = _Writer({name: f"f{index}" for index, name in enumerate(facts)})
    flags = [writer.condition(condition) for condition in conditions]
    firsts = [writer.first([writer.condition(condition) for condition in chain]) for chain in chains]
    unpack = [f"    ({', '.join(writer.names.values())},) = row"] if facts else []
    body = [*unpack, *writer.lines, f"    return ({_tuple(flags)}), ({_tuple(firsts)})"]
    source = "\n".join(["def evaluate(row):", *body])
    scope: dict[str, Any] = dict(writer.constants)
    exec(compile(source, "<rules>", "exec"), scope)
    function: Callable[[Row], tuple[tuple[bool, ...], tuple[int | None, ...]]] = scope["evaluate"]
    function.__doc__ = source
    return function


def _tuple(items: Sequence[str]) -> str:
    return "".join(f"{item}, " for item in items)


class _Writer:
    """Writes assignments to temporaries; equal expressions are written once."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"isfinite": math.isfinite}
        self._known: dict[str, str] = {}

    def _assign(self, code: str) -> str:
        if code not in self._known:
            self._known[code] = f"t{len(self._known)}"
            self.lines.append(f"    {self._known[code]} = {code}")
        return self._known[code]

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def first(self, flags: Sequence[str]) -> str:
        """The index of the first flag that holds, or None."""
        code = "None"
        for index, flag in reversed(list(enumerate(flags))):
            code = f"{index} if {flag} else ({code})"
        return self._assign(code)

    def condition(self, condition: Condition) -> str:
        """The name of a temporary (or ``True``) that holds the answer."""
        match condition:
            case Always():
                return "True"
            case Compare(op, left, right):
                a, b = self.value(left), self.value(right)
                return self._assign(f"{self._present(a, b)}{a} {op} {b}")
            case Between(value, low, high):
                it, a, b = self.value(value), self.value(low), self.value(high)
                return self._assign(f"{self._present(it, a, b)}{a} <= {it} <= {b}")
            case In(value, choices):
                it = self.value(value)
                allowed = frozenset(c.value for c in choices if isinstance(c, Lit))
                return self._assign(f"{self._present(it)}{it} in {self._constant(allowed)}")
            case Missing(value):
                it = self.value(value)
                return self._assign(f"{it} is None") if self._present(it) else "False"
            case And(terms):
                return self._assign(" and ".join(self.condition(term) for term in terms))
            case Or(terms):
                return self._assign(" or ".join(self.condition(term) for term in terms))
            case Not(term):
                return self._assign(f"not {self.condition(term)}")
        raise TypeError(condition)

    def value(self, expr: Expr) -> str:
        """The name of a temporary, an argument or a literal."""
        match expr:
            case Leaf():
                return self.names[expr.name]
            case Lit(value, kind):
                return repr(value) if kind != "date" else self._constant(value)
            case Arithmetic(op, left, right):
                a, b = self.value(left), self.value(right)
                guard = self._present(a, b) + (f"{b} != 0 and " if op == "/" else "")
                result = self._assign(f"float({a}) {op} float({b}) if {guard}True else None")
                return self._assign(f"{result} if {result} is not None and isfinite({result}) else None")
        raise TypeError(expr)

    def _present(self, *values: str) -> str:
        return "".join(
            f"{value} is not None and " for value in dict.fromkeys(values) if value[0] in "ft" and value[1:].isdigit()
        )
