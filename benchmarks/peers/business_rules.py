"""business-rules: conditions as JSON over a class of variables, an action for each tag.

It knows neither missing values nor arithmetic nor a negation: variables say whether there is a value, variables are
computed, and a negation is carried to the comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from typing import Any

import business_rules
import polars as pl
from business_rules.actions import BaseActions, rule_action
from business_rules.fields import FIELD_TEXT
from business_rules.operators import BooleanType, NumericType, SelectType
from business_rules.variables import BaseVariables, rule_variable
from siyu.contract.conditions import (
    ALWAYS,
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    Expr,
    In,
    Kind,
    Leaf,
    Lit,
    Missing,
    Not,
    Or,
)

from benchmarks.peers import Peer
from benchmarks.peers.book import STAGE, Book, literals

__all__ = ["BusinessRules"]

Json = dict[str, Any]

_TYPES = {"number": NumericType, "date": NumericType, "text": SelectType, "flag": BooleanType}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_OPERATORS = {
    "<": "less_than",
    "<=": "less_than_or_equal_to",
    ">": "greater_than",
    ">=": "greater_than_or_equal_to",
    "==": "equal_to",
}


class _Translator:
    """Writes conditions, and on the way finds the variables that they need."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.variables: dict[str, Callable[[Any], Any]] = {}

    def condition(self, condition: Condition, holds: bool = True) -> Json:
        """What is true where the condition holds, or where it does not."""
        match condition:
            case Not(term):
                return self.condition(term, not holds)
            case And(terms) | Or(terms):
                together = "all" if isinstance(condition, And) == holds else "any"
                return {together: [self.condition(term, holds) for term in terms]}
            case Missing(value):
                return self._known(value, not holds)
            case Between(value, low, high):
                both = Compare(">=", value, low) & Compare("<=", value, high)
                return self.condition(both, holds)
            case In(value, choices):
                one = Or(tuple(Compare("==", value, choice) for choice in literals(choices)))
                return self.condition(one, holds)
            case Compare(op, left, right):
                return self._compared(op, left, right, holds)
        if condition is ALWAYS:
            return self._always()
        raise TypeError(condition)

    def _compared(self, op: str, left: Expr, right: Expr, holds: bool) -> Json:
        if not isinstance(right, Lit):
            left, right = Arithmetic("-", left, right), Lit(0, "number")
        compared = self._test(op if holds else _OPPOSITE[op], left, right)
        if not self.book.missing(left) and not _divides(left):
            return compared
        return {"all" if holds else "any": [self._known(left, holds), compared]}

    def _test(self, op: str, left: Expr, right: Lit) -> Json:
        name = self._variable(left)
        if left.kind == "flag":
            return _check(name, "is_true" if right.value is (op == "==") else "is_false")
        if left.kind == "text":
            return _check(name, "contains" if op == "==" else "does_not_contain", right.value)
        number = right.value.toordinal() if isinstance(right.value, date) else right.value
        if op == "!=":
            return {"any": [_check(name, "less_than", number), _check(name, "greater_than", number)]}
        return _check(name, _OPERATORS[op], number)

    def _variable(self, expr: Expr) -> str:
        name = self.book.name(expr) if isinstance(expr, Leaf) else f"computed_{len(self.variables)}"
        value, kind = self._value(expr), expr.kind
        # What is asked although nothing is known must still be of its type.
        empty: Any = {"number": 0, "date": 0, "text": "", "flag": False}[kind]

        def get(self: Any) -> Any:
            found = value(self.user)
            found = empty if found is None else found
            return [found] if kind == "text" else found

        return self._define(name, get, kind)

    def _known(self, expr: Expr, known: bool) -> Json:
        value = self._value(expr)
        name = f"known_{self.book.name(expr)}" if isinstance(expr, Leaf) else f"known_{len(self.variables)}"
        self._define(name, lambda self: value(self.user) is not None, "flag")
        return _check(name, "is_true" if known else "is_false")

    def _always(self) -> Json:
        return _check(self._define("always", lambda self: True, "flag"), "is_true")

    def _define(self, name: str, get: Callable[[Any], Any], kind: Kind) -> str:
        self.variables[name] = rule_variable(_TYPES[kind])(get)
        return name

    def _value(self, expr: Expr) -> Callable[[Json], Any]:
        match expr:
            case Leaf():
                name = self.book.name(expr)
                return lambda user: user[name]
            case Lit(value):
                return lambda user: value
            case Arithmetic():
                names, code = self.book.missing(expr), self._code(expr)
                present = [f"user[{name!r}] is not None" for name in names]
                present += [f"{self._code(divisor)} != 0" for divisor in _divides(expr)]
                guarded = f"lambda user: {code}" + (f" if {' and '.join(present)} else None" if present else "")
                compute: Callable[[Json], Any] = eval(guarded)
                return compute
        raise TypeError(expr)

    def _code(self, expr: Expr) -> str:
        match expr:
            case Leaf():
                return f"user[{self.book.name(expr)!r}]"
            case Arithmetic(op, left, right):
                return f"({self._code(left)} {op} {self._code(right)})"
        return repr(expr)


def _check(name: str, operator: str, value: Any = None) -> Json:
    return {"name": name, "operator": operator, "value": value}


def _divides(expr: Expr) -> list[Expr]:
    if not isinstance(expr, Arithmetic):
        return []
    return [*_divides(expr.left), *_divides(expr.right), *([expr.right] if expr.op == "/" else [])]


class _Actions(BaseActions):  # type: ignore[misc]
    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.stage: str | None = None

    @rule_action(params={"tag": FIELD_TEXT})  # type: ignore[untyped-decorator]
    def give(self, tag: str) -> None:
        self.tags.add(tag)

    @rule_action(params={"stage": FIELD_TEXT})  # type: ignore[untyped-decorator]
    def enter(self, stage: str) -> None:
        self.stage = stage


class BusinessRules(Peer):
    """``run_all`` for the tags, and for the stages until the first that holds."""

    name = f"business-rules {version('business-rules')}"
    one_by_one = True

    def __init__(self, book: Book) -> None:
        super().__init__(book)
        text = _Translator(book)
        self._tags = [_rule(text, when, "give", tag=tag) for tag, when in book.tags.items()]
        self._stages = [_rule(text, when, "enter", stage=stage) for stage, when in book.stages.items()]
        self._variables = type("Variables", (BaseVariables,), {"__init__": _remember, **text.variables})

    def take(self, facts: pl.DataFrame) -> None:
        dates = pl.selectors.date()
        # Days since 0001-01-01, as in date.toordinal().
        self._users = facts.with_columns(dates.cast(pl.Int64) + date(1970, 1, 1).toordinal()).to_dicts()

    def run(self) -> Any:
        return [self._one(user) for user in self._users]

    def _one(self, user: Json) -> _Actions:
        variables, actions = self._variables(user), _Actions()
        business_rules.run_all(self._tags, variables, actions)
        business_rules.run_all(self._stages, variables, actions, stop_on_first_trigger=True)
        return actions

    def answers(self) -> pl.DataFrame:
        given = self.run()
        columns = {tag: [tag in actions.tags for actions in given] for tag in self.book.tags}
        return pl.DataFrame({**columns, STAGE: [actions.stage for actions in given]})


def _remember(self: Any, user: Json) -> None:
    self.user = user


def _rule(text: _Translator, when: Condition, action: str, **params: str) -> Json:
    condition = text.condition(when)
    # A rule wants its conditions under all or any.
    together = condition if condition.keys() & {"all", "any"} else {"all": [condition]}
    return {"conditions": together, "actions": [{"name": action, "params": params}]}
