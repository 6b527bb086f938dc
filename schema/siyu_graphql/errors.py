"""Errors as clients see them.

What a client can cause has a stable ``code`` (and ``field`` and ``remedy`` where they help). Queries report it in
``errors[].extensions``, mutations in ``userErrors``. Everything else is logged and masked, with a request id that
finds it in the log.
"""

from __future__ import annotations

import logging
from typing import Any

import strawberry
from graphql import GraphQLError
from siyu import InputError, SiyuError
from strawberry.exceptions import MissingQueryError
from strawberry.relay.types import InvalidGlobalIDError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from siyu_graphql.ops.figures import ERRORS, Names

__all__ = ["NO_OPERATION", "UserError", "error_body", "log", "present", "presented"]

NO_OPERATION = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)
"""What Strawberry raises where a document has nothing that may be done."""

MOST_CODES = 50

log = logging.getLogger("siyu.graphql")
_codes = Names(MOST_CODES)


class NoId(InputError):
    """A text that is no id at all."""

    code = "INVALID_REQUEST"


@strawberry.type(description="Why a mutation, or a part of it, was refused.")
class UserError:
    """Why a mutation was refused."""

    code: str = strawberry.field(description="What kind of error, for programs: `INVALID_INPUT`, `NOT_FOUND`, …")
    field: str | None = strawberry.field(description="Which part of the input is meant, if one is.")
    message: str = strawberry.field(description="What is wrong, for people.")
    remedy: str | None = strawberry.field(description="What to do about it.")

    @classmethod
    def of(cls, error: SiyuError) -> UserError:
        """The error as a mutation reports it."""
        return cls(code=error.code, field=error.field, message=error.message, remedy=error.remedy)


def present(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """The error as it may be shown, masked and logged unless a client can have caused it."""
    cause = _cause(error)
    shown: dict[str, Any] = dict(error.formatted)
    if isinstance(cause, SiyuError):
        shown["message"] = cause.message
        shown["extensions"] = _extensions(cause)
    elif isinstance(cause, RecursionError):
        shown["message"] = "the document is nested too deeply"
        shown["extensions"] = {"code": "INVALID_REQUEST"}
    elif cause is None:
        shown["extensions"] = {"code": "INVALID_REQUEST", **(error.extensions or {})}
    else:
        log.error("request %s: %s at %s", request_id, type(cause).__name__, error.path, exc_info=cause)
        shown["message"] = "internal error"
        shown["extensions"] = {"code": "INTERNAL", "requestId": request_id}
    ERRORS.labels(_codes.label(str(shown["extensions"].get("code")))).inc()
    return shown


def presented(error: GraphQLError, request_id: str) -> GraphQLError:
    """As :func:`present`, as an error again."""
    shown = present(error, request_id)
    return GraphQLError(
        shown["message"], error.nodes, error.source, error.positions, error.path, None, shown["extensions"]
    )


def error_body(code: str, message: str, **extensions: Any) -> dict[str, Any]:
    """The body of a response that has no data at all."""
    ERRORS.labels(_codes.label(code)).inc()
    return {"errors": [{"message": message, "extensions": {"code": code, **extensions}}]}


def _cause(error: GraphQLError) -> Exception | None:
    """What was raised, if it was not the GraphQL engine that refused the document or its variables."""
    cause: Exception | None = error
    while isinstance(cause, GraphQLError):
        if isinstance(cause, InvalidGlobalIDError):
            return NoId(cause.message, remedy="ids come from `id` fields, and are sent as they are")
        cause = cause.original_error
    return None if isinstance(cause, NO_OPERATION) else cause


def _extensions(error: SiyuError) -> dict[str, Any]:
    given = {"code": error.code, "field": error.field, "remedy": error.remedy}
    return {name: value for name, value in given.items() if value is not None}
