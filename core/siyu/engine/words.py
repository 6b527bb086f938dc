"""Conditions in words and as data: what was asked, of one user also what was found.

``days since order.paid >= 30 (is 41)``. A fact goes by the name that its rule gives it, or by its declaration.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from siyu.contract.conditions import (
    Always,
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Expr,
    HasTag,
    In,
    Leaf,
    Lit,
    Missing,
    Not,
    Or,
    Scalar,
)
from siyu.contract.facts import (
    DAY,
    Age,
    Attribute,
    Contains,
    Count,
    Cycle,
    DaysSince,
    DaysSinceFirst,
    DaysUntil,
    Distinct,
    EventFact,
    First,
    FirstKnown,
    Formula,
    Last,
    Max,
    Mean,
    Mentions,
    Min,
    OneOf,
    Score,
    Share,
    Test,
    Total,
    Where,
    Within,
)

__all__ = ["Node", "declared", "failing", "read", "shown"]

LISTED = 6
"""Longer lists are cut in the text; the children are whole."""

_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
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


@dataclass(frozen=True)
class Node:
    """A part of a condition.

    ``op`` is ``always``, ``and``, ``or``, ``not``, ``missing``, ``in``, ``between``, ``has_tag`` or a comparison: those
    have ``held``, whether it holds for the user. Or it is ``fact``, ``literal`` or arithmetic: those have ``value``,
    None where it is missing; ``fact`` is the declaration of a fact, whose children are those that it is the first
    known of. Without a user nothing is held and only literals
    have a value.
    """

    op: str
    text: str
    held: bool | None = None
    value: Scalar | None = None
    fact: str | None = None
    children: tuple[Node, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON data, of one shape for all nodes."""
        data: dict[str, Any] = to_jsonable_python(self)
        return data


def read(condition: Condition, names: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> Node:
    """``condition`` in words; ``names`` are what the rule calls its facts, ``facts`` the values of one user, both by
    the facts' own names. A :class:`HasTag` can be read, but holds for nobody before the rulebook is bound."""
    return _Reader(names, facts).condition(condition)


def failing(node: Node) -> str:
    """Of a condition that does not hold, the part that fails, in words."""
    if node.op == "and":
        return _listed([failing(child) for child in node.children if not child.held], "; ")
    return node.text


def shown(value: Scalar | None) -> str:
    """A value as it is read."""
    match value:
        case None:
            return "missing"
        case bool():
            return "true" if value else "false"
        case float():
            return repr(round(value, 4)).removesuffix(".0")
        case str():
            return repr(value if len(value) <= 60 else value[:60] + "…")
    return str(value)


def declared(fact: Leaf) -> str:
    """A fact in words, from its declaration."""
    match fact:
        case Attribute(attribute):
            return attribute
        case DaysUntil(attribute, yearly):
            return f"days until {'the next ' if yearly else ''}{attribute}"
        case Age(attribute, unit):
            return f"{unit} since {attribute}"
        case Score(of, cuts, reverse):
            return f"{'reverse ' if reverse else ''}band 1 to {len(cuts) + 1} of {declared(of)}"
        case FirstKnown(of):
            return f"({', else '.join(map(_sum, of))})"
        case Formula(expr):
            return _sum(expr)
        case EventFact(event, where, days):
            what = _what(fact, event)
            if what is not None:
                return what + (f" where {_filters(where)}" if where else "") + (f" in {days} days" if days else "")
    return fact.name


def _sum(expr: Expr) -> str:
    match expr:
        case Arithmetic(op, left, right):
            return f"({_sum(left)} {op} {_sum(right)})"
        case Lit(value):
            return str(value)
    return declared(expr) if isinstance(expr, Leaf) else repr(expr)


def _what(fact: EventFact, event: str) -> str | None:
    match fact:
        case Count() | Mentions():
            return f"count of {event}"
        case Cycle():
            return f"usual days between {event}"
        case DaysSince():
            return f"days since {event}"
        case DaysSinceFirst():
            return f"days since the first {event}"
        case Share():
            return f"share with {_filters(fact.of)} of {event}"
        case Distinct():
            what = "days with" if fact.field == DAY else f"different {fact.field} of"
            return f"{'repeat ' if fact.repeat else ''}{what} {event}"
        case Total():
            return f"total {fact.field} of {'repeated ' if fact.repeat else ''}{event}"
        case Mean():
            return f"mean {fact.field} of {event}"
        case Max():
            return f"greatest {fact.field} of {event}"
        case Min():
            return f"smallest {fact.field} of {event}"
        case First():
            return f"{fact.field} of the first {event}"
        case Last():
            return f"{fact.field} of the last {event}"
    return None


def _filters(where: Where) -> str:
    return " and ".join(_filter(field, test) for field, test in where)


def _filter(field: str, test: Test) -> str:
    match test:
        case OneOf((value,)):
            return f"{field} = {shown(value)}"
        case OneOf(values):
            return f"{field} in {_listed(list(map(shown, values)), ', ')}"
        case Contains(words):
            return f"{field} with {_listed(list(map(shown, words)), ' or ')}"
        case Within(low, None):
            return f"{field} >= {shown(low)}"
        case Within(None, high):
            return f"{field} <= {shown(high)}"
        case Within(low, high):
            return f"{field} from {shown(low)} to {shown(high)}"


class _Reader:
    def __init__(self, names: Mapping[str, str], facts: Mapping[str, Any] | None) -> None:
        self._names = names
        self._facts = facts

    def condition(self, condition: Condition) -> Node:
        match condition:
            case Always():
                return Node("always", "always", None if self._facts is None else True)
            case HasTag(key) if self._facts is None:
                return Node("has_tag", f"has the tag {key}")
            case Compare(op, left, right):
                a, b = self.value(left), self.value(right)
                return self._test(op, f"{a.text} {op} {b.text}", (a, b), _OPERATORS[op])
            case Between(value, low, high):
                it, a, b = self.value(value), self.value(low), self.value(high)
                text = f"{it.text} between {a.text} and {b.text}"
                return self._test("between", text, (it, a, b), lambda it, a, b: a <= it <= b)
            case In(value, choices):
                it, *allowed = self.value(value), *map(self.value, choices)
                text = f"{it.text} in {_listed([choice.text for choice in allowed], ', ')}"
                return self._test("in", text, (it, *allowed), lambda it, *choices: it in choices)
            case Missing(value):
                it = self.value(value)
                held = None if self._facts is None else it.value is None
                return Node(
                    "missing", f"{it.text} is missing" + (_found(it) if held is False else ""), held, None, None, (it,)
                )
            case And(terms):
                return self._joined("and", terms, all)
            case Or(terms):
                return self._joined("or", terms, any)
            case Not(term):
                inner = self.condition(term)
                return Node(
                    "not", f"not ({inner.text})", None if inner.held is None else not inner.held, None, None, (inner,)
                )
        raise TypeError(condition)

    def value(self, expr: Expr) -> Node:
        match expr:
            case Lit(value):
                return Node(
                    "literal", repr(value).removesuffix(".0") if isinstance(value, float) else shown(value), value=value
                )
            case Leaf():
                found = None if self._facts is None else self._facts[expr.name]
                text = self._names.get(expr.name) or declared(expr)
                return Node("fact", text, value=found, fact=expr.name, children=self._alternatives(expr))
            case Arithmetic(op, left, right):
                sides = self.value(left), self.value(right)
                text = f" {op} ".join(f"({side.text})" if side.op in "+-*/" else side.text for side in sides)
                return Node(op, text, value=_arithmetic(op, *sides), children=sides)
        raise TypeError(expr)

    def _alternatives(self, fact: Leaf) -> tuple[Node, ...]:
        """What a fact is the first known of, where these are known by themselves, too."""
        if not isinstance(fact, FirstKnown) or not all(each.name in (self._facts or ()) for each in fact.inner):
            return ()
        return tuple(map(self.value, fact.of))

    def _test(self, op: str, text: str, operands: tuple[Node, ...], test: Callable[..., Any]) -> Node:
        if self._facts is None:
            return Node(op, text, children=operands)
        values = [operand.value for operand in operands]
        held = None not in values and bool(test(*values))
        return Node(op, text + _found(*operands), held, None, None, operands)

    def _joined(self, op: str, terms: Sequence[Condition], of: Callable[[list[bool | None]], bool]) -> Node:
        children = tuple(map(self.condition, terms))
        parts = [f"({child.text})" if child.op in ("and", "or") else child.text for child in children]
        held = None if self._facts is None else of([child.held for child in children])
        return Node(op, _listed(parts, f" {op} "), held, None, None, children)


def _found(*operands: Node) -> str:
    """What was found in the place of what is not written there already."""
    values = [_answer(operand) for operand in operands if operand.op != "literal"]
    return f" (is {' against '.join(values)})" if values else ""


def _answer(operand: Node) -> str:
    """A value, and of the first known of several facts, which of them it is."""
    answered = operand
    while answered.fact and (known := [each for each in answered.children if each.value is not None]):
        answered = known[0]
    return shown(operand.value) + (f": {answered.text}" if answered is not operand else "")


def _arithmetic(op: str, left: Node, right: Node) -> float | None:
    """In double precision, missing where there is no finite number: as it is compiled."""
    a, b = left.value, right.value
    if a is None or b is None or (op == "/" and b == 0):
        return None
    assert isinstance(a, int | float)
    assert isinstance(b, int | float)
    result: float = _OPERATORS[op](float(a), float(b))
    return result if math.isfinite(result) else None


def _listed(parts: Sequence[str], joint: str) -> str:
    if len(parts) <= LISTED:
        return joint.join(parts)
    return f"{joint.join(parts[: LISTED - 1])}{joint}{len(parts) - LISTED + 1} more"
