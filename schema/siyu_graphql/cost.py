"""What an operation costs, known before it runs: about how many objects it may have to read.

A field costs what it declares beside its description (:func:`priced`), and an object 1. What lies in a list counts
once for each entry: a page for as many as ``first`` or ``last`` ask for, what is asked for by ``ids`` for as many as
there are, another list for :data:`LISTED`. What is given may cost, too: each entry of a field of an input that declares
so. A document is taken apart once; then only the variables are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    value_from_ast_untyped,
)

__all__ = ["DEFAULT", "LISTED", "MOST", "Price", "price", "priced"]

LISTED = 10
"""How many entries a list is taken for that is not read in pages."""
DEFAULT, MOST = 20, 100
"""Entries of a page that says nothing, and of the longest: longer ones are refused where they are read."""

COST = "siyu_cost"
PAGED = ("first", "last")
COUNTED = "ids"
DEEPEST = 20
"""Inputs within inputs that are looked at; what is deeper is refused where it is read."""


class Page(NamedTuple):
    """How long a page is: as the document says, or as some variables do."""

    said: int | None
    variables: tuple[str, ...]

    def long(self, variables: Mapping[str, Any]) -> int:
        """How many entries at most. Of two numbers, which are refused together, the greater."""
        numbers = [number for name in self.variables if isinstance(number := variables.get(name), int)]
        numbers += [] if self.said is None else [self.said]
        return min(max(0, *numbers), MOST) if numbers else DEFAULT


class Ids(NamedTuple):
    """As many as there are in a variable."""

    variable: str

    def long(self, variables: Mapping[str, Any]) -> int:
        """How many; whoever gives more than may be is refused where they are read."""
        given = variables.get(self.variable)
        return min(len(given), MOST) if isinstance(given, list) else 1


class Given(NamedTuple):
    """A variable that holds inputs: what each of them costs by itself, and their type."""

    each: int
    kind: GraphQLInputType
    variable: str


Size: TypeAlias = int | Page | Ids
"""How many entries."""
Condition: TypeAlias = tuple[bool, "bool | str"]
"""What a literal or variable must be (``@include``: True, ``@skip``: False)."""
Way: TypeAlias = tuple[Condition, ...]


def priced(cost: int) -> dict[str, Any]:
    """Metadata of a field that costs more than what it returns."""
    return {COST: cost}


@dataclass(frozen=True, slots=True)
class Part:
    """A field of the selection: what it costs, of how many objects its parts are asked, and when (in any of ``ways``;
    always where there are none)."""

    own: int
    size: Size
    parts: tuple[Part, ...]
    ways: tuple[Way, ...]
    given: tuple[Given, ...] = ()

    def cost(self, variables: Mapping[str, Any]) -> int:
        """What it costs once."""
        if self.ways and not any(all(_is(*each, variables) for each in way) for way in self.ways):
            return 0
        times = self.size if isinstance(self.size, int) else self.size.long(variables)
        own = self.own + sum(_worth(each, kind, variables.get(name)) for each, kind, name in self.given)
        return own + times * (1 + sum(part.cost(variables) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Price:
    """What an operation costs, by its variables."""

    parts: tuple[Part, ...]
    defaults: Mapping[str, Any]

    def of(self, variables: Mapping[str, Any] | None) -> int:
        """The cost with these variables."""
        given = {**self.defaults, **(variables or {})}
        return sum(part.cost(given) for part in self.parts)


@lru_cache(256)
def price(schema: GraphQLSchema, document: DocumentNode, operation_name: str | None) -> Price:
    """The price of an operation of a valid document."""
    operation = next(
        each
        for each in document.definitions
        if isinstance(each, OperationDefinitionNode)
        and operation_name in (None, each.name.value if each.name else None)
    )
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    root = schema.get_root_type(operation.operation)
    assert root is not None
    defaults = {
        each.variable.name.value: value_from_ast_untyped(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value
    }
    return Price(_Taker(schema, fragments).parts(root, [operation.selection_set], None), defaults)


class _Taker:
    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments

    def parts(
        self, kind: GraphQLNamedType, selections: Iterable[SelectionSetNode], page: Page | None
    ) -> tuple[Part, ...]:
        """The parts of selections that are merged; ``page`` is how long the lists of a connection are."""
        found: dict[tuple[str, str], list[tuple[FieldNode, Way]]] = {}
        seen: set[tuple[str, Way]] = set()
        for each in selections:
            self._collect(kind, each, (), found, seen)
        return tuple(
            part
            for (kind_name, _), fields in found.items()
            if (part := self._part(self._schema.type_map[kind_name], fields, page))
        )

    def _collect(
        self,
        kind: GraphQLNamedType,
        selections: SelectionSetNode,
        way: Way,
        found: dict[tuple[str, str], list[tuple[FieldNode, Way]]],
        seen: set[tuple[str, Way]],
    ) -> None:
        for each in selections.selections:
            here = (*way, *_conditions(each.directives))
            if isinstance(each, FieldNode):
                key = (each.alias or each.name).value
                found.setdefault((kind.name, key), []).append((each, here))
            elif isinstance(each, FragmentSpreadNode):
                # Spread twice it is merged with itself: a document that doubles at each step is as long as its text.
                if (each.name.value, here) not in seen:
                    seen.add((each.name.value, here))
                    fragment = self._fragments[each.name.value]
                    inside = self._schema.type_map[fragment.type_condition.name.value]
                    self._collect(inside, fragment.selection_set, here, found, seen)
            elif isinstance(each, InlineFragmentNode):
                condition = each.type_condition
                inside = self._schema.type_map[condition.name.value] if condition else kind
                self._collect(inside, each.selection_set, here, found, seen)

    def _part(self, kind: GraphQLNamedType, found: Sequence[tuple[FieldNode, Way]], page: Page | None) -> Part | None:
        node = found[0][0]
        field: GraphQLField | None = getattr(kind, "fields", {}).get(node.name.value)
        if field is None:
            return None  # of the schema itself, which has limits of its own
        own, given = _inputs(field, node)
        own += _declared(field)
        inner = get_named_type(field.type)
        ways = () if any(not way for _, way in found) else tuple(way for _, way in found)
        if not is_composite_type(inner):
            return Part(own, 0, (), ways, given) if own or given else None
        asked = _asked(field, node)
        size: Size = 1
        if is_list_type(get_nullable_type(field.type)):
            size = _ids(node) or (LISTED if page is None else page)
        selections = [each.selection_set for each, _ in found if each.selection_set]
        return Part(own, size, self.parts(inner, selections, asked), ways, given)


def _asked(field: GraphQLField, node: FieldNode) -> Page | None:
    """How long the page is that a connection is asked for; None where the field is none."""
    if not any(name in field.args for name in PAGED):
        return None
    values = [argument.value for argument in node.arguments or () if argument.name.value in PAGED]
    said = [int(value.value) for value in values if isinstance(value, IntValueNode)]
    variables = tuple(value.name.value for value in values if isinstance(value, VariableNode))
    return Page(max(said, default=None), variables)


def _ids(node: FieldNode) -> Size | None:
    """How many are asked for by their ids; None where none are."""
    for argument in node.arguments or ():
        if argument.name.value == COUNTED:
            match argument.value:
                case VariableNode(name=name):
                    return Ids(name.value)
                case ListValueNode(values=values):
                    return min(len(values), MOST)
            return 1
    return None


def _inputs(field: GraphQLField, node: FieldNode) -> tuple[int, tuple[Given, ...]]:
    """What the arguments of a field cost: so much, and what is in some variables."""
    own, variables = 0, list[Given]()
    waiting: list[tuple[int, Any, ValueNode]] = [
        (0, field.args[each.name.value].type, each.value) for each in node.arguments or ()
    ]
    while waiting:
        each, kind, value = waiting.pop()
        kind = get_nullable_type(kind)
        match value:
            case VariableNode(name=name):
                if each or isinstance(get_named_type(kind), GraphQLInputObjectType):
                    variables.append(Given(each, kind, name.value))
            case ListValueNode(values=values) if is_list_type(kind):
                waiting += ((each, kind.of_type, inner) for inner in values)
            case ObjectValueNode(fields=inners) if isinstance(named := get_named_type(kind), GraphQLInputObjectType):
                own += each
                waiting += (
                    (_declared(inside), inside.type, inner.value)
                    for inner in inners
                    for inside in [named.fields[inner.name.value]]
                )
            case NullValueNode():
                pass
            case _:
                own += each
    return own, tuple(variables)


def _worth(each: int, kind: Any, value: Any, depth: int = 0) -> int:
    """What the value of a variable costs, of an input of which ``each`` costs so much."""
    kind = get_nullable_type(kind)
    if value is None or depth > DEEPEST:
        return 0
    if is_list_type(kind) and isinstance(value, list):
        return sum(_worth(each, kind.of_type, inner, depth + 1) for inner in value)
    named = get_named_type(kind)
    if not isinstance(named, GraphQLInputObjectType) or not isinstance(value, Mapping):
        return each
    return each + sum(
        _worth(_declared(field), field.type, value[name], depth + 1)
        for name, field in named.fields.items()
        if name in value
    )


def _declared(field: GraphQLField | GraphQLInputField) -> int:
    definition = field.extensions.get("strawberry-definition")
    return int(definition.metadata.get(COST, 0)) if definition is not None else 0


def _conditions(directives: Iterable[DirectiveNode] | None) -> Way:
    return tuple(
        (each.name.value == "include", _literal(argument.value))
        for each in directives or ()
        if each.name.value in ("include", "skip")
        for argument in each.arguments or ()
    )


def _literal(value: ValueNode) -> bool | str:
    return value.name.value if isinstance(value, VariableNode) else bool(value_from_ast_untyped(value))


def _is(wanted: bool, what: bool | str, variables: Mapping[str, Any]) -> bool:
    return bool(variables.get(what) if isinstance(what, str) else what) is wanted
