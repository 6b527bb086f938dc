"""siyu's GraphQL API. These are the names that plugins and whoever serves the API use."""

from siyu.flow.tokens import Right

from siyu_graphql.app import Page, create_app
from siyu_graphql.context import Info, Queue, RequestContext, visible_brand
from siyu_graphql.errors import UserError
from siyu_graphql.fields import computed
from siyu_graphql.hooks import Contribution
from siyu_graphql.mutations import Payload, mutation
from siyu_graphql.schema import build_schema, print_sdl

__all__ = [
    "Contribution",
    "Info",
    "Page",
    "Payload",
    "Queue",
    "RequestContext",
    "Right",
    "UserError",
    "build_schema",
    "computed",
    "create_app",
    "mutation",
    "print_sdl",
    "visible_brand",
]
