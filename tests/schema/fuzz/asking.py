"""Requests over the whole schema, mostly as clients might write them and now and then wrong: each comes from a seed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal
from urllib.parse import urlencode

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

ODD = 0.04
"""How often a value is one that nobody should send, in an operation that may hold such."""
MOODS = (0, 0, 0, 1, 1, 2)
"""How odd operations are: half of them are as they should be."""
MOST_FIELDS = 5
DEAR = {"replay": 0.02, "previewPlugin": 0.05, "explain": 0.2, "__schema": 0.01}
"""Fields that take longest, and how often they are asked for where they could be."""
OPERATIONS = ("query",) * 5 + ("mutation",) * 4
FREQUENT = ("recordEvents",) * 8
"""Mutations that come more often than others."""
SELDOM = {"last": 0.08, "before": 0.08, "after": 0.2}
"""How often an argument is given that may be left out, where it is not three times in ten."""
ID_TYPES = (
    *("User", "User", "User", "Event", "Action", "Run", "Segment", "Task"),
    *("UserMerge", "AccessToken", "File", "Nothing", "Benefit", "Grant"),
)

TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\u202eabc",
    "💥",
    "私域" * 200,
    "a" * 40_000,
    "%",
    "_",
    "\\",
    "{}",
    "{0.__class__}",
    "%s",
    "$1",
    "'; DROP TABLE users; --",
    '"',
    "\n",
    "../../etc/passwd",
    "null",
    "NaN",
    "1e999",
    "-1",
    "１２",
    "²",
    "2026-02-30",
    "2026-02-30T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.999999Z",
    "2026-05-01T00:00:00",
    "2026-05-01T00:00:00+23:59",
    "P1D",
)
NUMBERS = (0, -1, 1, 100, 101, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 10**400)
FLOATS = (0.5, -0.0, 1e-320, 1e308, 1e22, 2.0**63)
MOMENTS = (
    "2026-01-15T00:00:00Z",
    "2026-03-01T08:00:00+08:00",
    "2026-05-20T00:00:00Z",
    "2026-06-01T12:00:00.5Z",
    "2030-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z",
)
PAYLOADS: Mapping[str, Sequence[Any]] = {
    "order.paid": (
        {"amount": "12.50"},
        {"amount": 0},
        {"amount": "99999999999999.99", "items": [{"category": "pet_food", "quantity": 2}]},
        {"amount": "1", "items": []},
    ),
    "profile.updated": ({"skin": "油性"}, {"phone": "139", "birthday": "2025-02-29"}, {"age": 7}, {"skin": None}),
    "contact.added": ({"source": "qr"}, {}),
    "article.opened": ({"topic": "parenting"}, {"article": "a1", "topic": "育儿"}),
}


class Written(str):
    """A value that a document holds as it stands: the name of an enum's value."""


@dataclass(frozen=True)
class Known:
    """What there is to be named, by the name of the argument or field of an input that takes it."""

    values: Mapping[str, Sequence[Any]]
    cursors: Mapping[str, Sequence[str]]
    """By the name of the list that they come from."""
    brands: Sequence[int]


@dataclass(frozen=True)
class Asked:
    """A request: how it is sent, what it says, and who of the bearers sends it."""

    way: Literal["post", "get", "sse", "multipart", "socket"]
    body: bytes
    bearer: int
    type: str = "application/json"


@dataclass
class Asker:
    """Writes one request; everything it chooses comes from ``dice``."""

    schema: GraphQLSchema
    known: Known
    dice: Random
    bearers: int
    variables: dict[str, Any] = field(default_factory=dict)
    _declared: list[str] = field(default_factory=list)
    _fragments: list[str] = field(default_factory=list)
    _aliases: int = 0
    _fields: int = 0
    _deepest: int = 0
    _mood: int = 1

    def request(self) -> Asked:
        """A request in one of the ways in which requests come."""
        bearer, often = self.dice.randrange(self.bearers), self.dice.random()
        if often < 0.04:
            return Asked("socket", self._frames(), bearer)
        if often < 0.07:
            operation = self._operation(self.dice.choice(("subscription", "subscription", "query")))
            return Asked(self.dice.choice(("sse", "multipart")), _encoded(operation), bearer)
        if often < 0.10:
            some = [self._operation(self._kind()) for _ in range(self.dice.choice((0, 1, 2, 3, 10, 11)))]
            return Asked("post", _encoded(some), bearer)
        if often < 0.12:
            asked = self._operation(self._kind())
            flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asked.items()}
            return Asked("get", urlencode(flat, errors="replace").encode(), bearer)
        body = _encoded(self._operation(self._kind()))
        if self._odd(0.5):
            body = self._damaged(body)
        return Asked("post", body, bearer, "text/plain" if self._odd(0.1) else "application/json")

    # -- operations ---------------------------------------------------------------------------------------------------

    def _kind(self) -> str:
        return "subscription" if self._odd(0.5) else self.dice.choice(OPERATIONS)

    def _operation(self, kind: str) -> dict[str, Any]:
        """What is sent for one operation."""
        self.variables, self._declared, self._fragments = {}, [], []
        self._aliases = self._fields = 0
        self._mood, self._deepest = self.dice.choice(MOODS), self.dice.choice((3, 4, 5, 5, 6, 7, 9, 13))
        text, name = self._document(kind)
        asked: dict[str, Any] = {"query": self._scratched(text) if self._odd() else text}
        if self.variables or self.dice.random() < 0.1:
            asked["variables"] = self.variables
            if self._odd():
                asked["variables"] = self.dice.choice([{}, None, {**self.variables, "more": 1}, self._json(0)])
        if name and self.dice.random() < 0.3:
            asked["operationName"] = name
        if self._odd(0.5):
            name = self.dice.choice(["query", "variables", "operationName", "extensions", "documentId", "id"])
            asked[name] = self.dice.choice([None, "", "X", 1, {}, {"persistedQuery": {"version": 1}}, self._json(0)])
        return asked

    def _document(self, kind: str) -> tuple[str, str]:
        root = {
            "query": self.schema.query_type,
            "mutation": self.schema.mutation_type,
            "subscription": self.schema.subscription_type,
        }[kind]
        assert root is not None
        names = [name for name in root.fields if name != "brand"]
        if kind == "query":
            # All but a few of the fields lie below a brand.
            chosen = ["brand"] * (self.dice.random() < 0.85)
            chosen += self.dice.sample(names, self.dice.choice((0, 0, 1)) if chosen else self.dice.randint(1, 3))
        else:
            chosen = [self.dice.choice([*names, *(FREQUENT if kind == "mutation" else ())])]
            chosen += self.dice.sample(names, self.dice.choice((0, 0, 0, 1, 2))) if kind == "mutation" else []
        if kind == "query" and self._seldom("__schema"):
            chosen.append("__schema")
        parts = [
            "__schema { types { name fields { name type { name ofType { name } } } } }"
            if name == "__schema"
            else self._field(name, root.fields[name], 1)
            for name in chosen
        ]
        if self.dice.random() < 0.05:
            parts.append("__typename")
        if self._odd():
            parts.append(self.dice.choice(["nothing", "{ }", "...Nowhere", "version { x }", "... on User { id }"]))
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        name = "Op" if declared or self.dice.random() < 0.6 else ""
        more = ["query Other { version }"] if self._odd() else []
        head = f"{kind} {name}{declared} {{ {' '.join(parts)} }}"
        return " ".join([head, *self._fragments, *more]), name

    def _selection(self, type_: GraphQLNamedType, depth: int) -> str:
        if is_abstract_type(type_):
            objects = self.schema.get_possible_types(type_)
            some = self.dice.sample(objects, min(len(objects), self.dice.choice((1, 2, 4))))
            parts = [f"... on {each.name} {{ {self._selection(each, depth)} }}" for each in some]
            return " ".join(["__typename", *parts])
        assert isinstance(type_, GraphQLObjectType)
        leaves = [name for name, each in type_.fields.items() if is_leaf_type(get_named_type(each.type))]
        names = [name for name in type_.fields if self._seldom(name)]
        if depth >= self._deepest or self._fields > 60:
            names = leaves or ["__typename"]
        most = min(len(names), MOST_FIELDS)
        chosen = self.dice.sample(names, self.dice.randint(1, most)) if most else ["__typename"]
        parts = [self._field(name, type_.fields[name], depth) if name in type_.fields else name for name in chosen]
        if self.dice.random() < 0.08:
            parts.append(self.dice.choice(["__typename", *parts]))
        if self._odd(0.2):
            stray = f"... on {self.dice.choice(ID_TYPES)} {{ id }}"
            parts.append(self.dice.choice(["nothing", stray, "id: __typename"]))
        return " ".join(self._wrapped(type_, parts))

    def _wrapped(self, type_: GraphQLObjectType, parts: list[str]) -> list[str]:
        """Some of the parts in fragments."""
        if self.dice.random() > 0.2:
            return parts
        cut = self.dice.randint(0, len(parts) - 1)
        inside = " ".join(parts[cut:])
        if self.dice.random() < 0.5:
            condition = f"on {type_.name} " if self.dice.random() < 0.7 else ""
            return [*parts[:cut], f"... {condition}{self._directive()}{{ {inside} }}"]
        name = f"F{len(self._fragments)}"
        inside += f" ...{name}" if self._odd(0.3) else ""  # which never ends
        self._fragments.append(f"fragment {name} on {type_.name} {{ {inside} }}")
        twice = [f"...{name}"] if self.dice.random() < 0.2 else []
        return [*parts[:cut], f"...{name} {self._directive()}".rstrip(), *twice]

    def _field(self, name: str, field_: GraphQLField, depth: int) -> str:
        self._fields += 1
        arguments = self._arguments(name, field_)
        alias = (bool(arguments) or self.dice.random() < 0.1) and self._aliases < 32
        self._aliases += alias
        text = f"{f'a{self._aliases}: ' if alias else ''}{name}{arguments} {self._directive()}".rstrip()
        type_ = get_named_type(field_.type)
        if is_composite_type(type_):
            text += f" {{ {self._selection(type_, depth + 1)} }}"
        return text

    def _directive(self) -> str:
        if self.dice.random() > 0.05:
            return ""
        if self._odd():
            return self.dice.choice(["@nothing ", "@skip ", '@include(if: "x") ', "@deprecated "])
        holds = self.dice.random() < 0.6
        value = self._variable("Boolean!", holds) if self.dice.random() < 0.6 else json.dumps(holds)
        return f"@{self.dice.choice(['skip', 'include'])}(if: {value}) "

    # -- values -------------------------------------------------------------------------------------------------------

    def _arguments(self, of: str, field_: GraphQLField) -> str:
        given = []
        for name, argument in field_.args.items():
            needed = is_required_argument(argument)
            if self._odd(0.3) if needed else self.dice.random() > SELDOM.get(name, 0.3):
                continue
            if name in ("after", "before") and not self._odd():
                value: Any = self._cursor(of)
            else:
                value = self._value(name, argument.type, 0)
            text = self._variable(self._named(argument), value) if self.dice.random() < 0.5 else _literal(value)
            given.append(f"{name}: {text}")
        if self._odd(0.05):
            given.append(f"nothing: {_literal(self._json(0))}")
        return f"({', '.join(given)})" if given else ""

    def _named(self, argument: GraphQLArgument) -> str:
        """The type of a variable that is given for it."""
        if self._odd(0.3):
            return self.dice.choice(["Int", "String!", "[String]", "Nothing", "UserFilter", "JSON!", "User"])
        return str(argument.type)

    def _variable(self, type_: str, value: Any) -> str:
        name = f"v{len(self._declared)}"
        default = ""
        if self.dice.random() < 0.1 and not type_.endswith("!"):
            default = f" = {_literal(value)}"
        self._declared.append(f"${name}: {type_}{default}")
        if not default or self.dice.random() < 0.5:
            self.variables[name] = _plain(value)
        return f"${name}"

    def _value(self, name: str, type_: GraphQLInputType, depth: int) -> Any:
        """A value for an argument or a field of an input of that name."""
        if self._odd():
            return self._json(0)
        if isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        elif self.dice.random() < 0.03:
            return None
        if isinstance(type_, GraphQLList):
            some = self.dice.choice((0, 1, 1, 2, 3)) if not self._odd(0.5) else self.dice.choice((50, 201, 1_100))
            one = self._value(name, type_.of_type, depth + 1) if some > 3 else None
            return [one] * some if some > 3 else [self._value(name, type_.of_type, depth + 1) for _ in range(some)]
        if isinstance(type_, GraphQLInputObjectType):
            return self._input(type_, depth)
        if isinstance(type_, GraphQLEnumType):
            return Written(self.dice.choice(list(type_.values)))
        assert isinstance(type_, GraphQLNamedType)
        return self._scalar(name, type_.name)

    def _input(self, type_: GraphQLInputObjectType, depth: int) -> dict[str, Any]:
        if type_.name == "EventInput" and not self._odd():
            return self._event()
        found: dict[str, Any] = {}
        deepest = 12 if self._odd() else 3
        for name, field_ in type_.fields.items():
            if name in ("AND", "OR", "NOT"):
                if depth < deepest and self.dice.random() < (0.2 if deepest == 3 else 0.8):
                    found[name] = self._value(name, field_.type, depth + 1)
            elif self._wanted(field_):
                found[name] = self._value(name, field_.type, depth + 1)
        if self._odd(0.2):
            found["nothing"] = 1
        return found

    def _wanted(self, field_: GraphQLInputField) -> bool:
        return self.dice.random() < (0.98 if is_required_input_field(field_) else 0.2)

    def _event(self) -> dict[str, Any]:
        """An event that is nearly always taken."""
        choose = self.dice.choice
        kind = choose(list(PAYLOADS)) if not self._odd() else choose(("nothing", choose(TEXTS)))
        names = [("member", f"m{self.dice.randrange(300):02}"), ("phone", f"139{self.dice.randrange(50)}")]
        names.append(("email", f"{self.dice.randrange(200)}@example.com"))
        user = [{"kind": kind, "value": value} for kind, value in self.dice.sample(names, choose((1, 1, 1, 2)))]
        payload = choose(PAYLOADS.get(kind) or [{}])
        if self.dice.random() < 0.1:
            payload = {**payload, choose(("amount", "items", "skin", "age", "more", *TEXTS)): self._json(0)}
        event = {"id": f"e{self.dice.randrange(10_000)}", "kind": kind, "user": user, "payload": payload}
        if self.dice.random() < 0.7:
            event["at"] = choose(MOMENTS) if not self._odd() else choose(TEXTS)
        return event

    def _scalar(self, name: str, type_: str) -> Any:
        choose = self.dice.choice
        match type_:
            case "Boolean":
                return self.dice.random() < 0.5
            case "Int":
                if name in ("first", "last"):
                    return choose((0, 1, 2, 3, 5, 10, 10, 100)) if not self._odd() else choose(NUMBERS)
                return choose((0, 1, 5, 30, 50, 99, 100)) if not self._odd() else choose(NUMBERS)
            case "Float" | "Decimal":
                return choose((0, 1.5, *FLOATS))
            case "DateTime":
                return choose(MOMENTS) if not self._odd() else choose(TEXTS)
            case "Date":
                return choose(("2026-03-01", "2026-02-29", *TEXTS))
            case "ID":
                return self._id(name)
            case "JSON":
                return choose(self.known.values.get(name) or [None]) if self.dice.random() < 0.6 else self._json(0)
        return choose(self.known.values.get(name) or ("a", "b")) if not self._odd() else choose(TEXTS)

    def _id(self, name: str) -> str:
        type_ = {"user": "User", "other": "User", "merge": "UserMerge", "run": "Run", "task": "Task"}.get(name)
        if type_ is None or self._odd():
            type_ = self.dice.choice(ID_TYPES)
        brand = self.dice.choice(self.known.brands) if not self._odd() else self.dice.choice(NUMBERS)
        number: Any = self.dice.randint(1, 60) if not self._odd() else self.dice.choice((*NUMBERS, *TEXTS[:6], "", ":"))
        text = f"{type_}:{brand}:{number}".encode(errors="replace")
        return base64.b64encode(text).decode() if not self._odd() else self.dice.choice(TEXTS)

    def _cursor(self, of: str) -> str:
        cursors = self.known.cursors
        cursor = self.dice.choice(cursors.get(of) or ["tag:1"])
        if not self._odd(4):
            return cursor
        if self.dice.random() < 0.5:
            other = self.dice.choice([each for some in cursors.values() for each in some])
            return self.dice.choice([other, cursor[:-3], cursor[::-1], cursor + "AAAA", *TEXTS])
        # One of ours, with a value in it that we never gave.
        try:
            name, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except ValueError:
            return cursor
        values[self.dice.randrange(len(values))] = self._json(0)
        return base64.urlsafe_b64encode(json.dumps([name, *values]).encode()).decode().rstrip("=")

    def _json(self, depth: int) -> Any:
        """Any JSON, the odder the better."""
        choose = self.dice.choice
        match choose(("text", "text", "number", "number", "float", "word", "list", "object", "deep")):
            case "text":
                return choose(TEXTS)
            case "number":
                return choose(NUMBERS)
            case "float":
                return choose(FLOATS)
            case "list" if depth < 3:
                return [self._json(depth + 1) for _ in range(choose((0, 1, 2, 3)))]
            case "object" if depth < 3:
                names = ("a", "name", "eq", "id", *TEXTS)
                return {choose(names): self._json(depth + 1) for _ in range(choose((0, 1, 2)))}
            case "deep" if depth == 0:
                value: Any = 1
                for _ in range(choose((5, 30, 200))):
                    value = [value] if self.dice.random() < 0.5 else {"NOT": value}
                return value
        return choose((None, True, False))

    # -- what is no request at all ------------------------------------------------------------------------------------

    def _frames(self) -> bytes:
        """What a WebSocket says, after it has said whose it is: one message a line."""
        said = []
        for number in range(self.dice.choice((1, 1, 2, 3))):
            operation = self._operation(self.dice.choice(("subscription", "subscription", "query", "mutation")))
            said.append(_encoded({"type": "subscribe", "id": str(number), "payload": operation}))
        if self._odd(3):
            odd = [{"type": "ping"}, {"type": "pong"}, {"type": "complete", "id": "0"}, {"type": "connection_init"}]
            odd += [{}, {"type": "nothing"}, {"type": "subscribe"}, self._json(0), {"type": "subscribe", "id": "0"}]
            said.insert(self.dice.randint(0, len(said)), _encoded(self.dice.choice(odd)))
        if self._odd():
            said = [self._damaged(each) for each in said]
        return b"\n".join(each.replace(b"\n", b" ") for each in said)

    def _damaged(self, body: bytes) -> bytes:
        cut = self.dice.randrange(len(body) + 1)
        stray = self.dice.choice([b"\x00", b"\xff\xfe", b"[" * 5_000, b'"', b"NaN", b"1e400", b"{}", b" "])
        return self.dice.choice([b"", body[:cut], body[:cut] + stray + body[cut:], stray, body + body])

    def _scratched(self, text: str) -> str:
        cut = self.dice.randrange(len(text) + 1)
        strays = ["{", "}", "(", ")", '"', '"""', "$", "@", "...", "\x00", "é", "#", "{" * 300, "a " * 2_500]
        stray = self.dice.choice(strays)
        return self.dice.choice([text[:cut] + text[cut + 1 :], text[:cut] + stray + text[cut:], text[:cut], stray])

    def _odd(self, times: float = 1.0) -> bool:
        return self.dice.random() < ODD * times * self._mood

    def _seldom(self, name: str) -> bool:
        """Whether a field is to be asked for where it could be."""
        return name not in DEAR or self.dice.random() < DEAR[name]


def _literal(value: Any) -> str:
    """A value as a document holds it."""
    match value:
        case Written():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{_name(key)}: {_literal(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value)


def _name(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else f"_{len(key)}"


def _plain(value: Any) -> Any:
    match value:
        case Written():
            return str(value)
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
    return value


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def ids_in(data: Any) -> Iterator[tuple[str, str]]:
    """The types and brands in the ids of an answer."""
    match data:
        case dict():
            for inner in data.values():
                yield from ids_in(inner)
        case list():
            for inner in data:
                yield from ids_in(inner)
        case str() if 8 <= len(data) <= 200 and len(data) % 4 == 0:
            try:
                type_, brand, *_ = base64.b64decode(data, validate=True).decode().split(":")
            except ValueError:
                return
            if type_.isidentifier() and brand.isdigit():
                yield type_, brand
