"""What a plugin declares, as types: its attributes and the facts that its rules name, without GraphQL in the plugin.

A plugin ``beauty`` with an attribute ``skin_type`` and a rule ``skin_by_age`` that names a fact ``age`` makes
``user { beauty { skinType skinByAge { age } } }``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import strawberry
from siyu import AttributeKind, PluginError
from siyu.contract.facts import Fact, Values
from siyu.contract.manager import Plugin
from siyu.contract.rules import Rule
from siyu.engine.words import declared
from siyu.flow.attributes import attributes_of_users
from siyu.flow.context import Context, brand_by_id
from siyu.flow.facts import facts_of_users
from siyu.flow.personal import names_in
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from siyu_graphql.context import Info, OfUser
from siyu_graphql.cost import priced

__all__ = ["field_of"]

TYPES: Mapping[str, Any] = {
    "date": date,
    "flag": bool,
    "integer": int,
    "money": Decimal,
    "number": float,
    "text": str,
}
"""By the types of attributes and the kinds of facts."""
REASON = "reason"
RULE = 200
"""The cost of the facts of one rule, which are computed together with those of the other rules of its plugin."""
HIDDEN = " Null for a token that may not see personal data."
MOST_INT = 2**31


@strawberry.type(description="What a plugin looks at in a user.")
class Known:
    """Base of the generated types; ``values`` by the names that the plugin gives them, null where it is off."""

    brand_id: strawberry.Private[int]
    user_id: strawberry.Private[int]
    values: strawberry.Private[Mapping[str, Any] | None]


def field_of(plugin: Plugin) -> StrawberryField | None:
    """The field of ``User`` that shows what a plugin declares; None where it declares neither attributes nor facts."""
    grouped = {rule: _facts_of(rule) for rule in plugin.rules}
    rules = {rule: facts for rule, facts in grouped.items() if facts}
    if not (plugin.attributes or rules):
        return None
    field = _name(plugin.name, plugin, "the entry point")
    title = field[0].upper() + field[1:]
    fields = {_name(kind.name, plugin, "the attribute"): _attribute(kind) for kind in plugin.attributes}
    taken = {_name(kind.name, plugin, "the attribute"): f"the attribute {kind.name!r}" for kind in plugin.attributes}
    if len(fields) < len(plugin.attributes):
        raise PluginError("two attributes have one name in GraphQL", field=plugin.name, remedy="rename one of them")
    for rule, facts in rules.items():
        name = _name(rule.key, plugin, "the key of the rule")
        if name in taken:
            raise PluginError(
                f"{taken[name]} and the rule {rule.key!r} are both {field}.{name}",
                field=plugin.name,
                remedy="rename one of them",
            )
        taken[name] = f"the rule {rule.key!r}"
        fields[name] = _rule(plugin, rule, facts, f"{title}{name[0].upper()}{name[1:]}Facts")
    if REASON in fields:
        raise PluginError(
            f"{taken[REASON]} and siyu both add {field}.{REASON}", field=plugin.name, remedy="rename yours"
        )
    fields[REASON] = _resolved(
        _reason(plugin), str | None, "Why all others are null: the plugin is off. Null itself where it is on."
    )
    made = _made(f"{title}Facts", f"What the plugin `{plugin.name}` looks at in a user.", fields)

    async def resolve(user: strawberry.Parent[OfUser], info: Info) -> Any:
        ctx = info.context.ctx
        values = await info.context.loaders.ask(_attributes, user.brand_id, user.user_id, ctx, plugin.name)
        return made(brand_id=user.brand_id, user_id=user.user_id, values=values)

    found = _resolved(
        resolve,
        made,
        f"What the plugin `{plugin.name}` ({plugin.title}) looks at: attributes of the profile and, by rule, facts."
        f" All of it is null, with a `{REASON}`, where the plugin is off.",
    )
    found.python_name, found.graphql_name = field, field
    return found


def _facts_of(rule: Rule) -> dict[str, Fact]:
    """Those with one value."""
    return {name: fact for name, fact in rule.facts.items() if not isinstance(fact, Values)}


def _attribute(kind: AttributeKind) -> StrawberryField:
    def resolve(root: Any, info: Info) -> Any:
        value = _shown(kind.type, (root.values or {}).get(kind.name))
        return info.context.personal.or_null(root.brand_id, root.user_id, [kind.name], value)

    listed = f" One of: {', '.join(kind.values)}." if kind.values else ""
    return _resolved(resolve, TYPES[kind.type] | None, f"{kind.title}.{listed}{HIDDEN if kind.personal else ''}")


def _rule(plugin: Plugin, rule: Rule, facts: Mapping[str, Fact], type_name: str) -> StrawberryField:
    fields: dict[str, StrawberryField] = {}
    for name, fact in facts.items():
        shown = _name(name, plugin, f"the fact of {rule.key}")
        if shown in fields:
            raise PluginError(
                f"two facts of the rule {rule.key!r} are both {shown}", field=plugin.name, remedy="rename one of them"
            )
        fields[shown] = _fact(name, fact)
    made = _made(type_name, f"The facts that the rule `{rule.key}` of the plugin `{plugin.name}` names.", fields)

    async def resolve(root: Any, info: Info) -> Any:
        if root.values is None:
            return None
        found = await info.context.loaders.ask(_facts, root.brand_id, root.user_id, info.context.ctx, plugin.name) or {}
        return made(brand_id=root.brand_id, user_id=root.user_id, values=found.get(rule.key, {}))

    return _resolved(
        resolve,
        made | None,
        f"{rule.title or rule.key}: the facts that it names, computed now. Those of one user cost as much as"
        f" {RULE} objects.",
        cost=RULE,
    )


def _fact(name: str, fact: Fact) -> StrawberryField:
    names = names_in(fact.name)

    def resolve(root: Any, info: Info) -> Any:
        value = info.context.personal.or_null(root.brand_id, root.user_id, names, root.values.get(name))
        return date.fromisoformat(value) if fact.kind == "date" and value is not None else value

    return _resolved(resolve, TYPES[fact.kind] | None, f"{declared(fact)}; null where it is missing.")


def _reason(plugin: Plugin) -> Callable[..., str | None]:
    def resolve(root: Any) -> str | None:
        if root.values is not None:
            return None
        return str(plugin.refused) if plugin.refused else f"the plugin {plugin.name} is off for this user"

    return resolve


def _resolved(resolve: Callable[..., Any], type_: Any, description: str, cost: int = 0) -> StrawberryField:
    resolve.__annotations__["return"] = type_
    found: StrawberryField = strawberry.field(resolver=resolve, description=description, metadata=priced(cost))
    return found


def _made(name: str, description: str, fields: Mapping[str, StrawberryField]) -> Any:
    """A type; its fields have the names that they go by, whatever Python thinks of them."""
    namespace: dict[str, Any] = {}
    for number, (graphql_name, field) in enumerate(fields.items()):
        field.graphql_name = graphql_name
        namespace[f"field_{number}"] = field
    return strawberry.type(type(name, (Known,), namespace), name=name, description=description)


def _shown(kind: str, value: Any) -> Any:
    """An attribute as GraphQL has it: there a whole number is smaller than some that rules know."""
    if value is None or (kind == "integer" and abs(value) >= MOST_INT):
        return None
    return Decimal(str(value)).quantize(Decimal("0.01")) if kind == "money" else value


def _name(name: str, plugin: Plugin, what: str) -> str:
    found = str(to_camel_case(name))
    if not re.fullmatch(r"[a-z][A-Za-z0-9]*", found, re.ASCII):
        raise PluginError(
            f"{what} {name!r} is no name in GraphQL",
            field=plugin.name,
            remedy="use words of small letters and digits, joined by _",
        )
    return found


async def _attributes(brand_id: int, users: Sequence[int], ctx: Context, plugin: str) -> dict[int, Mapping[str, Any]]:
    """Batch: the attributes of users, of those for whom the plugin is on."""
    return await attributes_of_users(ctx, brand_id, users, plugin)


async def _facts(
    brand_id: int, users: Sequence[int], ctx: Context, plugin: str
) -> dict[int, Mapping[str, Mapping[str, Any]]]:
    """Batch: the facts of users by rule and name, computed together for all rules of the plugin."""
    found = await facts_of_users(ctx, await brand_by_id(brand_id), users, plugin=plugin)
    by_rule: dict[int, Any] = {}
    for user, facts in found.items():
        for each in facts:
            by_rule.setdefault(user, {}).setdefault(each.rule, {})[each.name] = each.value
    return by_rule
