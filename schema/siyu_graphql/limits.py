"""How large a document may be, what it may cost, and whether it may ask for the schema itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
)
from siyu.flow.tokens import Right
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from siyu_graphql.context import RequestContext
from siyu_graphql.cost import price

__all__ = ["MOST_ALIASES", "MOST_DEPTH", "MOST_LETTERS", "MOST_TOKENS", "RULES", "Limits"]

MOST_DEPTH = 12
MOST_ALIASES = 30
MOST_TOKENS = 2_000
MOST_LETTERS = 50_000


class DepthAndAliases(ASTValidationRule):
    """Refuses documents that are too deep or have too many aliases.

    Each fragment is measured once: Strawberry's own limiters walk them anew at every spread, which a document of
    twenty fragments, each spreading the next twice, turns into a million steps.
    """

    def enter_document(self, node: DocumentNode, *_: Any) -> None:
        self._fragments = {d.name.value: d for d in node.definitions if isinstance(d, FragmentDefinitionNode)}
        self._measured: dict[str, tuple[int, int]] = {}
        for operation in node.definitions:
            if isinstance(operation, OperationDefinitionNode):
                depth, aliases = self._measure(operation.selection_set, ())
                if depth > MOST_DEPTH:
                    self.report_error(GraphQLError(f"the query is {depth} levels deep; {MOST_DEPTH} are allowed"))
                if aliases > MOST_ALIASES:
                    self.report_error(GraphQLError(f"the query has {aliases} aliases; {MOST_ALIASES} are allowed"))

    def _measure(self, selections: SelectionSetNode | None, within: Sequence[str]) -> tuple[int, int]:
        """Depth and aliases of a selection; ``within`` are the fragments that it lies in."""
        depth = aliases = 0
        for selection in selections.selections if selections else ():
            if isinstance(selection, FieldNode):
                if selection.name.value.startswith("__"):
                    continue  # graphql-core limits introspection itself
                inner = self._measure(selection.selection_set, within)
                inner = (inner[0] + 1, inner[1] + (selection.alias is not None))
            elif isinstance(selection, FragmentSpreadNode):
                inner = self._fragment(selection.name.value, within)
            else:
                inner = self._measure(getattr(selection, "selection_set", None), within)
            depth, aliases = max(depth, inner[0]), aliases + inner[1]
        return depth, aliases

    def _fragment(self, name: str, within: Sequence[str]) -> tuple[int, int]:
        if name in within or name not in self._fragments:
            return 0, 0  # other rules refuse it
        if name not in self._measured:
            self._measured[name] = self._measure(self._fragments[name].selection_set, (*within, name))
        return self._measured[name]


class NoIntrospection(ASTValidationRule):
    """Refuses to show the schema itself."""

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        if node.name.value in ("__schema", "__type"):
            extensions = {"code": "FORBIDDEN", "remedy": "a developer's token may, unless introspection is off"}
            self.report_error(GraphQLError("the schema may not be read", node, extensions=extensions))


RULES = (DepthAndAliases,)
WITHOUT_INTROSPECTION = (*RULES, NoIntrospection)


class Limits(SchemaExtension):
    """Sets the limits of an operation. The rules are the same objects each time: they are a key of the cache."""

    @property
    def _request(self) -> RequestContext:
        request: RequestContext = self.execution_context.context
        return request

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        if context.query and len(context.query) > MOST_LETTERS:
            raise GraphQLError(f"the document has {len(context.query)} letters; {MOST_LETTERS} are allowed")
        context.parse_options["max_tokens"] = MOST_TOKENS
        open_ = self._request.settings.shows_schema and self._request.access.may(Right.INTROSPECT)
        context.validation_rules = (*context.validation_rules, *(RULES if open_ else WITHOUT_INTROSPECTION))
        yield

    async def on_execute(self) -> AsyncIterator[None]:
        context = self.execution_context
        assert context.graphql_document is not None
        self._request.begins(context.operation_name, follows=context.operation_type is OperationType.SUBSCRIPTION)
        asked = price(context.schema._schema, context.graphql_document, context.operation_name)
        await self._request.pay(asked.of(context.variables))
        yield

    def get_results(self) -> dict[str, Any]:
        return {"cost": self._request.bill} if self._request.bill else {}
