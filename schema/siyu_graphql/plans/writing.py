"""JSON written straight from rows, by functions that are generated for a selection.

Only keys of the answer, which GraphQL holds to letters, digits and underscores, become part of the code; every value
comes by a name.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import repeat
from json.encoder import encode_basestring as quoted
from typing import Any

from graphql import GraphQLEnumType, GraphQLNonNull, GraphQLOutputType, GraphQLScalarType
from siyu.engine.explain import RULE_GONE, render
from siyu.flow.personal import NOTHING_ELSE, WHOLE, WORDS, Names, named_in, veil

from siyu_graphql.plans.document import Unplanned
from siyu_graphql.plans.reading import Request

__all__ = ["Code", "Rule", "Template", "may_hold", "quoted", "written"]

MOST_KEPT = 2_000
"""What is longer is looked through each time, not kept: a payload may be two megabytes."""


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
        self._names: dict[str, Any] = {
            "global_id": global_id,
            "quoted": quoted,
            "repeat": repeat,
            "shown": shown,
            "told": told,
            "whole": whole,
        }

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
    """A rule as it stood in a version of the rulebook, ready to be written; both None where it is not kept.

    ``declared`` are the names of what plugins declare personal.
    """

    def __init__(self, version: str | None, reason: Any, declared: Names = NOTHING_ELSE) -> None:
        self.reason = reason
        self.version = "null" if version is None else quoted(version)
        when = reason.get("when") if reason else None
        self.rule = "null" if when is None else quoted(when)
        facts = reason.get("facts", ()) if reason else ()
        self._personal = [index for index, (_, fact) in enumerate(facts) if named_in(fact, declared)]

    def because(self, request: Request, whose: int, why: str) -> str:
        """Why something was decided for a user, in words."""
        if not self._personal:
            return _words(self, why)
        values = json.loads(why)
        for index in self._personal:
            if index < len(values):
                values[index] = request.personal.covered(request.brand_id, whose, values[index])
        return quoted(render(self.reason, values))


@lru_cache(maxsize=10_000)
def _words(rule: Rule, why: str) -> str:
    return quoted(RULE_GONE if rule.reason is None else render(rule.reason, json.loads(why)))


def shown(request: Request, whose: int, text: str) -> str:
    """JSON as the bearer may see it."""
    veiled = _looked(request, text)
    return text if veiled is None or request.personal.may_see(request.brand_id, whose) else veiled


def told(request: Request, user: Sequence[Any] | None, text: str) -> str:
    """A text that may quote what is personal of a user (number, and attributes as JSON), as the bearer may see it."""
    if user is None or _looked(request, user[1]) is None:
        return quoted(text)
    return quoted(request.personal.told(request.brand_id, user[0], json.loads(user[1]), text))


def _looked(request: Request, text: str) -> str | None:
    look = _veiled if len(text) <= MOST_KEPT else _veiled.__wrapped__
    return look(text, request.personal.declared)


@lru_cache(maxsize=20_000)
def _veiled(text: str, declared: Names) -> str | None:
    """What those see who may not see what is personal; None where nothing is."""
    if not may_hold(declared).search(text):
        return None
    value, found = veil(json.loads(text), declared)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if found else None


@cache
def may_hold(declared: Names) -> re.Pattern[str]:
    """Finds something in every JSON text that has a personal name in it, and in few others: most need not be read."""
    words = [*WORDS, *("[^a-z]*".join(name.split("_")) for name in WHOLE)]
    words += [re.escape(json.dumps(name, ensure_ascii=False)[1:-1]) for name in declared]
    return re.compile("|".join(sorted(words)), re.IGNORECASE)
