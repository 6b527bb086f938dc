"""JSON written straight from rows, by functions that are generated for a selection.

Only keys of the answer, which GraphQL holds to letters, digits and underscores, become part of the code; every value
comes by a name.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import Any

from graphql import GraphQLEnumType, GraphQLNonNull, GraphQLOutputType, GraphQLScalarType
from siyu.engine.explain import RULE_GONE, render

from siyu_graphql.plans.document import Unplanned

__all__ = ["Code", "Rule", "Template", "because", "global_id", "quoted", "written"]


@dataclass(frozen=True)
class Template:
    """The text of an object with a ``%s`` for each expression."""

    text: str
    values: Sequence[str]

    @property
    def code(self) -> str:
        """The expression of the whole."""
        if not self.values:
            return repr(self.text)
        return f"{self.text!r} % ({', '.join(self.values)},)"

    @property
    def lines(self) -> list[str]:
        """Statements that leave what is made of a row ``r`` in ``text``; quicker than ``code``."""
        text = self.text.replace("{", "{{").replace("}", "}}")
        for number in range(len(self.values)):
            text = text.replace("%s", f"{{x{number}}}", 1)
        return [*(f"x{number} = {value}" for number, value in enumerate(self.values)), f"text = f{text!r}"]

    @classmethod
    def of(cls, entries: Sequence[tuple[str, str]]) -> Template:
        """An object of keys and expressions."""
        return cls("{" + ",".join(f'"{key}":%s' for key, _ in entries) + "}", [value for _, value in entries])


class Code:
    """Functions that are generated, and the values that they know by name."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"quoted": quoted, "global_id": global_id, "because": because, "whole": whole}

    def bind(self, value: Any) -> str:
        """A name for a value."""
        name = f"v{len(self._names)}"
        self._names[name] = value
        return name

    def function(self, arguments: str, *lines: str) -> str:
        """The name of a function with that body."""
        name = f"f{len(self._names)}"
        body = "".join(f"    {line}\n" for line in lines)
        exec(compile(f"def {name}({arguments}):\n{body}", "<plan>", "exec"), self._names)
        return name

    def get(self, name: str) -> Callable[..., str]:
        """A function by its name."""
        found: Callable[..., str] = self._names[name]
        return found


def written(code: Code, type_: GraphQLOutputType, value: str) -> str:
    """The expression of the JSON of ``value``, which is an expression that may stand twice."""
    if not isinstance(type_, GraphQLNonNull):
        return f"('null' if {value} is None else {written(code, GraphQLNonNull(type_), value)})"
    inner = type_.of_type
    if isinstance(inner, GraphQLEnumType):
        names = {member.value: f'"{name}"' for name, member in inner.values.items()}
        return f"{code.bind(names)}[{value}]"
    if isinstance(inner, GraphQLScalarType) and inner.name in SCALARS:
        return SCALARS[inner.name].format(value)
    raise Unplanned


SCALARS = {
    "String": "quoted({})",
    "Int": "whole({})",
    "Boolean": "('true' if {} else 'false')",
    "DateTime": "{}",
    "JSON": "{}",
}
"""How values are written; those of the last two come as JSON from the connections that read."""


def whole(number: int) -> int:
    """A number that GraphQL's Int can be."""
    if not -(2**31) <= number < 2**31:
        raise Unplanned
    return number


def global_id(name: str) -> str:
    """The global id that Relay makes of ``Type:name``."""
    return f'"{b2a_base64(name.encode(), newline=False).decode()}"'


class Rule:
    """A rule as it stood in a version of the rulebook, ready to be written; both None where it is not kept."""

    def __init__(self, version: str | None, reason: Any) -> None:
        self.reason = reason
        self.version = "null" if version is None else quoted(version)
        when = reason.get("when") if reason else None
        self.rule = "null" if when is None else quoted(when)


@lru_cache(maxsize=10_000)
def because(rule: Rule, why: str) -> str:
    """Why something was decided, in words."""
    return quoted(RULE_GONE if rule.reason is None else render(rule.reason, json.loads(why)))
