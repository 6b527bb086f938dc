"""Documents over the part of the schema that plans know, and a little beyond it, as clients might write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)
from siyu_graphql.plans.document import definition
from siyu_graphql.plans.nouns import BRAND, FIELDS

MOST_FIELDS = 6
DEPTH = 7
FIRST = (None, 0, 1, 2, 3, 7, 50)
WRONG_FIRST = (-1, 101, 2**31 - 1)
UNKNOWN = ("plugins", "settingChanges", "runs", "freshness", "merges", "segments", "waiting")
"""Fields that plans do not know: asked for now and then. Those that take long are left to their own tests."""


@dataclass(frozen=True)
class Some:
    """What there is to be asked for."""

    slugs: Sequence[str]
    tags: Sequence[str]
    stages: Sequence[str]
    members: Sequence[str]
    users: Sequence[str]
    cursors: Mapping[str, Sequence[str]]
    """Cursors by the name of the list that they come from."""


@dataclass
class Writer:
    """Writes one document; everything it chooses comes from ``dice``."""

    schema: GraphQLSchema
    some: Some
    dice: Random
    variables: dict[str, Any] = field(default_factory=dict)
    _declared: list[str] = field(default_factory=list)
    _fragments: list[str] = field(default_factory=list)
    _aliases: int = 0

    def document(self) -> tuple[str, dict[str, Any]]:
        """A document and its variables."""
        assert self.schema.query_type is not None
        brands = [self._field("brand", self.schema.query_type.fields["brand"], 0)]
        if self.dice.random() < 0.2:
            brands.append(self._field("brand", self.schema.query_type.fields["brand"], 2))
        if self.dice.random() < 0.1:
            brands.append("__typename")
        if self.dice.random() < 0.02:
            brands.append("version")
        declared = f"({', '.join(self._declared)})" if self._declared else ""
        name = "Q" if declared or self.dice.random() < 0.5 else ""
        return " ".join([f"query {name}{declared} {{ {' '.join(brands)} }}", *self._fragments]), self.variables

    def _selection(self, type_: GraphQLObjectType, depth: int) -> str:
        known = BRAND if type_.name == "Brand" else FIELDS.get(type_.name)
        names = [name for name, field in type_.fields.items() if known is None or _python_name(field) in known]
        if depth >= DEPTH:
            names = [name for name in names if is_leaf_type(get_named_type(type_.fields[name].type))] or ["__typename"]
        chosen = self.dice.sample(names, self.dice.randint(1, min(len(names), MOST_FIELDS)))
        if self.dice.random() < 0.02:
            chosen += [name for name in type_.fields if name in UNKNOWN][:1]
        parts = [self._field(name, type_.fields[name], depth) if name != "__typename" else name for name in chosen]
        if self.dice.random() < 0.15:
            parts.append("__typename")
        if self.dice.random() < 0.1:
            # Asked for twice, it is answered once, with what both ask for.
            name = self.dice.choice(chosen)
            if name in type_.fields and not type_.fields[name].args:
                parts.append(self._field(name, type_.fields[name], depth, alias=False))
        return " ".join(self._wrapped(type_, parts))

    def _wrapped(self, type_: GraphQLObjectType, parts: list[str]) -> list[str]:
        """Some of the parts in fragments."""
        if self.dice.random() > 0.25:
            return parts
        cut = self.dice.randint(0, len(parts) - 1)
        inside = " ".join(parts[cut:])
        on = self.dice.choice([type_.name, type_.name, *(interface.name for interface in type_.interfaces)])
        if on != type_.name:
            inside = "id"
            cut = len(parts)
        if self.dice.random() < 0.5:
            condition = "" if on == type_.name and self.dice.random() < 0.5 else f"on {on} "
            return [*parts[:cut], f"... {condition}{self._directive()}{{ {inside} }}"]
        name = f"F{len(self._fragments)}"
        self._fragments.append(f"fragment {name} on {on} {{ {inside} }}")
        return [*parts[:cut], f"...{name} {self._directive()}".rstrip()]

    def _field(self, name: str, field: GraphQLField, depth: int, *, alias: bool = True) -> str:
        arguments = self._arguments(name, field)
        alias = alias and (bool(arguments) or self.dice.random() < 0.1) and self._aliases < 25
        self._aliases += alias
        text = f"{f'a{self._aliases}: ' if alias else ''}{name}{arguments} {self._directive()}".rstrip()
        type_ = get_named_type(field.type)
        if isinstance(type_, GraphQLObjectType):
            text += f" {{ {self._selection(type_, depth + 1)} }}"
        return text

    def _directive(self) -> str:
        if self.dice.random() > 0.06:
            return ""
        holds = self.dice.random() < 0.6
        value = self._variable("Boolean!", holds) if self.dice.random() < 0.6 else json.dumps(holds)
        return f"@{self.dice.choice(['skip', 'include'])}(if: {value}) "

    def _variable(self, type_: str, value: Any) -> str:
        name = f"v{len(self._declared)}"
        default = ""
        if self.dice.random() < 0.2 and not type_.endswith("!") and isinstance(value, int | str):
            default = f" = {json.dumps(value)}"
            if self.dice.random() < 0.5:
                self._declared.append(f"${name}: {type_}{default}")
                return f"${name}"
        self._declared.append(f"${name}: {type_}{default}")
        self.variables[name] = value
        return f"${name}"

    def _arguments(self, name: str, field: GraphQLField) -> str:
        given = []
        for argument, declared in field.args.items():
            value = self._value(name, argument)
            if value is None and self.dice.random() < 0.9:
                continue
            if self.dice.random() < 0.5:
                text = self._variable(str(declared.type), value)
            else:
                text = _literal(declared.type, value)
            given.append(f"{argument}: {text}")
        return f"({', '.join(given)})" if given else ""

    def _value(self, name: str, argument: str) -> Any:
        choose, often = self.dice.choice, self.dice.random()
        match argument:
            case "slug":
                return choose(self.some.slugs) if often < 0.12 else self.some.slugs[0]
            case "first":
                return choose(WRONG_FIRST) if often < 0.004 else choose(FIRST)
            case "last" if often < 0.03:
                return choose([0, 1, 2, 50])
            case "before" if often < 0.03:
                return choose(self.some.cursors.get(name) or [None])
            case "after" if often < 0.01:
                return choose(["", "x", "bnVsbA", "WyIraWQiXQ"])
            case "after" if often < 0.2:
                return choose(self.some.cursors.get(name) or [None])
            case "track":
                return choose([None, "lifecycle", "membership"])
            case "includeInactive":
                return choose([True, False])
            case "identity" if name == "user":
                return {"kind": "member", "value": choose(self.some.members)}
            case "id" if name == "user" and often < 0.02:
                return choose(self.some.users)
            case "orderBy" if often < 0.5:
                found = {"field": choose(["ID", "LAST_SEEN", "FIRST_SEEN"]), "direction": choose(["ASC", "DESC"])}
                if often < 0.02:
                    return {"fact": {"plugin": "rfm", "name": "frequency"}}
                return dict(list(found.items())[: choose([1, 2, 2])])
            case "role" if often < 0.3:
                return choose(["service", "adviser", "nobody", "\x00"])
            case "assignee" if often < 0.3:
                return choose(["li", ""])
            case "status" if often < 0.4:
                return self.dice.sample(["OPEN", "TAKEN", "ESCALATED", "DONE"], choose([0, 1, 2, 4]))
            case "deadline" if often < 0.3:
                return {choose(["gte", "lt"]): choose(["2026-06-01T12:30:00Z", "2026-06-02T14:00:00Z"])}
            case "filter" if often < 0.5:
                return self._filter(name)
        return None

    def _filter(self, name: str) -> Any:
        choose = self.dice.choice
        if name == "actions":
            return {"status": self.dice.sample(["PLANNED", "SENT", "FAILED"], choose([0, 1, 2]))}
        found: dict[str, Any] = {}
        if name == "events":
            found["kind"] = self.dice.sample(["order.paid", "profile.updated", "nothing"], choose([1, 2]))
            return {"NOT": found} if self.dice.random() < 0.3 else found
        if name == "users":
            if self.dice.random() < 0.4:
                found["tag"] = self.dice.sample(self.some.tags, choose([0, 1, 2]))
            if self.dice.random() < 0.4:
                found["anyTag"] = self.dice.sample(self.some.tags, choose([1, 2, 3]))
            if self.dice.random() < 0.3:
                found["stage"] = {"track": "lifecycle", "key": choose(self.some.stages)}
            if self.dice.random() < 0.02:
                found["tag"] = ["x"] * 201
            if self.dice.random() < 0.2:
                found["lastSeen"] = {choose(["gte", "lt"]): choose(["2026-03-01T00:00:00Z", "2026-06-01T12:00:00Z"])}
            if self.dice.random() < 0.2:
                found["attribute"] = [{"name": "skin", "isMissing": choose([True, False])}]
            if self.dice.random() < 0.15:
                name = "frequency" if self.dice.random() < 0.95 else "no_such"
                test = {choose(["gte", "lt"]): choose([0, 2, 3])}
                found["fact"] = [{"plugin": "rfm", "rule": "rfm", "name": name, **test}]
            if self.dice.random() < 0.3:
                word = choose(["AND", "OR", "NOT"])
                return {word: found if word == "NOT" else [found, {"tag": self.dice.sample(self.some.tags, 1)}]}
        return found


def _python_name(field: GraphQLField) -> str:
    made = definition(field)
    return made.python_name if made else ""


def _literal(type_: GraphQLInputType, value: Any) -> str:
    if isinstance(value, dict):
        fields = getattr(get_named_type(type_), "fields", {})
        return "{" + ", ".join(f"{key}: {_literal(fields[key].type, inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(type_, inner) for inner in value) + "]"
    if isinstance(value, str) and isinstance(get_named_type(type_), GraphQLEnumType):
        return value
    return json.dumps(value)
