"""How mutations are made: with a right that they need, and with errors in the payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from siyu import SiyuError
from siyu.flow.tokens import Right
from strawberry.extensions import FieldExtension

from siyu_graphql.errors import UserError

__all__ = ["Guard", "Payload", "mutation"]


@strawberry.type(description="What a mutation returns.")
class Payload:
    """Base of the payloads. Every field but ``user_errors`` needs a default, for the case that it was refused."""

    user_errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was refused; empty where it was done."
    )


class Guard(FieldExtension):
    """Asks the role of the token before a mutation runs, and puts what the client caused into its payload."""

    def __init__(self, right: Right, payload: type[Payload]) -> None:
        self.right = right
        self._payload = payload

    async def resolve_async(self, next_: Callable[..., Any], source: Any, info: Any, **kwargs: Any) -> Any:
        info.context.access.require(self.right)
        try:
            return await next_(source, info, **kwargs)
        except SiyuError as error:
            return self._payload(user_errors=[UserError.of(error)])


def mutation(right: Right, payload: type[Payload], description: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a coroutine a mutation that needs ``right`` and returns ``payload`` (or null, where it was not allowed)."""

    def make(resolver: Callable[..., Any]) -> Any:
        return strawberry.mutation(resolver, description=description, extensions=[Guard(right, payload)])

    return make
