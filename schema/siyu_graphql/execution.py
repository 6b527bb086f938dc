"""How operations are executed: within their time and what their token allows, with errors as clients may see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import strawberry
from graphql import GraphQLError
from siyu import PluginError
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.execution import ExecutionContext, ExecutionResult, PreExecutionError
from strawberry.types.field import StrawberryField
from strawberry.types.graphql import OperationType

from siyu_graphql.context import Caller, RequestContext
from siyu_graphql.errors import NO_OPERATION, presented
from siyu_graphql.user.types import User

__all__ = ["Schema"]

STREAMS = "a subscription needs Accept: text/event-stream, or a WebSocket (graphql-transport-ws)"

DESCRIPTION = (
    "siyu: users of a brand with their tags and stages, and why they have them. `brands` lists the brands that the"
    " token may see, and everything of one is below `brand(slug:)`: what there is to filter by (`tags`, `stages`,"
    " `facts`), and the `users` themselves. Mutations return what they changed, or why they did not (`userErrors`)."
    " Subscriptions tell of changes as they are decided, and go on from a cursor."
)


class Schema(strawberry.Schema):
    """Strawberry's, which logs every mistake in a client's query as an error of the server; the view logs ours.

    ``refused`` are the plugins that could not add what they would, and why.
    """

    def __init__(
        self, *args: Any, user_fields: Sequence[StrawberryField], refused: Mapping[str, PluginError], **given: Any
    ) -> None:
        self.refused = refused
        self._user_fields = list(user_fields)
        super().__init__(*args, **given)
        self._schema.description = DESCRIPTION

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """The fields of a type. Those of plugins are this schema's; the class is everybody's."""
        more = self._user_fields if type_definition.origin is User else []
        return [*super().get_fields(type_definition), *more]

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        return

    async def execute(self, *args: Any, **given: Any) -> ExecutionResult:
        """As Strawberry's, which takes a subscription for a query where the client wants one answer."""
        context: RequestContext = given["context_value"]
        try:
            async with context.within():
                result = await super().execute(*args, **{**given, "allowed_operation_types": _single(given)})
            await context.note_personal()
            return result
        except InvalidOperationTypeError as error:
            if error.operation_type is not OperationType.SUBSCRIPTION:
                raise
            return ExecutionResult(data=None, errors=[GraphQLError(STREAMS)])
        except NO_OPERATION:
            raise
        except Exception as error:
            return ExecutionResult(data=None, errors=[GraphQLError(str(error), original_error=error)])

    async def stream(self, *args: Any, **given: Any) -> AsyncGenerator[Any]:
        """As Strawberry's, with errors as clients may see them.

        Many operations share a WebSocket, so that each begins with what is true of its token then; a token that is
        ended ends what it subscribed to.
        """
        return self._stream_for(given.pop("context_value"), *args, **given)

    async def _stream_for(self, caller: Caller, *args: Any, **given: Any) -> AsyncGenerator[Any]:
        request_id = ""
        try:
            context = await caller.request()
            request_id = context.request_id
            answers: AsyncGenerator[Any] = await super().stream(*args, **{**given, "context_value": context})
            watching = asyncio.create_task(context.watch())
            try:
                with context.slots.one(context.access.key):
                    async with aclosing(answers):
                        while (result := await _next(answers, context)) is not None:
                            await context.recheck()
                            await context.note_personal()
                            if result.errors:
                                result.errors = [presented(error, request_id) for error in result.errors]
                            yield result
                            context.forget()
            finally:
                watching.cancel()
        # Strawberry lets through what its extensions refuse.
        except Exception as error:
            refused = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
            yield PreExecutionError(data=None, errors=[presented(refused, request_id)])


async def _next(answers: AsyncGenerator[Any], context: RequestContext) -> Any:
    """The next answer, None at the end."""
    async with context.within():
        return await anext(answers, None)


def _single(given: Mapping[str, Any]) -> set[OperationType]:
    return set(given.get("allowed_operation_types") or OperationType) - {OperationType.SUBSCRIPTION}
