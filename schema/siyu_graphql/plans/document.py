"""Documents as plans see them: parsed and validated once, selections merged as the specification says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    BooleanValueNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    VariableNode,
    Visitor,
    get_argument_values,
    get_operation_ast,
    get_variable_values,
    specified_rules,
    visit,
)
from graphql.execution.values import VariableValues
from strawberry import Schema
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from siyu_graphql.cost import price
from siyu_graphql.limits import MOST_LETTERS, MOST_TOKENS, RULES

__all__ = ["Arguments", "Prepared", "Selected", "Unplanned", "definition"]


MOST_VALUES = 100


class Unplanned(Exception):
    """Something that plans do not know, or that has to be refused: the ordinary path answers."""


@dataclass(frozen=True)
class Selected:
    """A field of a selection: under which key it is answered, and where the document asks for it."""

    key: str
    name: str
    nodes: tuple[FieldNode, ...]


def definition(field: GraphQLField) -> StrawberryField | None:
    """What the field was made of; None for those that GraphQL itself brings."""
    found = (field.extensions or {}).get("strawberry-definition")
    return found if isinstance(found, StrawberryField) else None


class Prepared:
    """A document that is good, with the operation that is meant."""

    def __init__(self, schema: Schema, query: str, operation_name: str | None) -> None:
        if len(query) > MOST_LETTERS:
            raise Unplanned
        self.schema = schema
        self._core = schema._schema
        try:
            # What the ordinary path has parsed and validated is not done again.
            document = ParserCache().cached_parse_document(query, max_tokens=MOST_TOKENS)
            if ValidationCache().cached_validate_document(self._core, document, (*specified_rules, *RULES)):
                raise Unplanned
        except (GraphQLError, RecursionError):
            raise Unplanned from None
        operation = get_operation_ast(document, operation_name)
        if operation is None or operation.operation is not OperationType.QUERY:
            raise Unplanned
        self.operation: OperationDefinitionNode = operation
        self.name = operation.name.value if operation.name else None
        self.price = price(self._core, document, operation_name)
        self.fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self.flags = _flags(document)

    @property
    def root(self) -> GraphQLObjectType:
        """The type of queries."""
        assert self._core.query_type is not None
        return self._core.query_type

    def variables(self, given: Mapping[str, Any]) -> VariableValues:
        """The values of the variables, as their types have them."""
        values = get_variable_values(self._core, self.operation.variable_definitions or (), dict(given))
        if isinstance(values, list):
            raise Unplanned
        return values

    def select(self, type_: GraphQLObjectType, nodes: Sequence[FieldNode], flags: Mapping[str, bool]) -> list[Selected]:
        """What ``nodes`` select of an object of that type, in the order of the answer."""
        return self._collect(type_, (node.selection_set for node in nodes), flags)

    def select_root(self, flags: Mapping[str, bool]) -> list[Selected]:
        """What the operation selects."""
        return self._collect(self.root, (self.operation.selection_set,), flags)

    def _collect(
        self,
        type_: GraphQLObjectType,
        sets: Iterable[SelectionSetNode | None],
        flags: Mapping[str, bool],
    ) -> list[Selected]:
        found: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()

        def walk(selections: SelectionSetNode) -> None:
            for node in selections.selections:
                if not _included(node.directives or (), flags):
                    continue
                if isinstance(node, FieldNode):
                    found.setdefault((node.alias or node.name).value, []).append(node)
                elif isinstance(node, InlineFragmentNode):
                    if self._applies(node, type_):
                        walk(node.selection_set)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                    spread.add(node.name.value)
                    fragment = self.fragments[node.name.value]
                    if self._applies(fragment, type_):
                        walk(fragment.selection_set)

        for selections in sets:
            if selections is not None:
                walk(selections)
        return [Selected(key, nodes[0].name.value, tuple(nodes)) for key, nodes in found.items()]

    def _applies(self, fragment: InlineFragmentNode | FragmentDefinitionNode, type_: GraphQLObjectType) -> bool:
        if fragment.type_condition is None or fragment.type_condition.name.value == type_.name:
            return True
        return any(fragment.type_condition.name.value == interface.name for interface in type_.interfaces)


class Arguments:
    """What a field is given, as its resolver would be; computed once for the same values of its variables."""

    def __init__(self, prepared: Prepared, field: GraphQLField, node: FieldNode) -> None:
        self._schema = prepared.schema
        self._field = field
        self._node = node
        self._names = tuple(_variables(node.arguments))
        self._known: dict[str, Mapping[str, Any]] = {}
        if not self._names:
            self.read(None)

    def read(self, variables: VariableValues | None) -> Mapping[str, Any]:
        """The arguments by their names in Python."""
        # As text: input objects are no keys, and 1 is another value than true, which it equals.
        values = repr([variables.coerced.get(name, Undefined) for name in self._names]) if variables else ""
        if values in self._known:
            return self._known[values]
        if len(self._known) == MOST_VALUES:
            self._known.clear()
        self._known[values] = found = self._read(variables)
        return found

    def _read(self, variables: VariableValues | None) -> Mapping[str, Any]:
        made = definition(self._field)
        if made is None:
            raise Unplanned
        try:
            given = get_argument_values(self._field, self._node, variables)
            return convert_arguments(
                given, made.arguments, self._schema.schema_converter.scalar_registry, self._schema.config
            )
        except (GraphQLError, ValueError, TypeError):
            raise Unplanned from None


def _included(directives: Sequence[DirectiveNode], flags: Mapping[str, bool]) -> bool:
    for directive in directives:
        if directive.name.value not in ("skip", "include"):
            raise Unplanned
        [argument] = directive.arguments or ()
        value = argument.value
        if isinstance(value, VariableNode):
            holds = flags[value.name.value]
        elif isinstance(value, BooleanValueNode):
            holds = value.value
        else:
            raise Unplanned
        if holds is (directive.name.value == "skip"):
            return False
    return True


class _Names(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.found.append(node.name.value)


def _variables(nodes: Sequence[Node] | None) -> list[str]:
    names = _Names()
    for node in nodes or ():
        visit(node, names)
    return names.found


class _Flags(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.found.update(_variables(node.arguments))


def _flags(document: DocumentNode) -> tuple[str, ...]:
    """The variables on which it depends what is selected."""
    flags = _Flags()
    visit(document, flags)
    return tuple(sorted(flags.found))
