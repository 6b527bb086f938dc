"""siyu's GraphQL API. These are the names that plugins and whoever serves the API use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from siyu_graphql.hooks import Contribution

if TYPE_CHECKING:
    from siyu.flow.ingest import IncomingEvent
    from siyu.flow.tokens import Right

    from siyu_graphql.app import create_app
    from siyu_graphql.breaking import Changes, changes
    from siyu_graphql.context import Info, Queue, RequestContext, visible_brand
    from siyu_graphql.documents import mistakes_in
    from siyu_graphql.errors import UserError
    from siyu_graphql.event.mutations import record_events
    from siyu_graphql.fields import computed
    from siyu_graphql.mutations import Payload, mutation
    from siyu_graphql.ops.leaving import Ending
    from siyu_graphql.ops.routes import Operations
    from siyu_graphql.plugin.queries import is_on
    from siyu_graphql.schema import build_schema, print_sdl

__all__ = [
    "Changes",
    "Contribution",
    "Ending",
    "IncomingEvent",
    "Info",
    "Operations",
    "Payload",
    "Queue",
    "RequestContext",
    "Right",
    "UserError",
    "build_schema",
    "changes",
    "computed",
    "create_app",
    "is_on",
    "mistakes_in",
    "mutation",
    "print_sdl",
    "record_events",
    "visible_brand",
]

_HOMES = {
    "Changes": "siyu_graphql.breaking",
    "Ending": "siyu_graphql.ops.leaving",
    "IncomingEvent": "siyu.flow.ingest",
    "Info": "siyu_graphql.context",
    "Operations": "siyu_graphql.ops.routes",
    "Payload": "siyu_graphql.mutations",
    "Queue": "siyu_graphql.context",
    "RequestContext": "siyu_graphql.context",
    "Right": "siyu.flow.tokens",
    "UserError": "siyu_graphql.errors",
    "build_schema": "siyu_graphql.schema",
    "changes": "siyu_graphql.breaking",
    "computed": "siyu_graphql.fields",
    "create_app": "siyu_graphql.app",
    "is_on": "siyu_graphql.plugin.queries",
    "mistakes_in": "siyu_graphql.documents",
    "mutation": "siyu_graphql.mutations",
    "print_sdl": "siyu_graphql.schema",
    "record_events": "siyu_graphql.event.mutations",
    "visible_brand": "siyu_graphql.context",
}


def __getattr__(name: str) -> Any:
    # Every command loads the hook from here; Strawberry, which few of them need, takes longer than most of them work.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
