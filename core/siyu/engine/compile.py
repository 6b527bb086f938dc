"""Compile conditions: to Narwhals for a brand, to a generated Python function for one user or a few hundred.

Narwhals runs them where the facts are: in Polars, DuckDB or Spark. All give the same answer for every row (a property
test holds them to it): missing compares false, arithmetic is double precision, division by zero is missing, so is what
overflows.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import narwhals as nw

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

__all__ = ["Frame", "reckon", "to_narwhals", "to_python"]

Frame = nw.LazyFrame[Any]

_COMPARE: Mapping[str, Callable[[nw.Expr, nw.Expr], nw.Expr]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

_REAL: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def to_narwhals(
    frame: Frame,
    columns: Mapping[str, str],
    conditions: Mapping[str, Condition],
    chains: Mapping[str, Sequence[Condition]],
) -> Frame:
    """``frame`` with a Boolean column for each condition, never null, and for each chain the index of the first of its
    conditions that holds (null where none does). ``columns`` says in which column the value of a fact lies."""
    sums = _Sums(columns)
    made = {name: _sure(condition, sums) for name, condition in conditions.items()}
    made |= {name: _first([_sure(each, sums) for each in chain]) for name, chain in chains.items()}
    return sums.beside(frame, made)


def reckon(frame: Frame, columns: Mapping[str, str], values: Mapping[str, Expr]) -> Frame:
    """``frame`` with a column in double precision for each of ``values``, as conditions reckon."""
    sums = _Sums(columns)
    made = {name: sums.value(value).cast(nw.Float64) for name, value in values.items()}
    return sums.beside(frame, made)


def _sure(condition: Condition, sums: _Sums) -> nw.Expr:
    """True or false. Between conditions that are joined, missing may stand for false; not where one is turned round."""
    compiled = _compiled(condition, sums)
    return compiled if isinstance(condition, Always | Missing | Not) else compiled.fill_null(False)


def _compiled(condition: Condition, sums: _Sums) -> nw.Expr:
    match condition:
        case Always():
            return nw.lit(True)
        case Compare(op, left, right):
            # Codes of a list of texts are only good for being equal to a text.
            coded = op in ("==", "!=") and (isinstance(left, Lit) or isinstance(right, Lit))
            return _COMPARE[op](sums.value(left, coded), sums.value(right, coded))
        case Between(value, low, high):
            return sums.value(value, False).is_between(sums.value(low, False), sums.value(high, False))
        case In(value, choices):
            allowed = [c.value for c in choices if isinstance(c, Lit)]
            if value.kind == "number":
                return sums.value(value).cast(nw.Float64).is_in([float(n) for n in allowed])  # type: ignore[arg-type]
            return sums.value(value).is_in(allowed)
        case Missing(value):
            return sums.value(value).is_null()
        case And(terms):
            return _joined([_compiled(term, sums) for term in terms], operator.and_)
        case Or(terms):
            return _joined([_compiled(term, sums) for term in terms], operator.or_)
        case Not(term):
            return ~_sure(term, sums)
    raise TypeError(condition)


def _joined(terms: Sequence[nw.Expr], join: Callable[[nw.Expr, nw.Expr], nw.Expr]) -> nw.Expr:
    """Joined in pairs: engines allow no depth of thousands."""
    while len(terms) > 1:
        pairs = [join(one, other) for one, other in zip(terms[::2], terms[1::2], strict=False)]
        terms = [*pairs, *terms[len(pairs) * 2 :]]
    return terms[0]


def _first(flags: Sequence[nw.Expr]) -> nw.Expr:
    chain: Any = nw
    for index, flag in enumerate(flags):
        chain = chain.when(flag).then(nw.lit(index))
    result: nw.Expr = chain
    return result


class _Sums:
    """Arithmetic, as columns that are added before the conditions: what is reckoned is then mentioned, not repeated,
    however deeply it is nested."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._levels: list[dict[str, nw.Expr]] = []
        self._known: dict[str, tuple[str, int]] = {}

    def beside(self, frame: Frame, made: Mapping[str, nw.Expr]) -> Frame:
        """``frame`` with what was made, and without the columns that it was made from."""
        for level in (*self._levels, made):
            frame = frame.with_columns(**level) if level else frame
        return frame.drop([name for level in self._levels for name in level])

    def value(self, expr: Expr, coded: bool = True) -> nw.Expr:
        """The value in every row; of a text that is not ``coded``, the text itself."""
        match expr:
            case Leaf():
                column = nw.col(self._columns[expr.name])
                return column if coded or expr.kind != "text" else column.cast(nw.String)
            case Lit(value):
                return nw.lit(value)
            case Arithmetic():
                if _varies(expr):
                    return nw.col(self._column(expr)[0])
                return nw.lit(_known(expr), nw.Float64)
        raise TypeError(expr)

    def _column(self, expr: Arithmetic) -> tuple[str, int]:
        """The column that holds the result, and its level: it is made from those below."""
        key = repr(expr)
        if key not in self._known:
            sides = [
                self._column(side)[1]
                for side in (expr.left, expr.right)
                if isinstance(side, Arithmetic) and _varies(side)
            ]
            level = max(sides, default=-1) + 1
            if level == len(self._levels):
                self._levels.append({})
            name = f"?{len(self._known)}"
            self._levels[level][name] = self._result(expr)
            self._known[key] = (name, level)
        return self._known[key]

    def _result(self, expr: Arithmetic) -> nw.Expr:
        a, b = self.value(expr.left).cast(nw.Float64), self.value(expr.right).cast(nw.Float64)
        match expr.op:
            case "+":
                result = a + b
            case "-":
                result = a - b
            case "*":
                result = a * b
            case _:
                # Polars divides by what is the same in every row through its inverse, which is wrong in the last digit.
                result = nw.when(b != 0).then(a / (b + a * 0.0))
        return nw.when(result.is_finite()).then(result)


def _varies(expr: Expr) -> bool:
    """Whether it mentions a fact."""
    return next(expr.leaves(), None) is not None


def _known(expr: Expr) -> float | None:
    """What arithmetic without facts comes to."""
    if isinstance(expr, Lit):
        return float(expr.value)  # type: ignore[arg-type]
    assert isinstance(expr, Arithmetic)
    a, b = _known(expr.left), _known(expr.right)
    if a is None or b is None or (expr.op == "/" and b == 0):
        return None
    result: float = _REAL[expr.op](a, b)
    return result if math.isfinite(result) else None


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
